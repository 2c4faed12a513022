//! The ledger: what each tenant may have at once, and which parts of that nodes were lent.
//!
//! What is lent never makes more than the quota. A part that a node is to give back counts as lent until the
//! node says that it keeps less: it may still be used. Who asks first is served first, with all that a
//! sandbox needs together; when that is not there, nodes are told to keep less: first of what they do not
//! use, then those that have more than who asks would get. When nobody waits, who asks gets all that is
//! left, so that one node alone asks once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::{Error, ErrorCode};
use crate::head::alerts::Alerts;
use crate::head::record::Changed;
use crate::head::{Effect, Head, Notice, Record};
use crate::ids::NodeId;
use crate::quota::{Amounts, LeaseReport, LedgerReport, QuotaKind, TenantNews};
use crate::rate::Rate;
use crate::tenant::{
    ALERT_PERCENT_MAX, GUARANTEED_PERCENT_MAX, Tenancy, TenantBounds, TenantName, TenantSpec, WEIGHT_MAX,
};
use crate::time::Time;

/// What is lent together: what a start needs, and by itself each kind of what is refused.
const TOGETHER: [&[QuotaKind]; 1 + QuotaKind::REFUSED.len()] =
    [&QuotaKind::OF_A_START, &[QuotaKind::QueuedTasks], &[QuotaKind::Actors], &[QuotaKind::ObjectBytes]];

/// All tenants.
#[derive(Default)]
pub(super) struct Ledger {
    accounts: BTreeMap<TenantName, Account>,
    pub changed: Changed<TenantName>,
    /// Nodes that have joined and have not said yet what they have of whom: until then nothing is lent.
    silent: BTreeSet<NodeId>,
}

/// A tenant's account.
struct Account {
    spec: TenantSpec,
    slices: BTreeMap<NodeId, Slice>,
    /// Who waits for what, by [`TOGETHER`], who came first in front.
    waiting: [VecDeque<NodeId>; TOGETHER.len()],
    /// What nodes that are gone have used of the processors, in nanoseconds.
    cpu_time_ns: u64,
    /// Tasks that had ended on them.
    tasks_ended: u64,
    /// Jobs that it may still submit in this minute; none: nobody has looked.
    submits: Option<Rate>,
    alerts: Alerts,
}

/// What a node was lent.
#[derive(Debug, Clone, Default)]
struct Slice {
    /// The most that it may be using.
    granted: Amounts,
    /// What it was told to keep at most: less than it may be using, when it is to give something back.
    target: Amounts,
    used: Amounts,
    wants: Amounts,
    /// What it has said last that it wants.
    asked: Amounts,
    /// Of what it was told last.
    version: u64,
    /// Of what it had heard when it said something last.
    answered: u64,
    /// Of its report that was heard last.
    heard: u64,
    is_wanted: bool,
    cpu_time_ns: u64,
    tasks_ended: u64,
    /// It is to be told something.
    has_news: bool,
}

impl Slice {
    fn is_recalled(&self, kind: QuotaKind) -> bool {
        self.target[kind] < self.granted[kind]
    }

    /// Whether it has heard all that was said to it.
    fn is_settled(&self) -> bool {
        !self.has_news && self.answered == self.version
    }

    fn lower(&mut self, kind: QuotaKind, by: u64) {
        self.target[kind] -= by;
        self.has_news = true;
    }

    fn raise(&mut self, kind: QuotaKind, by: u64) {
        self.granted[kind] += by;
        self.target[kind] += by;
        self.has_news = true;
    }
}

/// What a tenant may have and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantView {
    /// What it may have.
    pub spec: TenantSpec,
    /// What it uses, as the nodes have said last: of a tenant without quotas nothing is said.
    pub used: Amounts,
    /// What nodes were lent.
    pub lent: Amounts,
    /// What its sandboxes have used of the processors, in nanoseconds, where it has quotas.
    pub cpu_time_ns: u64,
    /// Tasks and calls that have ended, where it has quotas.
    pub tasks_ended: u64,
    /// Its jobs that have not ended.
    pub jobs: usize,
    /// The quotas of which it uses `alert_percent` or more.
    pub alerts: Vec<QuotaKind>,
}

impl Account {
    fn new(spec: TenantSpec) -> Self {
        Self {
            spec,
            slices: BTreeMap::new(),
            waiting: Default::default(),
            cpu_time_ns: 0,
            tasks_ended: 0,
            submits: None,
            alerts: Alerts::default(),
        }
    }

    fn lent(&self, kind: QuotaKind) -> u64 {
        self.slices.values().map(|slice| slice.granted[kind]).sum()
    }

