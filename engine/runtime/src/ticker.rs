//! Time slices: one thread moves the epoch of the engines on, and only when a guest has run for a
//! whole tick. Guests check the epoch at loops and calls, and yield.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How many ticks without a guest at work until the ticker looks less often.
const IDLE_TICKS: u32 = 50;
/// How much less often.
const IDLE_FACTOR: u32 = 8;

/// Counts the polls of one guest thread: odd while one is going on.
#[derive(Default)]
#[repr(align(128))]
struct PollCount(AtomicU64);

thread_local! {
    static COUNT: OnceCell<Arc<PollCount>> = const { OnceCell::new() };
}

/// A poll of a guest on this thread, for as long as it lives.
pub(crate) struct PollMark;

impl PollMark {
    pub(crate) fn new() -> Self {
        bump();
        Self
    }
}

impl Drop for PollMark {
    fn drop(&mut self) {
        bump();
    }
}

fn bump() {
    COUNT.with(|count| {
        if let Some(PollCount(count)) = count.get().map(|count| &**count) {
            // This thread is the only writer.
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        }
    });
}

/// What the guest threads and the ticker share.
#[derive(Default)]
pub(crate) struct Ticks {
    threads: Mutex<Vec<Weak<PollCount>>>,
    is_over: AtomicBool,
    gate: Mutex<()>,
    wake: Condvar,
}

impl Ticks {
    /// The calling thread runs guests from now on.
    pub(crate) fn register_thread(&self) {
        let count = Arc::new(PollCount::default());
        let mut threads = self.threads.lock();
        // Threads for blocking calls come and go.
        threads.retain(|thread| thread.strong_count() > 0);
        threads.push(Arc::downgrade(&count));
        drop(threads);
        COUNT.with(|cell| drop(cell.set(count)));
    }

    /// Ends the ticker.
    pub(crate) fn finish(&self) {
        self.is_over.store(true, Ordering::Release);
        let _gate = self.gate.lock();
        self.wake.notify_all();
    }

    /// Calls `advance` after each tick during which some guest was polled without a pause.
    pub(crate) fn run(&self, tick: Duration, mut advance: impl FnMut()) {
        let mut last: Vec<u64> = Vec::new();
        let mut idle_ticks = 0;
        loop {
            let pause = if idle_ticks >= IDLE_TICKS { tick * IDLE_FACTOR } else { tick };
            {
                let mut gate = self.gate.lock();
                if self.is_over.load(Ordering::Acquire) {
                    return;
                }
                self.wake.wait_for(&mut gate, pause);
            }
            let now: Vec<u64> = self
                .threads
                .lock()
                .iter()
                .map(|thread| thread.upgrade().map_or(0, |count| count.0.load(Ordering::Acquire)))
                .collect();
            let is_busy = now.iter().any(|count| count % 2 == 1);
            let is_stuck = now.iter().zip(&last).any(|(now, last)| now % 2 == 1 && now == last);
            idle_ticks = if is_busy { 0 } else { idle_ticks.saturating_add(1) };
            if is_stuck {
                advance();
            }
            last = now;
        }
    }
}
