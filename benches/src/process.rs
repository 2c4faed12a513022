//! What the system says of this process.

use std::time::Duration;

/// Bytes of memory that are resident now.
pub(crate) fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// CPU time of all threads of this process, user and system.
pub(crate) fn cpu_time() -> Duration {
    cpu_time_of(std::process::id())
}

/// The same of another process.
pub(crate) fn cpu_time_of(process: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the process, in parentheses, may have spaces in it.
    let after = text.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
