//! Quotas of tenants on a node: what it may use of them is lent by the head ([`crate::quota`]).

use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::ids::InstanceId;
use crate::node::tenants::Tenant;
use crate::node::{ClassKey, Effect, Effects, Node, TenantKey};
use crate::quota::{Amounts, LeaseReport, LedgerReport, QuotaKind, Quotas, TenantNews};
use crate::resources::{Lack, Resources};
use crate::time::Time;

/// How long what has changed may wait to be told.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// The same while it waits for more, or others for what it gives back.
const TOLD_EVERY_WHEN_WANTED: Duration = Duration::from_millis(10);

/// What a node has of a tenant's quotas.
#[derive(Default)]
pub(super) struct Lease {
    pub quotas: Quotas,
    granted: Amounts,
    version: u64,
    is_wanted: bool,
    /// What the first that could not start lacks.
    lacks: Amounts,
    /// What was said last, and when.
    said: Option<(LeaseReport, Time)>,
    /// The most that the head takes it to use at most.
    known_to_keep: Amounts,
    /// Of what was said last.
    number: u64,
    /// Of what was said last that asked for something else than before.
    asked: u64,
    /// Of what the head has heard.
    heard: u64,
    /// It was told something that it has not answered.
    must_answer: bool,
    /// On this line to the head nothing of it was said.
    is_unsaid: bool,
    /// When it is to be said.
    pub due: Option<Time>,
}

impl Lease {
    /// Of which the head has said nothing.
    pub fn of(quotas: Quotas) -> Self {
        Self { quotas, is_unsaid: true, ..Self::default() }
    }

    /// What more may be used.
    fn left(&self, kind: QuotaKind, used: u64) -> u64 {
        match self.quotas[kind] {
            None => u64::MAX,
            Some(_) => self.granted[kind].saturating_sub(used),
        }
    }

    /// Whether the head has yet to answer for what is wanted.
    fn is_unanswered(&self) -> bool {
        let asked = self.said.as_ref().is_some_and(|(said, _)| said.wants != Amounts::default());
        self.is_unsaid || (asked && self.asked > self.heard)
    }
}

impl Tenant {
    /// Whether so much more may be used of what waits.
    fn covers(&self, needs: &Amounts, kinds: &[QuotaKind]) -> bool {
        if self.lease.quotas.is_none() {
            return true;
        }
        let used = self.used_amounts();
        kinds.iter().all(|kind| needs[*kind] <= self.lease.left(*kind, used[*kind]))
    }

    /// Asks for what is lacking of so much, unless something else is asked for.
    fn ask(&mut self, needs: &Amounts, kinds: &[QuotaKind]) {
        if self.lease.lacks == Amounts::default() {
            let used = self.used_amounts();
            for kind in kinds {
                self.lease.lacks[*kind] = needs[*kind].saturating_sub(self.lease.left(*kind, used[*kind]));
            }
        }
    }

    /// What it wants beyond what it has: for the first that could not start, and of what is refused instead
    /// of waiting some ahead.
    fn wants(&self, used: &Amounts) -> Amounts {
        let mut wants = self.lease.lacks;
        for kind in QuotaKind::REFUSED {
            let (used, granted) = (used[kind], self.lease.granted[kind]);
            let left = self.lease.quotas[kind].map_or(0, |quota| quota.saturating_sub(granted));
            if left > 0 && self.has_jobs() && used.saturating_mul(4) >= granted.saturating_mul(3) {
                wants[kind] = (used / 2).max(kind.ahead_min()).min(left);
            }
        }
        wants
    }

    /// Why it may not have so much more of a kind that does not wait; none when it may.
    fn refusal(&self, kind: QuotaKind, more: u64) -> Option<Error> {
        let quota = self.lease.quotas[kind]?;
        let (used, granted) = (self.used_amounts()[kind], self.lease.granted[kind]);
        let is_open = granted < quota && self.lease.is_unanswered();
        let overdraft = if is_open { kind.overdraft_max().min(quota) } else { 0 };
        if used.saturating_add(more) <= granted.saturating_add(overdraft) {
            return None;
        }
        let message = format!(
            "the tenant {} may have {} at once ({}), of which {} are on this node and {} left: \
             wait for some to end, or ask for a larger quota",
            self.name,
            kind.described(quota),
            kind.name(),
            kind.amount(used),
            if more > 1 { "too few are" } else { "none is" },
        );
        Some(Error::new(ErrorCode::QuotaExceeded, message))
    }

    fn report(&self) -> LeaseReport {
        let used = self.used_amounts();
        let mut keeps = Amounts::default();
        for kind in QuotaKind::ALL {
            if self.lease.quotas[kind].is_some() {
                keeps[kind] = self.lease.granted[kind].max(used[kind]);
            }
        }
        let wants = self.wants(&used);
        LeaseReport {
            tenant: self.name.clone(),
            number: self.lease.number,
            version: self.lease.version,
            keeps,
            used,
            wants,
            cpu_time_ns: u64::try_from(self.cpu_time.as_nanos()).unwrap_or(u64::MAX),
            tasks_ended: self.tasks_ended,
        }
    }

