//! How the outside reaches a sandbox: its mailbox, its end, and the CPU time that it takes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use engine_core::work::{Call, CallReport, StopReason, Usage};
use engine_core::{Error, TaskId};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::ticker::PollMark;

/// One sandbox as the outside sees it.
#[derive(Default)]
pub(crate) struct Control {
    waker: AtomicWaker,
    /// Zero, or one more than the reason's position.
    stopped: AtomicU8,
    mailbox: Mutex<Mailbox>,
    /// It stands still until it is told to go on.
    is_paused: AtomicBool,
    has_interrupts: AtomicBool,
    interrupted: Mutex<Vec<TaskId>>,
    pub(crate) meter: Meter,
    inside: Mutex<SmallVec<[Inside; 1]>>,
    /// Bytes that the guest's memories have.
    pub(crate) memory_bytes: AtomicU64,
}

/// A call that is inside.
struct Inside {
    task: TaskId,
    cpu_time: Option<Duration>,
    /// The meter when it began.
    start: u64,
}

#[derive(Default)]
struct Mailbox {
    calls: VecDeque<Call>,
    /// The sandbox sleeps until there is a call.
    is_waiting: bool,
}

const REASONS: [StopReason; 5] = [
    StopReason::Cancelled,
    StopReason::Deadline,
    StopReason::ActorEnded,
    StopReason::JobEnded,
    StopReason::Retired,
];

impl Control {
    /// Ends the sandbox at its next poll. The first reason counts.
    pub(crate) fn stop(&self, reason: StopReason) {
        let position = REASONS.iter().position(|r| *r == reason).unwrap_or(0) as u8 + 1;
        if self.stopped.compare_exchange(0, position, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.waker.wake();
        }
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        let position = self.stopped.load(Ordering::Acquire);
        REASONS.get(usize::from(position).checked_sub(1)?).copied()
    }

    /// Has the sandbox stand still from its next poll on, or go on.
    pub(crate) fn pause(&self, pauses: bool) {
        self.is_paused.store(pauses, Ordering::Release);
        if !pauses {
            self.waker.wake();
        }
    }

    /// Queues a call; false when the mailbox is full.
    pub(crate) fn deliver(&self, call: Call, calls_max: usize) -> bool {
        let mut mailbox = self.mailbox.lock();
        if mailbox.calls.len() >= calls_max {
            return false;
        }
        mailbox.calls.push_back(call);
        // Woken only out of its sleep: a sandbox that delivers to itself goes on without one.
        let wake = std::mem::take(&mut mailbox.is_waiting);
        drop(mailbox);
        if wake {
            self.waker.wake();
        }
        true
    }

