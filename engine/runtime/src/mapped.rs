//! Large objects in a guest's memory without a copy: whole pages of the arena, private and
//! copy-on-write, in place of the pages of the buffer that the guest made for them.
//!
//! Private pages that the guest has not written still show the arena, and what the pool does to clear a
//! slot would show them to the next sandbox. So the object is pinned as long as any page of it is
//! shown, and every page is anonymous zeros again before the memory goes back to the pool.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use engine_core::Place;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};

/// Mappings that one part costs the process: itself, and the rest of what it was cut out of.
pub(crate) const MAPPINGS_PER_PART: u32 = 2;

/// What the sandboxes of one runtime may have mapped together: the kernel bounds the mappings of a
/// process, and a sandbox that could take them all would take them from its neighbours.
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    /// At most so many parts.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, used: AtomicUsize::new(0) }
    }

    fn take(&self, parts: usize) -> bool {
        let more = |used: usize| used.checked_add(parts).filter(|used| *used <= self.max);
        parts == 0 || self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, parts: usize) {
        self.used.fetch_sub(parts, Ordering::Relaxed);
    }
}

/// A part of the memory that shows pages of an object.
struct Part {
    /// Addresses of this process, at the edges of pages.
    addresses: Range<usize>,
    /// Keeps the pages the object's.
    pin: Place,
}

/// Whether a component's allocator gives buffers of the alignment that it is asked for. Those of some
/// languages look at the size alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Alignment {
    Unknown,
    Kept,
    Ignored,
}

/// What is known of it: all sandboxes of the component share that.
#[derive(Default)]
pub(crate) struct Allocator(AtomicU8);

impl Allocator {
    pub(crate) fn alignment(&self) -> Alignment {
        match self.0.load(Ordering::Relaxed) {
            0 => Alignment::Unknown,
            1 => Alignment::Kept,
            _ => Alignment::Ignored,
        }
    }

    pub(crate) fn learn(&self, alignment: Alignment) {
        self.0.store(alignment as u8, Ordering::Relaxed);
    }
}

/// What one sandbox has mapped. It is part of the store's data, which wasmtime drops before it gives
/// the store's memories back to the pool: whatever way a sandbox ends, this is dropped in between.
pub(crate) struct MappedObjects {
    /// Bytes at the beginning of each memory where nothing is mapped: the pool keeps the component's
    /// first memory image there for the next sandbox, and would not know that it is gone.
    pub(crate) untouched_bytes: usize,
    /// The component's.
    pub(crate) allocator: Arc<Allocator>,
    budget: Arc<Budget>,
    /// Parts at most.
    max: usize,
    parts: Vec<Part>,
}

impl MappedObjects {
    /// Nothing yet, and never more than `max` parts.
    pub(crate) fn new(
        budget: Arc<Budget>,
        max: usize,
        untouched_bytes: usize,
        allocator: Arc<Allocator>,
    ) -> Self {
        Self { untouched_bytes, allocator, budget, max, parts: Vec::new() }
    }

    /// Whether there is any use in asking for a buffer that can be mapped.
    pub(crate) fn has_room(&self) -> bool {
        self.max > 0 && self.budget.used.load(Ordering::Relaxed) < self.budget.max
    }

