//! Times and spans as people and programs read them.

use std::time::{Duration, SystemTime};

use engine_proto::convert::system_time;
use engine_proto::prost_types::Timestamp;

/// `2026-01-31T12:00:00.123Z`; none when there is no time.
pub(crate) fn rfc3339(time: Option<&Timestamp>) -> Option<String> {
    Some(humantime::format_rfc3339_millis(system_time(time?)?).to_string())
}

/// The span between two times; none when one is missing or they are the wrong way around.
pub(crate) fn between(from: Option<&Timestamp>, to: Option<SystemTime>) -> Option<Duration> {
    to?.duration_since(system_time(from?)?).ok()
}

/// Short, with about three digits: `12 ms`, `4.21 s`, `3m 5s`, `2h 10m`, `5d 3h`.
pub(crate) fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.as_millis() == 0 => format!("{} µs", span.as_micros()),
        0 => format!("{} ms", span.as_millis()),
        1..10 => format!("{:.2} s", span.as_secs_f64()),
        10..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How long ago something was: `5m 2s ago`.
pub(crate) fn ago(time: Option<&Timestamp>, now: SystemTime) -> String {
    between(time, Some(now)).map(|span| format!("{} ago", short(span))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let cases = [
            (12, "12 µs"),
            (12_000, "12 ms"),
            (4_213_000, "4.21 s"),
            (42_130_000, "42.1 s"),
            (185_000_000, "3m 5s"),
            (7_800_000_000, "2h 10m"),
            (443_000_000_000, "5d 3h"),
        ];
        for (micros, text) in cases {
            assert_eq!(short(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn times_are_told_apart_from_none() {
        let time = Timestamp { seconds: 1_700_000_000, nanos: 5_000_000 };
        assert_eq!(rfc3339(Some(&time)).unwrap(), "2023-11-14T22:13:20.005Z");
        assert_eq!(rfc3339(None), None);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_063);
        assert_eq!(ago(Some(&time), now), "1m 2s ago");
        assert_eq!(ago(None, now), "");
    }
}
