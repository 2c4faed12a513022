use super::*;
use crate::extent::Extent;

fn write(arena: &Arc<Arena>, bytes: &[u8]) -> Option<Extent> {
    let mut draft = arena.allocate(bytes.len())?;
    draft.append(bytes);
    Some(draft.seal())
}

#[test]
fn bytes_written_are_read_back_and_freed() {
    let arena = Arena::new(1 << 20, 0).expect("an arena");
    let extents: Vec<Extent> = (0..10_u8).map(|n| write(&arena, &vec![n; 50_000]).expect("room")).collect();
    for (n, extent) in extents.iter().enumerate() {
        assert!(extent.as_slice().iter().all(|byte| usize::from(*byte) == n));
    }
    assert!(write(&arena, &vec![0; 1 << 20]).is_none());
    assert_eq!(arena.usage().extents, 10);
    drop(extents);
    let usage = arena.usage();
    assert_eq!((usage.total, usage.total), (usage.free, usage.largest_free));
    assert_eq!((usage.extents, usage.free_parts), (0, 1));
    assert!(write(&arena, &vec![0; 1 << 20]).is_some());
}

#[test]
fn the_end_of_the_last_page_shows_nothing_of_an_earlier_owner() {
    let arena = Arena::new(1 << 20, 0).expect("an arena");
    drop(write(&arena, &vec![0xaa; 1 << 20]).expect("room"));
    for size in [1, 4095, 4096, 4097, 70_001] {
        let extent = write(&arena, &vec![0xbb; size]).expect("room");
        let pages = extent.whole_pages();
        assert_eq!(pages.len(), size.next_multiple_of(4096));
        assert!(pages[..size].iter().all(|byte| *byte == 0xbb));
        assert!(pages[size..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_a_draft_did_not_need_is_free_again() {
    let arena = Arena::new(1 << 20, 0).expect("an arena");
    let mut draft = arena.allocate(1 << 20).expect("room");
    draft.append(&[1; 5000]);
    let extent = draft.seal();
    assert_eq!(arena.usage().free, (1 << 20) - 8192);
    assert!(extent.as_slice() == [1; 5000]);
    drop(arena.allocate(100_000).expect("room"));
    drop(extent);
    assert_eq!(arena.usage().largest_free, 1 << 20);
}

#[test]
fn free_pages_stay_until_they_are_trimmed_and_read_as_zeros_after() {
    let arena = Arena::new(64 << 20, 0).expect("an arena");
    let kept = write(&arena, &vec![1; 3 << 20]).expect("room");
    drop(write(&arena, &vec![2; 30 << 20]).expect("room"));
    let high = write(&arena, &vec![3; 40 << 20]).expect("room");
    assert_eq!(arena.usage().resident, 43 << 20);
    drop(high);
    assert_eq!(arena.trim(10 << 20), 30 << 20);
    assert_eq!(arena.usage().resident, 13 << 20);
    assert_eq!((arena.trim(10 << 20), arena.trim(0)), (0, 10 << 20));
    assert_eq!(arena.usage().resident, 3 << 20);
    assert!(kept.as_slice().iter().all(|byte| *byte == 1));
    let mut draft = arena.allocate(1 << 20).expect("room");
    assert!(draft.rest_mut().iter().all(|byte| *byte == 0));
    assert!(write(&arena, &vec![4; 60 << 20]).is_some_and(|extent| extent.as_slice()[59 << 20] == 4));
}

#[test]
fn trimming_while_others_write_loses_no_byte() {
    let arena = Arena::new(32 << 20, 4 << 20).expect("an arena");
    let keeper = crate::keeper::Keeper::start(arena.clone()).expect("a thread");
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..4_u8)
            .map(|n| {
                let arena = &arena;
                scope.spawn(move || {
                    for round in 0..60 {
                        let size = 1000 + round * 70_000;
                        let Some(extent) = write(arena, &vec![n; size]) else { continue };
                        assert!(extent.as_slice().iter().all(|byte| *byte == n));
                    }
                })
            })
            .collect();
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            arena.trim(0);
        }
    });
    drop(keeper);
    arena.trim(0);
    assert_eq!(arena.usage().resident, 0);
}

#[test]
fn the_word_in_brackets_says_whether_there_are_huge_pages() {
    assert!(!huge_pages_allowed("always within_size advise [never] deny force"));
    assert!(!huge_pages_allowed("always within_size advise never [deny] force"));
    assert!(huge_pages_allowed("always within_size [advise] never deny force"));
}