    /// Shows the bytes of `file` from `offset` on in `target`, and says in how many bytes of it: in all
    /// whole pages, or in none when they cannot be mapped. The others are left as they were, or zero.
    /// The file's bytes do not change while a clone of `pin` lives.
    ///
    /// # Safety
    /// `target` is part of a memory of the store whose data this is, and that memory neither moves nor
    /// is unmapped before the store's data is dropped.
    pub(crate) unsafe fn map(
        &mut self,
        target: &mut [u8],
        file: BorrowedFd<'_>,
        offset: u64,
        pin: Place,
    ) -> usize {
        let page = rustix::param::page_size();
        let length = target.len() / page * page;
        let start = target.as_mut_ptr() as usize;
        if length == 0 || !start.is_multiple_of(page) || !offset.is_multiple_of(page as u64) {
            return 0;
        }
        let addresses = start..start + length;
        let mut parts = without(&self.parts, &addresses);
        let more = (parts.len() + 1).saturating_sub(self.parts.len());
        if parts.len() >= self.max || !self.budget.take(more) {
            return 0;
        }
        let fewer = (self.parts.len() + more) - (parts.len() + 1);
        // SAFETY: the range lies in `target`, which nobody else refers to while this runs, and the
        // pages put there are readable and writable bytes as those before. Writing them leaves the file
        // alone; the file's bytes do not change while `pin` lives.
        let mapped = unsafe {
            mmap(
                start as *mut c_void,
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                file,
                offset,
            )
        };
        if let Err(error) = mapped {
            tracing::warn!("an object of {length} bytes is copied, for it cannot be mapped: {error}");
            // The kernel may have taken away what was there.
            // SAFETY: as above.
            unsafe { clear(&addresses) };
            self.budget.give_back(more);
            return 0;
        }
        parts.push(Part { addresses, pin });
        self.parts = parts;
        self.budget.give_back(fewer);
        length
    }
}

impl Drop for MappedObjects {
    fn drop(&mut self) {
        for part in &self.parts {
            // SAFETY: `map` has put this range there, inside a memory that is still the store's; the
            // guest runs no more and nobody refers to its bytes.
            unsafe { clear(&part.addresses) };
        }
        self.budget.give_back(self.parts.len());
    }
}

/// What is left of `parts` without these addresses.
fn without(parts: &[Part], addresses: &Range<usize>) -> Vec<Part> {
    let mut left = Vec::with_capacity(parts.len() + 2);
    for part in parts {
        let before = part.addresses.start..part.addresses.end.min(addresses.start);
        let after = part.addresses.start.max(addresses.end)..part.addresses.end;
        for addresses in [before, after] {
            if !addresses.is_empty() {
                left.push(Part { addresses, pin: part.pin.clone() });
            }
        }
    }
    left
}

