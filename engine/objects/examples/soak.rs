//! A soak of the object store: `cargo xtask soak objects`. Rounds on a disk that works and on one that
//! often fails take turns, until the minutes given are over. At the end of each round nothing may be
//! left: in the arena, on disk, of threads, of open files, of the heap. What stays resident is printed
//! only: the system's allocator keeps more or less of what is free, as its sizes and threads come.

#[path = "../tests/common/mod.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::soak::{Plan, run};

const ROUND: Duration = Duration::from_secs(20);
const ARENA_BYTES: usize = 64 << 20;
const THREADS: u64 = 4;
/// The heap may hold so much more than after the first rounds: tables that grow with the threads there
/// ever were at once.
const HEAP_SLACK_BYTES: usize = 64 << 10;
/// So many rounds, one of each kind, take what is kept from then on.
const FIRST_ROUNDS: u64 = 2;

/// Bytes of the heap that were given out and not given back.
static HEAP_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

// SAFETY: all is the system's allocator's, which is asked the same.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, bytes: *mut u8, layout: Layout) {
        HEAP_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(bytes, layout) }
    }
}

fn main() {
    let minutes: f64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        eprintln!("usage: soak MINUTES [FOLDER]");
        std::process::exit(2);
    });
    let parent = std::env::args_os().nth(2).map_or_else(std::env::temp_dir, Into::into);
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let begun = open();
    let (mut rounds, mut heap_bytes_max) = (0, usize::MAX);
    while Instant::now() < end {
        let folder = tempfile::tempdir_in(&parent).expect("a folder to spill to");
        let plan =
            Plan { seed: rounds + 1, arena_bytes: ARENA_BYTES, threads: THREADS, is_faulty: rounds % 2 == 1 };
        let round_end = end.min(Instant::now() + ROUND);
        let done = run(&plan, folder.path(), |_| Instant::now() >= round_end);
        assert_eq!(open(), begun, "threads and open files");
        rounds += 1;
        drop(folder);
        let heap_bytes = HEAP_BYTES.load(Ordering::Relaxed);
        assert!(heap_bytes <= heap_bytes_max, "the heap holds {heap_bytes} bytes, {heap_bytes_max} at most");
        if rounds == FIRST_ROUNDS {
            heap_bytes_max = heap_bytes + HEAP_SLACK_BYTES;
        }
        println!(
            "round {rounds}{}: {} operations, {:.1} GB checked, {} values spilled, {} restored, {} refused; {heap_bytes} bytes of the heap, {} resident",
            if plan.is_faulty { " (faulty disk)" } else { "" },
            done.operations.into_inner(),
            done.bytes_checked.into_inner() as f64 / 1e9,
            done.spilled.into_inner(),
            done.restored.into_inner(),
            done.refused.into_inner(),
            resident(),
        );
    }
    println!("{rounds} rounds passed: every byte was right, and nothing was left");
}

/// Threads and open files of this process.
fn open() -> [usize; 2] {
    ["task", "fd"].map(|kind| std::fs::read_dir(format!("/proc/self/{kind}")).map_or(0, Iterator::count))
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}
