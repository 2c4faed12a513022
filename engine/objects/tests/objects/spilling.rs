use engine_core::{Place, Value};
use engine_objects::{Residence, Store, residence, slice};

use crate::{failure, files_below, options, pattern, place, store, wait_until};

/// Spills, and checks that it went well.
fn spill(store: &Store, values: Vec<Place>) -> Vec<Place> {
    store.spill(values).into_iter().map(|spilled| spilled.expect("spilled")).collect()
}

#[test]
fn many_objects_share_a_file_that_goes_with_the_last_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(64 << 20, folder.path());
    let sizes = [17, 100, 4096, 4097, 65_536, 65_537, 1 << 20, (3 << 20) + 5, 10, 0];
    let values: Vec<Place> =
        sizes.iter().enumerate().map(|(n, size)| place(&store, n as u64, *size)).collect();
    let mut spilled = spill(&store, values);
    assert_eq!(store.usage().arena_extents, 0, "the old places are gone");
    let usage = store.usage().spill;
    assert_eq!((usage.files, usage.objects, usage.dead_bytes), (1, sizes.len() as u64, 0));
    assert_eq!(usage.object_bytes, sizes.iter().sum::<usize>() as u64);
    assert_eq!(files_below(folder.path()).len(), 1);
    for (n, (size, place)) in sizes.iter().zip(&spilled).enumerate() {
        assert_eq!((residence(place), slice(place)), (Some(Residence::Spilled), None));
        let expected = pattern(n as u64, *size);
        assert!(store.read(place, 0, *size as u64).expect("read") == expected, "{size}");
        let restored = store.restore(place).expect("restored");
        let wanted = if *size <= 16 { Residence::Inline } else { Residence::Arena };
        assert_eq!(residence(&restored), Some(wanted));
        assert!(slice(&restored) == Some(&expected[..]), "{size}");
    }
    let again = spill(&store, spilled.clone());
    assert_eq!(store.usage().spill.files, 1, "what is spilled is not spilled again");
    drop(again);
    let kept = spilled.swap_remove(4);
    drop(spilled);
    let usage = store.usage().spill;
    assert_eq!((usage.objects, usage.object_bytes), (1, 65_536));
    assert_eq!(usage.dead_bytes, usage.disk_bytes - 65_536);
    assert!(store.read(&kept, 0, 65_536).expect("read") == pattern(4, 65_536));
    drop(kept);
    wait_until(|| store.usage().spill.files == 0);
    assert!(files_below(folder.path()).is_empty());
    let usage = store.usage().spill;
    assert_eq!((usage.disk_bytes, usage.dead_bytes, usage.undeleted_files), (0, 0, 0));
    assert!(usage.free_bytes.is_some());
}

#[test]
fn a_large_object_is_read_by_ranges_and_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(64 << 20, folder.path());
    let size = (37 << 20) + 12_345;
    let expected = pattern(1, size);
    let spilled = spill(&store, vec![place(&store, 1, size)]).remove(0);
    let block = 64 << 10;
    for (offset, length) in [
        (0, 1),
        (size - 1, 1),
        (block - 1, 2),
        (block, block),
        (5 * block + 7, 9 << 20),
        (size - 10_000, 10_000),
        (0, size),
        (size, 0),
        (77, 0),
    ] {
        let read = store.read(&spilled, offset as u64, length as u64).expect("read");
        assert!(read == expected[offset..offset + length], "{offset} {length}");
    }
    for (offset, length) in [(0, size as u64 + 1), (size as u64, 1), (u64::MAX, 2)] {
        assert_eq!(failure(store.read(&spilled, offset, length)).0, "INVALID_ARGUMENT");
    }
    let restored = store.restore(&spilled).expect("restored");
    drop(spilled);
    wait_until(|| store.usage().spill.files == 0);
    assert!(slice(&restored) == Some(&expected[..]));
    assert!(store.read(&restored, 3, 9).expect("read") == expected[3..12]);
    assert!(slice(&store.restore(&restored).expect("there already")) == Some(&expected[..]));
}

#[test]
fn what_memory_has_no_room_for_goes_straight_to_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(1 << 20, folder.path());
    let expected = pattern(3, 9 << 20);
    let parts: Vec<&[u8]> = expected.chunks(1_000_003).collect();
    assert_eq!(failure(store.write(&parts)).0, "STORE_FULL");
    let through = store.write_through(&parts).expect("written");
    let mut draft = store.allocate_through().expect("a file");
    for part in &parts {
        draft.append(part).expect("written");
    }
    assert_eq!(draft.written(), 9 << 20);
    let drafted = draft.seal().expect("sealed");
    for place in [&through, &drafted] {
        assert_eq!(residence(place), Some(Residence::Spilled));
        assert!(store.read(place, 0, 9 << 20).expect("read") == expected);
        assert_eq!(failure(store.restore(place)).0, "STORE_FULL");
    }
    let mut given_up = store.allocate_through().expect("a file");
    given_up.append(&expected).expect("written");
    assert_eq!(store.usage().spill.files, 3);
    drop(given_up);
    drop((through, drafted));
    wait_until(|| store.usage().spill.files == 0);
    assert_eq!((files_below(folder.path()).len(), store.usage().spill.disk_bytes), (0, 0));
}

#[test]
fn the_limit_of_all_spill_files_holds_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options(16 << 20, Some(folder.path()));
    options.spill.spill_bytes_max = 1 << 20;
    let store = Store::new(&options).expect("a store");
    let values: Vec<Place> = (0..4).map(|n| place(&store, n, 300 << 10)).collect();
    let answers = store.spill(values.clone());
    let (spilled, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((spilled.len(), refused.len()), (3, 1), "as many as there is room for");
    let (code, message) = failure(refused.into_iter().next().expect("one"));
    assert_eq!(code, "OUT_OF_DISK");
    assert!(message.contains("spill_bytes_max") && message.contains("1 MiB"), "{message}");
    assert!(slice(&values[3]) == Some(&pattern(3, 300 << 10)[..]), "it is as it was");
    assert_eq!(failure(store.write_through(&[&pattern(0, 2 << 20)])).0, "OUT_OF_DISK");
    // What is dropped makes room at once, without waiting for anything.
    drop(spilled);
    assert!(store.spill(values[3..].to_vec()).remove(0).is_ok());
}

#[test]
fn without_a_folder_nothing_is_spilled_and_the_error_says_so() {
    let store = Store::new(&options(1 << 20, None)).expect("a store");
    assert!(!store.can_spill());
    let value = place(&store, 1, 5000);
    let (code, message) = failure(store.spill(vec![value.clone()]).remove(0));
    assert_eq!(code, "STORE_FULL");
    assert!(message.contains("spill folder"), "{message}");
    assert_eq!(failure(store.write_through(&[b"x"])).0, "STORE_FULL");
    assert_eq!(failure(store.spill(vec![Value::empty().place]).remove(0)).0, "INVALID_ARGUMENT");
    assert!(slice(&value) == Some(&pattern(1, 5000)[..]));
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (code, message) = failure(Store::new(&options(1 << 20, Some(file.path()))));
    assert_eq!(code, "INVALID_ARGUMENT");
    assert!(message.contains(&file.path().display().to_string()), "{message}");
}

#[test]
fn a_place_outlives_its_store_and_nothing_is_left_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(1 << 20, folder.path());
    let memory = place(&store, 1, 5000);
    let spilled = spill(&store, vec![memory.clone()]).remove(0);
    drop(store);
    assert!(slice(&memory) == Some(&pattern(1, 5000)[..]));
    assert_eq!(files_below(folder.path()).len(), 1);
    drop(spilled);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}
