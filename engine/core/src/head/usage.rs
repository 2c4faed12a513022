//! What tenants have consumed, in records of one period each: for history and billing.
//!
//! Nodes tell sums that only grow ([`crate::usage`]); what is told beyond what was heard before goes into the
//! period in which it is heard. A record is written when its period has ended, together with what was heard of
//! each node until then: a head that comes back adds what nodes tell beyond that, so that nothing is counted
//! twice and only what a dead node had not told is lost.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use crate::head::record::Changed;
use crate::head::{Head, Key, MeterRecord, Record};
use crate::ids::NodeId;
use crate::tenant::TenantName;
use crate::time::Time;
use crate::usage::{Usage, UsageKind, UsageRecord, UsageReport};

/// How long usage is kept, and how finely.
#[derive(Debug, Clone)]
pub struct UsageLimits {
    /// What one record is about. At least a second.
    pub usage_period: Duration,
    /// Records of one tenant; the oldest go first. Periods in which it consumed nothing have none.
    pub usage_records_max: usize,
    /// Records of all tenants together; the oldest go first.
    pub usage_records_of_all_max: usize,
    /// Older records go.
    pub usage_kept: Duration,
}

impl Default for UsageLimits {
    fn default() -> Self {
        Self {
            usage_period: Duration::from_secs(60),
            usage_records_max: 50_000,
            usage_records_of_all_max: 1_000_000,
            usage_kept: Duration::from_secs(31 * 24 * 3_600),
        }
    }
}

/// Which records are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageQuery {
    /// Of this tenant alone; none: of all.
    pub tenant: Option<TenantName>,
    /// Only those whose periods end after this.
    pub since: Time,
    /// Only those behind the one of this tenant that begins then: records are in the order of tenants and times.
    pub after: Option<(TenantName, Time)>,
    /// At most so many.
    pub limit: usize,
}

/// A record of one tenant.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: Time,
    length_ns: u64,
    used: Usage,
}

impl Entry {
    fn end(&self) -> Time {
        Time(self.start.0.saturating_add(self.length_ns))
    }
}

/// What is known of a tenant.
#[derive(Default)]
struct Book {
    /// In the order of time; the last may go on.
    entries: VecDeque<Entry>,
    /// What each node that is a member has told last, and which meeting with the tenant that counts from.
    heard: BTreeMap<NodeId, (u64, Usage)>,
    /// Something was added to the last entry that is not to be written yet.
    is_unwritten: bool,
}

impl Book {
    /// What was heard and the last entry, into which it went, are to be written together.
    fn write_soon(
        &mut self,
        tenant: &TenantName,
        records: &mut Changed<(TenantName, Time)>,
        meters: &mut Changed<TenantName>,
    ) {
        if std::mem::take(&mut self.is_unwritten) {
            meters.note(tenant.clone());
            if let Some(entry) = self.entries.back() {
                records.note((tenant.clone(), entry.start));
            }
        }
    }
}

/// What all tenants have consumed.
#[derive(Default)]
pub(super) struct UsageBooks {
    limits: UsageLimits,
    books: BTreeMap<TenantName, Book>,
    /// Records of all of them.
    count: usize,
    /// When the period ends that goes on.
    ends: Time,
    pub records_changed: Changed<(TenantName, Time)>,
    pub meters_changed: Changed<TenantName>,
}

