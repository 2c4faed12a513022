//! What the store reaches of what memory and disk give, measured in one run: `cargo bench -p
//! engine-objects`. A folder as argument is where it spills to; otherwise the system's for temporary
//! files. Store and yardstick take turns; each figure is the median of its rounds, and a ratio is the
//! median of the rounds' ratios, so that what else the machine does falls on both.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use engine_core::{Error, Place};
use engine_objects::{Options, SpillOptions, Store, slice};
use rustix::fs::OFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

const MIB: usize = 1 << 20;
/// What is spilled and restored at once, in bytes.
const SPILL_BYTES: usize = 512 * MIB;
/// Plain sequential I/O writes and reads an object per call, or so many bytes of a larger one.
const PLAIN_CALL_BYTES_MAX: usize = 8 * MIB;
const HUGE_PAGE_BYTES: usize = 2 * MIB;
const CACHE_LINE_BYTES: usize = 64;
const ROUNDS: usize = 5;

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
    let store = Store::new(&Options {
        arena_bytes_max: 2 << 30,
        spill: SpillOptions { folder: Some(folder.clone()), ..SpillOptions::default() },
        ..Options::default()
    })
    .expect("a store");
    puts(&store);
    gets(&store);
    smalls(&store);
    spills(&store, &folder);
}

fn puts(store: &Store) {
    for mib in [1, 16, 256] {
        let source = vec![7_u8; mib * MIB];
        let mut pages = vec![1_u8; mib * MIB];
        let repeats = (256 / mib).max(2);
        let (mut plain, mut put) = (Vec::new(), Vec::new());
        wait_for_keeper(store, &source);
        for _ in 0..ROUNDS {
            let copied = seconds(|| {
                for _ in 0..repeats {
                    black_box(&mut pages).copy_from_slice(black_box(&source));
                }
            });
            let stored = seconds(|| {
                for _ in 0..repeats {
                    drop(black_box(store.write(&[black_box(&source)]).expect("room")));
                }
            });
            plain.push(rate(repeats * source.len(), copied));
            put.push(rate(repeats * source.len(), stored));
        }
        line(&format!("put of {mib} MiB"), &put, "memcpy into warm pages", &plain);
    }
    store.trim(0);
    let source = vec![7_u8; 256 * MIB];
    let first = seconds(|| drop(store.write(&[&source]).expect("room")));
    println!("put of 256 MiB into pages that were never used: {:.2} GB/s", rate(source.len(), first));
}

/// Until the pages that such puts use were taken from the system, and those ahead of them.
fn wait_for_keeper(store: &Store, source: &[u8]) {
    let wanted = 2 * source.len();
    for _ in 0..2 {
        drop(store.write(&[source, source]).expect("room"));
    }
    while store.usage().arena_resident_bytes < wanted {
        std::thread::yield_now();
    }
}

fn gets(store: &Store) {
    for size in [100, 100 << 10, MIB, 256 * MIB] {
        let value = store.place(vec![1; size]).expect("room");
        let count = 1_000_000;
        let taken = seconds(|| {
            for _ in 0..count {
                black_box(slice(black_box(&value)).expect("in memory"));
            }
        });
        println!(
            "get of {size} bytes on the host: {:.1} ns (goal: below 2000)",
            taken * 1e9 / f64::from(count)
        );
    }
}

/// Values that are put, got and dropped, one after another, by one thread and by one for each core.
fn smalls(store: &Store) {
    const COUNT: usize = 200_000;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for size in [100, 4 << 10, 128 << 10] {
        let source = vec![7_u8; size];
        let work = || {
            for _ in 0..COUNT {
                let value = store.write(&[black_box(&source)]).expect("room");
                black_box(slice(black_box(&value)).expect("in memory"));
            }
        };
        let per_core = |threads: usize| {
            let rates = (0..ROUNDS).map(|_| {
                let taken = seconds(|| {
                    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
                });
                COUNT as f64 / taken
            });
            median(rates.collect())
        };
        let mut copies = vec![0_u8; size];
        let copied = seconds(|| {
            (0..COUNT).for_each(|_| black_box(&mut copies).copy_from_slice(black_box(&source)));
        });
        // Larger ones take as long as their copying does.
        let goal = if size <= 4 << 10 { "; goal 300000" } else { "" };
        println!(
            "put and get of {size} bytes: {:.0} a second by one thread, {:.0} a second and core by {cores}{goal} (only copying: {:.0})",
            per_core(1),
            per_core(cores),
            COUNT as f64 / copied,
        );
    }
}

