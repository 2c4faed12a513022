use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine_core::Place;
use engine_objects::{Store, slice};

use crate::faulty::{Faults, FaultyTarget};
use crate::{failure, files_below, options, pattern, place, store, wait_until};

const SIZE: usize = 300 << 10;

struct Broken {
    folder: tempfile::TempDir,
    store: Store,
    faults: Arc<Faults>,
    values: Vec<Place>,
}

/// A store on a disk that fails as told, and eight values in its memory.
fn broken() -> Broken {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, faults) = FaultyTarget::new(folder.path());
    let store = Store::with_target(&options(16 << 20, None), target).expect("a store");
    let values = (0..8).map(|n| place(&store, n, SIZE)).collect();
    Broken { folder, store, faults, values }
}

impl Broken {
    /// Nothing is left on disk, memory is as it was, and the same spill works now.
    fn recovers(&self) {
        wait_until(|| self.store.usage().spill.files == 0);
        assert!(files_below(self.folder.path()).is_empty());
        assert_eq!(self.store.usage().spill.disk_bytes, 0);
        for (n, value) in self.values.iter().enumerate() {
            assert!(slice(value) == Some(&pattern(n as u64, SIZE)[..]));
        }
        for (n, spilled) in self.store.spill(self.values.clone()).into_iter().enumerate() {
            let restored = self.store.restore(&spilled.expect("spilled")).expect("restored");
            assert!(slice(&restored) == Some(&pattern(n as u64, SIZE)[..]));
        }
    }
}

// contract: O7
#[test]
fn a_disk_that_fills_up_while_it_is_written_gives_out_of_disk_and_recovers() {
    let broken = broken();
    *broken.faults.room.lock() = Some(100 << 10);
    for answer in broken.store.spill(broken.values.clone()) {
        let (code, message) = failure(answer);
        assert_eq!(code, "OUT_OF_DISK");
        assert!(message.contains("100 KiB are free"), "{message}");
        assert!(message.contains(&broken.folder.path().display().to_string()), "{message}");
    }
    assert_eq!(failure(broken.store.write_through(&[&pattern(1, SIZE)])).0, "OUT_OF_DISK");
    *broken.faults.room.lock() = None;
    broken.recovers();
}

#[test]
fn what_there_is_room_for_is_spilled_and_the_rest_stays() {
    let broken = broken();
    broken.faults.room_is_known.store(true, Ordering::SeqCst);
    *broken.faults.room.lock() = Some(3 * SIZE as u64);
    let answers = broken.store.spill(broken.values.clone());
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    for (n, spilled) in answers.iter().enumerate() {
        let Ok(spilled) = spilled else { continue };
        assert!(broken.store.read(spilled, 0, SIZE as u64).expect("read") == pattern(n as u64, SIZE));
    }
    drop(answers);
    *broken.faults.room.lock() = None;
    broken.recovers();
}

#[test]
fn a_disk_that_fails_says_so_and_leaves_nothing_half_written() {
    let broken = broken();
    for fault in [&broken.faults.append, &broken.faults.finish, &broken.faults.create] {
        *fault.lock() = Some(ErrorKind::Other);
        for answer in broken.store.spill(broken.values.clone()) {
            let (code, message) = failure(answer);
            assert_eq!(code, "STORE_FULL");
            assert!(message.contains(&broken.folder.path().display().to_string()), "{message}");
        }
        assert_eq!(failure(broken.store.write_through(&[&pattern(1, SIZE)])).0, "STORE_FULL");
        *fault.lock() = None;
        broken.recovers();
    }
    *broken.faults.append.lock() = Some(ErrorKind::QuotaExceeded);
    assert_eq!(failure(broken.store.spill(broken.values.clone()).remove(0)).0, "OUT_OF_DISK");
    let mut draft = broken.store.allocate_through().expect("a file");
    assert_eq!(failure(draft.append(&[1; 5000])).0, "OUT_OF_DISK");
    assert_eq!(failure(draft.append(&[1; 5000])).0, "STORE_FULL", "it is of no use any more");
    assert_eq!(failure(draft.seal()).0, "STORE_FULL");
    *broken.faults.append.lock() = None;
    broken.recovers();
}

#[test]
fn a_file_that_cannot_be_deleted_is_counted_and_deleted_later() {
    let broken = broken();
    *broken.faults.delete.lock() = Some(ErrorKind::PermissionDenied);
    drop(broken.store.spill(broken.values.clone()));
    wait_until(|| broken.store.usage().spill.undeleted_files == 1);
    let usage = broken.store.usage().spill;
    assert_eq!((usage.files, usage.objects, usage.dead_bytes), (1, 0, 0));
    assert!(usage.disk_bytes > 0);
    *broken.faults.delete.lock() = None;
    drop(broken.store.spill(broken.values[..1].to_vec()));
    broken.recovers();
}

