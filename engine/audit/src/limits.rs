//! Bounds of what is kept.

use std::time::Duration;

/// How much of the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file; then the next is begun.
    pub audit_file_bytes_max: u64,
    /// Files; then the oldest is removed.
    pub audit_files_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { audit_file_bytes_max: 16 << 20, audit_files_max: 64 }
    }
}

/// The least that [`Limits::audit_file_bytes_max`] may be, so that what is written at once fits.
pub const AUDIT_FILE_BYTES_MIN: u64 = 64 << 10;
/// Lines that wait to be written; whoever has a further one waits.
pub const AUDIT_QUEUE_MAX: usize = 1_024;
/// Lines of one answer.
pub const AUDIT_READ_LINES_MAX: usize = 1_000;
/// Characters of one value of a line; what is longer is cut.
pub(crate) const VALUE_CHARS_MAX: usize = 200;
/// Bytes that are written at once, but for the last line.
pub(crate) const BATCH_BYTES_MAX: usize = 32 << 10;
/// Between two attempts to write what could not be written.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(500);
