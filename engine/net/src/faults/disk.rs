//! Faults of disks: calls that come late, and calls that fail.

use std::io;

use super::{Loss, installed};

/// What is asked of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskCall {
    /// Objects are written out.
    SpillWrite,
    /// Bytes of objects are read back.
    SpillRead,
    /// The head's memory is written.
    Commit,
}

/// All of them, by name.
pub(super) const DISK_CALLS: &[&str] = &["Disk.SpillWrite", "Disk.SpillRead", "Disk.Commit"];

impl DiskCall {
    fn name(self) -> &'static str {
        match self {
            Self::SpillWrite => "Disk.SpillWrite",
            Self::SpillRead => "Disk.SpillRead",
            Self::Commit => "Disk.Commit",
        }
    }
}

/// Does this, on the thread that asks, with the faults that there are for it.
///
/// # Errors
/// Those of `work`; or the fault's: before anything was done (`request`), or after all of it was (`reply`).
pub fn disk<T>(call: DiskCall, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(faults) = installed() else { return work() };
    let failed = || io::Error::other(format!("a fault of a test: {}", call.name()));
    match faults.fate(call.name()).delayed_here() {
        None => work(),
        Some(Loss::Request) => Err(failed()),
        Some(Loss::Reply) => work().and_then(|_| Err(failed())),
    }
}

/// Whether there are any faults, of whatever kind.
pub fn are_installed() -> bool {
    installed().is_some()
}
