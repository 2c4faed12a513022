//! The only crate that knows wasmtime: compile cache, instances, host imports, limits.

pub mod host;
pub mod job;
mod bindings;
mod errors;
mod handles;
