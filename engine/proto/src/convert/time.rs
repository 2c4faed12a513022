//! Points in time and spans of it.

use std::time::{Duration, SystemTime};

/// A point in time as it travels.
pub fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// A point in time from the wire; none when it is out of range.
pub fn system_time(time: &prost_types::Timestamp) -> Option<SystemTime> {
    SystemTime::try_from(*time).ok()
}

/// A span as it travels; the longest there is when it is longer than that.
pub fn duration(duration: Duration) -> prost_types::Duration {
    duration.try_into().unwrap_or(prost_types::Duration { seconds: 315_576_000_000, nanos: 999_999_999 })
}

/// A span from the wire; none when it is negative.
pub fn std_duration(duration: &prost_types::Duration) -> Option<Duration> {
    Duration::try_from(*duration).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        assert_eq!(system_time(&timestamp(time)), Some(time));
        assert_eq!(std_duration(&duration(Duration::from_millis(1500))), Some(Duration::from_millis(1500)));
        assert!(std_duration(&duration(Duration::MAX)).is_some());
        assert_eq!(std_duration(&prost_types::Duration { seconds: -1, nanos: 0 }), None);
    }
}
