//! Long-lived shared pages, mapped once and used again.

use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::allocator::{Allocator, EXTENT_BYTES};
use crate::extent::ExtentDraft;
use crate::ranges::Ranges;

/// Pages are given back in steps of so many bytes, so that nobody waits long for the lock.
const TRIM_STEP_BYTES: usize = 4 << 20;
/// The keeper stays so many bytes ahead of an arena that is little used.
const AHEAD_BYTES_MIN: usize = 16 << 20;
/// Fewer free pages than this many bytes are not worth giving back.
pub(crate) const IDLE_BYTES_MIN: usize = 8 << 20;
/// What the system says about huge pages for shared memory.
const HUGE_PAGES_FILE: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// A mapping of shared pages and what is free of it.
pub struct Arena {
    base: *mut u8,
    length: usize,
    /// Names the pages for other mappings; keeps them alive.
    file: OwnedFd,
    state: Mutex<State>,
    /// The keeper waits here for something to do.
    pub(crate) wake: Condvar,
    /// Held while pages are touched ahead or given back, so that the two agree on what is resident.
    maintenance: Mutex<()>,
    ahead_bytes_max: usize,
}

pub(crate) struct State {
    allocator: Allocator,
    /// Pages that the system has given, as far as we know.
    resident: Ranges,
    /// Extents that are live.
    extents: usize,
    /// The keeper is to end.
    pub(crate) is_stopped: bool,
    /// Pages were given back, and nothing was allocated since: the keeper lets them be.
    pub(crate) is_paused: bool,
    /// The keeper looks at the machine's memory from time to time.
    pub(crate) is_watched: bool,
}

/// How full an arena is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArenaUsage {
    pub(crate) total: usize,
    pub(crate) free: usize,
    pub(crate) largest_free: usize,
    /// Parts, not bytes.
    pub(crate) free_parts: usize,
    /// Extents, not bytes.
    pub(crate) extents: usize,
    pub(crate) resident: usize,
}