    /// What is lent to nobody, of a kind that has a quota.
    fn available(&self, kind: QuotaKind) -> u64 {
        self.spec.quotas[kind].map_or(u64::MAX, |max| max.saturating_sub(self.lent(kind)))
    }

    /// A node has said what it has.
    fn hear(&mut self, node: NodeId, report: &LeaseReport) {
        let slice = self.slices.entry(node).or_default();
        (slice.used, slice.wants, slice.heard) = (report.used, report.wants, report.number);
        slice.answered = report.version;
        (slice.cpu_time_ns, slice.tasks_ended) = (report.cpu_time_ns, report.tasks_ended);
        for kind in QuotaKind::ALL {
            if report.version == slice.version {
                // What is used beyond all leases counts too: nobody else is lent it.
                slice.granted[kind] = report.keeps[kind].max(slice.target[kind]);
            }
        }
        slice.has_news |= std::mem::replace(&mut slice.asked, report.wants) != report.wants;
        for (kinds, waiting) in TOGETHER.into_iter().zip(&mut self.waiting) {
            let waits = !report.wants.is_nothing(kinds);
            match waiting.iter().position(|other| *other == node) {
                Some(at) if !waits => drop(waiting.remove(at)),
                None if waits => waiting.push_back(node),
                _ => {}
            }
        }
    }

    /// A node's line begins anew: what it says counts, and nothing is on its way to it.
    fn hear_first(&mut self, node: NodeId, report: Option<&LeaseReport>) {
        if report.is_none() && !self.slices.contains_key(&node) {
            return;
        }
        let slice = self.slices.entry(node).or_default();
        let keeps = report.map_or_else(Amounts::default, |report| report.keeps);
        (slice.version, slice.granted, slice.target) = (0, keeps, keeps);
        slice.asked = Amounts::default();
        match report {
            Some(report) => self.hear(node, report),
            None => slice.has_news = true,
        }
    }

    fn forget(&mut self, node: NodeId) {
        if let Some(slice) = self.slices.remove(&node) {
            self.cpu_time_ns = self.cpu_time_ns.saturating_add(slice.cpu_time_ns);
            self.tasks_ended = self.tasks_ended.saturating_add(slice.tasks_ended);
        }
        self.waiting.iter_mut().for_each(|waiting| waiting.retain(|other| *other != node));
    }

    /// Lends what is there to those that wait, and asks for more back where it is not.
    fn settle(&mut self) {
        for (at, kinds) in TOGETHER.into_iter().enumerate() {
            for kind in kinds {
                let excess = self.lent(*kind).saturating_sub(self.spec.quotas[*kind].unwrap_or(u64::MAX));
                self.recall(*kind, excess, None);
            }
            while let Some(node) = self.waiting[at].front().copied() {
                if !self.serve(node, kinds) {
                    break;
                }
                self.waiting[at].pop_front();
            }
        }
        let is_wanted = self.waiting.iter().any(|waiting| !waiting.is_empty());
        for slice in self.slices.values_mut() {
            slice.has_news |= std::mem::replace(&mut slice.is_wanted, is_wanted) != is_wanted;
        }
    }

    /// Lends a node what it wants; false when that is not there, and is asked for.
    fn serve(&mut self, node: NodeId, kinds: &[QuotaKind]) -> bool {
        let Some(slice) = self.slices.get(&node) else { return true };
        if !slice.is_settled() {
            // What it wanted it said before it heard what it has: it will say so anew.
            return false;
        }
        let (wants, has) = (slice.wants, slice.granted);
        let is_beyond = |kind: &QuotaKind| {
            self.spec.quotas[*kind].is_some_and(|max| wants[*kind] > 0 && has[*kind] + wants[*kind] > max)
        };
        if kinds.iter().any(is_beyond) {
            // Nobody else can help: it waits for what it has itself.
            return true;
        }
        let lacking = |kind: &QuotaKind| wants[*kind].saturating_sub(self.available(*kind));
        let lacks: Vec<(QuotaKind, u64)> =
            kinds.iter().map(|kind| (*kind, lacking(kind))).filter(|(_, lack)| *lack > 0).collect();
        if lacks.is_empty() {
            let is_alone = self.waiting.iter().map(VecDeque::len).sum::<usize>() == 1;
            for kind in kinds.iter().filter(|kind| self.spec.quotas[**kind].is_some()) {
                let more = if is_alone { self.available(*kind) } else { wants[*kind] };
                if let Some(slice) = self.slices.get_mut(&node) {
                    slice.raise(*kind, more);
                    // It will use that, whatever it has said before.
                    slice.used[*kind] = slice.used[*kind].saturating_add(wants[*kind]);
                    slice.wants[*kind] = 0;
                }
            }
            return true;
        }
        for (kind, lack) in lacks {
            self.recall(kind, lack, Some(node));
        }
        false
    }

