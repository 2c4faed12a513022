//! Where spilled bytes go: the one trait between the store and its disks.

use std::io::{self, IoSlice};

/// A place for files of spilled bytes: a folder, a bucket. A file is written once, from its beginning
/// to its end, and then read and deleted. Calls block, and come from many threads.
pub trait SpillTarget: Send + Sync {
    /// Where the file of this name lies, for messages.
    fn path(&self, name: &str) -> String;

    /// Begins a new file. `bytes` is how long it will be, where that is known, so that room can be
    /// made at once.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`] when there is no room, others
    /// as they come. Then nothing is left of the file.
    fn create(&self, name: &str, bytes: Option<u64>) -> io::Result<Box<dyn SpillWriter>>;

    /// Fills `buffer` with the file's bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file is shorter, others as they come.
    fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Deletes a file, finished or not; one that does not exist is deleted already.
    ///
    /// # Errors
    /// As they come; the store asks again later.
    fn delete(&self, name: &str) -> io::Result<()>;

    /// Bytes that there is room for; none where there is no such bound.
    ///
    /// # Errors
    /// As they come.
    fn free_bytes(&self) -> io::Result<Option<u64>>;
}

/// A file that is being written. Dropped before it is finished, it may leave something behind that
/// [`SpillTarget::delete`] removes.
pub trait SpillWriter: Send {
    /// Writes all of these bytes, in order, after what was written.
    ///
    /// # Errors
    /// As of [`SpillTarget::create`]; the file is of no use then.
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Ends the file: from now on it can be read.
    ///
    /// # Errors
    /// As of [`SpillTarget::create`].
    fn finish(self: Box<Self>) -> io::Result<()>;
}
