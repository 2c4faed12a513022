//! What went wrong with a spill file, for people.

use std::io;

use engine_core::{Error, ErrorCode, resources};

use super::Spill;

impl Spill {
    /// Writing failed: OUT_OF_DISK when there is no room, STORE_FULL when the disk does not work.
    pub(super) fn write_failed(&self, name: &str, bytes: u64, error: &io::Error) -> Error {
        let path = self.target.path(name);
        let wanted = resources::bytes(bytes);
        if is_full(error) {
            let free = match self.target.free_bytes() {
                Ok(Some(free)) => format!("{} are free", resources::bytes(free)),
                _ => "how much is free is not known".into(),
            };
            let message = format!(
                "no room to spill {wanted} to {path}: {free} ({error}); free space there, drop references that are no longer needed, or start the node with another spill folder"
            );
            return Error::new(ErrorCode::OutOfDisk, message);
        }
        let message = format!(
            "spilling {wanted} to {path} failed: {error}; the bytes are still in memory, and more room is there once the disk works or references are dropped"
        );
        Error::new(ErrorCode::StoreFull, message)
    }

    /// The bound of all spill files was reached.
    pub(super) fn limit_reached(&self, bytes: u64) -> Error {
        let usage = self.accounts.usage();
        let message = format!(
            "no room to spill {} to {}: spill files take {} of the {} that spill_bytes_max allows; drop references that are no longer needed, or start the node with a larger limit",
            resources::bytes(bytes),
            self.target.path(""),
            resources::bytes(usage.disk_bytes),
            resources::bytes(usage.disk_bytes_max),
        );
        Error::new(ErrorCode::OutOfDisk, message)
    }

    /// The bytes from `offset` of a file on are not there any more.
    pub(super) fn lost(&self, name: &str, offset: u64, why: impl std::fmt::Display) -> Error {
        let message = format!(
            "spilled bytes are lost: {} at offset {offset}: {why}; check the disk; the object must be made again",
            self.target.path(name)
        );
        Error::new(ErrorCode::ObjectLost, message)
    }
}

/// Whether there is no room, rather than a disk that does not work.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
