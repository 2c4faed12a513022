//! What the runtime has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers since the runtime was started, but for those that say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Sandboxes instantiated.
    pub instantiations: u64,
    /// Calls that were entered.
    pub calls: u64,
    /// Sandboxes that ended by a trap.
    pub traps: u64,
    /// Sandboxes that were stopped.
    pub stops: u64,
    /// Large objects that were mapped into a sandbox in place of being copied.
    pub mapped_objects: u64,
    /// Sandboxes that there are now.
    pub live_instances: u64,
    /// Components that are loaded now.
    pub loaded_components: u64,
    /// Components whose machine code came from the compile cache.
    pub compile_cache_hits: u64,
    /// Components that were compiled.
    pub compilations: u64,
    /// Threads that guests run on.
    pub guest_threads: u64,
}

/// A counter of the runtime's own.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) instantiations: Count,
    pub(crate) calls: Count,
    pub(crate) traps: Count,
    pub(crate) stops: Count,
    pub(crate) mapped_objects: Count,
}