/// Makes pages anonymous zeros, as the pool's own are: the same protection and flags, so that the
/// kernel joins them with their neighbours again.
///
/// # Safety
/// The range is part of a memory that nobody refers to.
unsafe fn clear(addresses: &Range<usize>) {
    // SAFETY: the caller's.
    let cleared = unsafe {
        mmap_anonymous(
            addresses.start as *mut c_void,
            addresses.len(),
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
        )
    };
    if let Err(error) = cleared {
        // The slot would show one tenant's object to another: nothing may run in it again.
        tracing::error!("a guest's memory cannot be cleared of an object, so the process ends: {error}");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// What is left of parts with these addresses, each as start and end.
    fn left(parts: &[(usize, usize)], start: usize, end: usize) -> Vec<(usize, usize)> {
        let part = |&(start, end): &(usize, usize)| Part { addresses: start..end, pin: Place::default() };
        let parts: Vec<Part> = parts.iter().map(part).collect();
        let left = without(&parts, &(start..end));
        left.into_iter().map(|part| (part.addresses.start, part.addresses.end)).collect()
    }

    #[test]
    fn what_is_mapped_over_is_no_part_any_more() {
        assert_eq!(left(&[(0, 4), (8, 12)], 4, 8), [(0, 4), (8, 12)]);
        assert_eq!(left(&[(0, 4), (8, 12)], 0, 4), [(8, 12)]);
        assert_eq!(left(&[(0, 4), (8, 12)], 2, 10), [(0, 2), (10, 12)]);
        assert_eq!(left(&[(0, 12)], 4, 8), [(0, 4), (8, 12)]);
        assert_eq!(left(&[(4, 8)], 0, 12), []);
    }

    #[test]
    fn the_budget_is_for_all() {
        let budget = Budget::new(3);
        assert!(budget.take(2) && !budget.take(2) && budget.take(1) && budget.take(0));
        budget.give_back(1);
        assert!(budget.take(1) && !budget.take(1));
    }

    /// How many mappings of the process this range is made of.
    fn mappings(range: &Range<usize>) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let address = |text: &str| usize::from_str_radix(text, 16).unwrap();
        let ranges = maps.lines().map(|line| line.split_once(' ').unwrap().0.split_once('-').unwrap());
        ranges.filter(|(start, end)| address(start) < range.end && address(end) > range.start).count()
    }

    /// As the pool has its memories: writable in front, the rest of the reservation behind.
    #[test]
    fn what_was_mapped_leaves_neither_bytes_nor_mappings() {
        let page = rustix::param::page_size();
        let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let content = vec![7; 4 * page];
        assert_eq!(rustix::io::write(&file, &content), Ok(content.len()));
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping, and the slice over its readable and writable part is the only one.
        let memory = unsafe {
            let base = mmap_anonymous(std::ptr::null_mut(), 64 * page, ProtFlags::empty(), flags).unwrap();
            let writable = rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE;
            rustix::mm::mprotect(base, 32 * page, writable).unwrap();
            std::slice::from_raw_parts_mut(base.cast::<u8>(), 32 * page)
        };
        memory[0] = 1;
        let start = memory.as_ptr() as usize;
        let before = mappings(&(start..start + 64 * page));
        let budget = Arc::new(Budget::new(2));
        let mut mapped = MappedObjects::new(budget.clone(), 2, 0, Arc::default());
        let mut map = |at: usize, length: usize, offset: usize| {
            let target = &mut memory[at..at + length];
            // SAFETY: the memory is there for as long as the process.
            unsafe { mapped.map(target, file.as_fd(), offset as u64, Place::default()) }
        };
        assert_eq!(map(8 * page, 3 * page + 5, 0), 3 * page);
        assert_eq!(map(16 * page, 2 * page, page), 2 * page);
        assert_eq!(map(24 * page, 2 * page, 0), 0, "two are as many as may be");
        assert_eq!(map(8 * page + 1, 3 * page, 0), 0, "not where a page begins");
        assert!(
            memory[8 * page..11 * page].iter().chain(&memory[16 * page..18 * page]).all(|byte| *byte == 7)
        );
        assert_eq!(memory[11 * page], 0);
        memory[8 * page] = 8;
        assert!(mappings(&(start..start + 64 * page)) > before);
        drop(mapped);
        assert_eq!(memory[0], 1);
        assert!(memory[1..].iter().all(|byte| *byte == 0));
        assert_eq!(mappings(&(start..start + 64 * page)), before);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    /// The guard rests on it: what is part of a store's data is dropped while the memories are still
    /// the store's.
    #[test]
    fn wasmtime_drops_the_data_of_a_store_before_its_memories() {
        struct Looks(*const u8, std::sync::mpsc::Sender<u8>);
        impl Drop for Looks {
            fn drop(&mut self) {
                // SAFETY: the address of the first byte of a memory of the pool, which lives on.
                self.1.send(unsafe { self.0.read_volatile() }).unwrap();
            }
        }
        let mut config = wasmtime::Config::new();
        let mut pool = wasmtime::PoolingAllocationConfig::new();
        pool.total_memories(1).total_core_instances(1).max_memory_size(1 << 20);
        config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
        let engine = wasmtime::Engine::new(&config).unwrap();
        let module =
            wasmtime::Module::new(&engine, wat::parse_str(r#"(module (memory (export "m") 1))"#).unwrap())
                .unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut store = wasmtime::Store::new(&engine, Looks(std::ptr::null(), sender));
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        memory.data_mut(&mut store)[0] = 7;
        let first = memory.data_ptr(&store).cast_const();
        store.data_mut().0 = first;
        drop(store);
        assert_eq!(receiver.recv(), Ok(7));
        // SAFETY: as above; the slot is free and nobody writes there.
        assert_eq!(unsafe { first.read_volatile() }, 0, "the pool has cleared it since");
    }
}
