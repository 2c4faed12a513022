//! The thread that keeps the arena's pages: touched before they are used, given back when the
//! machine is short of memory.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::arena::{Arena, IDLE_BYTES_MIN};
use crate::background::Kind;
use crate::pressure::is_short_of_memory;

/// Pages are touched in steps of so many bytes: a millisecond, for which the process's mappings
/// cannot be changed.
const TOUCH_STEP_BYTES: usize = 1 << 20;
/// After so many steps the machine's memory is looked at again.
const STEPS_PER_LOOK: usize = 32;
/// While free pages are resident, the machine's memory is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Ends its thread when it is dropped.
pub struct Keeper {
    arena: Arc<Arena>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts to keep the arena.
    pub fn start(arena: Arc<Arena>) -> io::Result<Self> {
        let kept = arena.clone();
        let thread = Kind::Keeper.start(move || keep(&kept, is_short_of_memory))?;
        Ok(Self { arena, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.arena.lock().is_stopped = true;
        self.arena.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed when it happened, and costs only speed.
            let _ = thread.join();
        }
    }
}

fn keep(arena: &Arena, is_short: impl Fn() -> bool) {
    while wait_for_work(arena) {
        if is_short() {
            arena.trim(0);
            // Also when nothing could be given back: pages are not touched ahead while memory is short.
            arena.lock().is_paused = true;
            continue;
        }
        for _ in 0..STEPS_PER_LOOK {
            if arena.lock().is_stopped || !arena.touch_ahead(TOUCH_STEP_BYTES) {
                break;
            }
        }
    }
}

/// False when the arena needs no keeper any more.
fn wait_for_work(arena: &Arena) -> bool {
    let mut state = arena.lock();
    loop {
        if state.is_stopped {
            return false;
        }
        if state.next_ahead(arena.ahead_bytes_max(), TOUCH_STEP_BYTES).is_some() {
            return true;
        }
        state.is_watched = state.idle_bytes() >= IDLE_BYTES_MIN;
        if !state.is_watched {
            arena.wake.wait(&mut state);
        } else if arena.wake.wait_for(&mut state, LOOK_EVERY).timed_out() {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_memory_is_short_free_pages_are_given_back() {
        let arena = Arena::new(64 << 20, 0).expect("an arena");
        let (mut kept, mut dropped) =
            (arena.allocate(1 << 20).expect("room"), arena.allocate(20 << 20).expect("room"));
        kept.append(&vec![7; 1 << 20]);
        dropped.append(&vec![8; 20 << 20]);
        let kept = kept.seal();
        drop(dropped.seal());
        assert!(arena.usage().resident >= 21 << 20);
        let stopping = arena.clone();
        keep(&arena, move || {
            stopping.lock().is_stopped = true;
            true
        });
        assert_eq!(arena.usage().resident, 1 << 20);
        assert!(kept.as_slice().iter().all(|byte| *byte == 7));
    }

    #[test]
    fn pages_are_ready_ahead_of_use_and_never_more_than_the_bound() {
        let ahead = 24 << 20;
        let arena = Arena::new(1 << 30, ahead).expect("an arena");
        assert_eq!(arena.usage().resident, 0, "an arena that is not used takes no pages");
        let used = 100 << 20;
        let extent = arena.allocate(used).expect("room");
        std::thread::scope(|scope| {
            scope.spawn(|| keep(&arena, || false));
            while arena.lock().next_ahead(ahead, 1).is_some() {
                std::thread::yield_now();
            }
            arena.lock().is_stopped = true;
            arena.wake.notify_all();
        });
        assert!(!arena.lock().is_paused, "the system refused");
        // The extent itself was not written yet: what is resident was touched ahead.
        assert_eq!(arena.usage().resident, ahead);
        drop(extent);
    }
}
