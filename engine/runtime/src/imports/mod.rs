//! The functions of `wit/compute.wit` that the host offers, one file per interface.

mod actors;
mod array_types;
mod arrays;
mod context;
mod direct;
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
    crate::seed::add_to_linker(linker)?;
    Component::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    direct::add_to_linker(linker)
}

/// Names of interfaces.
pub(crate) const TYPES: &str = "engine:compute/types@0.1.0";
pub(crate) const ARRAYS: &str = "engine:compute/arrays@0.1.0";
pub(crate) const OBJECTS: &str = "engine:compute/objects@0.1.0";

pub(crate) use direct::{add_objects, add_types, answer, emit, linked_by_hand};
pub(crate) use types::too_much_returned;
pub use waiting::{check_wait, ready_indexes, timed_out};