// SAFETY: `base` is the start of a mapping that lives as long as the arena. Every part of it is
// handed out to one `Extent` at a time, by the allocator behind the mutex.
unsafe impl Send for Arena {}
// SAFETY: as above; shared access reads only sealed extents, which nobody writes.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves an arena of `length` bytes, of which the keeper may touch `ahead_bytes_max` more than
    /// are in use. Pages are taken from the system as they are used.
    pub fn new(length: usize, ahead_bytes_max: usize) -> std::io::Result<Arc<Self>> {
        let length = (length - length % EXTENT_BYTES).max(EXTENT_BYTES);
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
        let huge = std::fs::read_to_string(HUGE_PAGES_FILE).is_ok_and(|text| huge_pages_allowed(&text));
        let advices = [huge.then_some(Advice::LinuxHugepage), Some(Advice::LinuxDontDump)];
        for advice in advices.into_iter().flatten() {
            // SAFETY: the range is the mapping just made, and neither advice changes what it holds.
            // A system that does not know the advice is as before.
            let _ = unsafe { madvise(base, length, advice) };
        }
        let state = State {
            allocator: Allocator::new(length),
            resident: Ranges::default(),
            extents: 0,
            is_stopped: false,
            is_paused: false,
            is_watched: false,
        };
        Ok(Arc::new(Self {
            base: base.cast(),
            length,
            file,
            state: Mutex::new(state),
            wake: Condvar::new(),
            maintenance: Mutex::new(()),
            ahead_bytes_max,
        }))
    }

    /// Room for `size` bytes that only the draft's owner sees; none when no part is large enough.
    pub fn allocate(self: &Arc<Self>, size: usize) -> Option<ExtentDraft> {
        let mut state = self.state.lock();
        let offset = state.allocator.allocate(size)?;
        let capacity = crate::allocator::round_up(size)?;
        state.extents += 1;
        state.is_paused = false;
        let fresh = state.resident.insert(offset..offset + capacity);
        let is_behind = state.next_ahead(self.ahead_bytes_max, 1).is_some();
        drop(state);
        if is_behind {
            self.wake.notify_one();
        }
        // Mostly fresh pages are written through the file: the system neither clears them first nor
        // faults on each, which is twice as fast.
        Some(ExtentDraft::new(self.clone(), offset, size, capacity, fresh * 2 > capacity))
    }

    /// The extent's last pages, which are free from now on.
    pub(crate) fn release_part(&self, offset: usize, bytes: usize) {
        self.state.lock().allocator.release(offset, bytes);
    }

    /// An extent's pages.
    pub(crate) fn release(&self, offset: usize, capacity: usize) {
        let mut state = self.state.lock();
        state.allocator.release(offset, capacity);
        state.extents -= 1;
        if !state.is_watched && state.idle_bytes() >= IDLE_BYTES_MIN {
            self.wake.notify_one();
        }
    }

    /// How full it is. What is resident is asked of the system, and counts pages that are free too.
    pub(crate) fn usage(&self) -> ArenaUsage {
        // Blocks are of 512 bytes whatever the file system (stat(2)).
        let resident = fstat(&self.file).map_or(0, |stat| stat.st_blocks as usize * 512);
        let state = self.state.lock();
        ArenaUsage {
            total: state.allocator.total(),
            free: state.allocator.free(),
            largest_free: state.allocator.largest_free(),
            free_parts: state.allocator.free_parts(),
            extents: state.extents,
            resident,
        }
    }

    /// Gives pages of free parts back to the system, highest first, until at most `keep_bytes` of
    /// free pages stay resident. Answers how many bytes were given back. What is read from such
    /// pages next are zeros.
    pub fn trim(&self, keep_bytes: usize) -> usize {
        let _maintenance = self.maintenance.lock();
        let mut idle = self.state.lock().idle_bytes();
        let (mut given_back, mut end) = (0, self.length);
        while idle > keep_bytes {
            let mut state = self.state.lock();
            let Some(range) = state.last_idle_below(end, TRIM_STEP_BYTES.min(idle - keep_bytes)) else {
                break;
            };
            end = range.start;
            // SAFETY: the range is free and the state is locked, so nobody refers to these pages.
            let removed =
                unsafe { madvise(self.base.add(range.start).cast(), range.len(), Advice::LinuxRemove) };
            if removed.is_err() {
                break;
            }
            idle = idle.saturating_sub(range.len());
            given_back += range.len();
            state.resident.remove(range);
            state.is_paused = true;
        }
        given_back
    }

    /// Touches at most `step_bytes` of the pages that are to be ready before they are used. False
    /// when there are none, or the system refuses.
    pub(crate) fn touch_ahead(&self, step_bytes: usize) -> bool {
        let _maintenance = self.maintenance.lock();
        let range = {
            let mut state = self.state.lock();
            let Some(range) = state.next_ahead(self.ahead_bytes_max, step_bytes) else { return false };
            state.resident.insert(range.clone());
            range
        };
        // SAFETY: the range lies in the mapping. Populating changes no byte that anybody sees: pages
        // that were not there are zeros, as they would be at their first use (madvise(2)).
        let populated =
            unsafe { madvise(self.base.add(range.start).cast(), range.len(), Advice::LinuxPopulateWrite) };
        if populated.is_err() {
            // Marked as resident all the same, so that it is not tried for ever.
            self.state.lock().is_paused = true;
        }
        populated.is_ok()
    }

    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn ahead_bytes_max(&self) -> usize {
        self.ahead_bytes_max
    }

    /// The start of the mapping; extents point into it.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    /// The file that the pages belong to. It can be written: never for another process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl State {
    /// The next pages to touch before they are used, at most `step_bytes` of them. The arena is kept
    /// ahead by as much as it holds, within bounds: a node that hardly uses it takes little.
    pub(crate) fn next_ahead(
        &self,
        ahead_bytes_max: usize,
        step_bytes: usize,
    ) -> Option<std::ops::Range<usize>> {
        let used = self.allocator.total() - self.allocator.free();
        if self.is_paused || used == 0 {
            return None;
        }
        let start = self.allocator.used_end();
        let ahead = used.max(AHEAD_BYTES_MIN).min(ahead_bytes_max);
        let gap = self.resident.first_gap(start..start.saturating_add(ahead).min(self.allocator.total()))?;
        let end = gap.end.min(gap.start.saturating_add(step_bytes).next_multiple_of(EXTENT_BYTES));
        Some(gap.start..end)
    }

    /// Bytes of pages that are resident and free. What is used counts as resident.
    pub(crate) fn idle_bytes(&self) -> usize {
        self.resident.length().saturating_sub(self.allocator.total() - self.allocator.free())
    }

    /// The highest pages below `end` that are resident and free, at most `bytes` of them.
    fn last_idle_below(&self, end: usize, bytes: usize) -> Option<std::ops::Range<usize>> {
        self.allocator.free_parts_below(end).find_map(|(offset, size)| {
            let part = self.resident.last_part(offset..end.min(offset + size))?;
            let start = part.end.saturating_sub(bytes.next_multiple_of(EXTENT_BYTES)).max(part.start);
            Some(start..part.end)
        })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: extents keep the arena alive, so nobody refers to the mapping any more.
        let unmapped = unsafe { munmap(self.base.cast::<c_void>(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Whether shared memory gets huge pages when it asks: the word in brackets is the one in force
/// (Documentation/admin-guide/mm/transhuge.rst of Linux).
fn huge_pages_allowed(text: &str) -> bool {
    ["[always]", "[within_size]", "[advise]", "[force]"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests;