    /// Says what is to be told of it now; if nothing is, notes when something will be.
    fn say(&mut self, now: Time) -> Option<LeaseReport> {
        self.lease.due = None;
        if !self.lease.must_answer
            && !self.lease.is_unsaid
            && let Some((said, _)) = &self.lease.said
            && self.tasks_ended == said.tasks_ended
            && self.used_amounts() == said.used
            && self.wants(&said.used) == said.wants
        {
            // Of many tenants most have not changed since.
            return None;
        }
        let report = self.report();
        let Some((said, at)) = &self.lease.said else { return Some(self.is_said(now, report)) };
        let wants_more = QuotaKind::ALL.into_iter().any(|kind| report.wants[kind] > said.wants[kind]);
        // What was to be given back is, in part or all of it.
        let known = self.lease.known_to_keep;
        let gives =
            self.lease.must_answer || QuotaKind::ALL.into_iter().any(|kind| report.keeps[kind] < known[kind]);
        let same = LeaseReport { number: said.number, version: said.version, ..report.clone() };
        if same == *said && !gives && !self.lease.is_unsaid {
            return None;
        }
        let is_urgent = self.lease.is_wanted || report.wants != Amounts::default();
        let every = if is_urgent { TOLD_EVERY_WHEN_WANTED } else { TOLD_EVERY };
        let is_due = *at + every <= now;
        if self.lease.is_unsaid || wants_more || gives || is_due {
            return Some(self.is_said(now, report));
        }
        self.lease.due = Some(*at + every);
        None
    }

    fn is_said(&mut self, now: Time, mut report: LeaseReport) -> LeaseReport {
        self.lease.number += 1;
        report.number = self.lease.number;
        if self.lease.said.as_ref().is_none_or(|(said, _)| said.wants != report.wants) || self.lease.is_unsaid
        {
            self.lease.asked = report.number;
        }
        (self.lease.is_unsaid, self.lease.must_answer) = (false, false);
        self.lease.known_to_keep = report.keeps;
        self.lease.said = Some((report.clone(), now));
        report
    }
}

impl Node {
    /// The head has said what a tenant may have, here and in all.
    pub fn tenant_news(&mut self, now: Time, news: TenantNews, fx: &mut Effects) {
        // Of one that has nothing here, and never had, only the terms are kept.
        if let Some(key) = self.tenants.set(&news.spec, news.version > 0) {
            let lease = &mut self.tenants.get_mut(key).lease;
            if news.version > lease.version {
                let is_more = QuotaKind::ALL.into_iter().any(|kind| news.granted[kind] > lease.granted[kind]);
                if is_more && let Some((said, _)) = &mut lease.said {
                    // What was wanted has come: who wants as much again asks anew, and at once.
                    said.wants = Amounts::default();
                }
                (lease.version, lease.granted) = (news.version, news.granted);
                lease.known_to_keep.raise_to(&news.granted);
                (lease.is_wanted, lease.heard) = (news.is_wanted, news.heard);
                lease.must_answer = true;
            }
        }
        self.schedule(now, fx);
    }

    /// A new line to the head begins: it is told all of quotas.
    pub fn leases_anew(&mut self) {
        self.tenants.lines_anew = true;
        for tenant in self.tenants.all_mut() {
            let lease = &mut tenant.lease;
            (lease.version, lease.number, lease.asked, lease.heard) = (0, 0, 0, 0);
            lease.is_unsaid = true;
            tenant.meter.told = None;
        }
    }

    /// Tells the head what is used and wanted of quotas. Called after every event.
    pub(super) fn flush_leases(&mut self, now: Time, fx: &mut Effects) {
        let is_whole = std::mem::take(&mut self.tenants.lines_anew);
        if !is_whole && self.tenants.is_unlimited() {
            return;
        }
        let limited = self.tenants.all_mut().filter(|tenant| !tenant.lease.quotas.is_none());
        let leases: Vec<LeaseReport> = limited.filter_map(|tenant| tenant.say(now)).collect();
        if is_whole || !leases.is_empty() {
            fx.push(Effect::TellLedger(LedgerReport { is_whole, leases, usage: Vec::new() }));
        }
        let due = self.tenants.all_mut().filter_map(|tenant| tenant.lease.due).min();
        self.timers.leases = due;
        self.arm_timer(fx);
    }

