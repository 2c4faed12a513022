//! Buffers that a disk reads and writes fastest: of whole pages, and of huge ones where the system has
//! them. A request to a disk names every piece of memory that is contiguous, and takes only so many of
//! them: into pages of 4 KiB that lie anywhere, half as much is read in the same time. The arena's are
//! such where the system has no huge pages for shared memory, so bytes come and go by these buffers.

use parking_lot::Mutex;
use rustix::mm::{Advice, madvise};

/// Addresses, offsets and lengths of direct I/O are multiples of this: no device has larger sectors
/// than a page.
pub const ALIGN_BYTES: usize = 4096;
/// Bytes of a buffer.
pub const BUFFER_BYTES: usize = 8 << 20;
/// So many buffers are kept for the next user, all stores together.
const KEPT_MAX: usize = 4;
/// Huge pages of the processors that we know; where they are larger, they are not used.
const HUGE_PAGE_BYTES: usize = 2 << 20;

static KEPT: Mutex<Vec<Aligned>> = Mutex::new(Vec::new());

struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

/// [`BUFFER_BYTES`] bytes, of any content, from an address that is a multiple of [`ALIGN_BYTES`] on.
pub struct Buffer(Option<Aligned>);

impl Buffer {
    /// One that was used before, or a new one.
    pub fn take() -> Self {
        let kept = KEPT.lock().pop();
        Self(Some(kept.unwrap_or_else(Aligned::new)))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |aligned| &aligned.bytes[aligned.start..aligned.start + BUFFER_BYTES])
    }

    /// The bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0
            .as_mut()
            .map_or(&mut [], |aligned| &mut aligned.bytes[aligned.start..aligned.start + BUFFER_BYTES])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = KEPT.lock();
        if kept.len() < KEPT_MAX {
            kept.extend(self.0.take());
        }
    }
}

impl Aligned {
    fn new() -> Self {
        let mut bytes = vec![0; BUFFER_BYTES + HUGE_PAGE_BYTES];
        let start = bytes.as_ptr().align_offset(HUGE_PAGE_BYTES).min(HUGE_PAGE_BYTES);
        let pages: *mut [u8] = &mut bytes[start..start + BUFFER_BYTES];
        // SAFETY: the range lies in memory of ours, and the advice changes nothing of what it holds.
        // A system that has no huge pages is as before.
        let _ = unsafe { madvise(pages.cast(), BUFFER_BYTES, Advice::LinuxHugepage) };
        Self { bytes, start }
    }
}

/// Whether direct I/O can read or write this memory.
pub fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(ALIGN_BYTES) && bytes.len().is_multiple_of(ALIGN_BYTES)
}

/// The zeros that fill a file of `length` bytes up to whole pages.
pub fn padding(length: usize) -> &'static [u8] {
    static ZEROS: [u8; ALIGN_BYTES] = [0; ALIGN_BYTES];
    &ZEROS[..length.next_multiple_of(ALIGN_BYTES) - length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_whole_and_few_are_kept() {
        let mut buffers: Vec<Buffer> = (0..KEPT_MAX + 2).map(|_| Buffer::take()).collect();
        for buffer in &mut buffers {
            buffer.as_mut_slice().fill(1);
            assert!(is_aligned(buffer.as_slice()) && buffer.as_slice().len() == BUFFER_BYTES);
        }
        drop(buffers);
        assert!(KEPT.lock().len() <= KEPT_MAX);
        assert_eq!((padding(0).len(), padding(1).len(), padding(4096).len()), (0, 4095, 0));
    }
}
