//! A spill file, and an object in it.

use std::sync::Arc;

use super::Spill;
use super::accounts::Doomed;
use super::aligned::ALIGN_BYTES;
use crate::checksum::Checksums;

/// A spill file. It is deleted when the last object in it is dropped, or when it was not finished.
pub(super) struct SpillFile {
    pub(super) spill: Arc<Spill>,
    pub(super) name: String,
    /// What of the bound it takes.
    pub(super) bytes: u64,
    is_finished: bool,
}

impl SpillFile {
    /// A file that is about to be written.
    pub(super) fn begin(spill: &Arc<Spill>) -> Self {
        spill.accounts.file_begun();
        Self { spill: spill.clone(), name: spill.next_name(), bytes: 0, is_finished: false }
    }

    /// The file can be read from now on.
    pub(super) fn finish(mut self) -> Arc<Self> {
        self.is_finished = true;
        self.spill.accounts.file_ended(self.bytes);
        Arc::new(self)
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        if !self.is_finished {
            self.spill.accounts.file_ended(self.bytes);
        }
        self.spill.janitor.delete(Doomed { name: std::mem::take(&mut self.name), bytes: self.bytes });
    }
}

/// An object in a spill file.
pub(crate) struct SpilledObject {
    pub(super) file: Arc<SpillFile>,
    /// Where in the file it begins, a multiple of [`ALIGN_BYTES`].
    pub(super) offset: u64,
    /// Bytes.
    length: u64,
    pub(super) checksums: Checksums,
}

impl SpilledObject {
    pub(super) fn new(file: Arc<SpillFile>, offset: u64, length: u64, checksums: Checksums) -> Self {
        file.spill.accounts.object_added(length, disk_bytes(length));
        Self { file, offset, length, checksums }
    }

    /// Bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

impl Drop for SpilledObject {
    fn drop(&mut self) {
        self.file.spill.accounts.object_dropped(self.length, disk_bytes(self.length));
    }
}

/// Bytes that an object takes in a file: whole pages.
pub(super) fn disk_bytes(length: u64) -> u64 {
    length.next_multiple_of(ALIGN_BYTES as u64)
}