#[test]
fn many_files_that_cannot_be_deleted_are_all_deleted_later() {
    let broken = broken();
    *broken.faults.delete.lock() = Some(ErrorKind::PermissionDenied);
    for value in broken.values.iter().chain(&broken.values) {
        drop(broken.store.spill(vec![value.clone()]));
    }
    wait_until(|| broken.store.usage().spill.undeleted_files == 16);
    *broken.faults.delete.lock() = None;
    drop(broken.store.spill(broken.values[..1].to_vec()));
    broken.recovers();
}

#[test]
fn a_slow_disk_holds_up_nobody_else() {
    let broken = broken();
    let spilled = broken.store.spill(vec![broken.values[0].clone()]).remove(0).expect("spilled");
    broken.faults.set_stuck(true);
    std::thread::scope(|scope| {
        let spilling = scope.spawn(|| broken.store.spill(broken.values.clone()));
        let restoring = scope.spawn(|| broken.store.restore(&spilled));
        wait_until(|| broken.faults.waiting.load(Ordering::SeqCst) == 2);
        // Both are stuck in the disk; memory goes on.
        for n in 0..100 {
            let value = place(&broken.store, n, SIZE);
            assert!(slice(&value) == Some(&pattern(n, SIZE)[..]));
        }
        assert_eq!(broken.store.usage().spill.files, 2);
        assert_eq!(broken.store.usage().arena_extents, 9, "eight values, and room for the one restored");
        broken.faults.set_stuck(false);
        assert!(spilling.join().expect("no panic").iter().all(Result::is_ok));
        assert!(restoring.join().expect("no panic").is_ok());
    });
}

#[test]
fn a_read_that_fails_gives_object_lost_with_file_and_offset() {
    let broken = broken();
    let spilled = broken.store.spill(broken.values.clone()).remove(1).expect("spilled");
    let begins = SIZE.next_multiple_of(4096);
    for kind in [ErrorKind::Other, ErrorKind::UnexpectedEof] {
        *broken.faults.read.lock() = Some(kind);
        for answer in [broken.store.restore(&spilled).map(drop), broken.store.read(&spilled, 0, 1).map(drop)]
        {
            let (code, message) = failure(answer);
            assert_eq!(code, "OBJECT_LOST");
            assert!(message.contains(&format!("at offset {begins}")), "{message}");
        }
    }
    *broken.faults.read.lock() = None;
    assert!(broken.store.restore(&spilled).is_ok());
    *broken.faults.flipped_bit.lock() = Some(12_345);
    assert_eq!(failure(broken.store.restore(&spilled)).0, "OBJECT_LOST");
    *broken.faults.flipped_bit.lock() = None;
    assert_eq!(broken.store.usage().arena_extents, 8, "what could not be restored takes no room");
}

#[test]
fn a_bit_flipped_on_the_disk_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(64 << 20, folder.path());
    let sizes = [100, 20 << 20, 5000];
    let values = sizes.iter().enumerate().map(|(n, size)| place(&store, n as u64, *size)).collect();
    let spilled: Vec<Place> = store.spill(values).into_iter().map(|place| place.expect("spilled")).collect();
    let file = files_below(folder.path()).remove(0);
    let disk = std::fs::OpenOptions::new().read(true).write(true).open(&file).expect("the file");
    let block = 64 << 10;
    let flip = |at: u64| {
        let mut byte = [0];
        disk.read_exact_at(&mut byte, at).expect("read");
        disk.write_all_at(&[byte[0] ^ 16], at).expect("written");
    };
    for wrong in [0, 1, block - 1, block, (9 << 20) + 77, (20 << 20) - 1] {
        flip(4096 + wrong);
        let begins = 4096 + wrong / block * block;
        let (code, message) = failure(store.restore(&spilled[1]));
        assert_eq!(code, "OBJECT_LOST");
        assert!(message.contains(&format!("{} at offset {begins}:", file.display())), "{message}");
        assert_eq!(failure(store.read(&spilled[1], wrong, 1)).0, "OBJECT_LOST");
        assert_eq!(failure(store.read(&spilled[1], 0, 20 << 20)).0, "OBJECT_LOST");
        let elsewhere = if wrong < block { 3 * block } else { 0 };
        assert!(store.read(&spilled[1], elsewhere, 10).is_ok(), "only the blocks asked for are read");
        for (n, place) in [(0, &spilled[0]), (2, &spilled[2])] {
            let restored = store.restore(place).expect("its neighbours are whole");
            assert!(slice(&restored) == Some(&pattern(n, sizes[n as usize])[..]));
        }
        flip(4096 + wrong);
    }
    assert!(store.restore(&spilled[1]).is_ok());
    disk.set_len(8192).expect("cut off");
    assert_eq!(failure(store.restore(&spilled[1])).0, "OBJECT_LOST");
    disk.set_len(0).expect("cut off");
    assert_eq!(failure(store.restore(&spilled[0])).0, "OBJECT_LOST");
    let other = store.spill(vec![place(&store, 1, 5000)]).remove(0).expect("spilled");
    files_below(folder.path()).iter().for_each(|file| std::fs::remove_file(file).expect("removed"));
    assert_eq!(failure(store.restore(&other)).0, "OBJECT_LOST");
}
