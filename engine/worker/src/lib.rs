//! A process that runs the guests of one tenant, apart from the node's own process and from other tenants'
//! (`engine tenant set --isolation process`).
//!
//! The node's agent starts it with one end of a socket as its standard input, and with nothing else. It locks itself
//! in ([`lock`]), and then has a [`Runtime`](engine_runtime::Runtime) as the node has, whose host is a client over
//! that socket ([`run`]). Compiling is done here too. What is said stands in `proto/engine/v1/worker.proto`, how in
//! [`wire`].
//!
//! The agent believes nothing of what a worker says: see `engine/agent/src/workers`.

mod background;
mod host;
mod line;
pub mod lock;
mod process;
mod syscalls;
pub mod wire;

pub use process::run;
