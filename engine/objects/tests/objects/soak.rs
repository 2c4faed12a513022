use crate::common::soak::{Done, Plan, run};

const OPERATIONS: u64 = 6_000;

fn soak(is_faulty: bool) -> Done {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan { seed: 1, arena_bytes: 4 << 20, threads: 4, is_faulty };
    run(&plan, folder.path(), |operations| operations >= OPERATIONS)
}

#[test]
fn four_times_the_arena_goes_in_and_out_and_nothing_is_left() {
    let done = soak(false);
    for count in [&done.bytes_checked, &done.spilled, &done.restored] {
        assert!(count.load(std::sync::atomic::Ordering::Relaxed) > 100, "{done:?}");
    }
}

#[test]
fn a_disk_that_often_fails_costs_no_byte_and_leaves_nothing() {
    let done = soak(true);
    assert!(done.bytes_checked.into_inner() > 0 && done.spilled.into_inner() > 0);
}