impl UsageBooks {
    pub fn new(limits: UsageLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub fn kept(limits: UsageLimits) -> Self {
        Self { records_changed: Changed::kept(), meters_changed: Changed::kept(), ..Self::new(limits) }
    }

    fn length_ns(&self) -> u64 {
        let least = Duration::from_secs(1);
        u64::try_from(self.limits.usage_period.max(least).as_nanos()).unwrap_or(u64::MAX)
    }

    /// A node has told what was consumed there.
    pub fn hear(&mut self, now: Time, node: NodeId, reports: &[UsageReport]) {
        self.look(now);
        for report in reports {
            let heard = &mut self.books.entry(report.tenant.clone()).or_default().heard;
            let (met, before) = heard.entry(node).or_default();
            if report.met > *met {
                (*met, *before) = (report.met, Usage::default());
            }
            if report.met < *met {
                continue;
            }
            let news = report.sums.since(before);
            before.raise_to(&report.sums);
            self.add(now, &report.tenant, &news);
        }
    }

    /// A tenant has consumed something that no node tells of. It is written with what nodes tell.
    pub fn note(&mut self, now: Time, tenant: &TenantName, kind: UsageKind) {
        self.look(now);
        let mut used = Usage::default();
        used[kind] = 1;
        self.add(now, tenant, &used);
    }

    fn add(&mut self, now: Time, tenant: &TenantName, used: &Usage) {
        if used.is_nothing() {
            return;
        }
        let length_ns = self.length_ns();
        let start = Time(now.0 - now.0 % length_ns);
        let Self { books, records_changed, meters_changed, count, .. } = self;
        let book = books.entry(tenant.clone()).or_default();
        match book.entries.back_mut() {
            Some(entry) if entry.start >= start || entry.end() > now => entry.used.add(used),
            _ => {
                book.write_soon(tenant, records_changed, meters_changed);
                book.entries.push_back(Entry { start, length_ns, used: *used });
                *count += 1;
            }
        }
        book.is_unwritten = true;
    }

    /// Notes what is to be written of periods that have ended, and forgets what is old. A comparison while the
    /// period goes on.
    pub fn look(&mut self, now: Time) {
        if now < self.ends {
            return;
        }
        let length_ns = self.length_ns();
        self.ends = Time((now.0 - now.0 % length_ns).saturating_add(length_ns));
        let Self { books, records_changed, meters_changed, .. } = self;
        for (tenant, book) in books.iter_mut() {
            book.write_soon(tenant, records_changed, meters_changed);
        }
        self.forget_old(now);
    }

    fn forget_old(&mut self, now: Time) {
        let kept = u64::try_from(self.limits.usage_kept.as_nanos()).unwrap_or(u64::MAX);
        let oldest = Time(now.0.saturating_sub(kept));
        let max = self.limits.usage_records_max.max(1);
        let Self { books, count, records_changed, .. } = self;
        for (tenant, book) in books.iter_mut() {
            while book.entries.len() > max || book.entries.front().is_some_and(|entry| entry.end() <= oldest)
            {
                let Some(entry) = book.entries.pop_front() else { break };
                *count -= 1;
                records_changed.note((tenant.clone(), entry.start));
            }
        }
        while *count > self.limits.usage_records_of_all_max {
            let first = |(_, book): &(&TenantName, &mut Book)| book.entries.front().map(|entry| entry.start);
            let with_any = books.iter_mut().filter(|(_, book)| !book.entries.is_empty());
            let Some((tenant, book)) = with_any.min_by_key(first) else { return };
            if let Some(entry) = book.entries.pop_front() {
                *count -= 1;
                records_changed.note((tenant.clone(), entry.start));
            }
        }
        books.retain(|_, book| !book.entries.is_empty() || !book.heard.is_empty());
    }

    /// A node is no member any more: what it has told is written, and nothing more comes of it.
    pub fn forget(&mut self, node: NodeId) {
        let Self { books, records_changed, meters_changed, .. } = self;
        for (tenant, book) in books.iter_mut() {
            if book.heard.remove(&node).is_some() {
                book.is_unwritten = true;
                book.write_soon(tenant, records_changed, meters_changed);
            }
        }
    }

    pub fn restore(&mut self, record: UsageRecord) {
        let UsageRecord { tenant, start, length_ns, used } = record;
        self.books.entry(tenant).or_default().entries.push_back(Entry { start, length_ns, used });
        self.count += 1;
    }

    pub fn restore_meter(&mut self, record: MeterRecord) {
        let book = self.books.entry(record.tenant).or_default();
        book.heard = record.nodes.into_iter().map(|(node, met, sums)| (node, (met, sums))).collect();
    }

    /// All records are there.
    pub fn restored(&mut self) {
        for book in self.books.values_mut() {
            book.entries.make_contiguous().sort_by_key(|entry| entry.start);
        }
    }

    /// The records of what has changed: of each tenant what was heard, and with it the last record, into which
    /// that went.
    pub fn take_changes(&mut self, mut note: impl FnMut(Key, Option<Record>)) {
        for tenant in self.meters_changed.take() {
            let book = self.books.get(&tenant);
            if let Some(entry) = book.and_then(|book| book.entries.back()) {
                self.records_changed.note((tenant.clone(), entry.start));
            }
            let nodes = book.map(|book| &book.heard).filter(|heard| !heard.is_empty());
            let record = nodes.map(|heard| {
                let nodes = heard.iter().map(|(node, (met, sums))| (*node, *met, *sums)).collect();
                Record::Meter(MeterRecord { tenant: tenant.clone(), nodes })
            });
            note(Key::Meter(tenant), record);
        }
        for (tenant, start) in self.records_changed.take() {
            let record = self.find(&tenant, start).map(|entry| {
                let Entry { start, length_ns, used } = *entry;
                Record::Usage(UsageRecord { tenant: tenant.clone(), start, length_ns, used })
            });
            note(Key::Usage(tenant, start), record);
        }
    }

    fn find(&self, tenant: &TenantName, start: Time) -> Option<&Entry> {
        let entries = &self.books.get(tenant)?.entries;
        entries.binary_search_by_key(&start, |entry| entry.start).ok().and_then(|at| entries.get(at))
    }
}

impl Head {
    /// What tenants have consumed: by tenant, and of each in the order of time. The last of each may go on.
    pub fn usage(&self, query: &UsageQuery) -> Vec<UsageRecord> {
        let first = query.after.as_ref().map(|(tenant, _)| tenant).or(query.tenant.as_ref());
        let from = first.map_or(Bound::Unbounded, Bound::Included);
        let books = self.usage.books.range::<TenantName, _>((from, Bound::Unbounded));
        let books = books.filter(|(tenant, _)| query.tenant.as_ref().is_none_or(|asked| asked == *tenant));
        let records = books.flat_map(|(tenant, book)| {
            let after = query.after.as_ref().filter(|(last, _)| last == tenant).map(|(_, start)| *start);
            let from = book.entries.partition_point(|entry| {
                entry.end() <= query.since || after.is_some_and(|after| entry.start <= after)
            });
            book.entries.range(from..).map(|entry| UsageRecord {
                tenant: tenant.clone(),
                start: entry.start,
                length_ns: entry.length_ns,
                used: entry.used,
            })
        });
        records.take(query.limit).collect()
    }
}
