//! Which parts of the arena are free: best fit, lowest address first, neighbours joined.
//!
//! Best fit with immediate coalescing (Knuth, The Art of Computer Programming 1, section 2.5), on two
//! ordered trees: every operation takes time logarithmic in the number of free parts.
//!
//! The lowest address is taken among those of the best size, so that pages that were touched before
//! are used again: a fresh page costs a fault, ten times what copying into it costs.

use std::collections::{BTreeMap, BTreeSet};

/// Extents are multiples of this: a page, so that one can be mapped elsewhere or given back alone.
pub const EXTENT_BYTES: usize = 4096;

/// The free parts of an arena.
#[derive(Debug)]
pub struct Allocator {
    total: usize,
    free: usize,
    by_offset: BTreeMap<usize, usize>,
    by_size: BTreeSet<(usize, usize)>,
}

impl Allocator {
    /// An allocator of `total` bytes, rounded down to whole extents.
    pub fn new(total: usize) -> Self {
        let total = total - total % EXTENT_BYTES;
        let mut allocator = Self { total, free: 0, by_offset: BTreeMap::new(), by_size: BTreeSet::new() };
        if total > 0 {
            allocator.insert(0, total);
            allocator.free = total;
        }
        allocator
    }

    /// The offset of `size` free bytes, which are free no more; none when no free part is as large.
    pub fn allocate(&mut self, size: usize) -> Option<usize> {
        let size = round_up(size)?;
        let (found, offset) = *self.by_size.range((size, 0)..).next()?;
        self.remove(offset, found);
        if found > size {
            self.insert(offset + size, found - size);
        }
        self.free -= size;
        Some(offset)
    }

    /// Gives back what [`Self::allocate`] gave for this size, or whole pages of it.
    pub fn release(&mut self, offset: usize, size: usize) {
        let Some(size) = round_up(size) else { return };
        let (mut start, mut length) = (offset, size);
        if let Some((&before, &before_size)) = self.by_offset.range(..offset).next_back() {
            assert!(before + before_size <= offset, "an extent was released twice");
            if before + before_size == offset {
                self.remove(before, before_size);
                start = before;
                length += before_size;
            }
        }
        if let Some((&after, &after_size)) = self.by_offset.range(offset..).next() {
            assert!(offset + size <= after, "an extent was released twice");
            if offset + size == after {
                self.remove(after, after_size);
                length += after_size;
            }
        }
        self.insert(start, length);
        self.free += size;
    }

    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bytes free, in however many parts.
    pub fn free(&self) -> usize {
        self.free
    }

    /// The largest part that is free in one piece.
    pub fn largest_free(&self) -> usize {
        self.by_size.last().map_or(0, |(size, _)| *size)
    }

    /// The end of the highest byte that is not free.
    pub fn used_end(&self) -> usize {
        match self.by_offset.last_key_value() {
            Some((offset, size)) if offset + size == self.total => *offset,
            _ => self.total,
        }
    }

    /// The free parts below `end`, highest first: offset and size.
    pub fn free_parts_below(&self, end: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.by_offset.range(..end).rev().map(|(offset, size)| (*offset, *size))
    }

    /// How many parts are free.
    pub fn free_parts(&self) -> usize {
        self.by_offset.len()
    }

    fn insert(&mut self, offset: usize, size: usize) {
        self.by_offset.insert(offset, size);
        self.by_size.insert((size, offset));
    }

    fn remove(&mut self, offset: usize, size: usize) {
        self.by_offset.remove(&offset);
        self.by_size.remove(&(size, offset));
    }
}

/// The bytes that an extent of `size` bytes takes: whole pages, at least one.
pub fn round_up(size: usize) -> Option<usize> {
    size.max(1).checked_next_multiple_of(EXTENT_BYTES)
}

#[cfg(test)]
mod tests;
