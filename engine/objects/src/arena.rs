//! Long-lived shared pages, mapped once and used again.

use std::ffi::c_void;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::allocator::Allocator;

/// Below this many touched bytes an empty arena keeps its pages: they will be used again.
const KEEP_BYTES: usize = 64 << 20;

/// A mapping of shared pages and what is free of it.
pub struct Arena {
    base: *mut u8,
    length: usize,
    /// Names the pages for other processes; keeps them alive.
    _file: OwnedFd,
    state: Mutex<State>,
}

struct State {
    allocator: Allocator,
    /// The end of what was ever handed out since pages were last given back.
    touched: usize,
}

// SAFETY: `base` is the start of a mapping that lives as long as the arena. Every extent is handed
// out to one `Extent` at a time, by the allocator behind the mutex.
unsafe impl Send for Arena {}
// SAFETY: as above; shared access reads only sealed extents, which nobody writes.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves an arena of `length` bytes. Pages are taken from the system as they are used.
    pub fn new(length: usize) -> std::io::Result<Arc<Self>> {
        let length = length.max(crate::allocator::EXTENT_BYTES);
        let file = memfd_create("engine-arena", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, length as u64)?;
        // SAFETY: a new mapping at an address of the system's choice touches no memory of ours.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
                &file,
                0,
            )?
        };
        let state = State { allocator: Allocator::new(length), touched: 0 };
        Ok(Arc::new(Self { base: base.cast(), length, _file: file, state: Mutex::new(state) }))
    }

    /// Copies `bytes` into the arena, where they stay until the extent is dropped; none when no part
    /// of it is large enough.
    pub fn write(self: &Arc<Self>, bytes: &[u8]) -> Option<Extent> {
        let offset = {
            let mut state = self.state.lock();
            let offset = state.allocator.allocate(bytes.len())?;
            state.touched = state.touched.max(offset + bytes.len());
            offset
        };
        // SAFETY: the allocator gave `bytes.len()` bytes at `offset`, inside the mapping, to nobody
        // else, and no reference to them exists before the extent is made below.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(offset), bytes.len());
        }
        Some(Extent { arena: self.clone(), offset, length: bytes.len() })
    }

    /// Bytes in all, bytes free, and the largest free part.
    pub fn usage(&self) -> (usize, usize, usize) {
        let state = self.state.lock();
        let allocator = &state.allocator;
        (allocator.total(), allocator.free(), allocator.largest_free())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: extents keep the arena alive, so nobody refers to the mapping any more.
        let unmapped = unsafe { munmap(self.base.cast::<c_void>(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Bytes in the arena that do not change any more.
pub struct Extent {
    arena: Arc<Arena>,
    offset: usize,
    length: usize,
}

impl Extent {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the extent owns these bytes of the mapping, they were written before it was made,
        // and nobody writes them before it is dropped.
        unsafe { std::slice::from_raw_parts(self.arena.base.add(self.offset), self.length) }
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let mut state = self.arena.state.lock();
        state.allocator.release(self.offset, self.length);
        let empty = state.allocator.free() == state.allocator.total();
        if empty && state.touched > KEEP_BYTES {
            let touched =
                state.touched.next_multiple_of(crate::allocator::EXTENT_BYTES).min(self.arena.length);
            // SAFETY: the arena is empty and its state is locked, so nobody refers to these pages;
            // what is read from them next are zeros.
            let given_back = unsafe { madvise(self.arena.base.cast(), touched, Advice::LinuxRemove) };
            if given_back.is_ok() {
                state.touched = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_written_are_read_back_and_freed() {
        let arena = Arena::new(1 << 20).expect("an arena");
        let extents: Vec<Extent> = (0..10_u8).map(|n| arena.write(&vec![n; 50_000]).expect("room")).collect();
        for (n, extent) in extents.iter().enumerate() {
            assert!(extent.as_slice().iter().all(|byte| usize::from(*byte) == n));
        }
        assert!(arena.write(&vec![0; 1 << 20]).is_none());
        drop(extents);
        let (total, free, largest) = arena.usage();
        assert_eq!((total, total), (free, largest));
        assert!(arena.write(&vec![0; 1 << 20]).is_some());
    }

    #[test]
    fn an_empty_arena_gives_its_pages_back_and_works_on() {
        let arena = Arena::new(2 * KEEP_BYTES).expect("an arena");
        for n in 1..4_u8 {
            let extent = arena.write(&vec![n; KEEP_BYTES + 1]).expect("room");
            assert_eq!(extent.as_slice()[KEEP_BYTES], n);
        }
        assert_eq!(arena.state.lock().touched, 0);
    }
}
