//! `wasi:random/insecure-seed`, which every Rust guest asks for its first hash table: answered without
//! making the rest of WASI for it.

use std::hash::{BuildHasher, RandomState};

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::random::insecure_seed;

use crate::guest::Guest;

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    insecure_seed::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl insecure_seed::Host for Guest {
    /// Another one for every guest, which nobody outside can guess.
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let keys = RandomState::new();
        Ok((keys.hash_one(0), keys.hash_one(1)))
    }
}
