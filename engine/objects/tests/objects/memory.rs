use std::io::Read;
use std::os::unix::fs::FileExt;

use engine_core::{Codec, ErrorCode, Value, value::no_handles};
use engine_objects::{Options, Residence, Store, bytes, mapping, read_only_descriptor, residence, slice};

use crate::{failure, options, pattern, place};

// contract: O5
#[test]
fn values_above_the_inline_bound_lie_in_the_arena_once() {
    let store = Store::new(&Options { arena_bytes_max: 1 << 20, ..Options::default() }).expect("a store");
    let value = |count: usize| {
        let place = store.place(vec![7; count]).expect("room");
        Value { codec: Codec::Raw, size: count as u64, handles: no_handles(), place }
    };
    let before = store.usage().arena_free_bytes;
    let small = value(100 << 10);
    assert_eq!(store.usage().arena_free_bytes, before);
    let large = value((100 << 10) + 1);
    let with_one = store.usage().arena_free_bytes;
    assert!(with_one < before);
    assert_eq!(residence(&small.place), Some(Residence::Inline));
    assert_eq!((residence(&large.place), residence(&Value::empty().place)), (Some(Residence::Arena), None));
    let shared = large.clone();
    assert_eq!(bytes(&shared).as_ptr(), bytes(&large).as_ptr());
    assert_eq!((bytes(&small).len(), bytes(&large).len()), (100 << 10, (100 << 10) + 1));
    drop(large);
    assert_eq!(store.usage().arena_free_bytes, with_one);
    drop(shared);
    assert_eq!(store.usage().arena_free_bytes, before);
}

#[test]
fn a_full_arena_says_so_and_the_same_value_fits_when_there_is_room() {
    let store = Store::new(&options(1 << 20, None)).expect("a store");
    let first = store.place(vec![0; 600 << 10]).expect("room");
    let error = store.place(vec![0; 600 << 10]).expect_err("no room");
    assert_eq!(error.code(), ErrorCode::StoreFull);
    assert!(error.message().contains("600 KiB"), "{error}");
    drop(first);
    store.place(vec![0; 600 << 10]).expect("room again");
}

#[test]
fn drafts_are_written_piece_by_piece_and_freed_when_given_up() {
    let store = Store::new(&options(1 << 20, None)).expect("a store");
    let expected = pattern(1, 100_000);
    for size in [0, 10, 16, 17, 100_000] {
        let mut draft = store.allocate(size).expect("room");
        for piece in expected[..size].chunks(777) {
            draft.append(piece).expect("room");
        }
        assert_eq!((draft.written(), draft.left()), (size, 0));
        assert_eq!(failure(draft.append(b"x")).0, "INVALID_ARGUMENT");
        assert!(slice(&draft.seal()) == Some(&expected[..size]));
    }
    let mut draft = store.allocate(500_000).expect("room");
    draft.append(&expected).expect("room");
    drop(draft);
    assert_eq!(store.usage().arena_free_bytes, 1 << 20);
    let parts: Vec<&[u8]> = expected.chunks(999).collect();
    assert!(slice(&store.write(&parts).expect("room")) == Some(&expected[..]));
}

#[test]
fn a_mapping_shows_the_object_and_zeros_up_to_the_end_of_its_page() {
    let store = Store::new(&options(1 << 20, None)).expect("a store");
    drop(store.place(vec![0xee; 1 << 20]).expect("room"));
    let value = place(&store, 1, 5001);
    let mapping = mapping(&value).expect("in the arena");
    assert_eq!((mapping.length, mapping.offset % 4096), (5001, 0));
    let file = std::fs::File::from(mapping.file.try_clone_to_owned().expect("cloned"));
    let mut pages = vec![1; 8192];
    file.read_exact_at(&mut pages, mapping.offset).expect("read");
    assert!(pages[..5001] == pattern(1, 5001) && pages[5001..].iter().all(|byte| *byte == 0));
    assert!(engine_objects::mapping(&place(&store, 1, 5)).is_none());
}

#[test]
fn another_process_gets_one_object_that_it_cannot_change() {
    let store = Store::new(&options(1 << 20, None)).expect("a store");
    let neighbour = place(&store, 1, 5000);
    for size in [0, 3, 9000] {
        let value = place(&store, 2, size);
        let mut file = std::fs::File::from(read_only_descriptor(&value).expect("a descriptor"));
        assert!(file.write_all_at(b"x", 0).is_err() && file.set_len(100_000).is_err());
        drop(value);
        let mut read = Vec::new();
        file.read_to_end(&mut read).expect("read");
        assert!(read == pattern(2, size), "the object and nothing else, also when it is dropped here");
    }
    assert!(slice(&neighbour) == Some(&pattern(1, 5000)[..]));
    assert_eq!(failure(read_only_descriptor(&Value::empty().place)).0, "INVALID_ARGUMENT");
}

#[test]
fn memory_is_taken_as_it_is_used_and_given_back_when_trimmed() {
    let store = Store::new(&Options { arena_bytes_max: 1 << 30, ..options(0, None) }).expect("a store");
    assert_eq!(store.usage().arena_resident_bytes, 0);
    let kept = place(&store, 1, 1 << 20);
    drop(place(&store, 2, 50 << 20));
    assert_eq!(store.usage().arena_resident_bytes, 51 << 20);
    assert_eq!(store.trim(0), 50 << 20);
    assert_eq!(store.usage().arena_resident_bytes, 1 << 20);
    assert!(slice(&kept) == Some(&pattern(1, 1 << 20)[..]));
}
