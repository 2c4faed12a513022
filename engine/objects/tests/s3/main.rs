//! The store against a real process that speaks S3. ENGINE_S3_SERVER names it: `cargo xtask test` puts
//! one into the cache and names it. Where the variable is not set, these tests are ignored.

#[path = "../common/mod.rs"]
mod common;
mod server;

use std::process::ExitCode;
use std::sync::Arc;

use engine_core::Place;
use engine_objects::{SpillTarget, Store, slice};
use libtest_mimic::{Arguments, Trial, run};

use common::{failure, options, pattern, place};
use server::{Server, VARIABLE, pause};

const TESTS: &[(&str, fn())] = &[
    ("objects_are_spilled_read_by_ranges_restored_and_deleted", objects_are_spilled),
    ("a_byte_flipped_on_the_server_is_found", a_byte_flipped_on_the_server),
    ("a_server_that_is_killed_costs_no_object_in_memory", a_server_that_is_killed),
    ("a_server_that_hangs_is_not_waited_for_for_ever", a_server_that_hangs),
    ("a_draft_given_up_leaves_no_upload", a_draft_given_up),
    ("nothing_is_left_when_the_store_is_closed", nothing_is_left),
    ("what_cannot_be_used_is_refused_at_the_start", what_cannot_be_used),
    ("a_thread_of_another_runtime_may_wait", a_thread_of_another_runtime),
];

fn main() -> ExitCode {
    let is_ignored = std::env::var_os(VARIABLE).is_none();
    let arguments = Arguments::from_args();
    if is_ignored && !arguments.list {
        eprintln!("ignored: {VARIABLE} names no moto_server; `cargo xtask test` provides one");
    }
    let trial = |(name, test): &(&str, fn())| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
        .with_ignored_flag(is_ignored)
    };
    run(&arguments, TESTS.iter().map(trial).collect()).exit_code()
}

const URL: &str = "s3://bucket/a/prefix";

fn store(server: &Server) -> Store {
    let target: Arc<dyn SpillTarget> = Arc::new(server.target(URL).expect("a target"));
    assert_eq!(server.keys().len(), 0, "the check leaves nothing");
    Store::with_target(&options(128 << 20, None), target).expect("a store")
}

/// Spills, and checks that it went well.
fn spill(store: &Store, values: Vec<Place>) -> Vec<Place> {
    store.spill(values).into_iter().map(|spilled| spilled.expect("spilled")).collect()
}

fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        pause();
    }
}

fn is_right(store: &Store, place: &Place, seed: u64, size: usize) {
    let restored = store.restore(place).expect("restored");
    assert!(slice(&restored) == Some(&pattern(seed, size)[..]), "{size}");
}

/// A file of one request, one of many objects, and one of four parts.
fn objects_are_spilled() {
    let server = Server::start();
    let store = store(&server);
    let many: Vec<usize> = (0..200).map(|n| n * 379).collect();
    for sizes in [&[100, 5000][..], &many, &[8 << 20], &[3 << 20, 77, (21 << 20) + 77]] {
        let values = sizes.iter().map(|size| place(&store, *size as u64, *size)).collect();
        let spilled = spill(&store, values);
        assert_eq!((server.keys().len(), server.uploads()), (1, 0));
        assert!(server.keys()[0].starts_with("a/prefix/engine-spill-"));
        assert_eq!((store.usage().arena_extents, store.usage().spill.free_bytes), (0, None));
        for (size, place) in sizes.iter().zip(&spilled) {
            let expected = pattern(*size as u64, *size);
            is_right(&store, place, *size as u64, *size);
            for (offset, length) in [(0, 1), (size / 2, size / 3), (size / 3, size / 100)] {
                let Some(part) = expected.get(offset..offset + length) else { continue };
                let read = store.read(place, offset as u64, length as u64).expect("read");
                assert!(read == part, "{size} {offset} {length}");
            }
        }
        drop(spilled);
        wait_until(|| store.usage().spill.files == 0);
        assert_eq!(server.keys().len(), 0);
    }
    let through = store.write_through(&[&pattern(1, 17 << 20), b"end"]).expect("written");
    assert_eq!(store.read(&through, 17 << 20, 3).expect("read"), b"end");
    let mut draft = store.allocate_through().expect("a file");
    for part in pattern(2, 17 << 20).chunks(1_000_003) {
        draft.append(part).expect("written");
    }
    is_right(&store, &draft.seal().expect("sealed"), 2, 17 << 20);
}

fn a_byte_flipped_on_the_server() {
    let server = Server::start();
    let store = store(&server);
    let size = 3 << 20;
    let spilled = spill(&store, vec![place(&store, 1, 5000), place(&store, 2, size)]);
    let key = server.keys().remove(0);
    let (begins, block) = (8192, 64 << 10);
    for wrong in [0, 7 * block + 12, size - 1] {
        server.flip(&key, begins + wrong);
        let (code, message) = failure(store.restore(&spilled[1]));
        assert_eq!(code, "OBJECT_LOST");
        let at = begins + wrong / block * block;
        assert!(message.contains(&format!("s3://bucket/{key} at offset {at}:")), "{message}");
        assert_eq!(failure(store.read(&spilled[1], wrong as u64, 1)).0, "OBJECT_LOST");
        is_right(&store, &spilled[0], 1, 5000);
        server.flip(&key, begins + wrong);
    }
    is_right(&store, &spilled[1], 2, size);
}

