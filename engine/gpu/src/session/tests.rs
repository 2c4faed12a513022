//! The books of a session, against a device that does nothing until it is told to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::backend::{
    Backend, Bound, KernelKey, KernelShape, KernelSource, Launch, MemoryKey, QueueKey, Waiter,
};
use crate::device::DeviceDescription;
use crate::dtype::DType;
use crate::error::{Code, Error, Result, lost};
use crate::ops::{Operation, Unary};
use crate::reference;
use crate::session::{ALLOCATION_GRANULE_BYTES, Session, SessionLimits};

/// What a test sees of the device, and tells it.
#[derive(Default)]
struct Seen {
    memory: HashSet<MemoryKey>,
    issued: u64,
    completed: u64,
    /// Memories that there can be.
    memory_max: usize,
    is_lost: bool,
}

#[derive(Clone)]
struct Slow {
    description: DeviceDescription,
    seen: Arc<Mutex<Seen>>,
}

impl Slow {
    fn give(&self) -> Result<()> {
        let mut seen = self.seen.lock();
        if seen.is_lost {
            return Err(lost("the device fell off the bus"));
        }
        seen.issued += 1;
        Ok(())
    }
}

impl Backend for Slow {
    fn description(&self) -> &DeviceDescription {
        &self.description
    }

    fn allocate(&mut self, key: MemoryKey, _: u64) -> Result<()> {
        let mut seen = self.seen.lock();
        if seen.memory.len() == seen.memory_max {
            return Err(Error::new(Code::OutOfMemory, "there is no more"));
        }
        assert!(seen.memory.insert(key), "a key in use is given out again");
        Ok(())
    }

    fn release(&mut self, key: MemoryKey) {
        assert!(self.seen.lock().memory.remove(&key), "memory is released once");
    }

    fn upload(&mut self, _: QueueKey, _: Bound, _: &[u8]) -> Result<()> {
        self.give()
    }

    fn download(&mut self, _: QueueKey, _: Bound, _: &mut [u8]) -> Result<()> {
        self.give()
    }

    fn fill(&mut self, _: QueueKey, _: Bound, _: &[u8]) -> Result<()> {
        self.give()
    }

    fn copy(&mut self, _: QueueKey, _: Bound, _: Bound) -> Result<()> {
        self.give()
    }

    fn compile(&mut self, _: KernelKey, _: KernelSource<'_>, _: &str) -> Result<KernelShape> {
        Ok(KernelShape { bindings: None, scalars: None, block: None, block_threads_max: 1 })
    }

    fn forget(&mut self, _: KernelKey) {}

    fn launch(&mut self, _: QueueKey, _: &Launch<'_>) -> Result<()> {
        self.give()
    }

    fn scratch_bytes(&self, _: &Operation) -> u64 {
        0
    }

    fn operate(&mut self, _: QueueKey, _: &Operation, _: Option<MemoryKey>) -> Result<()> {
        self.give()
    }

    fn open_queue(&mut self, _: QueueKey) -> Result<()> {
        Ok(())
    }

    fn close_queue(&mut self, _: QueueKey) {}

    fn issued(&self, _: QueueKey) -> u64 {
        self.seen.lock().issued
    }

    fn completed(&mut self, _: QueueKey) -> Result<u64> {
        Ok(self.seen.lock().completed)
    }

    fn flush(&mut self, _: QueueKey) -> Result<()> {
        Ok(())
    }

    fn waiter(&mut self, _: QueueKey, ticket: u64) -> Result<Waiter> {
        let seen = self.seen.clone();
        Ok(Box::new(move || {
            let mut seen = seen.lock();
            seen.completed = seen.completed.max(ticket);
            Ok(())
        }))
    }

    fn order(&mut self, _: QueueKey, _: QueueKey, _: u64) -> Result<()> {
        Ok(())
    }

    fn device_time(&mut self) -> Duration {
        Duration::ZERO
    }

    fn submissions(&self) -> u64 {
        0
    }
}

fn slow(limits: SessionLimits) -> (Session, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen { memory_max: 100, ..Seen::default() }));
    let backend = Slow { description: reference::description(), seen: seen.clone() };
    (Session::new(Box::new(backend), limits), seen)
}

fn four_granules() -> SessionLimits {
    SessionLimits { device_memory_bytes_max: 4 * ALLOCATION_GRANULE_BYTES, ..SessionLimits::default() }
}

#[test]
fn memory_that_is_at_work_counts_until_it_is_not() {
    let (session, seen) = slow(four_granules());
    let (one, other) = (session.allocate(DType::F32, 64).expect("fits"), session.allocate(DType::F32, 64));
    let other = other.expect("fits");
    session.stream().unary(Unary::Exp, &one, &other, 64).expect("it is right");
    drop(one);
    assert_eq!(session.usage().device_memory_bytes, 2 * ALLOCATION_GRANULE_BYTES);
    assert_eq!((session.usage().buffers, seen.lock().memory.len()), (1, 2));
    seen.lock().completed = 1;
    assert_eq!(session.usage().device_memory_bytes, ALLOCATION_GRANULE_BYTES);
    assert_eq!(seen.lock().memory.len(), 1);
}

