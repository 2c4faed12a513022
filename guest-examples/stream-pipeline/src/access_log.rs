//! Lines of a web server's log: made up, and read.
use engine::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::AddAssign;

const PATHS: [&str; 6] = ["/", "/about", "/docs", "/docs/tasks", "/login", "/static/style.css"];
/// Most requests succeed.
const STATUSES: [u16; 10] = [200, 200, 200, 200, 200, 200, 304, 404, 404, 500];

/// Lines such as `10.0.3.7 GET /docs 200 5120`, the same for the same seed.
pub fn batch(seed: u64, lines: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = String::new();
    for _ in 0..lines {
        let (a, b) = (random.u8(..), random.u8(..));
        let path = PATHS[random.usize(..PATHS.len())];
        let status = STATUSES[random.usize(..STATUSES.len())];
        let bytes = if status == 200 { random.u32(100..100_000) } else { 0 };
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "10.0.{a}.{b} GET {path} {status} {bytes}");
    }
    text
}

/// What some lines say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub requests: u64,
    pub bytes: u64,
    pub by_status: BTreeMap<u16, u64>,
    pub by_path: BTreeMap<String, u64>,
}

impl Summary {
    /// Reads lines.
    ///
    /// # Errors
    /// Of the kind `Malformed`, with the line.
    pub fn of(text: &str) -> Result<Self> {
        let mut summary = Summary::default();
        for line in text.lines() {
            let malformed = || Failure::new("Malformed", format!("not a line of the log: {line}"));
            let mut words = line.split(' ').skip(2);
            let path = words.next().ok_or_else(malformed)?;
            let status = words.next().and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
            let bytes: u64 = words.next().and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
            summary.requests += 1;
            summary.bytes += bytes;
            *summary.by_status.entry(status).or_default() += 1;
            *summary.by_path.entry(path.to_owned()).or_default() += 1;
        }
        Ok(summary)
    }

    /// Requests that were answered with 400 and above.
    pub fn errors(&self) -> u64 {
        self.by_status.range(400..).map(|(_, count)| count).sum()
    }

    /// The counts by status and by path, as lines of text.
    pub fn table(&self) -> String {
        let statuses = self.by_status.iter().map(|(status, count)| format!("{count:>10} {status}\n"));
        let paths = self.by_path.iter().map(|(path, count)| format!("{count:>10} {path}\n"));
        statuses.chain(paths).collect()
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (path, count) in other.by_path {
            *self.by_path.entry(path).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_can_be_read_and_added_up() {
        let mut total = Summary::of(&batch(1, 500)).unwrap();
        assert_eq!((total.requests, total.by_path.len()), (500, PATHS.len()));
        assert!(total.errors() > 50, "three in ten fail");
        let other = Summary::of(&batch(2, 100)).unwrap();
        assert_ne!(total, other);
        total += other;
        assert_eq!(total.requests, 600);
        assert_eq!(total.by_status.values().sum::<u64>(), 600);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = Summary::of("10.0.0.1 GET / 200 5\nnonsense").unwrap_err();
        assert_eq!(error.kind(), Some("Malformed"));
        assert!(error.message().ends_with("nonsense"));
    }
}
