//! What each tenant consumes on this node, added up over time, for the head's history ([`crate::usage`]).
//!
//! What is held is multiplied with the time for which it is: a tenant of which something has changed is noted,
//! and added up once at the end of the event. Sums only grow as long as the node has the tenant.

use std::time::Duration;

use crate::node::tenants::Tenant;
use crate::node::{Node, TenantKey};
use crate::tenant::TenantName;
use crate::time::Time;
use crate::usage::{Usage, UsageKind, UsageReport};

/// How often the head is told what was consumed since: what a node that dies takes with it.
pub const USAGE_TOLD_EVERY: Duration = Duration::from_secs(5);

/// Of which the part of a CPU is a ten-thousandth.
const CPU_PARTS: u128 = 10_000;
/// Bytes for nanoseconds make so many mebibytes for milliseconds.
const BYTE_NS_PER_MIB_MS: u128 = (1 << 20) * 1_000_000;

/// What a tenant has consumed here.
#[derive(Default)]
pub(super) struct Meter {
    /// The how manieth tenant it is that was met here.
    pub met: u64,
    /// What it holds of CPUs (parts), memory and objects (bytes), as it was at `since`.
    rates: [u64; 3],
    since: Time,
    /// Each of them times nanoseconds, until `since`.
    held: [u128; 3],
    pub tasks_finished: u64,
    pub tasks_failed: u64,
    pub refused: u64,
    pub log_bytes: u64,
    /// It is noted to be added up.
    pub is_noted: bool,
    /// What was told last, on this line to the head.
    pub told: Option<Usage>,
}

impl Meter {
    fn held_at(&self, now: Time) -> [u128; 3] {
        let passed = now.since(self.since).as_nanos();
        let mut held = self.held;
        for (sum, rate) in held.iter_mut().zip(self.rates) {
            *sum = sum.saturating_add(u128::from(rate) * passed);
        }
        held
    }

    fn go_on(&mut self, now: Time, rates: [u64; 3]) {
        self.held = self.held_at(now);
        (self.since, self.rates) = (now, rates);
    }
}

impl Tenant {
    /// Whether nothing that it has consumed is untold, and it consumes nothing.
    pub fn is_all_told(&self) -> bool {
        let sums = self.consumed_until(self.meter.since);
        !self.meter.is_noted
            && self.meter.rates == [0; 3]
            && self.meter.told.map_or(sums.is_nothing(), |told| told == sums)
    }

    fn consumption(&self) -> [u64; 3] {
        [self.held().cpus.0, self.held().memory, self.object_bytes]
    }

    fn consumed_until(&self, now: Time) -> Usage {
        let whole = |sum: u128, unit: u128| u64::try_from(sum / unit).unwrap_or(u64::MAX);
        let [cpus, memory, objects] = self.meter.held_at(now);
        let mut usage = Usage::default();
        usage[UsageKind::CpuHeldNs] = whole(cpus, CPU_PARTS);
        usage[UsageKind::CpuUsedNs] = u64::try_from(self.cpu_time.as_nanos()).unwrap_or(u64::MAX);
        usage[UsageKind::MemoryMibMs] = whole(memory, BYTE_NS_PER_MIB_MS);
        usage[UsageKind::ObjectMibMs] = whole(objects, BYTE_NS_PER_MIB_MS);
        usage[UsageKind::TasksFinished] = self.meter.tasks_finished;
        usage[UsageKind::TasksFailed] = self.meter.tasks_failed;
        usage[UsageKind::Refused] = self.meter.refused;
        usage[UsageKind::LogBytes] = self.meter.log_bytes;
        usage
    }
}

impl Node {
    /// Adds up what those hold of whom something has changed. Called after every event.
    pub(super) fn add_up_usage(&mut self, now: Time) {
        while let Some(key) = self.tenants.to_add_up.pop() {
            if let Some(tenant) = self.tenants.find_mut(key) {
                let rates = tenant.consumption();
                tenant.meter.is_noted = false;
                tenant.meter.go_on(now, rates);
            }
        }
    }

    /// Whether it is time to tell the head what was consumed.
    pub fn is_usage_due(&self, now: Time) -> bool {
        now.since(self.tenants.usage_told) >= USAGE_TOLD_EVERY
    }

    /// What was consumed until now, of whom that is more than was told.
    pub fn usage_until(&mut self, now: Time) -> Vec<UsageReport> {
        self.add_up_usage(now);
        self.tenants.usage_told = now;
        let report = |tenant: &mut Tenant| {
            let sums = tenant.consumed_until(now);
            let is_news = tenant.meter.told.map_or(!sums.is_nothing(), |told| told != sums);
            is_news.then(|| {
                tenant.meter.told = Some(sums);
                UsageReport { tenant: tenant.name.clone(), met: tenant.meter.met, sums }
            })
        };
        self.tenants.all_mut().filter_map(report).collect()
    }

    /// Guests of a tenant have written so many bytes to their logs.
    pub fn note_log_bytes(&mut self, tenant: &TenantName, bytes: u64) {
        if let Some(tenant) = self.tenants.named_mut(tenant) {
            tenant.meter.log_bytes = tenant.meter.log_bytes.saturating_add(bytes);
        }
    }

    /// Something was refused to a tenant.
    pub(super) fn note_refused(&mut self, tenant: TenantKey) {
        self.tenants.get_mut(tenant).meter.refused += 1;
    }
}