    /// Tells nodes to keep less, so much in all if they can, for another that waits for it.
    fn recall(&mut self, kind: QuotaKind, wanted: u64, on_behalf_of: Option<NodeId>) {
        let coming: u64 = self.slices.values().map(|slice| slice.granted[kind] - slice.target[kind]).sum();
        let mut wanted = wanted.saturating_sub(coming);
        let of_asker = on_behalf_of.and_then(|node| self.slices.get(&node)).map_or(0, |s| s.granted[kind]);
        let others = |(node, slice): &(&NodeId, &mut Slice)| {
            Some(**node) != on_behalf_of && !slice.is_recalled(kind) && slice.is_settled()
        };
        let mut slices: Vec<&mut Slice> =
            self.slices.iter_mut().filter(others).map(|(_, slice)| slice).collect();
        slices.sort_by_key(|slice| std::cmp::Reverse(slice.target[kind].saturating_sub(slice.used[kind])));
        // Of what is had ahead only half is taken, or it would go to and fro.
        let is_ahead = on_behalf_of.is_some() && !QuotaKind::OF_A_START.contains(&kind);
        for slice in &mut slices {
            let spare = slice.target[kind].saturating_sub(slice.used[kind]);
            let spare = if is_ahead { spare / 2 } else { spare }.min(wanted);
            if spare > 0 {
                slice.lower(kind, spare);
                wanted -= spare;
            }
        }
        slices.sort_by_key(|slice| std::cmp::Reverse(slice.target[kind]));
        for slice in slices {
            if wanted == 0 {
                return;
            }
            // Nobody gives up what would leave it with less than who asks has.
            let more = match on_behalf_of {
                None => slice.target[kind].min(wanted),
                Some(_) if is_ahead => 0,
                Some(_) => slice.target[kind].saturating_sub(of_asker).min(wanted),
            };
            if more > 0 {
                slice.lower(kind, more);
                wanted -= more;
            }
        }
    }

    /// Nodes hear what is new, but for those that have yet to say what they have.
    fn tell(&mut self, silent: &BTreeSet<NodeId>, fx: &mut Vec<Effect>) {
        let hears = |(node, slice): &(&NodeId, &mut Slice)| slice.has_news && !silent.contains(*node);
        for (node, slice) in self.slices.iter_mut().filter(hears) {
            slice.has_news = false;
            slice.version += 1;
            fx.push(Effect::Tell(*node, news(&self.spec, slice)));
        }
    }

    fn view(&self, jobs: usize) -> TenantView {
        let mut view = TenantView {
            spec: self.spec.clone(),
            used: Amounts::default(),
            lent: Amounts::default(),
            cpu_time_ns: self.cpu_time_ns,
            tasks_ended: self.tasks_ended,
            jobs,
            alerts: self.alerts.on(),
        };
        for slice in self.slices.values() {
            view.used.add(&slice.used);
            view.lent.add(&slice.granted);
            view.cpu_time_ns = view.cpu_time_ns.saturating_add(slice.cpu_time_ns);
            view.tasks_ended = view.tasks_ended.saturating_add(slice.tasks_ended);
        }
        view
    }
}

/// What a node hears of a tenant; with no version, when it has nothing of it: only the terms.
fn news(spec: &TenantSpec, slice: &Slice) -> Notice {
    Notice::Tenant(Box::new(TenantNews {
        spec: spec.clone(),
        version: slice.version,
        granted: slice.target,
        heard: slice.heard,
        is_wanted: slice.is_wanted,
    }))
}

impl Ledger {
    pub fn kept() -> Self {
        Self { changed: Changed::kept(), ..Self::default() }
    }

    pub fn restore(&mut self, spec: TenantSpec) {
        self.accounts.insert(spec.name.clone(), Account::new(spec));
    }

    /// What bounds a tenant beside its quotas.
    pub fn bounds_of(&self, name: &TenantName) -> TenantBounds {
        self.accounts.get(name).map(|account| account.spec.bounds).unwrap_or_default()
    }

    /// What a tenant may submit in this minute, `first` when nobody has looked; none: it was never created.
    pub fn submit_rate_of(&mut self, name: &TenantName, first: impl FnOnce() -> Rate) -> Option<&mut Rate> {
        Some(self.accounts.get_mut(name)?.submits.get_or_insert_with(first))
    }

