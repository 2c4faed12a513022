//! CPU time and memory of this process.

use std::ops::AddAssign;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread in nanoseconds: other programs on the machine do not count.
pub fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What looking at the clock adds to what is measured.
pub fn clock_nanos() -> u64 {
    const LOOKS: u64 = 100_000;
    let start = cpu_nanos();
    let last = (0..LOOKS).fold(start, |_, _| std::hint::black_box(cpu_nanos()));
    (last - start) / LOOKS
}

/// Bytes of memory that this process has.
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// The most bytes of memory that this process has had.
pub fn peak_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// CPU time of one kind of event, in nanoseconds, and how many there were.
#[derive(Default, Clone, Copy)]
pub struct Cost {
    pub nanos: u64,
    pub count: u64,
}

impl AddAssign<u64> for Cost {
    fn add_assign(&mut self, nanos: u64) {
        self.nanos += nanos;
        self.count += 1;
    }
}

impl Cost {
    pub fn mean(&self) -> u64 {
        self.nanos / self.count.max(1)
    }
}