fn a_server_that_is_killed() {
    let mut server = Server::start();
    let store = store(&server);
    let sizes = [5000, 20 << 20];
    let values: Vec<Place> = sizes.iter().map(|size| place(&store, 7, *size)).collect();
    let before = spill(&store, vec![place(&store, 8, 5000)]).remove(0);
    let mut draft = store.allocate_through().expect("a file");
    draft.append(&pattern(9, 9 << 20)).expect("written");
    server.kill();
    for value in &values {
        let (code, message) = failure(store.spill(vec![value.clone()]).remove(0));
        assert_eq!(code, "STORE_FULL");
        assert!(message.contains("s3://bucket/a/prefix/engine-spill-"), "{message}");
    }
    assert_eq!(failure(store.restore(&before)).0, "OBJECT_LOST");
    assert_eq!(failure(draft.append(&pattern(9, 9 << 20)).and_then(|()| draft.seal())).0, "STORE_FULL");
    for (size, value) in sizes.iter().zip(&values) {
        assert!(slice(value) == Some(&pattern(7, *size)[..]), "it is still in memory");
    }
    wait_until(|| store.usage().spill.undeleted_files == 3);
    server.revive();
    for (size, spilled) in sizes.iter().zip(spill(&store, values)) {
        is_right(&store, &spilled, 7, *size);
    }
    assert_eq!(failure(store.restore(&before)).0, "OBJECT_LOST", "the server has forgotten it");
    drop(before);
    wait_until(|| store.usage().spill.files == 0);
    assert_eq!(store.usage().spill.disk_bytes, 0);
    assert_eq!((server.keys().len(), server.uploads()), (0, 0));
}

/// Nothing that it may still do once it goes on leaves a file: it hangs while a part is sent.
fn a_server_that_hangs() {
    let server = Server::start();
    let target: Arc<dyn SpillTarget> = Arc::new(server.impatient_target(URL).expect("a target"));
    let store = Store::with_target(&options(32 << 20, None), target).expect("a store");
    let before = spill(&store, vec![place(&store, 8, 5000)]).remove(0);
    let mut draft = store.allocate_through().expect("a file");
    draft.append(&pattern(9, 9 << 20)).expect("written");
    assert_eq!(server.uploads(), 1);
    server.hang();
    assert_eq!(failure(store.restore(&before)).0, "OBJECT_LOST");
    assert_eq!(failure(draft.seal()).0, "STORE_FULL");
    wait_until(|| store.usage().spill.undeleted_files == 1);
    server.go_on();
    is_right(&store, &before, 8, 5000);
    is_right(&store, &spill(&store, vec![place(&store, 7, 5000)]).remove(0), 7, 5000);
    drop(before);
    wait_until(|| store.usage().spill.files == 0);
    assert_eq!((server.keys().len(), server.uploads()), (0, 0));
}

fn a_draft_given_up() {
    let server = Server::start();
    let store = store(&server);
    let mut draft = store.allocate_through().expect("a file");
    draft.append(&pattern(2, 20 << 20)).expect("written");
    assert_eq!(server.uploads(), 1);
    drop(draft);
    wait_until(|| store.usage().spill.files == 0);
    assert_eq!((server.keys().len(), server.uploads()), (0, 0));
}

fn nothing_is_left() {
    let server = Server::start();
    let store = store(&server);
    let values = (0..3).map(|n| place(&store, n, 5000)).collect();
    let mut spilled = spill(&store, values);
    spilled.extend(spill(&store, vec![place(&store, 4, 9 << 20)]));
    let mut draft = store.allocate_through().expect("a file");
    draft.append(&pattern(2, 9 << 20)).expect("written");
    assert_eq!((server.keys().len(), server.uploads()), (2, 1));
    drop(store);
    assert_eq!((server.keys().len(), server.uploads()), (2, 1), "places outlive their store");
    drop((draft, spilled));
    assert_eq!((server.keys().len(), server.uploads()), (0, 0));
}

fn what_cannot_be_used() {
    let mut server = Server::start();
    let refused = |target: Result<_, _>, url: &str, why: &str| {
        let (code, message) = failure(target);
        assert_eq!(code, "INVALID_ARGUMENT");
        assert!(message.contains(url) && message.contains(why), "{message}");
    };
    refused(server.target("s3://of-nobody/x"), "s3://of-nobody/x", "NoSuchBucket");
    refused(server.target("gopher://bucket/x"), "gopher://bucket/x", "URL");
    let url = "s3://bucket/x";
    let (key, secret) = server.lock();
    assert!(server.target_with_keys(url, &key, &secret).is_ok(), "the right keys");
    refused(server.target_with_keys(url, &key, "wrong"), url, "SignatureDoesNotMatch");
    refused(server.target_with_keys(url, "wrong", &secret), url, "InvalidAccessKeyId");
    server.kill();
    refused(server.target_with_keys(url, &key, &secret), url, "error sending request");
}

/// The target's own threads do the work.
fn a_thread_of_another_runtime() {
    let server = Server::start();
    let store = store(&server);
    let spilled = spill(&store, vec![place(&store, 1, 5000)]).remove(0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        is_right(&store, &spilled, 1, 5000);
        drop(spilled);
        drop(store);
    });
    assert_eq!(server.keys().len(), 0);
}
