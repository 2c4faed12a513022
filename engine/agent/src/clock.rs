//! The node's clock: the only place where the core's time comes from.

use std::time::{Duration, Instant, SystemTime};

use engine_core::Time;

/// Monotonic time since the node started, and the wall-clock time of that start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    wall: SystemTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), wall: SystemTime::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.start.elapsed().as_nanos() as u64)
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_nanos(time.0)
    }

    /// For people: when it was, by the clock on the wall at the node's start.
    pub(crate) fn wall(&self, time: Time) -> SystemTime {
        self.wall + Duration::from_nanos(time.0)
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn started(&self) -> SystemTime {
        self.wall
    }
}
