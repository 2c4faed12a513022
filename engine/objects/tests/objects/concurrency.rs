use std::sync::atomic::{AtomicU64, Ordering};

use engine_core::{ErrorCode, Place};
use engine_objects::slice;
use parking_lot::Mutex;

use crate::{files_below, pattern, place, store, wait_until};

const THREADS: u64 = 6;
const ROUNDS: u64 = 250;
const SHARED: usize = 24;

/// A value and the seed of its bytes.
type Shared = Mutex<Option<(u64, Place)>>;

#[test]
fn many_threads_put_read_spill_restore_and_drop_and_every_byte_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(12 << 20, folder.path());
    let shared: Vec<Shared> = (0..SHARED).map(|_| Mutex::new(None)).collect();
    let seeds = AtomicU64::new(1);
    let size = |seed: u64| (seed * 7919 % 700_000) as usize;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, shared, seeds) = (&store, &shared, &seeds);
            scope.spawn(move || {
                let mut random = thread + 1;
                for _ in 0..ROUNDS {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let slot = &shared[(random >> 33) as usize % SHARED];
                    let held = slot.lock().clone();
                    let Some((seed, value)) = held else {
                        let seed = seeds.fetch_add(1, Ordering::Relaxed);
                        let bytes = pattern(seed, size(seed));
                        let value = store.write(&[&bytes]).or_else(|_| store.write_through(&[&bytes]));
                        *slot.lock() = Some((seed, value.expect("stored")));
                        continue;
                    };
                    let expected = pattern(seed, size(seed));
                    match random >> 60 {
                        0..4 => {
                            let spilled = store.spill(vec![value.clone(), value]).remove(1).expect("spilled");
                            assert!(
                                store.read(&spilled, 0, expected.len() as u64).expect("read") == expected
                            );
                            *slot.lock() = Some((seed, spilled));
                        }
                        4..8 => match store.restore(&value) {
                            Ok(restored) => {
                                assert!(slice(&restored) == Some(&expected[..]));
                                *slot.lock() = Some((seed, restored));
                            }
                            Err(error) => assert_eq!(error.code(), ErrorCode::StoreFull, "{error}"),
                        },
                        8..12 => {
                            let offset = expected.len() / 3;
                            let read = store.read(&value, offset as u64, (expected.len() / 2) as u64);
                            assert!(read.expect("read") == expected[offset..offset + expected.len() / 2]);
                        }
                        12..14 => *slot.lock() = None,
                        14 => drop(store.trim(1 << 20)),
                        _ => {
                            let mine = store.allocate(300_000);
                            if let Ok(mut draft) = mine {
                                draft.append(&expected[..expected.len().min(300_000)]).expect("room");
                                let sealed = draft.seal();
                                assert!(slice(&sealed) == Some(&expected[..expected.len().min(300_000)]));
                            }
                        }
                    }
                }
            });
        }
    });
    for slot in &shared {
        if let Some((seed, value)) = slot.lock().take() {
            let read = store.read(&value, 0, size(seed) as u64).expect("read");
            assert!(read == pattern(seed, size(seed)));
        }
    }
    let usage = store.usage();
    assert_eq!((usage.arena_extents, usage.arena_free_bytes), (0, usage.arena_bytes));
    wait_until(|| store.usage().spill.files == 0);
    let usage = store.usage().spill;
    assert_eq!((usage.objects, usage.object_bytes, usage.disk_bytes), (0, 0, 0));
    assert!(files_below(folder.path()).is_empty());
    drop(place(&store, 1, 11 << 20));
}
