//! Buffers that a disk reads and writes fastest: of whole pages, and of huge ones where the system has
//! them. A request to a disk names every piece of memory that is contiguous, and takes only so many of
//! them: into pages of 4 KiB that lie anywhere, half as much is read in the same time. The arena's are
//! such where the system has no huge pages for shared memory, so bytes come and go by these buffers.

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::c_void;

use parking_lot::Mutex;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Addresses, offsets and lengths of direct I/O are multiples of this: no device has larger sectors
/// than a page.
pub const ALIGN_BYTES: usize = 4096;
/// Bytes of the largest buffer.
pub const BUFFER_BYTES: usize = 8 << 20;
/// So many bytes of buffers are kept for the next users, all stores together: what is written at the
/// same time as what is read, by two threads each.
const KEPT_BYTES_MAX: usize = 48 << 20;
/// Huge pages of the processors that we know; where they are larger, they are not used.
const HUGE_PAGE_BYTES: usize = 2 << 20;

static KEPT: Mutex<Vec<Pages>> = Mutex::new(Vec::new());

/// Memory of a mapping of its own. From the heap, buffers would be taken apart for other uses and come
/// back in small pages, and be cleared again and again; and the heap's own pages would become huge.
struct Pages {
    mapped: *mut c_void,
    mapped_bytes: usize,
    start: *mut u8,
    /// A multiple of [`HUGE_PAGE_BYTES`].
    bytes: usize,
}

// SAFETY: the memory belongs to this value alone, and is unmapped only when it is dropped.
unsafe impl Send for Pages {}
// SAFETY: as above; it is written only through a mutable borrow.
unsafe impl Sync for Pages {}

/// Bytes of any content, from an address that is a multiple of [`ALIGN_BYTES`] on.
pub struct Buffer(Option<Pages>);

impl Buffer {
    /// At least `bytes` bytes, as a rule at most [`BUFFER_BYTES`]: a buffer that was used before, or a
    /// new one.
    pub fn take(bytes: usize) -> Self {
        let mut kept = KEPT.lock();
        let fitting = (0..kept.len()).filter(|&at| kept[at].bytes >= bytes);
        // Of equal ones the latest, which the processor's cache may still have.
        let best = fitting.rev().min_by_key(|&at| kept[at].bytes);
        let pages = best.map(|at| kept.remove(at));
        drop(kept);
        Self(Some(pages.unwrap_or_else(|| Pages::new(bytes))))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |pages| {
            // SAFETY: the range lies in the mapping, which this value keeps; its bytes are always
            // initialised, by the system at first, and written only through `as_mut_slice`.
            unsafe { std::slice::from_raw_parts(pages.start, pages.bytes) }
        })
    }

    /// The bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], |pages| {
            // SAFETY: as above, and the mutable borrow is the only one.
            unsafe { std::slice::from_raw_parts_mut(pages.start, pages.bytes) }
        })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = KEPT.lock();
        let kept_bytes: usize = kept.iter().map(|pages| pages.bytes).sum();
        if self.0.as_ref().is_some_and(|pages| kept_bytes + pages.bytes <= KEPT_BYTES_MAX) {
            kept.extend(self.0.take());
        }
    }
}

impl Pages {
    fn new(bytes: usize) -> Self {
        let bytes = bytes.max(1).next_multiple_of(HUGE_PAGE_BYTES);
        let mapped_bytes = bytes + HUGE_PAGE_BYTES;
        // SAFETY: a new mapping at an address of the system's choice touches no memory of ours.
        let mapped = unsafe {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            mmap_anonymous(std::ptr::null_mut(), mapped_bytes, protection, MapFlags::PRIVATE)
        };
        let Ok(mapped) = mapped else {
            // As any other allocation that fails.
            handle_alloc_error(Layout::array::<u8>(bytes).unwrap_or(Layout::new::<u8>()))
        };
        let first: *mut u8 = mapped.cast();
        let skipped = first.addr().next_multiple_of(HUGE_PAGE_BYTES) - first.addr();
        let start = first.wrapping_add(skipped);
        // SAFETY: the range lies in the mapping just made, and the advice changes nothing of what it
        // holds. A system that has no huge pages is as before.
        let _ = unsafe { madvise(start.cast(), bytes, Advice::LinuxHugepage) };
        Self { mapped, mapped_bytes, start, bytes }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, so nobody refers to it any more.
        let unmapped = unsafe { munmap(self.mapped, self.mapped_bytes) };
        debug_assert!(unmapped.is_ok());
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
        let sizes = [1, HUGE_PAGE_BYTES, HUGE_PAGE_BYTES + 1, BUFFER_BYTES];
        let mut buffers: Vec<Buffer> =
            (0..2 * KEPT_BYTES_MAX / BUFFER_BYTES).flat_map(|_| sizes.map(Buffer::take)).collect();
        for (buffer, size) in buffers.iter_mut().zip(sizes.iter().cycle()) {
            assert!(is_aligned(buffer.as_slice()) && buffer.as_slice().len() >= *size);
            buffer.as_mut_slice()[size - 1] = 1;
        }
        drop(buffers);
        assert!(KEPT.lock().iter().map(|pages| pages.bytes).sum::<usize>() <= KEPT_BYTES_MAX);
        assert_eq!((padding(0).len(), padding(1).len(), padding(4096).len()), (0, 4095, 0));
    }
}
