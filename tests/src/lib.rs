//! What the integration tests share: they run the `engine` binary as people do, against real guests.
//!
//! - [`Place`] is an empty corner of the machine: a directory for temporary files, and no engine that
//!   runs there. [`Place::engine`] runs one command in it.
//! - [`Up`] is an `engine up` in a place of its own, ended when it is dropped.
//! - [`Network`] is one whose packets can be dropped.
//! - [`Running`] is a command that goes on: its lines can be waited for, and it can be sent signals.
//! - [`Outcome`] is what a command that has ended wrote, and its exit status.
//!
//! The engine binary is `$ENGINE_BIN`, else the one beside the test's own folder in `target`; guests are
//! those of `cargo xtask guests`, in `$ENGINE_GUESTS_DIR` or in `target/guests`. Nothing here waits for a
//! span of time: tests wait for what is to happen, and fail when it has not for [`PATIENCE`].

mod files;
mod network;
mod outcome;
mod place;
mod running;
mod terminal;
mod until;
mod up;

pub use files::{engine_binary, guest};
pub use network::Network;
pub use outcome::{Outcome, how_to_join};
pub use place::{Invocation, Place};
pub use running::Running;
pub use until::{PATIENCE, until};
pub use up::{Up, nodes};
