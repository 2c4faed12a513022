//! Puts, gets, spills, restores and drops values of four times the arena's bytes from many threads, on a
//! disk that works or one that often does not, and checks every byte.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use engine_core::{Error, ErrorCode, Place};
use engine_objects::{Residence, Store, residence, slice};
use parking_lot::Mutex;

use super::faulty::{Faults, FaultyTarget};
use super::{files_below, options, wait_until};

/// Bytes of all values together, in arenas.
const ARENAS: usize = 4;
/// The largest value is this part of the arena.
const LARGEST_PART: usize = 16;
const SMALLEST_BYTES: usize = 100;
/// So many values are spilled at once, at most.
const BATCH_MAX: usize = 8;

/// What is done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) arena_bytes: usize,
    pub(crate) threads: u64,
    /// The disk fails now and then.
    pub(crate) is_faulty: bool,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) operations: AtomicU64,
    pub(crate) bytes_checked: AtomicU64,
    pub(crate) spilled: AtomicU64,
    pub(crate) restored: AtomicU64,
    /// Errors that a disk that does not work, or a full arena, may give.
    pub(crate) refused: AtomicU64,
}

/// A value and what its bytes are made from.
#[derive(Clone)]
struct Held {
    seed: u64,
    size: usize,
    place: Place,
}

struct Soak<'a> {
    plan: &'a Plan,
    store: Store,
    slots: Vec<Mutex<Option<Held>>>,
    seeds: AtomicU64,
    done: Done,
}

/// Goes on until `is_enough`, which is asked with the number of operations; then nothing may be left.
pub(crate) fn run(plan: &Plan, folder: &Path, is_enough: impl Fn(u64) -> bool + Sync) -> Done {
    let (target, faults) = FaultyTarget::new(folder);
    let store = Store::with_target(&options(plan.arena_bytes, None), target).expect("a store");
    // Sizes are spread evenly over their logarithms, so their mean is (b - a) / ln(b / a).
    let largest = plan.arena_bytes / LARGEST_PART;
    let mean = (largest - SMALLEST_BYTES) as f64 / (largest as f64 / SMALLEST_BYTES as f64).ln();
    let slots = (ARENAS * plan.arena_bytes) as f64 / mean;
    let soak = Soak {
        plan,
        store,
        slots: (0..slots as usize).map(|_| Mutex::new(None)).collect(),
        seeds: AtomicU64::new(plan.seed << 32),
        done: Done::default(),
    };
    let running = AtomicUsize::new(plan.threads as usize);
    std::thread::scope(|scope| {
        for thread in 0..plan.threads {
            let (soak, running, is_enough) = (&soak, &running, &is_enough);
            scope.spawn(move || {
                let _ended = Ended(running);
                let mut random = Random(mix(plan.seed ^ (thread << 48)) | 1);
                while !is_enough(soak.done.operations.fetch_add(1, Ordering::Relaxed)) {
                    soak.step(&mut random);
                }
            });
        }
        if plan.is_faulty {
            let mut random = Random(mix(plan.seed) | 1);
            while running.load(Ordering::SeqCst) > 0 {
                misbehave(&faults, &mut random);
            }
        }
    });
    soak.end(folder)
}

/// Counts a thread out, however it ends.
struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One fault after another, each for a moment, and a moment without.
fn misbehave(faults: &Faults, random: &mut Random) {
    let kinds = [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::TimedOut];
    let kind = kinds[random.below(kinds.len())];
    let calls = [&faults.create, &faults.append, &faults.finish, &faults.read, &faults.delete];
    let which = random.below(calls.len() + 3);
    match which {
        5 => *faults.room.lock() = Some(random.below(4 << 20) as u64),
        6 => *faults.flipped_bit.lock() = Some(random.below(64 << 10)),
        7 => faults.set_stuck(true),
        _ => *calls[which].lock() = Some(kind),
    }
    moment(random);
    match which {
        5 => *faults.room.lock() = None,
        6 => *faults.flipped_bit.lock() = None,
        7 => faults.set_stuck(false),
        _ => *calls[which].lock() = None,
    }
    moment(random);
}