    /// Whether the head has yet to answer for what a tenant wants.
    pub(super) fn leases_may_change_something(&self) -> bool {
        let may_change = |lease: &Lease| {
            let is_elsewhere =
                |kind: QuotaKind| lease.quotas[kind].is_some_and(|max| lease.granted[kind] < max);
            let lacks = |kind: &QuotaKind| lease.lacks[*kind] > 0;
            let mut kinds = QuotaKind::ALL.into_iter().filter(lacks).peekable();
            kinds.peek().is_some() && (lease.is_unanswered() || kinds.any(is_elsewhere))
        };
        !self.tenants.is_unlimited() && self.tenants.all().any(|(_, tenant)| may_change(&tenant.lease))
    }

    /// What cannot start for want of a quota is reckoned anew.
    pub(super) fn forget_lacks(&mut self) {
        if !self.tenants.is_unlimited() {
            self.tenants.all_mut().for_each(|tenant| tenant.lease.lacks = Amounts::default());
        }
    }

    /// What a task of a class takes of its tenant's quotas when it starts here.
    fn quota_needs(&self, class: ClassKey) -> Amounts {
        let class = &self.classes[class];
        let is_warm = class.reuse.as_ref().is_some_and(|reuse| self.warm.has(reuse));
        let mut needs = match class.group {
            Some(_) => Amounts::of_sandbox(&Resources::default()),
            None => Amounts::of_sandbox(&class.needs),
        };
        if is_warm {
            (needs[QuotaKind::MemoryBytes], needs[QuotaKind::Sandboxes]) = (0, 0);
        }
        needs
    }

    /// Whether its tenant's quotas keep a task of a class from starting here.
    pub(super) fn is_over_quota(&self, class: ClassKey) -> bool {
        if self.tenants.is_unlimited() {
            return false;
        }
        let tenant = self.tenants.get(self.classes[class].tenant);
        !tenant.covers(&self.quota_needs(class), &QuotaKind::OF_A_START)
    }

    /// Asks for what its tenant's quotas lack for a task of a class, when it is all that is lacking here.
    pub(super) fn ask_for_quota(&mut self, class: ClassKey) {
        if self.lacks_of(class).is_empty() {
            let needs = self.quota_needs(class);
            let tenant = self.classes[class].tenant;
            self.tenants.get_mut(tenant).ask(&needs, &QuotaKind::OF_A_START);
        }
    }

    /// Why no quota of its tenant will ever cover a task of a class; none when it may.
    pub(super) fn never_within_quota(&self, class: ClassKey) -> Option<Error> {
        let class = &self.classes[class];
        let tenant = self.tenants.get(class.tenant);
        let needs = Amounts::of_sandbox(&class.needs);
        QuotaKind::OF_A_START.into_iter().find_map(|kind| {
            let quota = tenant.lease.quotas[kind].filter(|quota| needs[kind] > *quota)?;
            let message = format!(
                "it asks for {}, and the tenant {} may have {} in all ({}): ask for less, or for a larger quota",
                kind.described(needs[kind]),
                tenant.name,
                kind.described(quota),
                kind.name(),
            );
            Some(Error::new(ErrorCode::QuotaExceeded, message))
        })
    }

    /// Whether a call that goes on may take its CPUs again.
    pub(super) fn quota_covers_resuming(&mut self, id: InstanceId) -> bool {
        let Some(instance) = self.instances.get(&id).filter(|instance| instance.bundle.is_none()) else {
            return true;
        };
        let needs = Resources { cpus: instance.lent_cpus, ..Resources::default() };
        let (needs, has_room) = (Amounts::of_resources(&needs), self.free.covers(&needs));
        let tenant = self.tenants.get_mut(instance.tenant);
        let covers = tenant.covers(&needs, &[QuotaKind::Cpus]);
        if !covers && has_room {
            tenant.ask(&needs, &[QuotaKind::Cpus]);
        }
        covers
    }

    /// QUOTA_EXCEEDED when a tenant may have not so much more of a kind that does not wait.
    pub(super) fn check_quota(&mut self, tenant: TenantKey, kind: QuotaKind, more: u64) -> Result<(), Error> {
        let refused = self.tenants.get(tenant).refusal(kind, more);
        refused.map_or(Ok(()), |error| {
            self.note_refused(tenant);
            Err(error)
        })
    }

    /// What its tenant's quotas lack for a task of a class, for people.
    pub(super) fn quota_lacks_of(&self, class: ClassKey) -> Vec<Lack> {
        let needs = self.quota_needs(class);
        let tenant = self.tenants.get(self.classes[class].tenant);
        let used = tenant.used_amounts();
        let lacking = |kind: &QuotaKind| needs[*kind] > tenant.lease.left(*kind, used[*kind]);
        let kinds = QuotaKind::OF_A_START.into_iter().filter(lacking);
        kinds
            .map(|kind| Lack {
                resource: format!("the quota of the tenant {} ({})", tenant.name, kind.name()),
                wanted: kind.amount(needs[kind]),
                had: kind.amount(tenant.lease.left(kind, used[kind])),
            })
            .collect()
    }
}
