//! From a Rust crate or a core module to a component, and what a component asks for.
//!
//! - [`Toolchain::find`] takes the guest toolchain that is there, adds one by rustup, or builds one.
//! - [`build`] turns a crate or a core `.wasm` file into a component; [`build_crate`] and
//!   [`build_workspace`] are its parts, [`componentize`] its last step.
//! - [`inspect`] reads a component: exports, imports, grants, purity.

mod cache;
mod cargo;
mod componentize;
mod error;
mod inspect;
mod process;
mod progress;
mod rustup;
mod strip;
mod sysroot;
mod toolchain;
mod wit_text;

pub use cache::cache_dir;
pub use cargo::{BuildOptions, build, build_crate, build_workspace};
pub use componentize::{Kind, componentize, kind_of};
pub use error::Error;
pub use inspect::{Function, Grant, Inspection, Interface, World, inspect};
pub use progress::Progress;
pub use toolchain::Toolchain;