    /// Looks at what was told of a tenant, what it may have and what it uses.
    pub fn with_alerts<R>(
        &mut self,
        name: &TenantName,
        look: impl FnOnce(&mut Alerts, &TenantSpec, &Amounts) -> R,
    ) -> Option<R> {
        let account = self.accounts.get_mut(name)?;
        let mut used = Amounts::default();
        account.slices.values().for_each(|slice| used.add(&slice.used));
        Some(look(&mut account.alerts, &account.spec, &used))
    }

    pub fn record(&self, name: &TenantName) -> Option<Record> {
        self.accounts.get(name).map(|account| Record::Tenant(account.spec.clone()))
    }
}

impl Head {
    /// Creates a tenant, or changes what it may have.
    ///
    /// # Errors
    /// ALREADY_EXISTS when `is_new` and it is there; INVALID_ARGUMENT for a weight of none or
    /// beyond [`WEIGHT_MAX`], for an alert at no part of a quota, and for guaranteed shares that make more than [`GUARANTEED_PERCENT_MAX`]; LIMIT_EXCEEDED when there are
    /// `tenants_max`.
    pub fn set_tenant(
        &mut self,
        spec: TenantSpec,
        is_new: bool,
        fx: &mut Vec<Effect>,
    ) -> Result<TenantView, Error> {
        if is_new && self.ledger.accounts.contains_key(&spec.name) {
            return Err(Error::new(
                ErrorCode::AlreadyExists,
                format!(
                    "the tenant {} is there already: `engine tenant set` changes what it may have",
                    spec.name
                ),
            ));
        }
        if spec.weight == 0 || spec.weight > WEIGHT_MAX {
            let message = format!("a weight of {} is none: give 1 to {WEIGHT_MAX}", spec.weight);
            return Err(Error::invalid_argument(message));
        }
        if let Some(percent) = spec.bounds.alert_percent
            && !(1..=ALERT_PERCENT_MAX).contains(&percent)
        {
            let message = format!("an alert at {percent} % is none: give 1 to {ALERT_PERCENT_MAX}");
            return Err(Error::invalid_argument(message));
        }
        let others = self.ledger.accounts.values().filter(|account| account.spec.name != spec.name);
        let guaranteed: u32 = others.map(|account| account.spec.guaranteed_percent).sum();
        if guaranteed.saturating_add(spec.guaranteed_percent) > GUARANTEED_PERCENT_MAX {
            let left = GUARANTEED_PERCENT_MAX.saturating_sub(guaranteed);
            let message = format!(
                "a guaranteed share of {} % is more than there is: the other tenants have {guaranteed} %, so that {left} % is left",
                spec.guaranteed_percent
            );
            return Err(Error::invalid_argument(message));
        }
        let max = self.limits.tenants_max;
        if !self.ledger.accounts.contains_key(&spec.name) && self.ledger.accounts.len() >= max {
            let message = format!("tenants_max of {max} is reached: delete tenants that are not needed");
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        let name = spec.name.clone();
        let account = self.ledger.accounts.entry(name.clone()).or_insert_with(|| Account::new(spec.clone()));
        account.spec = spec;
        // All nodes hear of it, also those that have nothing of it.
        for node in self.nodes.ids() {
            match account.slices.get_mut(&node) {
                Some(slice) => slice.has_news = true,
                None => fx.push(Effect::Tell(node, news(&account.spec, &Slice::default()))),
            }
        }
        self.ledger.changed.note(name.clone());
        self.settle(&name, fx);
        self.tenant(&name)
    }

    /// Forgets a tenant.
    ///
    /// # Errors
    /// NOT_FOUND when it was never created; INVALID_ARGUMENT while it has jobs that have not ended.
    pub fn delete_tenant(&mut self, name: &TenantName, fx: &mut Vec<Effect>) -> Result<(), Error> {
        let jobs = self.jobs_of(name);
        if jobs > 0 {
            let message = format!("the tenant {name} has {jobs} jobs that have not ended: stop them first");
            return Err(Error::invalid_argument(message));
        }
        let message = format!("there is no tenant {name}: `engine tenant list` shows those there are");
        if self.ledger.accounts.remove(name).is_none() {
            return Err(Error::new(ErrorCode::NotFound, message));
        }
        self.ledger.changed.note(name.clone());
        // What the nodes knew of it holds no more.
        let spec = TenantSpec::new(name.clone());
        for node in self.nodes.ids() {
            fx.push(Effect::Tell(node, news(&spec, &Slice::default())));
        }
        Ok(())
    }

    /// A tenant, what it may have and what it has. One that was never created and has jobs has a weight of 1
    /// and no quotas.
    ///
    /// # Errors
    /// NOT_FOUND when it was never created and has no jobs that have not ended.
    pub fn tenant(&self, name: &TenantName) -> Result<TenantView, Error> {
        let jobs = self.jobs_of(name);
        match self.ledger.accounts.get(name) {
            Some(account) => Ok(account.view(jobs)),
            None if jobs > 0 || name.is_default() => {
                Ok(Account::new(TenantSpec::new(name.clone())).view(jobs))
            }
            None => Err(Error::new(
                ErrorCode::NotFound,
                format!(
                    "there is no tenant {name}, and none of its jobs: `engine tenant list` shows those there are"
                ),
            )),
        }
    }

    /// To whom a job of this tenant belongs that begins now.
    pub fn tenancy(&self, tenant: &TenantName) -> Tenancy {
        let account = self.ledger.accounts.get(tenant);
        let isolation = account.map(|account| account.spec.isolation).unwrap_or_default();
        Tenancy { tenant: tenant.clone(), isolation }
    }

    /// All tenants that were created or have jobs, by name; `default` is always one.
    pub fn tenants(&self) -> Vec<TenantView> {
        let with_jobs = self.jobs.values().filter(|job| !job.state.is_end());
        let mut names: BTreeSet<TenantName> = with_jobs.map(|job| job.submission.tenant.clone()).collect();
        names.extend(self.ledger.accounts.keys().cloned());
        names.insert(TenantName::default());
        names.iter().filter_map(|name| self.tenant(name).ok()).collect()
    }

    pub(super) fn jobs_of(&self, name: &TenantName) -> usize {
        let of_it = |job: &&super::JobRecord| job.submission.tenant == *name && !job.state.is_end();
        self.jobs.values().filter(of_it).count()
    }

    /// A node says what it uses and wants of quotas, and what tenants have consumed there.
    pub fn ledger_report(&mut self, now: Time, from: NodeId, report: &LedgerReport, fx: &mut Vec<Effect>) {
        if !self.is_alive(from) {
            return;
        }
        self.usage.hear(now, from, &report.usage);
        if report.is_whole {
            self.ledger.silent.remove(&from);
            let of = |name: &TenantName| report.leases.iter().find(|lease| lease.tenant == *name);
            for (name, account) in &mut self.ledger.accounts {
                account.hear_first(from, of(name));
                // It may never have heard of this one.
                match account.slices.get_mut(&from) {
                    Some(slice) => slice.has_news = true,
                    None => fx.push(Effect::Tell(from, news(&account.spec, &Slice::default()))),
                }
            }
            return self.settle_all(fx);
        }
        for lease in &report.leases {
            if let Some(account) = self.ledger.accounts.get_mut(&lease.tenant) {
                account.hear(from, lease);
                self.settle(&lease.tenant, fx);
                self.look_at_alerts(now, &lease.tenant, fx);
            }
        }
    }

    /// A node has joined: it is to say what it has before anything is lent to anybody.
    pub(super) fn ledger_joins(&mut self, node: NodeId) {
        self.ledger.silent.insert(node);
    }

    /// A node is no member any more: what it was lent is there again.
    pub(super) fn ledger_leaves(&mut self, node: NodeId, fx: &mut Vec<Effect>) {
        self.ledger.silent.remove(&node);
        self.usage.forget(node);
        self.ledger.accounts.values_mut().for_each(|account| account.forget(node));
        self.settle_all(fx);
    }

    fn settle_all(&mut self, fx: &mut Vec<Effect>) {
        let names: Vec<TenantName> = self.ledger.accounts.keys().cloned().collect();
        names.iter().for_each(|name| self.settle(name, fx));
    }

    fn settle(&mut self, name: &TenantName, fx: &mut Vec<Effect>) {
        let is_known = self.ledger.silent.is_empty() && self.nodes_expected() == 0;
        let Ledger { accounts, silent, .. } = &mut self.ledger;
        let Some(account) = accounts.get_mut(name) else { return };
        if is_known {
            account.settle();
            account.tell(silent, fx);
        }
    }

    /// What does not hold in the ledger; none when all does.
    #[cfg(test)]
    pub(crate) fn broken_ledger(&self) -> Option<String> {
        let broken = |account: &Account| {
            QuotaKind::ALL.into_iter().find_map(|kind| {
                let slices = account.slices.values();
                let above = slices.filter(|slice| slice.target[kind] > slice.granted[kind]).count();
                (above > 0).then(|| format!("{}: a target above what is granted", account.spec.name))
            })
        };
        self.ledger.accounts.values().find_map(broken)
    }
}