fn moment(random: &mut Random) {
    for _ in 0..random.below(200) {
        std::thread::yield_now();
    }
}

impl Soak<'_> {
    fn step(&self, random: &mut Random) {
        let slot = &self.slots[random.below(self.slots.len())];
        let held = slot.lock().clone();
        let Some(held) = held else {
            *slot.lock() = self.put(random);
            return;
        };
        match random.below(100) {
            0..25 => self.check_part(&held, random),
            25..45 => self.check(&held),
            45..60 => self.restore(slot, &held),
            60..70 => self.spill(random),
            70..72 => drop(self.store.trim(random.below(self.plan.arena_bytes))),
            _ => *slot.lock() = None,
        }
    }

    /// A new value, in memory where there is room; none when a fault kept it away.
    fn put(&self, random: &mut Random) -> Option<Held> {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        let size = size_of(seed, self.plan.arena_bytes / LARGEST_PART);
        let bytes = content(seed, 0, size);
        let parts: Vec<&[u8]> = bytes.chunks(size.div_ceil(1 + random.below(5))).collect();
        let placed = match random.below(10) {
            0 => self.put_by_draft(&parts, random),
            1 => self.put_through_by_draft(&parts, random),
            _ => self.put_whole(&parts, random).map(Some),
        };
        match placed {
            Ok(place) => place.map(|place| Held { seed, size, place }),
            Err(error) => {
                self.refused(&error);
                None
            }
        }
    }

    /// Makes room as the core would, and writes to disk where there is none.
    fn put_whole(&self, parts: &[&[u8]], random: &mut Random) -> Result<Place, Error> {
        if let Ok(place) = self.store.write(parts) {
            return Ok(place);
        }
        self.spill(random);
        self.store.write(parts).or_else(|_| self.store.write_through(parts))
    }

    fn put_by_draft(&self, parts: &[&[u8]], random: &mut Random) -> Result<Option<Place>, Error> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let mut draft = self.store.allocate(size + random.below(10_000))?;
        parts.iter().try_for_each(|part| draft.append(part))?;
        Ok((random.below(4) > 0).then(|| draft.seal()))
    }

    fn put_through_by_draft(&self, parts: &[&[u8]], random: &mut Random) -> Result<Option<Place>, Error> {
        let mut draft = self.store.allocate_through()?;
        parts.iter().try_for_each(|part| draft.append(part))?;
        if random.below(4) == 0 { Ok(None) } else { draft.seal().map(Some) }
    }

    /// Spills some of what is in memory.
    fn spill(&self, random: &mut Random) {
        let begin = random.below(self.slots.len());
        let around = (0..self.slots.len()).map(|n| &self.slots[(begin + n) % self.slots.len()]);
        let chosen: Vec<_> = around
            .filter_map(|slot| {
                let held = slot.lock().clone()?;
                (residence(&held.place) == Some(Residence::Arena)).then_some((slot, held))
            })
            .take(1 + random.below(BATCH_MAX))
            .collect();
        let answers = self.store.spill(chosen.iter().map(|(_, held)| held.place.clone()).collect());
        assert_eq!(answers.len(), chosen.len());
        for ((slot, held), answer) in chosen.into_iter().zip(answers) {
            match answer {
                Ok(place) => {
                    self.done.spilled.fetch_add(1, Ordering::Relaxed);
                    *slot.lock() = Some(Held { place, ..held });
                }
                Err(error) => {
                    self.refused_by_disk(&error);
                    self.check(&held);
                }
            }
        }
    }

    fn restore(&self, slot: &Mutex<Option<Held>>, held: &Held) {
        match self.store.restore(&held.place) {
            Ok(place) => {
                let restored = Held { place, ..*held };
                assert!(slice(&restored.place).is_some(), "it is in memory");
                self.check(&restored);
                self.done.restored.fetch_add(1, Ordering::Relaxed);
                *slot.lock() = Some(restored);
            }
            Err(error) => self.refused(&error),
        }
    }

    /// All bytes, where they lie.
    fn check(&self, held: &Held) {
        let expected = content(held.seed, 0, held.size);
        match slice(&held.place) {
            Some(bytes) => assert!(bytes == expected, "seed {} was changed in memory", held.seed),
            None => match self.store.read(&held.place, 0, held.size as u64) {
                Ok(bytes) => assert!(bytes == expected, "seed {} was changed on disk", held.seed),
                Err(error) => return self.refused_by_disk(&error),
            },
        }
        self.done.bytes_checked.fetch_add(held.size as u64, Ordering::Relaxed);
    }

    fn check_part(&self, held: &Held, random: &mut Random) {
        let offset = random.below(held.size);
        let length = random.below(held.size - offset + 1);
        match self.store.read(&held.place, offset as u64, length as u64) {
            Ok(bytes) => {
                assert!(bytes == content(held.seed, offset, length), "{} {offset} {length}", held.seed);
                self.done.bytes_checked.fetch_add(length as u64, Ordering::Relaxed);
            }
            Err(error) => self.refused_by_disk(&error),
        }
    }

    /// A full arena refuses, and so may a disk that fails.
    fn refused(&self, error: &Error) {
        if error.code() == ErrorCode::StoreFull && error.message().contains("fit into the arena") {
            self.done.refused.fetch_add(1, Ordering::Relaxed);
        } else {
            self.refused_by_disk(error);
        }
    }

    fn refused_by_disk(&self, error: &Error) {
        use ErrorCode::{ObjectLost, OutOfDisk, StoreFull};
        assert!(self.plan.is_faulty, "{error}");
        assert!(matches!(error.code(), ObjectLost | OutOfDisk | StoreFull), "{error}");
        self.done.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything is right still, then dropped; then nothing is left.
    fn end(self, folder: &Path) -> Done {
        for slot in &self.slots {
            let Some(held) = slot.lock().take() else { continue };
            let read = self.store.read(&held.place, 0, held.size as u64).expect("the disk works again");
            assert!(read == content(held.seed, 0, held.size), "seed {}", held.seed);
        }
        // What could not be deleted is tried again with the next file.
        drop(self.store.write_through(&[b"x"]).expect("written"));
        wait_until(|| self.store.usage().spill.files == 0);
        let usage = self.store.usage();
        assert_eq!((usage.arena_extents, usage.arena_free_parts), (0, 1));
        assert_eq!(usage.arena_free_bytes, usage.arena_bytes);
        assert_eq!((usage.spill.objects, usage.spill.object_bytes), (0, 0));
        assert_eq!((usage.spill.disk_bytes, usage.spill.undeleted_files), (0, 0));
        assert!(files_below(folder).is_empty());
        self.store.trim(0);
        assert_eq!(self.store.usage().arena_resident_bytes, 0);
        drop(self.store);
        assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0);
        self.done
    }
}

/// Between the smallest and the largest size, evenly over their logarithms.
fn size_of(seed: u64, largest: usize) -> usize {
    let part = (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64;
    (SMALLEST_BYTES as f64 * (largest as f64 / SMALLEST_BYTES as f64).powf(part)) as usize
}

/// Bytes `offset .. offset + length` of the value of this seed.
fn content(seed: u64, offset: usize, length: usize) -> Vec<u8> {
    let (first, end) = (offset / 8, (offset + length).div_ceil(8));
    let base = mix(seed);
    let mut bytes = Vec::with_capacity((end - first) * 8);
    for word in first..end {
        bytes.extend_from_slice(&mix(base.wrapping_add(word as u64)).to_le_bytes());
    }
    bytes.drain(..offset % 8);
    bytes.truncate(length);
    bytes
}

/// SplitMix64 (Steele, Lea, Flood 2014): each number to one that seems random.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        (mix(self.0) % bound.max(1) as u64) as usize
    }
}
