//! Parts of the arena: written by one owner, then read by many.

use std::ops::Range;
use std::sync::Arc;

use crate::allocator::EXTENT_BYTES;
use crate::arena::Arena;

/// Up to so many bytes at once reach fresh pages over memory that is used again and again, and the
/// file: faster by half than the system's faults on each page.
pub(crate) const DETOUR_BYTES_MAX: usize = 1 << 20;

/// Whole pages of the arena; free again when this is dropped.
pub(crate) struct Pages {
    arena: Arc<Arena>,
    offset: usize,
    /// Bytes, a multiple of [`EXTENT_BYTES`].
    capacity: usize,
}

impl Pages {
    /// Bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Part of the bytes.
    ///
    /// # Safety
    /// Nobody writes to this part while the answer lives.
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.capacity, "a part lies outside its pages");
        // SAFETY: the part lies inside the pages, which belong to this value and are always initialised;
        // that nobody writes there is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.arena.base().add(self.offset + range.start), range.len()) }
    }

    /// Part of the bytes, to be written.
    ///
    /// # Safety
    /// Nobody else reads or writes this part while the answer lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part_mut(&self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.capacity, "a part lies outside its pages");
        let start = self.offset + range.start;
        // SAFETY: as in `part`, and that nobody else has this part is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.arena.base().add(start), range.len()) }
    }

    /// Writes through the file as much as the system takes; how much that was. As with `part_mut`, nobody else
    /// has the part.
    pub(crate) fn write_through(&self, at: usize, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let offset = (self.offset + at + done) as u64;
            match rustix::io::pwrite(self.arena.file(), &bytes[done..], offset) {
                Ok(count) if count > 0 => done += count,
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
        done
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: the pages belong to this value and lie inside the mapping, which the arena keeps;
        // they are always initialised, and are written only through `as_mut_slice` and by the
        // system on behalf of its owner, both of which borrow this value mutably.
        unsafe { std::slice::from_raw_parts(self.arena.base().add(self.offset), self.capacity) }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the mutable borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.arena.base().add(self.offset), self.capacity) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.arena.release(self.offset, self.capacity);
    }
}

/// Bytes in the arena that do not change any more.
pub struct Extent {
    pages: Arc<Pages>,
    length: usize,
}

impl Extent {
    /// The first `length` bytes of pages that nobody writes any more, and that are zeros from there on.
    pub(crate) fn new(pages: Arc<Pages>, length: usize) -> Self {
        Self { pages, length }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.pages.as_slice()[..self.length]
    }

    /// The bytes and the zeros after them, up to the end of the last page.
    #[cfg(test)]
    pub fn whole_pages(&self) -> &[u8] {
        self.pages.as_slice()
    }

    /// Where in the arena's file they begin, in bytes.
    pub fn offset(&self) -> usize {
        self.pages.offset
    }

    /// The arena that they lie in.
    pub fn arena(&self) -> &Arena {
        &self.pages.arena
    }
}

/// Room in the arena that is being written by its only owner.
pub struct ExtentDraft {
    pages: Pages,
    size: usize,
    written: usize,
    /// Most of the pages were never used.
    is_fresh: bool,
    /// Bytes on their way to fresh pages.
    detour: Vec<u8>,
}

impl ExtentDraft {
    /// `size` bytes in `capacity` bytes of pages that the allocator gave at `offset`.
    pub(crate) fn new(
        arena: Arc<Arena>,
        offset: usize,
        size: usize,
        capacity: usize,
        is_fresh: bool,
    ) -> Self {
        let pages = Pages { arena, offset, capacity };
        Self { pages, size, written: 0, is_fresh, detour: Vec::new() }
    }

    /// The pages, and whether most of them were never used. Nothing was written yet.
    pub(crate) fn into_pages(self) -> (Pages, bool) {
        (self.pages, self.is_fresh)
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.written
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.pages.as_slice()[..self.written]
    }

    /// Bytes that there is still room for.
    pub fn left(&self) -> usize {
        self.size - self.written
    }

    /// Writes after what was written; as much as there is room for.
    pub fn append(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.left())];
        let at = self.written;
        let done = if self.is_fresh { self.pages.write_through(at, bytes) } else { 0 };
        self.pages.as_mut_slice()[at + done..at + bytes.len()].copy_from_slice(&bytes[done..]);
        self.written = at + bytes.len();
    }

    /// Gives the next `length` bytes to be written by `fill`, or as many as there is room for. They count
    /// as written when it succeeds.
    ///
    /// # Errors
    /// What `fill` returned.
    pub fn append_with<E>(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = length.min(self.left());
        if self.is_fresh && length <= DETOUR_BYTES_MAX {
            let mut detour = std::mem::take(&mut self.detour);
            detour.resize(length, 0);
            fill(&mut detour)?;
            self.append(&detour);
            self.detour = detour;
            return Ok(());
        }
        let end = self.written + length;
        let room = self.written..end;
        fill(&mut self.pages.as_mut_slice()[room])?;
        self.written = end;
        Ok(())
    }

    /// The bytes that are not written yet, to be filled from elsewhere: then say so with
    /// [`Self::fill`].
    pub fn rest_mut(&mut self) -> &mut [u8] {
        let rest = self.written..self.size;
        &mut self.pages.as_mut_slice()[rest]
    }

    /// All bytes were written through [`Self::rest_mut`].
    pub fn fill(&mut self) {
        self.written = self.size;
    }

    /// The bytes written, which do not change any more. Pages beyond them are free again, and the
    /// end of the last page is zeros, so that whoever maps it sees nothing of an earlier owner.
    pub fn seal(mut self) -> Extent {
        let length = self.written;
        let kept = length.max(1).next_multiple_of(EXTENT_BYTES);
        if kept < self.pages.capacity {
            self.pages.arena.release_part(self.pages.offset + kept, self.pages.capacity - kept);
            self.pages.capacity = kept;
        }
        self.pages.as_mut_slice()[length..].fill(0);
        Extent { pages: Arc::new(self.pages), length }
    }
}