#[test]
fn memory_that_nothing_uses_goes_at_once() {
    let (session, seen) = slow(four_granules());
    drop(session.allocate(DType::F32, 1).expect("fits"));
    assert_eq!((session.usage().device_memory_bytes, seen.lock().memory.len()), (0, 0));
}

#[test]
fn at_the_limit_what_is_dropped_is_waited_for() {
    let (session, seen) = slow(four_granules());
    let all = session.allocate(DType::U8, 4 * ALLOCATION_GRANULE_BYTES).expect("that is all");
    session.stream().fill(&all, 0, 1, 1_u8).expect("it is a buffer");
    assert_eq!(session.allocate(DType::U8, 1).expect_err("it is held").code(), Code::LimitExceeded);
    assert_eq!(seen.lock().completed, 1, "that was waited for, in case that it helps");
    session.stream().fill(&all, 0, 1, 1_u8).expect("it is a buffer");
    drop(all);
    session.allocate(DType::U8, 4 * ALLOCATION_GRANULE_BYTES).expect("there is room when it has ended");
}

#[test]
fn a_device_without_memory_is_asked_again_when_something_was_dropped() {
    let (session, seen) = slow(SessionLimits::default());
    seen.lock().memory_max = 1;
    let one = session.allocate(DType::F32, 1).expect("there is one");
    assert_eq!(session.allocate(DType::F32, 1).expect_err("there is none").code(), Code::OutOfMemory);
    session.stream().fill(&one, 0, 1, 1.0_f32).expect("it is a buffer");
    drop(one);
    session.allocate(DType::F32, 1).expect("there is one again");
    assert_eq!(session.usage().buffers, 0);
}

#[test]
fn a_queue_is_full_at_its_limit_and_has_room_again() {
    let (session, seen) = slow(SessionLimits { launches_queued_max: 3, ..SessionLimits::default() });
    let (buffer, stream) = (session.allocate(DType::F32, 1).expect("fits"), session.stream());
    let give = || stream.fill(&buffer, 0, 1, 1.0_f32);
    for _ in 0..3 {
        give().expect("there is room");
    }
    assert_eq!(give().expect_err("it is full").code(), Code::LimitExceeded);
    seen.lock().completed = 1;
    give().expect("there is room for one");
    assert_eq!(give().expect_err("it is full").code(), Code::LimitExceeded);
    assert_eq!((seen.lock().issued, session.usage().launches), (4, 4));
}

#[test]
fn an_event_has_come_when_all_before_it_has_ended() {
    let (session, seen) = slow(SessionLimits::default());
    let (buffer, stream) = (session.allocate(DType::F32, 1).expect("fits"), session.stream());
    stream.fill(&buffer, 0, 1, 1.0_f32).expect("it is a buffer");
    let event = stream.record().expect("the device is well");
    stream.fill(&buffer, 0, 1, 1.0_f32).expect("it is a buffer");
    assert_eq!(event.is_done(), Ok(false));
    seen.lock().completed = 1;
    assert_eq!(event.is_done(), Ok(true));
    assert_eq!(stream.record().expect("the device is well").is_done(), Ok(false));
}

#[test]
fn a_stream_that_is_dropped_counts_until_it_is_empty() {
    let (session, seen) = slow(SessionLimits { streams_max: 2, ..SessionLimits::default() });
    let buffer = session.allocate(DType::F32, 1).expect("fits");
    let stream = session.open_stream().expect("there is room");
    stream.fill(&buffer, 0, 1, 1.0_f32).expect("it is a buffer");
    drop(stream);
    assert_eq!(session.open_stream().expect_err("it is not empty").code(), Code::LimitExceeded);
    seen.lock().completed = 1;
    session.open_stream().expect("there is room again");
}

#[test]
fn a_device_that_is_lost_stays_lost() {
    let (session, seen) = slow(SessionLimits::default());
    let (buffer, stream) = (session.allocate(DType::F32, 1).expect("fits"), session.stream());
    seen.lock().is_lost = true;
    assert_eq!(stream.fill(&buffer, 0, 1, 1.0_f32).expect_err("it is lost").code(), Code::DeviceLost);
    seen.lock().is_lost = false;
    assert_eq!(stream.fill(&buffer, 0, 1, 1.0_f32).expect_err("it is lost").code(), Code::DeviceLost);
    assert_eq!(session.allocate(DType::F32, 1).expect_err("it is lost").code(), Code::DeviceLost);
}
