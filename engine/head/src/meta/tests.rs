//! The store in a file: nothing that was committed is lost, whenever it is stopped.

mod crash;
mod killed;

use super::embedded::{FORMAT, NUMBERS};
use super::{Embedded, Entries, MetaError, MetaStore, Revision, Write};

fn put(key: &str, value: &str) -> Write {
    Write::Put(key.as_bytes().to_vec(), value.as_bytes().to_vec())
}

fn delete(key: &str) -> Write {
    Write::Delete(key.as_bytes().to_vec())
}

fn entries(of: &[(&str, &str)]) -> Entries {
    of.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("made/on/the/way");
    let mut store = Embedded::open(&place).expect("a new one");
    assert_eq!(store.read().expect("empty"), (Revision(0), Entries::new()));
    let first = store.commit(Revision(0), &[put("b", "1"), put("a", "2"), put("c", "3")]).expect("room");
    let second = store.commit(first, &[delete("b"), put("a", "4"), delete("nothing")]).expect("room");
    assert_eq!((first, second), (Revision(1), Revision(2)));
    drop(store);
    let mut store = Embedded::open(&place).expect("it is there");
    assert_eq!(store.read().expect("whole"), (second, entries(&[("a", "4"), ("c", "3")])));
}

#[test]
fn who_does_not_know_the_last_revision_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Embedded::open(folder.path()).expect("a new one");
    let first = store.commit(Revision(0), &[put("a", "1")]).expect("room");
    let error = store.commit(Revision(0), &[put("a", "2"), put("b", "2")]).expect_err("late");
    assert!(matches!(error, MetaError::Conflict { found, .. } if found == first), "{error}");
    assert_eq!(store.read().expect("whole"), (first, entries(&[("a", "1")])));
    store.commit(first, &[put("a", "3")]).expect("it goes on");
}

#[test]
fn a_store_is_one_heads_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Embedded::open(folder.path()).expect("a new one");
    let error = Embedded::open(folder.path()).expect_err("in use");
    assert!(matches!(error, MetaError::Locked(_)), "{error:?}");
    assert!(error.to_string().contains("--data-dir"), "{error}");
    drop(store);
    Embedded::open(folder.path()).expect("free again");
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Embedded::open(folder.path()).expect("a new one");
    store.commit(Revision(0), &[put("a", "1")]).expect("room");
    drop(store);
    let path = folder.path().join("meta.redb");
    let database = redb::Database::open(&path).expect("free");
    let transaction = database.begin_write().expect("free");
    transaction.open_table(NUMBERS).expect("there").insert("format", FORMAT + 1).expect("room");
    transaction.commit().expect("room");
    drop(database);
    let error = Embedded::open(folder.path()).expect_err("from the future");
    assert!(matches!(error, MetaError::NewerFormat { found, .. } if found == FORMAT + 1), "{error:?}");
    assert!(redb::Database::open(&path).is_ok(), "it is whole");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let error = Embedded::open(&file.join("below")).expect_err("a file is no folder");
    assert!(matches!(error, MetaError::Io { .. }) && error.to_string().contains("below"), "{error}");
}

#[test]
fn damage_is_found_when_it_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Embedded::open(folder.path()).expect("a new one");
    let value = "x".repeat(1_000);
    let writes: Vec<Write> = (0..200).map(|n| put(&format!("key/{n:04}"), &value)).collect();
    store.commit(Revision(0), &writes).expect("room");
    drop(store);
    let path = folder.path().join("meta.redb");
    let whole = std::fs::read(&path).expect("there");
    let at = whole.windows(500).position(|window| window == &value.as_bytes()[..500]).expect("its values");
    for (from, bytes) in [(at, b"y".as_slice()), (0, b"no such file at all")] {
        let mut damaged = whole.clone();
        damaged[from..from + bytes.len()].copy_from_slice(bytes);
        std::fs::write(&path, damaged).expect("written");
        let error = Embedded::open(folder.path()).expect_err("damaged");
        assert!(matches!(error, MetaError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("put back a copy"), "{error}");
    }
    std::fs::write(&path, whole).expect("written");
    assert_eq!(Embedded::open(folder.path()).expect("whole").read().expect("whole").1.len(), 200);
}
