//! Durations as the interface has them.
use std::time::Duration;

/// Whole nanoseconds; 584 years and more are as long as it gets.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
