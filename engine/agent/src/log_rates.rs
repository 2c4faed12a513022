//! What the guests of each tenant write to their logs on this node: counted, and bounded by the minute.
//!
//! A line that is too much is dropped and counted, and the log of its job says how many were: so a flood of
//! lines takes neither memory nor the lines between nodes. [`Rate`] decides which are.

use std::collections::BTreeMap;

use engine_core::ids::IdMap;
use engine_core::rate::Rate;
use engine_core::resources::bytes;
use engine_core::{JobId, TaskId, TenantName, Time};
use engine_runtime::host::LogLine;
use parking_lot::Mutex;

use crate::logs::bytes_of;

/// All tenants of whom something was written, or that have a rate.
#[derive(Default)]
pub(crate) struct LogRates(Mutex<BTreeMap<TenantName, TenantLog>>);

#[derive(Default)]
struct TenantLog {
    /// None: there is no bound.
    rate: Option<Rate>,
    /// Bytes that were let through and are not counted yet.
    kept: u64,
    /// By job, what was not let through and nobody was told of.
    dropped: IdMap<JobId, Count>,
}

#[derive(Clone, Copy)]
struct Count {
    lines: u64,
    bytes: u64,
    /// That has written the last of them.
    task: TaskId,
}

/// What is to be said of lines that were dropped.
pub(crate) struct Dropped {
    pub(crate) job: JobId,
    pub(crate) task: TaskId,
    pub(crate) text: String,
}

impl LogRates {
    /// A tenant may write so many bytes each minute from now on; none: there is no bound.
    pub(crate) fn set(&self, now: Time, tenant: &TenantName, per_minute: Option<u64>) {
        let mut tenants = self.0.lock();
        match per_minute {
            None => {
                if let Some(log) = tenants.get_mut(tenant) {
                    log.rate = None;
                }
            }
            Some(per_minute) => {
                let log = tenants.entry(tenant.clone()).or_default();
                match &mut log.rate {
                    Some(rate) if rate.per_minute() == per_minute => {}
                    Some(rate) => rate.change(now, per_minute),
                    None => log.rate = Some(Rate::new(per_minute, now)),
                }
            }
        }
    }

    /// Whether a line goes on; one that does not is counted.
    pub(crate) fn lets_through(&self, now: Time, tenant: &TenantName, line: &LogLine) -> bool {
        let size = bytes_of(line) as u64;
        let mut tenants = self.0.lock();
        if !tenants.contains_key(tenant) {
            tenants.insert(tenant.clone(), TenantLog::default());
        }
        let Some(log) = tenants.get_mut(tenant) else { return true };
        if log.rate.as_mut().is_none_or(|rate| rate.take(now, size).is_ok()) {
            log.kept = log.kept.saturating_add(size);
            return true;
        }
        let dropped = log.dropped.entry(line.job).or_insert(Count { lines: 0, bytes: 0, task: line.task });
        dropped.lines = dropped.lines.saturating_add(1);
        dropped.bytes = dropped.bytes.saturating_add(size);
        dropped.task = line.task;
        false
    }

    /// The bytes that were let through since this was last asked, by tenant. Tenants of whom nothing is left to
    /// be known are forgotten.
    pub(crate) fn take_kept(&self, mut count: impl FnMut(&TenantName, u64)) {
        self.0.lock().retain(|tenant, log| {
            let kept = std::mem::take(&mut log.kept);
            if kept > 0 {
                count(tenant, kept);
            }
            log.rate.is_some() || !log.dropped.is_empty()
        });
    }

    /// What is to be said of what was dropped of this job, or of all.
    pub(crate) fn take_dropped(&self, only: Option<JobId>) -> Vec<Dropped> {
        let mut said = Vec::new();
        for (tenant, log) in self.0.lock().iter_mut().filter(|(_, log)| !log.dropped.is_empty()) {
            let max = log.rate.as_ref().map_or(0, Rate::per_minute);
            let mut say = |(job, count): (JobId, Count)| {
                let Count { lines, bytes: dropped, task } = count;
                let (dropped, max) = (bytes(dropped), bytes(max));
                let text = format!(
                    "{lines} lines more ({dropped}) were written and dropped: the tenant {tenant} may write {max} a minute on a node (log_bytes_per_minute_max)"
                );
                said.push(Dropped { job, task, text });
            };
            match only {
                Some(job) => {
                    if let Some(count) = log.dropped.remove(&job) {
                        say((job, count));
                    }
                }
                None => log.dropped.drain().for_each(say),
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine_core::ids::IdGenerator;
    use engine_runtime::host::LogSource;

    use super::*;

    fn line(job: JobId, task: TaskId, text: &str) -> LogLine {
        let (source, text) = (LogSource::Stdout, text.to_owned());
        LogLine { job, task, source, level: None, target: None, text, fields: Vec::new() }
    }

    fn kept(rates: &LogRates) -> Vec<(String, u64)> {
        let mut kept = Vec::new();
        rates.take_kept(|tenant, bytes| kept.push((tenant.to_string(), bytes)));
        kept
    }

    #[test]
    fn what_is_too_much_is_dropped_and_said_once() {
        let mut ids = IdGenerator::new([0; 16]);
        let (job, other, task) = (ids.job(), ids.job(), ids.task());
        let (red, blue): (TenantName, TenantName) = ("red".parse().unwrap(), "blue".parse().unwrap());
        let rates = LogRates::default();
        rates.set(Time(0), &red, Some(100));
        // Nine letters and the end of the line.
        let ten = "123456789";
        let through = |tenant, job, count: usize| {
            (0..count).filter(|_| rates.lets_through(Time(0), tenant, &line(job, task, ten))).count()
        };
        assert_eq!(through(&red, job, 13), 10);
        assert_eq!(through(&red, other, 2), 0, "the rate is the tenant's");
        assert_eq!(through(&blue, other, 100), 100, "and nobody else's");
        assert_eq!(kept(&rates), [("blue".to_owned(), 1_000), ("red".to_owned(), 100)]);
        assert_eq!(kept(&rates), []);
        let said = rates.take_dropped(Some(job));
        assert_eq!(said.len(), 1);
        assert!(said[0].text.starts_with("3 lines more (30 bytes)"), "{}", said[0].text);
        assert_eq!(rates.take_dropped(None).iter().map(|said| said.job).collect::<Vec<_>>(), [other]);
        assert!(rates.take_dropped(None).is_empty());
        // A minute later there is room again, and without a rate always.
        let later = Time(0) + Duration::from_secs(60);
        assert!(rates.lets_through(later, &red, &line(job, task, ten)));
        rates.set(later, &red, None);
        assert!((0..100).all(|_| rates.lets_through(later, &red, &line(job, task, ten))));
        kept(&rates);
        assert!(rates.0.lock().is_empty(), "of nobody anything is left to be known");
    }
}