    /// The next call, in the order of delivery.
    pub(crate) async fn next_call(&self) -> Call {
        std::future::poll_fn(|_| {
            let mut mailbox = self.mailbox.lock();
            match mailbox.calls.pop_front() {
                Some(call) => Poll::Ready(call),
                None => {
                    mailbox.is_waiting = true;
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Notes that a call begins; zero for `calls` when the sandbox has not been polled yet.
    pub(crate) fn began(&self, task: TaskId, cpu_time: Option<Duration>, calls: u64) {
        let mut inside = self.inside.lock();
        let start = if calls == 0 { 0 } else { self.meter.now() };
        inside.push(Inside { task, cpu_time, start });
        self.meter.limit(&inside);
    }

    /// From within a poll: what a call has used so far.
    pub(crate) fn usage_of(&self, task: TaskId) -> Usage {
        let inside = self.inside.lock();
        let start = inside.iter().find(|call| call.task == task).map_or(u64::MAX, |call| call.start);
        self.usage(self.meter.now().saturating_sub(start))
    }

    /// From within a poll: a call has ended; what it used.
    pub(crate) fn finished(&self, task: TaskId) -> Usage {
        let mut inside = self.inside.lock();
        let start = match inside.iter().position(|call| call.task == task) {
            Some(at) => inside.remove(at).start,
            None => u64::MAX,
        };
        let used = self.meter.now().saturating_sub(start);
        self.meter.limit(&inside);
        drop(inside);
        self.forget(task);
        self.usage(used)
    }

    fn usage(&self, nanos: u64) -> Usage {
        Usage { cpu: Duration::from_nanos(nanos), memory_bytes: self.memory_bytes.load(Ordering::Relaxed) }
    }

    /// When the sandbox is no more: the reports of the calls that were inside, each with an error made
    /// of the CPU time that it had and that it used.
    pub(crate) fn unfinished(
        &self,
        error: impl Fn(Option<Duration>, Duration) -> Error,
    ) -> SmallVec<[CallReport; 1]> {
        let now = self.meter.used.load(Ordering::Relaxed);
        let inside = std::mem::take(&mut *self.inside.lock());
        let report = |call: Inside| {
            let usage = self.usage(now.saturating_sub(call.start));
            CallReport { task: call.task, result: Err(error(call.cpu_time, usage.cpu)), usage }
        };
        inside.into_iter().map(report).collect()
    }

    /// Raises the flag of one call.
    pub(crate) fn interrupt(&self, task: TaskId) {
        let mut interrupted = self.interrupted.lock();
        if !interrupted.contains(&task) {
            interrupted.push(task);
            self.has_interrupts.store(true, Ordering::Release);
        }
    }

    pub(crate) fn is_interrupted(&self, task: TaskId) -> bool {
        self.has_interrupts.load(Ordering::Acquire) && self.interrupted.lock().contains(&task)
    }

    /// A call has ended: its flag is no longer needed.
    pub(crate) fn forget(&self, task: TaskId) {
        if self.has_interrupts.load(Ordering::Acquire) {
            let mut interrupted = self.interrupted.lock();
            interrupted.retain(|t| *t != task);
            self.has_interrupts.store(!interrupted.is_empty(), Ordering::Release);
        }
    }
}

/// Measures a sandbox's time on guest threads. Only the thread that polls the sandbox writes.
#[derive(Default)]
pub(crate) struct Meter {
    /// Nanoseconds of the polls that have ended.
    used: AtomicU64,
    /// When the poll began that is going on, by the clock in use; zero: none is.
    began: AtomicU64,
    /// Nanoseconds at which the call in progress has used up its CPU time; zero: no limit.
    limit: AtomicU64,
    /// Whether the CPU clock of the thread is used: exact on a busy machine, but a system call.
    is_exact: AtomicBool,
}

impl Meter {
    fn clock(&self) -> u64 {
        let time = if self.is_exact.load(Ordering::Relaxed) {
            rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
        } else {
            rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)
        };
        (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
    }

    fn begin(&self) {
        self.began.store(self.clock(), Ordering::Relaxed);
    }

    fn end(&self) {
        self.used.store(self.now(), Ordering::Relaxed);
        self.began.store(0, Ordering::Relaxed);
    }

    /// Nanoseconds so far.
    fn now(&self) -> u64 {
        let used = self.used.load(Ordering::Relaxed);
        match self.began.load(Ordering::Relaxed) {
            0 => used,
            began => used.saturating_add(self.clock().saturating_sub(began)),
        }
    }

    /// Sets the limit and the clock for the calls that are inside.
    fn limit(&self, inside: &[Inside]) {
        let ends = |call: &Inside| Some(call.start.saturating_add(nanos(call.cpu_time?)).max(1));
        let limit = inside.iter().filter_map(ends).min();
        if self.is_exact.load(Ordering::Relaxed) != limit.is_some() {
            let is_polled = self.began.load(Ordering::Relaxed) != 0;
            self.used.store(self.now(), Ordering::Relaxed);
            self.is_exact.store(limit.is_some(), Ordering::Relaxed);
            if is_polled {
                self.begin();
            }
        }
        self.limit.store(limit.unwrap_or(0), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        limit != 0 && self.used.load(Ordering::Relaxed) >= limit
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Why a sandbox's future is no more.
pub(crate) enum Ended<T> {
    /// It came to its end.
    Done(T),
    /// It was asked to.
    Stopped,
    /// Its call had used up its CPU time.
    CpuTimeOver,
    /// The host's code panicked in it.
    Panicked(String),
}

/// Polls a sandbox's future, sees to its end, and measures it. When this resolves, the future and the
/// store in it have been dropped.
pub(crate) struct Watched<'a, F> {
    future: Option<Pin<Box<F>>>,
    control: &'a Control,
}

impl<'a, F> Watched<'a, F> {
    pub(crate) fn new(future: F, control: &'a Control) -> Self {
        Self { future: Some(Box::pin(future)), control }
    }

    /// Drops the future; the message when that panics.
    fn drop_future(&mut self) -> Option<String> {
        let future = self.future.take();
        caught(|| drop(future)).err()
    }
}

impl<F: Future> Future for Watched<'_, F> {
    type Output = Ended<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.control.waker.register(context.waker());
        if this.control.stop_reason().is_some() {
            return Poll::Ready(match this.drop_future() {
                None => Ended::Stopped,
                Some(panic) => Ended::Panicked(panic),
            });
        }
        if this.control.is_paused.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let Some(future) = &mut this.future else { return Poll::Pending };
        let meter = &this.control.meter;
        let polled = {
            let _mark = PollMark::new();
            meter.begin();
            let polled = caught(|| future.as_mut().poll(context));
            meter.end();
            polled
        };
        let ended = match polled {
            Ok(Poll::Pending) if meter.is_over() => Ended::CpuTimeOver,
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ended::Done(output),
            Err(panic) => Ended::Panicked(panic),
        };
        Poll::Ready(match (this.drop_future(), ended) {
            (Some(panic), Ended::Stopped | Ended::CpuTimeOver) => Ended::Panicked(panic),
            (_, ended) => ended,
        })
    }
}

/// What `action` gives, or the message of its panic.
fn caught<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    // Whatever the panic left half done is dropped with the sandbox.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(action)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
    })
}
