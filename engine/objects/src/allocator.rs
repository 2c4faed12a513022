//! Which parts of the arena are free: best fit, lowest address first, neighbours joined.
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

    /// Gives back what [`Self::allocate`] gave for this size.
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

    fn insert(&mut self, offset: usize, size: usize) {
        self.by_offset.insert(offset, size);
        self.by_size.insert((size, offset));
    }

    fn remove(&mut self, offset: usize, size: usize) {
        self.by_offset.remove(&offset);
        self.by_size.remove(&(size, offset));
    }
}

fn round_up(size: usize) -> Option<usize> {
    size.max(1).checked_next_multiple_of(EXTENT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_joins_its_neighbours() {
        let mut allocator = Allocator::new(10 * EXTENT_BYTES);
        let parts: Vec<usize> = (0..10).map(|_| allocator.allocate(1).expect("room")).collect();
        assert_eq!(allocator.allocate(1), None);
        for part in [3, 5, 4] {
            allocator.release(parts[part], 1);
        }
        assert_eq!(allocator.largest_free(), 3 * EXTENT_BYTES);
        assert_eq!(allocator.allocate(2 * EXTENT_BYTES + 1), Some(parts[3]));
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let mut allocator = Allocator::new(EXTENT_BYTES);
        assert_eq!(allocator.allocate(usize::MAX), None);
        assert_eq!(allocator.allocate(EXTENT_BYTES + 1), None);
        assert_eq!(allocator.allocate(EXTENT_BYTES), Some(0));
        assert_eq!(Allocator::new(0).allocate(1), None);
    }

    /// Against a simple model: a vector of extents, each owned or free.
    #[test]
    fn it_agrees_with_a_simple_model() {
        let extents = 64;
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut allocator = Allocator::new(extents * EXTENT_BYTES);
        let mut owned = vec![false; extents];
        let mut live: Vec<(usize, usize)> = Vec::new();
        for _ in 0..20_000 {
            if next(2) == 0 || live.is_empty() {
                let count = next(9) as usize + 1;
                let longest = owned.split(|taken| *taken).map(<[bool]>::len).max().unwrap_or(0);
                match allocator.allocate(count * EXTENT_BYTES) {
                    Some(offset) => {
                        let at = offset / EXTENT_BYTES;
                        assert!(owned[at..at + count].iter().all(|taken| !taken), "given twice");
                        owned[at..at + count].fill(true);
                        live.push((offset, count));
                    }
                    None => assert!(longest < count, "refused {count} though {longest} are free"),
                }
            } else {
                let (offset, count) = live.swap_remove(next(live.len() as u64) as usize);
                let at = offset / EXTENT_BYTES;
                owned[at..at + count].fill(false);
                allocator.release(offset, count * EXTENT_BYTES);
            }
            let free = owned.iter().filter(|taken| !**taken).count() * EXTENT_BYTES;
            assert_eq!(allocator.free(), free);
        }
    }
}
