//! Who did what, when and from where.
//!
//! An [`AuditLog`] is a folder of files of lines of JSON, of its user alone. Each line has the SHA-256 of the one
//! before, so that a line which is changed, removed or put in is seen ([`verify`]). A line is handed over to a
//! bounded queue and written by a thread of the log's own; who hands one over while the queue is full waits.

mod background;
mod chain;
mod entry;
mod error;
mod files;
pub mod limits;
mod log;
mod read;
#[cfg(test)]
mod tests;
mod writer;

pub use chain::{Verified, verify};
pub use entry::{Entry, Line, OK, Who};
pub use error::{AuditError, Broken};
pub use limits::Limits;
pub use log::AuditLog;
pub use read::{Page, Query};
