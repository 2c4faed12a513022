use std::time::{Duration, SystemTime};

/// Reads a time, or a span before now: `2026-11-24T03:00:00Z`, `90m`.
pub(crate) fn since(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let span: Option<Duration> = humantime::parse_duration(text).ok();
    span.and_then(|span| SystemTime::now().checked_sub(span))
        .ok_or_else(|| "expected a time as in 2026-11-24T03:00:00Z, or how long ago as in 90m".to_owned())
}