fn spills(store: &Store, folder: &Path) {
    for object in [128 << 10, MIB, 16 * MIB, 256 * MIB] {
        let bytes: Vec<u8> = (0..object).map(|n| (n / 3) as u8).collect();
        let values: Vec<Place> =
            (0..SPILL_BYTES / object).map(|_| store.write(&[&bytes]).expect("room")).collect();
        let plain_file = folder.join(format!("engine-bench-{}", std::process::id()));
        let [mut plain_write, mut spill, mut plain_read, mut looked_at, mut one, mut two, mut through] =
            [const { Vec::new() }; 7];
        for round in 0..ROUNDS {
            let call_bytes = object.min(PLAIN_CALL_BYTES_MAX);
            let mut spilled = Vec::new();
            plain_write.push(write_plainly(&plain_file, call_bytes));
            let taken = seconds(|| spilled = store.spill(values.clone()));
            spill.push(rate(SPILL_BYTES, taken));
            // The disk may still be at work on what was written last: each comes first in turn.
            for turn in [round, round + 1] {
                if turn % 2 == 0 {
                    plain_read.push(read_plainly(&plain_file, call_bytes, false));
                    looked_at.push(read_plainly(&plain_file, call_bytes, true));
                    continue;
                }
                one.push(restore_all(store, &spilled, 1));
                two.push(restore_all(store, &spilled, 2));
            }
            std::fs::remove_file(&plain_file).expect("removed");
            drop(spilled);
            wait_for_deletion(store);
            let parts: Vec<&[u8]> = (0..SPILL_BYTES / object).map(|_| &bytes[..]).collect();
            let taken = seconds(|| drop(store.write_through(&parts).expect("written")));
            through.push(rate(SPILL_BYTES, taken));
            wait_for_deletion(store);
        }
        let what =
            if object < MIB { format!("{} KiB", object >> 10) } else { format!("{} MiB", object / MIB) };
        line(&format!("spill of {what} each"), &spill, "plain writing of the same sizes", &plain_write);
        for (threads, restore) in [("one thread", &one), ("two threads", &two)] {
            let what = format!("restore of {what} each by {threads}");
            line(&what, restore, "plain reading of the same sizes", &plain_read);
            line(&what, restore, "the same, each cache line looked at once", &looked_at);
        }
        line("write-through, in such parts", &through, "plain writing of the same sizes", &plain_write);
    }
}

/// GB/s of restoring each.
fn restore_all(store: &Store, spilled: &[Result<Place, Error>], threads: usize) -> f64 {
    let restore = |places: &[Result<Place, Error>]| {
        for place in places {
            drop(black_box(store.restore(place.as_ref().expect("spilled")).expect("restored")));
        }
    };
    let taken = seconds(|| {
        std::thread::scope(|scope| {
            for places in spilled.chunks(spilled.len().div_ceil(threads)) {
                scope.spawn(move || restore(places));
            }
        });
    });
    rate(SPILL_BYTES, taken)
}

/// GB/s of writing a file with direct I/O, call by call.
fn write_plainly(path: &Path, call_bytes: usize) -> f64 {
    let buffer = PlainBuffer::new(call_bytes);
    let bytes = buffer.bytes(call_bytes);
    let file = open_direct(path, OpenOptions::new().write(true).create(true).truncate(true));
    let written = seconds(|| {
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SPILL_BYTES as u64)
            .expect("room");
        for offset in (0..SPILL_BYTES).step_by(call_bytes) {
            assert_eq!(rustix::io::pwrite(&file, bytes, offset as u64).expect("written"), call_bytes);
        }
    });
    rate(SPILL_BYTES, written)
}

