//! Threads that read pieces of an object beside whoever restores it. They are started when they are
//! first needed and then stay: starting one takes as long as reading half a MiB.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::background::Kind;

/// So many threads at most, for all that are restored at the same time. Who gets none reads alone.
const THREADS_MAX: usize = 6;

/// The threads of one store; they end when this is dropped.
pub struct Readers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is work, or no more to come.
    wake: Condvar,
    /// A thread is done with its work.
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// Work that no thread has begun.
    waiting: VecDeque<Work>,
    /// Of each work that was begun and did not end, its number.
    running: Vec<u64>,
    /// Numbers of work in which a thread panicked.
    panicked: Vec<u64>,
    /// Threads that there are, or will be in a moment.
    threads: usize,
    next_number: u64,
    is_stopped: bool,
}

#[derive(Clone, Copy)]
struct Work {
    number: u64,
    /// Valid until the call of [`Readers::run`] that it is of returns.
    run: *const (dyn Fn() + Sync),
}

// SAFETY: what it points to may be called from any thread, being `Sync`, and is there as long as the
// work waits or runs, which `Finish` sees to.
unsafe impl Send for Work {}

impl Readers {
    /// No threads yet.
    pub fn new() -> Self {
        Self { shared: Arc::default(), threads: Mutex::default() }
    }

    /// Calls `work` here, and beside it on up to `others` threads, as long as the call here goes on. All
    /// calls are over when this returns. False when one of the others panicked.
    pub fn run(&self, others: usize, work: &(dyn Fn() + Sync)) -> bool {
        // SAFETY: only the lifetime is changed. `Finish`, which is dropped before this returns, also
        // when `work` panics, takes back what no thread has begun and waits for what one has.
        let run: *const (dyn Fn() + Sync) =
            unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) };
        let mut state = self.shared.state.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.waiting.extend((0..others).map(|_| Work { number, run }));
        let free = state.threads - state.running.len();
        let missing = state.waiting.len().saturating_sub(free).min(THREADS_MAX - state.threads);
        state.threads += missing;
        drop(state);
        let finish = Finish { shared: &self.shared, number };
        for _ in 0..others {
            self.shared.wake.notify_one();
        }
        self.start(missing);
        work();
        finish.wait()
    }

    /// Starts so many threads, as far as the system gives them.
    fn start(&self, count: usize) {
        for _ in 0..count {
            let shared = self.shared.clone();
            match Kind::Reader.start(move || shared.serve()) {
                Ok(thread) => self.threads.lock().push(thread),
                Err(_) => self.shared.state.lock().threads -= 1,
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.state.lock().is_stopped = true;
        self.shared.wake.notify_all();
        for thread in self.threads.lock().drain(..) {
            // They catch panics.
            let _ = thread.join();
        }
    }
}

/// Ends a [`Readers::run`], however it ends.
struct Finish<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Finish<'_> {
    /// False when a thread panicked.
    fn wait(self) -> bool {
        let (shared, number) = (self.shared, self.number);
        drop(self);
        let mut state = shared.state.lock();
        let before = state.panicked.len();
        state.panicked.retain(|panicked| *panicked != number);
        before == state.panicked.len()
    }
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.waiting.retain(|work| work.number != self.number);
        while state.running.contains(&self.number) {
            self.shared.done.wait(&mut state);
        }
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = self.state.lock();
        while !state.is_stopped {
            let Some(work) = state.waiting.pop_front() else {
                self.wake.wait(&mut state);
                continue;
            };
            state.running.push(work.number);
            drop(state);
            // SAFETY: the number is among those that run, so whoever gave the work waits for it.
            let run = unsafe { &*work.run };
            let ended = catch_unwind(AssertUnwindSafe(run));
            state = self.state.lock();
            if ended.is_err() {
                state.panicked.push(work.number);
            }
            if let Some(at) = state.running.iter().position(|number| *number == work.number) {
                state.running.swap_remove(at);
            }
            self.done.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn pieces_are_shared_by_threads_that_stay() {
        let readers = Readers::new();
        for _ in 0..50 {
            let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = || {
                loop {
                    let piece = next.fetch_add(1, Ordering::SeqCst);
                    if piece >= 20 {
                        return;
                    }
                    sum.fetch_add(piece, Ordering::SeqCst);
                }
            };
            assert!(readers.run(2, &work));
            assert_eq!(sum.into_inner(), 190, "all is done when it returns");
        }
        assert_eq!(readers.threads.lock().len(), 2);
        let state = readers.shared.state.lock();
        assert!(state.waiting.is_empty() && state.running.is_empty());
    }

    #[test]
    fn many_at_once_have_few_threads_and_a_thread_that_is_held_up_holds_up_nobody_else() {
        let readers = Readers::new();
        let (inside, go_on) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..THREADS_MAX {
                scope.spawn(|| {
                    let stuck = || {
                        inside.fetch_add(1, Ordering::SeqCst);
                        while go_on.load(Ordering::SeqCst) == 0 {
                            std::thread::yield_now();
                        }
                    };
                    assert!(readers.run(2, &stuck));
                });
            }
            while inside.load(Ordering::SeqCst) < 2 * THREADS_MAX {
                std::thread::yield_now();
            }
            let calls = AtomicUsize::new(0);
            assert!(readers.run(2, &|| {
                calls.fetch_add(1, Ordering::SeqCst);
            }));
            assert_eq!(calls.into_inner(), 1, "by whoever asked, alone");
            go_on.store(1, Ordering::SeqCst);
        });
        assert_eq!(readers.threads.lock().len(), THREADS_MAX);
    }

    #[test]
    fn a_panic_is_told_and_the_thread_stays() {
        let readers = Readers::new();
        let here = std::thread::current().id();
        let (called, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let panics_elsewhere = || {
            if std::thread::current().id() == here {
                while called.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                is_over.fetch_add(1, Ordering::SeqCst);
            } else {
                called.fetch_add(1, Ordering::SeqCst);
                std::panic::resume_unwind(Box::new("meant"));
            }
        };
        assert!(!readers.run(1, &panics_elsewhere));
        assert_eq!((called.into_inner(), is_over.into_inner()), (1, 1));
        assert!(readers.run(1, &|| ()));
        assert!(readers.shared.state.lock().panicked.is_empty());
    }
}
