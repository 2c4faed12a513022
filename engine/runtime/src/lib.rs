//! The only crate that knows wasmtime: compile cache, instances, host imports, limits.
//!
//! A [`Runtime`] is told what to run ([`Runtime::start`], [`Runtime::deliver`], [`Runtime::stop`]) and
//! tells how it went to the [`host::Host`] that it runs in. Every sandbox is one store and one future
//! on the guest threads: a guest that waits is a suspended fiber and costs no thread.

pub mod apart;
mod bindings;
mod compile_cache;
mod compiling;
mod concurrent;
mod control;
mod counters;
mod engine;
mod errors;
mod guest;
mod handles;
pub mod host;
mod imports;
mod info;
mod instance;
pub mod job;
mod lent;
mod limiter;
mod load;
mod logs;
mod mapped;
mod options;
mod plain;
mod program;
mod received;
mod runtime;
mod seed;
pub mod storage;
mod ticker;
mod trap;
mod turns;
mod values;
mod wasi;
mod writing;

pub use compile_cache::mapped_component;
pub use counters::Counters;
pub use imports::{check_wait, ready_indexes, timed_out};
pub use info::{ComponentInfo, ComponentWorld, FunctionInfo};
pub use job::{DirectoryGrant, JobComponent, JobContext};
pub use options::Options;
pub use runtime::Runtime;