/// GB/s of reading it again, into memory that nobody looks at, or of which each line of the processor's
/// cache is looked at once.
fn read_plainly(path: &Path, call_bytes: usize, is_looked_at: bool) -> f64 {
    let mut buffer = PlainBuffer::new(call_bytes);
    let bytes = buffer.bytes_mut(call_bytes);
    let file = open_direct(path, OpenOptions::new().read(true));
    let read = seconds(|| {
        for offset in (0..SPILL_BYTES).step_by(call_bytes) {
            assert_eq!(rustix::io::pread(&file, &mut *bytes, offset as u64).expect("read"), call_bytes);
            if is_looked_at {
                let lines = black_box(&*bytes).iter().step_by(CACHE_LINE_BYTES);
                black_box(lines.fold(0, |all, byte| all ^ byte));
            }
        }
    });
    rate(SPILL_BYTES, read)
}

/// A buffer of huge pages where the system has them: the disk is fastest so. A mapping of its own, and
/// not of the heap, whose small pages stay small whatever is advised.
struct PlainBuffer {
    mapped: *mut std::ffi::c_void,
    mapped_bytes: usize,
    start: *mut u8,
}

impl PlainBuffer {
    /// At least `length` bytes.
    fn new(length: usize) -> Self {
        let length = length.next_multiple_of(HUGE_PAGE_BYTES);
        let mapped_bytes = length + HUGE_PAGE_BYTES;
        // SAFETY: a new mapping at an address of the system's choice touches no memory of ours.
        let mapped = unsafe {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            mmap_anonymous(std::ptr::null_mut(), mapped_bytes, protection, MapFlags::PRIVATE).expect("memory")
        };
        let first: *mut u8 = mapped.cast();
        let start = first.wrapping_add(first.addr().next_multiple_of(HUGE_PAGE_BYTES) - first.addr());
        // SAFETY: the range lies in the mapping, and the advice changes nothing of what it holds.
        let _ = unsafe { madvise(start.cast(), length, Advice::LinuxHugepage) };
        let mut buffer = Self { mapped, mapped_bytes, start };
        buffer.bytes_mut(length).fill(3);
        buffer
    }

    fn bytes(&self, length: usize) -> &[u8] {
        assert!(length <= self.mapped_bytes - HUGE_PAGE_BYTES);
        // SAFETY: the range lies in the mapping, which this value keeps.
        unsafe { std::slice::from_raw_parts(self.start, length) }
    }

    fn bytes_mut(&mut self, length: usize) -> &mut [u8] {
        assert!(length <= self.mapped_bytes - HUGE_PAGE_BYTES);
        // SAFETY: as above, and the mutable borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start, length) }
    }
}

impl Drop for PlainBuffer {
    fn drop(&mut self) {
        // SAFETY: nobody refers to the mapping any more.
        let _ = unsafe { munmap(self.mapped, self.mapped_bytes) };
    }
}

fn open_direct(path: &Path, options: &mut OpenOptions) -> File {
    options.custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path).expect("direct I/O")
}

fn wait_for_deletion(store: &Store) {
    while store.usage().spill.files > 0 {
        std::thread::yield_now();
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn rate(bytes: usize, seconds: f64) -> f64 {
    bytes as f64 / 1e9 / seconds
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn line(what: &str, reached: &[f64], yardstick: &str, given: &[f64]) {
    let ratios: Vec<f64> = reached.iter().zip(given).map(|(reached, given)| reached / given).collect();
    println!(
        "{what}: {:.2} GB/s, {:.2} of {yardstick} ({:.2} GB/s); goal 0.80",
        median(reached.to_vec()),
        median(ratios),
        median(given.to_vec()),
    );
}
