//! The functions of `wit/compute.wit` that the host offers, one file per interface.

mod actors;
mod context;
mod logging;
mod objects;
mod placement_groups;
mod tasks;
mod types;
mod waiting;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::Component;
use crate::guest::Guest;

/// Everything that a guest may import: the engine's own interfaces and WASI.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    Component::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

pub(crate) use types::too_much_returned;
pub(crate) use waiting::timed_out;
