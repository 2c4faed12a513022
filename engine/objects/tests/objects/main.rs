//! The store against disks that work and disks that do not.

#[path = "../common/mod.rs"]
mod common;
mod concurrency;
mod faults;
mod memory;
mod soak;
mod spilling;

use common::{failure, faulty, files_below, options, pattern, place, store, wait_until};
