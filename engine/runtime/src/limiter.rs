//! The bound on a guest's memory (contract L3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine_arrays::Budget;
use wasmtime::ResourceLimiter;

use crate::control::Control;

/// Bytes of the page in which memories grow.
pub(crate) const WASM_PAGE_BYTES: u64 = 64 << 10;

/// Counts what a guest's memories take together and refuses what goes beyond the limit.
pub(crate) struct MemoryLimiter {
    /// Bytes that the guest's memories and its arrays may have together.
    pub(crate) budget: Arc<Budget>,
    /// Bytes that the guest would have had after the last growth that was refused.
    pub(crate) refused: Option<u64>,
    table_elements_max: usize,
    control: Arc<Control>,
}

impl MemoryLimiter {
    pub(crate) fn new(max: u64, table_elements_max: u32, control: Arc<Control>) -> Self {
        let budget = Budget::new(max);
        Self { budget, refused: None, table_elements_max: table_elements_max as usize, control }
    }

    /// Bytes that the guest may have.
    pub(crate) fn max(&self) -> u64 {
        self.budget.max()
    }

    /// Bytes that it has.
    pub(crate) fn used(&self) -> u64 {
        self.budget.used()
    }

    /// Notes what the guest has, for its calls' usage.
    pub(crate) fn note(&self) {
        self.control.memory_bytes.fetch_max(self.used(), Ordering::Relaxed);
    }

    /// A new call has what there is.
    pub(crate) fn begin(&self) {
        self.control.memory_bytes.store(self.used(), Ordering::Relaxed);
    }

    /// A new call is not to blame for what an earlier one was refused.
    pub(crate) fn forget_refusal(&mut self) {
        self.refused = None;
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        match self.budget.try_add(more) {
            Ok(_) => {
                self.note();
                Ok(true)
            }
            Err(wanted) => {
                self.refused = Some(wanted);
                Ok(false)
            }
        }
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The limit is never above what a memory can be, so only the kernel refuses here. What was
        // counted stays counted: too much is the safe side.
        self.refused = Some(self.used().saturating_add(WASM_PAGE_BYTES));
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // contract: L3
    #[test]
    fn all_memories_of_a_guest_count_together() {
        let mut limiter = MemoryLimiter::new(100, 10, Arc::default());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(!limiter.memory_growing(60, 61, None).unwrap());
        assert_eq!((limiter.used(), limiter.refused), (100, Some(101)));
    }
}
