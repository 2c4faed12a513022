//! What the tests and the soak share; none of them uses all of it.
#![allow(dead_code)]

pub(crate) mod faulty;
pub(crate) mod soak;

use std::path::Path;

use engine_core::{Error, Place};
use engine_objects::{Options, SpillOptions, Store};

/// A store with this arena; everything above 16 bytes lies in it.
pub(crate) fn options(arena_bytes_max: usize, folder: Option<&Path>) -> Options {
    Options {
        arena_bytes_max,
        inline_object_bytes_max: 16,
        prefault_bytes_max: 0,
        spill: SpillOptions {
            folder: folder.map(Into::into),
            block_bytes: 64 << 10,
            ..SpillOptions::default()
        },
    }
}

pub(crate) fn store(arena_bytes_max: usize, folder: &Path) -> Store {
    Store::new(&options(arena_bytes_max, Some(folder))).expect("a store")
}

/// Bytes that differ between seeds and between places.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn place(store: &Store, seed: u64, length: usize) -> Place {
    store.place(pattern(seed, length)).expect("room")
}

/// Every file below the folder.
pub(crate) fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("a type").is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.retain(|path| path.extension().is_none_or(|extension| extension != "lock"));
    found
}

/// Waits for what another thread is about to do.
pub(crate) fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        std::thread::yield_now();
    }
}

/// Code and message of what must have failed.
pub(crate) fn failure<T>(result: Result<T, Error>) -> (&'static str, String) {
    let error = result.err().expect("a failure");
    (error.code().as_str(), error.message().to_owned())
}
