//! Spill files whose bytes were changed: what is read from them is right, or OBJECT_LOST.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bolero::{TypeGenerator, check, produce};
use engine_core::{ErrorCode, Place};
use engine_objects::{Options, SpillOptions, Store, slice};

#[derive(Debug, Clone, TypeGenerator)]
enum Damage {
    /// Bytes are written over those of the file.
    Overwrite {
        at: u32,
        bytes: Vec<u8>,
    },
    /// Pages of the file change places.
    Swap {
        one: u8,
        other: u8,
    },
    Cut {
        length: u32,
    },
    Grow {
        by: u16,
    },
    Delete,
}

#[derive(Debug, Clone, TypeGenerator)]
struct Case {
    #[generator(produce::<Vec<u32>>().with().len(1_usize..6))]
    sizes: Vec<u32>,
    block_pages: u8,
    #[generator(produce::<Vec<Damage>>().with().len(0_usize..4))]
    damages: Vec<Damage>,
    #[generator(produce::<Vec<(u32, u32)>>().with().len(0_usize..4))]
    ranges: Vec<(u32, u32)>,
}

const SIZE_MAX: u32 = 60_000;
const PAGE: u64 = 4096;

#[test]
fn spilled_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    check!().with_type::<Case>().for_each(|case| read_back(case, folder.path()));
}

fn read_back(case: &Case, folder: &Path) {
    let spill = SpillOptions {
        folder: Some(folder.into()),
        block_bytes: usize::from(case.block_pages % 8) * PAGE as usize,
        ..SpillOptions::default()
    };
    let options =
        Options { arena_bytes_max: 4 << 20, inline_object_bytes_max: 0, prefault_bytes_max: 0, spill };
    let store = Store::new(&options).expect("a store");
    let originals: Vec<Vec<u8>> = case.sizes.iter().map(|size| content(size % SIZE_MAX)).collect();
    let places = originals.iter().map(|bytes| store.place(bytes.clone()).expect("room")).collect();
    let spilled: Vec<Place> = store.spill(places).into_iter().map(|place| place.expect("spilled")).collect();
    let is_intact = case.damages.is_empty();
    let file = spill_file(folder);
    case.damages.iter().for_each(|damage| inflict(damage, &file));
    for (original, place) in originals.iter().zip(&spilled) {
        match store.restore(place) {
            Ok(restored) => assert!(slice(&restored) == Some(original), "other bytes came back"),
            Err(error) => assert!(!is_intact && error.code() == ErrorCode::ObjectLost, "{error}"),
        }
        for (offset, length) in &case.ranges {
            // Also ranges that the object does not have.
            let (offset, length) = (offset % (SIZE_MAX + 10), length % (SIZE_MAX + 10));
            let part = original.get(offset as usize..(offset + length) as usize);
            match store.read(place, offset.into(), length.into()) {
                Ok(bytes) => assert!(part == Some(&bytes), "other bytes came back"),
                Err(error) if part.is_none() => assert_eq!(error.code(), ErrorCode::InvalidArgument),
                Err(error) => assert!(!is_intact && error.code() == ErrorCode::ObjectLost, "{error}"),
            }
        }
    }
    assert_eq!(store.usage().arena_extents, 0);
}

fn content(size: u32) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ size as u8).collect()
}

/// The only file in the only folder within this one.
fn spill_file(folder: &Path) -> PathBuf {
    let entries =
        |folder: &Path| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    let own = entries(folder).find(|path| path.is_dir()).expect("the store's folder");
    entries(&own).next().expect("a spill file")
}

fn inflict(damage: &Damage, path: &Path) {
    let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { return };
    let length = file.metadata().expect("metadata").len();
    match damage {
        Damage::Overwrite { at, bytes } => {
            file.write_all_at(bytes, u64::from(*at) % length.max(1)).expect("written");
        }
        Damage::Swap { one, other } => {
            let pages = (length / PAGE).max(1);
            let [one, other] = [one, other].map(|page| u64::from(*page) % pages * PAGE);
            let mut buffers = [[0; PAGE as usize]; 2];
            let [first, second] = &mut buffers;
            if file.read_exact_at(first, one).is_ok() && file.read_exact_at(second, other).is_ok() {
                file.write_all_at(first, other).expect("written");
                file.write_all_at(second, one).expect("written");
            }
        }
        Damage::Cut { length: kept } => file.set_len(u64::from(*kept) % (length + 1)).expect("cut"),
        Damage::Grow { by } => file.set_len(length + u64::from(*by)).expect("grown"),
        Damage::Delete => fs::remove_file(path).expect("deleted"),
    }
}
