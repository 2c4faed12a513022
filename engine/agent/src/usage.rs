//! What tenants consume on this node, on its way to the head; and what they may write to their logs.

use std::time::SystemTime;

use engine_core::JobId;
use engine_core::quota::{LedgerReport, TenantNews};
use engine_core::usage::UsageReport;
use engine_runtime::host::{LogLine, LogSource};

use crate::driver::Driver;
use crate::log_rates::Dropped;
use crate::logs::Line;

impl Driver {
    /// What is to be told of what tenants have consumed, when it is time for that and no event is under way.
    pub(crate) fn usage_to_tell(&self) -> Option<Vec<UsageReport>> {
        let usage = self.try_event(|node, now| {
            node.is_usage_due(now).then(|| {
                self.log_rates.take_kept(|tenant, bytes| node.note_log_bytes(tenant, bytes));
                node.usage_until(now)
            })
        })??;
        self.say_dropped(None);
        Some(usage)
    }

    /// The same now.
    pub(crate) fn usage_until_now(&self) -> Vec<UsageReport> {
        self.event(|node, now, _| {
            self.log_rates.take_kept(|tenant, bytes| node.note_log_bytes(tenant, bytes));
            node.usage_until(now)
        })
    }

    /// Tells the head inside this process what tenants have consumed.
    pub(crate) fn tell_own_usage(&self, usage: Vec<UsageReport>) {
        let id = self.read(|node| node.id());
        let report = LedgerReport { is_whole: false, leases: Vec::new(), usage };
        let now = self.clock().now();
        // Nothing follows from what was consumed.
        self.head.event(|head, fx| head.ledger_report(now, id, &report, fx));
    }

    /// The head has said what a tenant may have.
    pub(crate) fn tenant_news(&self, news: TenantNews) {
        self.log_rates.set(self.clock().now(), &news.spec.name, news.spec.bounds.log_bytes_per_minute_max);
        self.event(|node, now, fx| node.tenant_news(now, news, fx));
    }

    /// A guest here has written a line: it is kept, or goes to the node of its job's root task, unless its
    /// tenant has written too much.
    pub(crate) fn guest_writes(&self, line: LogLine) {
        if let Some(context) = self.jobs.context(line.job)
            && !self.log_rates.lets_through(self.clock().now(), &context.tenant, &line)
        {
            return;
        }
        match self.jobs.get(line.job) {
            Some(entry) => {
                let function_of = |task| self.read(|node| node.function_of(task));
                entry.logs.push(line, SystemTime::now(), function_of);
            }
            None => self.send_log(line),
        }
    }

    /// Says in the logs of jobs how much of them was dropped: of this one, or of all. It does not wait for the
    /// core.
    pub(crate) fn say_dropped(&self, job: Option<JobId>) {
        for Dropped { job, task, text } in self.log_rates.take_dropped(job) {
            let (source, level) = (LogSource::Record, Some("warn"));
            let target = Some("engine".to_owned());
            let line = LogLine { job, task, source, level, target, text, fields: Vec::new() };
            let line = Line::new(line, SystemTime::now(), "engine".to_owned(), false);
            match self.jobs.get(job) {
                Some(entry) => entry.logs.push_line(line),
                None => self.send_line(job, &line),
            }
        }
    }
}
