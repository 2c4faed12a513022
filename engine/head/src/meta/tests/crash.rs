//! A disk that stops at any write, with what was not synced there in part, or torn, or not at all.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Database, StorageBackend};

use super::super::{Embedded, Entries, MetaError, MetaStore, Revision, Write};
use super::put;

/// A disk in memory.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// What was there at the last sync, and what was written since, in order.
    synced: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
    syncs: usize,
    /// So many writes and syncs more, then the power goes.
    life: Option<usize>,
    /// It cannot grow beyond this.
    bytes_max: Option<u64>,
}

impl State {
    fn live(&mut self) -> io::Result<()> {
        match &mut self.life {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(life) => {
                *life -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        let from = offset as usize;
        let bytes = state.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.live()?;
        if state.bytes_max.is_some_and(|max| len > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.bytes.resize(len as usize, 0);
        // A file's length is in the journal of its file system.
        state.synced.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.live()?;
        state.syncs += 1;
        state.synced = state.bytes.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        state.live()?;
        let from = offset as usize;
        let end = from + data.len();
        let bytes = state.bytes.get_mut(from..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(data);
        state.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}

/// Random bits from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound.max(1) as u64) as usize
    }
}

impl Disk {
    /// The disk after the power is back: of what was not synced any of it, and the pages of one torn.
    fn after_crash(&self, random: &mut Random) -> Self {
        let state = self.0.lock();
        let mut bytes = state.synced.clone();
        // Some disks write all that they are given at once.
        let is_prompt = random.below(4) == 0;
        for (offset, data) in &state.unsynced {
            let from = *offset as usize;
            let kept = match random.below(4) {
                0 => 0,
                1 => random.below(data.len()),
                _ => data.len(),
            };
            let kept = if is_prompt { data.len() } else { kept };
            let end = (from + kept).min(bytes.len());
            if let Some(place) = bytes.get_mut(from..end) {
                place.copy_from_slice(&data[..place.len()]);
            }
        }
        Self(Arc::new(Mutex::new(State { synced: bytes.clone(), bytes, ..State::default() })))
    }

    fn open(&self) -> Result<Embedded, MetaError> {
        let mut builder = Database::builder();
        builder.set_cache_size(1 << 20);
        let database = builder.create_with_backend(self.clone());
        Embedded::of(database.map_err(|error| MetaError::Io {
            what: "open",
            path: "memory".into(),
            why: error.to_string(),
        })?)
    }
}

/// The writes of one transaction.
fn batch(random: &mut Random, number: u64) -> Vec<Write> {
    let some = |random: &mut Random| match random.below(4) {
        0 => Write::Delete(format!("key/{}", random.below(20)).into_bytes()),
        _ => put(&format!("key/{}", random.below(20)), &"v".repeat(random.below(3_000))),
    };
    let mut writes: Vec<Write> = (0..random.below(8)).map(|_| some(random)).collect();
    writes.push(put("number", &number.to_string()));
    writes
}

fn apply(entries: &Entries, writes: &[Write]) -> Entries {
    let mut map: std::collections::BTreeMap<_, _> = entries.iter().cloned().collect();
    for write in writes {
        match write {
            Write::Put(key, value) => drop(map.insert(key.clone(), value.clone())),
            Write::Delete(key) => drop(map.remove(key)),
        }
    }
    map.into_iter().collect()
}

// contract: H2
#[test]
fn whatever_was_committed_is_there_after_a_crash_at_any_write() {
    let (mut kept, mut lost, mut crashes) = (0, 0, 0);
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut disk = Disk::default();
        drop(disk.open().expect("a new one"));
        let mut known = (Revision(0), Entries::new());
        for _ in 0..4 {
            let mut store = disk.open().expect("it comes back");
            assert_eq!(store.read().expect("whole"), known, "seed {seed}");
            disk.0.lock().life = Some(random.below(60));
            // The one that was under way: whole, or not at all.
            let next = loop {
                let writes = batch(&mut random, known.0.0);
                let next = (Revision(known.0.0 + 1), apply(&known.1, &writes));
                match store.commit(known.0, &writes) {
                    Ok(_) => known = next,
                    Err(_) => break next,
                }
            };
            drop(store);
            crashes += 1;
            disk = disk.after_crash(&mut random);
            let mut store = disk.open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = store.read().expect("whole");
            assert!(found == known || found == next, "seed {seed}: {found:?} is neither");
            if found == next {
                kept += 1;
            } else {
                lost += 1;
            }
            known = found;
        }
    }
    assert!(crashes > 1_000 && kept > 20 && lost > 20, "{crashes} crashes, {kept} kept, {lost} lost");
}

#[test]
fn a_full_disk_is_named_and_loses_nothing_that_was_committed() {
    let disk = Disk::default();
    let mut store = disk.open().expect("a new one");
    let mut revision = store.commit(Revision(0), &[put("a", "1")]).expect("room");
    disk.0.lock().bytes_max = Some(3 << 20);
    let mut committed = 1;
    let error = loop {
        match store.commit(revision, &[put(&format!("key/{committed}"), &"x".repeat(100_000))]) {
            Ok(next) => (revision, committed) = (next, committed + 1),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, MetaError::Full(_)), "{error:?}");
    drop(store);
    disk.0.lock().bytes_max = None;
    let mut store = disk.open().expect("there is room again");
    let (found, entries) = store.read().expect("whole");
    assert_eq!((found, entries.len()), (revision, committed));
    store.commit(found, &[put("b", "2")]).expect("it goes on");
}

/// A transaction syncs as often whatever is in it.
#[test]
fn a_transaction_of_many_changes_is_one() {
    let disk = Disk::default();
    let mut store = disk.open().expect("a new one");
    let syncs = |disk: &Disk| disk.0.lock().syncs;
    let mut revision = store.commit(Revision(0), &[put("warm", "up")]).expect("room");
    let before = syncs(&disk);
    revision = store.commit(revision, &[put("a", "1")]).expect("room");
    let one = syncs(&disk) - before;
    let writes: Vec<Write> = (0..1_000).map(|n| put(&format!("key/{n}"), "1")).collect();
    let before = syncs(&disk);
    store.commit(revision, &writes).expect("room");
    assert_eq!(syncs(&disk) - before, one);
    assert!(one >= 1);
}
