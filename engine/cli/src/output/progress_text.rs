//! How far a job is, in words.

use std::collections::VecDeque;
use std::time::Duration;

use engine_client::messages::{JobProgress, TaskCounts};

use crate::output::time::short;

/// The rate is that of the last so many seconds.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Observations that are kept for the rate.
const OBSERVATIONS_MAX: usize = 256;

/// What is known of a job's progress, without its root task, which is the job itself.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    tasks: TaskCounts,
    root_waits: bool,
    observed: VecDeque<(Duration, u64)>,
}

impl Progress {
    /// Takes in what the engine says, so long after the start.
    pub(crate) fn observe(&mut self, elapsed: Duration, progress: &JobProgress) {
        let mut tasks = progress.tasks.unwrap_or_default();
        let slot = match progress.root_state.as_str() {
            "RUNNING" => &mut tasks.running,
            "BLOCKED" => &mut tasks.blocked,
            "FINISHED" => &mut tasks.finished,
            "FAILED" => &mut tasks.failed,
            "CANCELLED" => &mut tasks.cancelled,
            "SUBMITTED" => &mut tasks.submitted,
            _ => &mut tasks.pending_placement,
        };
        *slot = slot.saturating_sub(1);
        self.tasks = tasks;
        self.root_waits = progress.root_state == "BLOCKED";
        self.observed.push_back((elapsed, tasks.ended()));
        while self.observed.len() > OBSERVATIONS_MAX
            || self.observed.get(1).is_some_and(|(at, _)| *at + RATE_WINDOW < elapsed)
        {
            self.observed.pop_front();
        }
    }

    /// Tasks that have ended, and all that there are so far.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.tasks.ended(), self.tasks.total())
    }

    /// Tasks that ended per second, lately.
    pub(crate) fn rate(&self) -> Option<f64> {
        let ((from, before), (to, now)) = (*self.observed.front()?, *self.observed.back()?);
        let span = to.checked_sub(from)?.as_secs_f64();
        (span >= 0.2).then(|| now.saturating_sub(before) as f64 / span)
    }

    /// How long it will take at this rate. Known only while the root task waits: before, it may
    /// spawn any number more.
    fn left(&self) -> Option<Duration> {
        let rate = self.rate().filter(|rate| self.root_waits && *rate > 0.0)?;
        let left = self.tasks.total() - self.tasks.ended();
        (left > 0).then(|| Duration::try_from_secs_f64(left as f64 / rate).ok()).flatten()
    }

    /// `12/40 tasks, 4 running, 24 queued, 11/s, 3.1 s left`
    pub(crate) fn text(&self) -> String {
        let (ended, total) = self.position();
        if total == 0 {
            return "running".to_owned();
        }
        let mut parts = vec![format!("{ended}/{total} tasks")];
        let counts = [
            ("running", self.tasks.running),
            ("waiting for others", self.tasks.blocked),
            ("queued", self.tasks.queued()),
            ("failed", self.tasks.failed),
            ("cancelled", self.tasks.cancelled),
        ];
        parts.extend(counts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")));
        if let Some(rate) = self.rate().filter(|rate| *rate > 0.0) {
            parts.push(if rate < 10.0 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") });
        }
        if let Some(left) = self.left() {
            parts.push(format!("{} left", short(left)));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(root: &str, finished: u64, running: u64, queued: u64) -> JobProgress {
        let mut tasks = TaskCounts { finished, running, pending_placement: queued, ..TaskCounts::default() };
        match root {
            "BLOCKED" => tasks.blocked += 1,
            _ => tasks.running += 1,
        }
        JobProgress { tasks: Some(tasks), root_state: root.into(), ..JobProgress::default() }
    }

    #[test]
    fn a_job_without_tasks_just_runs() {
        let mut seen = Progress::default();
        seen.observe(Duration::from_secs(1), &progress("RUNNING", 0, 0, 0));
        assert_eq!(seen.text(), "running");
    }

    #[test]
    fn the_time_left_is_told_once_the_root_waits() {
        let mut seen = Progress::default();
        seen.observe(Duration::from_secs(0), &progress("RUNNING", 0, 4, 96));
        seen.observe(Duration::from_secs(2), &progress("RUNNING", 40, 4, 56));
        assert_eq!(seen.text(), "40/100 tasks, 4 running, 56 queued, 20/s");
        seen.observe(Duration::from_secs(2), &progress("BLOCKED", 40, 4, 56));
        assert_eq!(seen.text(), "40/100 tasks, 4 running, 56 queued, 20/s, 3.00 s left");
        assert_eq!(seen.position(), (40, 100));
    }

    #[test]
    fn the_rate_is_that_of_late_and_bounded_in_memory() {
        let mut seen = Progress::default();
        for tenth in 0..10_000 {
            let finished = u64::saturating_sub(tenth, 9_000);
            seen.observe(Duration::from_millis(tenth * 100), &progress("RUNNING", finished, 1, 0));
        }
        assert!(seen.observed.len() <= OBSERVATIONS_MAX);
        assert_eq!(seen.rate().unwrap().round(), 10.0);
    }
}
