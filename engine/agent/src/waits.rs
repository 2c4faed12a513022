//! Suspended guests, by the wait that they are in.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use engine_core::WaitId;
use engine_core::ids::IdMap;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// The waits that are not over.
#[derive(Default)]
pub(crate) struct Waits {
    slots: Mutex<IdMap<WaitId, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    over: AtomicBool,
    waker: AtomicWaker,
}

impl Waits {
    /// Registers a wait before anyone can know that it is over.
    pub(crate) fn register(self: &Arc<Self>, id: WaitId) -> WaitFuture {
        let slot = Arc::new(Slot::default());
        self.slots.lock().insert(id, slot.clone());
        WaitFuture { id, slot, waits: self.clone() }
    }

    /// The wait is over.
    pub(crate) fn wake(&self, id: WaitId) {
        if let Some(slot) = self.slots.lock().remove(&id) {
            slot.over.store(true, Ordering::Release);
            slot.waker.wake();
        }
    }
}

/// Resolves when its wait is over.
pub(crate) struct WaitFuture {
    id: WaitId,
    slot: Arc<Slot>,
    waits: Arc<Waits>,
}

impl WaitFuture {
    /// Whether it has resolved or is about to.
    pub(crate) fn is_over(&self) -> bool {
        self.slot.over.load(Ordering::Acquire)
    }
}

impl Future for WaitFuture {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.slot.over.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.slot.waker.register(context.waker());
        match self.slot.over.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for WaitFuture {
    fn drop(&mut self) {
        if !self.slot.over.load(Ordering::Acquire) {
            self.waits.slots.lock().remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_wait_is_over_once_it_was_woken() {
        let waits = Arc::new(Waits::default());
        let mut wait = waits.register(WaitId(1));
        assert_eq!((&mut wait).now_or_never(), None);
        waits.wake(WaitId(2));
        assert_eq!((&mut wait).now_or_never(), None);
        waits.wake(WaitId(1));
        assert_eq!(wait.now_or_never(), Some(()));
    }

    #[test]
    fn a_guest_that_is_dropped_leaves_nothing_behind() {
        let waits = Arc::new(Waits::default());
        drop(waits.register(WaitId(1)));
        assert!(waits.slots.lock().is_empty());
    }
}
