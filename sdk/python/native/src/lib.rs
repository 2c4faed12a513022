//! `engine._native`: one [`session::Session`] is one job whose root is this Python process.
//!
//! What Python sees is declared in `sdk/python/src/engine/_native.pyi`; options and values are those of
//! `_backend.py`. Everything that may take time lets other Python threads run and looks for signals.

mod buffer;
mod client;
mod elsewhere;
mod errors;
mod handles;
mod logs;
mod options;
mod session;
mod shared;
mod values;

/// The Rust client as a module.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::handles::{Actor, Object, PlacementGroup, Task};
    #[pymodule_export]
    use crate::session::Session;
}
