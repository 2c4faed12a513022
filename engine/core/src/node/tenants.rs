//! Tenants on this node: what each of them holds, and whose turn it is.
//!
//! Weighted dominant-resource fair queueing (Ghodsi and others, "Dominant Resource Fairness", NSDI 2011, and
//! "Multi-Resource Fair Queueing", SIGCOMM 2012). A tenant's *share* is the part of the node that it holds,
//! of the resource of which it holds the largest part. What it has *used* is its share over time, divided by
//! its weight. Of the tenants that have tasks in line, the one that has used least is served next; what its
//! tasks hold counts as if they held it for [`HORIZON`] more, so that room that comes free at once is shared
//! too.
//!
//! Only who waits is compared: a tenant that comes with its first task begins where the least served of
//! those that wait is ([`Tenants::floor`]), so that it is next in line at once, and has no credit for the
//! time in which it wanted nothing. Nor does it pay for what it used while nobody else wanted it, beyond
//! [`DEBT_MAX`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use slotmap::SlotMap;

use crate::ids::WaitId;
use crate::node::leases::Lease;
use crate::node::line::{At, Line};
use crate::node::metering::Meter;
use crate::node::shares::Owed;
use crate::node::{Node, TenantKey};
use crate::quota::{Amounts, QuotaKind};
use crate::resources::{Quantity, Resources};
use crate::tenant::{GUARANTEED_PERCENT_MAX, TenantName, TenantSpec, WEIGHT_MAX};
use crate::time::Time;

/// For how long what a tenant holds is thought to be held when it is compared with others.
const HORIZON: Used = 100_000_000;
/// How far behind others a tenant that waits can fall by what it has used before: as much as a second of the
/// whole node.
const DEBT_MAX: Used = 1_000_000_000 * SHARE_ONE as Used * WEIGHT_PARTS as Used;
/// The share of a tenant that holds all there is.
const SHARE_ONE: u64 = 1 << 20;
/// So that dividing by a weight leaves something.
const WEIGHT_PARTS: u64 = 1_000;
/// Tenants without jobs here whose use is remembered: of those of whom the head has been told all, the one that
/// has used least is forgotten first.
const IDLE_TENANTS_MAX: usize = 1_000;

/// A share divided by a weight, over nanoseconds.
type Used = u128;

/// Whose turn is next: who has less than its guaranteed share, then who has used least, then who was served
/// least lately.
type Order = (Reverse<bool>, Used, u64);

/// All tenants that have something here, or had.
#[derive(Default)]
pub(super) struct Tenants {
    table: SlotMap<TenantKey, Tenant>,
    by_name: BTreeMap<TenantName, TenantKey>,
    /// What the head has said of them; of others the defaults hold.
    specs: BTreeMap<TenantName, TenantSpec>,
    /// Those that have tasks in line, or calls that lack CPUs to go on.
    waiting: BTreeSet<TenantKey>,
    /// Tasks in line, of all of them.
    pub tasks_in_line: usize,
    /// Calls that lack CPUs to go on, of all of them.
    pub resuming: usize,
    /// What the least served of those that wait had used, when that was last looked at.
    floor: Used,
    /// Those whose share has changed since what they have used was reckoned up.
    changed: Vec<TenantKey>,
    /// Counts turns.
    turns: u64,
    /// A new line to the head begins, and it was told nothing on it.
    pub lines_anew: bool,
    /// How many of the specs have a quota.
    limited: usize,
    /// How many of them have a guaranteed share.
    pub guaranteed: usize,
    /// How many were met.
    met: u64,
    /// Of whom what they hold has changed in this event, or their objects have.
    pub to_add_up: Vec<TenantKey>,
    /// When the head was told last what they consume.
    pub usage_told: Time,
}

/// A tenant.
pub(super) struct Tenant {
    pub name: TenantName,
    /// How much more than others it is served: twice the weight, twice the share.
    weight: u64,
    /// Hundredths of this node that it has whenever it wants them.
    pub guaranteed_percent: u32,
    /// It waits for that.
    pub owed: Option<Owed>,
    /// Its jobs here.
    jobs: usize,
    /// What its sandboxes hold here, but for those in placement groups.
    held: Resources,
    /// What its tasks hold that run on other nodes.
    away: Resources,
    /// Its sandboxes here.
    pub sandboxes: u64,
    /// Its tasks and calls that have not ended and are this node's own.
    pub queued: u64,
    /// Its actors that are not dead and are this node's own.
    pub actors: u64,
    /// Bytes of its objects that are this node's own, wherever they lie.
    pub object_bytes: u64,
    /// What its sandboxes have used of the processors.
    pub cpu_time: Duration,
    /// Tasks and calls that have ended here.
    pub tasks_ended: u64,
    /// What it has consumed here.
    pub meter: Meter,
    /// What may be used of its quotas.
    pub lease: Lease,
    /// Its tasks in line.
    pub line: Line,
    /// Waits of its calls that are over and that lack CPUs to go on.
    pub resuming: VecDeque<WaitId>,
    /// Calls that went on since the first of these could not.
    pub resume_passed_over: u32,
    /// Starts of other tenants since the first of these could have gone on but for them.
    pub held_back: u32,
    used: Used,
    /// Its share divided by its weight, as it was at `since`.
    rate: u64,
    since: Time,
    is_changed: bool,
    /// It had tasks in line when turns were last given.
    waits: bool,
    /// When it was last served.
    last_turn: u64,
}

impl Tenant {
    fn new(spec: TenantSpec) -> Self {
        Self {
            name: spec.name,
            weight: u64::from(spec.weight.clamp(1, WEIGHT_MAX)),
            guaranteed_percent: spec.guaranteed_percent.min(GUARANTEED_PERCENT_MAX),
            owed: None,
            jobs: 0,
            held: Resources::default(),
            away: Resources::default(),
            sandboxes: 0,
            queued: 0,
            actors: 0,
            object_bytes: 0,
            cpu_time: Duration::ZERO,
            tasks_ended: 0,
            meter: Meter::default(),
            lease: Lease::of(spec.quotas),
            line: Line::default(),
            resuming: VecDeque::new(),
            resume_passed_over: 0,
            held_back: 0,
            used: 0,
            rate: 0,
            since: Time(0),
            is_changed: false,
            waits: false,
            last_turn: 0,
        }
    }

    /// Reckons up what it has used until now, and goes on with its share as it is now.
    fn settle(&mut self, now: Time, total: &Resources) {
        self.used = self.used_at(now);
        self.since = now;
        self.rate = share(&self.held, &self.away, total).saturating_mul(WEIGHT_PARTS) / self.weight;
    }

    /// What it uses here of what quotas bound.
    pub fn used_amounts(&self) -> Amounts {
        let mut used = Amounts::of_resources(&self.held);
        used[QuotaKind::Sandboxes] = self.sandboxes;
        used[QuotaKind::QueuedTasks] = self.queued;
        used[QuotaKind::Actors] = self.actors;
        used[QuotaKind::ObjectBytes] = self.object_bytes;
        used
    }

    /// Whether a job of it is here.
    pub fn has_jobs(&self) -> bool {
        self.jobs > 0
    }

    fn used_at(&self, now: Time) -> Used {
        self.used + Used::from(self.rate) * now.since(self.since).as_nanos()
    }

    fn score(&self) -> Used {
        self.used + Used::from(self.rate) * HORIZON
    }
}

/// The part of `total` that is held, here and away, of the kind of which it is the largest.
fn share(held: &Resources, away: &Resources, total: &Resources) -> u64 {
    let part = |held: u64, total: u64| match total {
        0 => 0,
        total => (u128::from(held) * u128::from(SHARE_ONE) / u128::from(total)) as u64,
    };
    let custom = held.custom().iter().map(|(name, held)| part(held.0, total.get_custom(name).0));
    let away = away.custom().iter().map(|(name, away)| part(away.0, total.get_custom(name).0));
    let custom = custom.chain(away);
    [part(held.cpus.0, total.cpus.0), part(held.gpus.0, total.gpus.0), part(held.memory, total.memory)]
        .into_iter()
        .chain(custom)
        .max()
        .unwrap_or(0)
}

/// A tenant's turn, and how far down its line it was looked.
pub(super) struct Turn {
    pub tenant: TenantKey,
    pub after: Option<At>,
    /// How many of its calls that lack CPUs to go on were looked at.
    pub resuming_at: usize,
    /// One of them comes before all else of its tenant.
    pub comes_first: bool,
    order: Order,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    /// The greatest is the next.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (Reverse(self.order), Reverse(self.tenant)).cmp(&(Reverse(other.order), Reverse(other.tenant)))
    }
}

impl Tenants {
    /// A job of a tenant's comes: whose it is.
    pub fn job_comes(&mut self, name: &TenantName) -> TenantKey {
        let key = match self.by_name.get(name) {
            Some(key) => *key,
            None => {
                self.forget_idle();
                let spec = self.specs.get(name).cloned();
                let spec = spec.unwrap_or_else(|| TenantSpec::new(name.clone()));
                let key = self.table.insert(Tenant::new(spec));
                self.met += 1;
                self.table[key].meter.met = self.met;
                self.by_name.insert(name.clone(), key);
                key
            }
        };
        self.table[key].jobs += 1;
        key
    }

    /// What a tenant may have from now on. `is_here`: the head has something of it from this node.
    pub fn set(&mut self, spec: &TenantSpec, is_here: bool) -> Option<TenantKey> {
        let before = self.specs.insert(spec.name.clone(), spec.clone());
        self.limited += usize::from(!spec.quotas.is_none());
        self.guaranteed += usize::from(spec.guaranteed_percent > 0);
        if let Some(before) = before {
            self.limited -= usize::from(!before.quotas.is_none());
            self.guaranteed -= usize::from(before.guaranteed_percent > 0);
        }
        if is_here && !self.by_name.contains_key(&spec.name) {
            let key = self.job_comes(&spec.name);
            self.job_goes(key);
        }
        let key = *self.by_name.get(&spec.name)?;
        let tenant = self.changes(key);
        tenant.weight = u64::from(spec.weight.clamp(1, WEIGHT_MAX));
        tenant.guaranteed_percent = spec.guaranteed_percent.min(GUARANTEED_PERCENT_MAX);
        tenant.lease.quotas = spec.quotas;
        Some(key)
    }

    /// Whether no tenant has a quota.
    pub fn is_unlimited(&self) -> bool {
        self.limited == 0
    }

    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Tenant> {
        self.table.values_mut()
    }

    /// The tenant that is always there.
    pub fn of_default(&mut self) -> TenantKey {
        let key = self.job_comes(&TenantName::default());
        self.job_goes(key);
        key
    }

    /// A job of it is forgotten here.
    pub fn job_goes(&mut self, key: TenantKey) {
        self.table[key].jobs -= 1;
    }

    fn forget_idle(&mut self) {
        // What has a quota is looked at by the head.
        let is_idle =
            |tenant: &Tenant| tenant.jobs == 0 && !tenant.name.is_default() && tenant.lease.quotas.is_none();
        let idle = self.table.iter().filter(|(_, tenant)| is_idle(tenant));
        if self.table.len() >= IDLE_TENANTS_MAX
            && let Some((key, _)) = idle.min_by_key(|(_, tenant)| (!tenant.is_all_told(), tenant.used))
            && let Some(tenant) = self.table.remove(key)
        {
            self.by_name.remove(&tenant.name);
            self.resuming -= tenant.resuming.len();
            self.changed.retain(|other| *other != key);
            self.waiting.remove(&key);
        }
    }

    pub fn get(&self, key: TenantKey) -> &Tenant {
        &self.table[key]
    }

    pub fn get_mut(&mut self, key: TenantKey) -> &mut Tenant {
        &mut self.table[key]
    }

    /// A tenant, when it was not forgotten.
    pub fn find_mut(&mut self, key: TenantKey) -> Option<&mut Tenant> {
        self.table.get_mut(key)
    }

    /// The tenant of this name, when it is known here.
    pub fn named_mut(&mut self, name: &TenantName) -> Option<&mut Tenant> {
        self.by_name.get(name).map(|key| &mut self.table[*key])
    }

    pub fn all(&self) -> impl Iterator<Item = (TenantKey, &Tenant)> {
        self.table.iter()
    }

    /// Jobs of all of them here.
    pub fn jobs(&self) -> usize {
        self.table.values().map(|tenant| tenant.jobs).sum()
    }

    fn changes(&mut self, key: TenantKey) -> &mut Tenant {
        self.note_consumption(key);
        let tenant = &mut self.table[key];
        if !std::mem::replace(&mut tenant.is_changed, true) {
            self.changed.push(key);
        }
        tenant
    }

    /// What a tenant holds changes, or what its objects take: it is added up at the end of the event.
    pub fn note_consumption(&mut self, key: TenantKey) {
        if !std::mem::replace(&mut self.table[key].meter.is_noted, true) {
            self.to_add_up.push(key);
        }
    }

    /// A task of a tenant's holds so much on another node, or does so no more.
    pub fn goes_away(&mut self, key: TenantKey, needs: &Resources, goes: bool) {
        let away = &mut self.changes(key).away;
        match goes {
            true => away.give(needs),
            false => away.take(needs),
        }
    }

    /// A tenant holds so much more.
    pub fn takes(&mut self, key: TenantKey, needs: &Resources) {
        self.changes(key).held.give(needs);
    }

    /// A tenant holds so much less.
    pub fn gives(&mut self, key: TenantKey, had: &Resources) {
        self.changes(key).held.take(had);
    }

    /// What a tenant holds of CPUs changes from one to the other.
    pub fn cpus_change(&mut self, key: TenantKey, from: Quantity, to: Quantity) {
        let held = &mut self.changes(key).held.cpus;
        held.0 = held.0 + to.0 - from.0;
    }

    /// Reckons up what those have used whose shares have changed. Called whenever turns are given, so that
    /// nothing is held between two events that is not counted.
    pub fn settle(&mut self, now: Time, total: &Resources) {
        if self.table.len() < 2 {
            return;
        }
        let Self { table, changed, .. } = self;
        for key in changed.drain(..) {
            if let Some(tenant) = table.get_mut(key) {
                tenant.is_changed = false;
                tenant.settle(now, total);
            }
        }
    }

    /// The tenants that have tasks in line, in turn.
    pub fn turns(&mut self, now: Time, total: &Resources) -> BinaryHeap<Turn> {
        if self.table.len() > 1 {
            self.settle(now, total);
            self.raise_to_floor(now);
        }
        let turn = |key: &TenantKey| self.table[*key].turn(*key, total);
        self.waiting.iter().map(turn).collect()
    }

    /// Lets who has begun to wait begin with the least served of those that waited before.
    fn raise_to_floor(&mut self, now: Time) {
        let waited = self.waiting.iter().map(|key| &self.table[*key]).filter(|tenant| tenant.waits);
        let least = waited.map(|tenant| tenant.used_at(now)).min();
        self.floor = least.unwrap_or(self.floor);
        for key in &self.waiting {
            let tenant = &mut self.table[*key];
            tenant.waits = true;
            tenant.used = tenant.used_at(now).clamp(self.floor, self.floor + DEBT_MAX);
            tenant.since = now;
        }
    }

    /// A tenant was served: when its next turn is.
    ///
    /// `lacking`: those of whom a call would have gone on but for it.
    pub fn served(&mut self, now: Time, total: &Resources, turn: &mut Turn, lacking: &[TenantKey]) {
        self.turns += 1;
        for key in lacking {
            self.table[*key].held_back += 1;
        }
        let turns = self.turns;
        let is_alone = self.are_alone();
        let tenant = &mut self.table[turn.tenant];
        tenant.last_turn = turns;
        if !is_alone {
            tenant.settle(now, total);
            turn.order = tenant.order(total);
        }
    }

    /// Tasks in line of a tenant.
    pub fn in_line_of(&self, name: &TenantName) -> usize {
        self.by_name.get(name).map_or(0, |key| self.table[*key].line.tasks)
    }

    /// The lines of all of them, in no order.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.waiting.iter().map(|key| &self.table[*key].line)
    }

    /// So many tasks of a tenant more are in line.
    pub fn note_in_line(&mut self, key: TenantKey, more: isize) {
        self.tasks_in_line = self.tasks_in_line.saturating_add_signed(more);
        let tenant = &mut self.table[key];
        tenant.line.tasks = tenant.line.tasks.saturating_add_signed(more);
        self.note_waits(key);
    }

    /// A call of a tenant's lacks CPUs to go on.
    pub fn resumes(&mut self, key: TenantKey, wait: WaitId) {
        self.table[key].resuming.push_back(wait);
        self.resuming += 1;
        self.note_waits(key);
    }

    /// A sandbox of a tenant's was paused: it goes on before all else of its tenant.
    pub fn was_paused(&mut self, key: TenantKey, wait: WaitId) {
        self.table[key].resuming.push_front(wait);
        self.resuming += 1;
        self.note_waits(key);
    }

    /// One of the calls that lacked CPUs goes on, or has ended.
    pub fn resumes_no_more(&mut self, key: TenantKey, at: usize) {
        self.resuming -= usize::from(self.table[key].resuming.remove(at).is_some());
        self.note_waits(key);
    }

    fn note_waits(&mut self, key: TenantKey) {
        let tenant = &mut self.table[key];
        if tenant.line.tasks > 0 || !tenant.resuming.is_empty() {
            self.waiting.insert(key);
        } else {
            self.waiting.remove(&key);
            (tenant.waits, tenant.held_back, tenant.owed) = (false, 0, None);
        }
    }

    /// Those that wait for room and have a guaranteed share.
    pub fn waiting_for_shares(&self) -> Vec<TenantKey> {
        self.waiting.iter().copied().filter(|key| self.table[*key].guaranteed_percent > 0).collect()
    }

    /// Whether the node serves one tenant only.
    pub fn are_alone(&self) -> bool {
        self.table.len() == 1
    }

    /// Whether nobody waits for room.
    pub fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether all that waits is in line and needs more CPUs than these.
    pub fn all_need_more_than(&self, cpus: Quantity) -> bool {
        let needs_more = |tenant: &Tenant| tenant.resuming.is_empty() && tenant.line.all_need_more_than(cpus);
        self.waiting.iter().all(|key| needs_more(&self.table[*key]))
    }
}

impl Tenant {
    fn turn(&self, tenant: TenantKey, total: &Resources) -> Turn {
        Turn { tenant, after: None, resuming_at: 0, comes_first: false, order: self.order(total) }
    }

    fn order(&self, total: &Resources) -> Order {
        (Reverse(self.is_below_its_share(total)), self.score(), self.last_turn)
    }

    fn is_below_its_share(&self, total: &Resources) -> bool {
        let guaranteed = u128::from(self.guaranteed_percent) * u128::from(SHARE_ONE);
        guaranteed > 0 && u128::from(share(&self.held, &Resources::default(), total)) * 100 < guaranteed
    }

    /// What its sandboxes hold here, but for those in placement groups.
    pub fn held(&self) -> &Resources {
        &self.held
    }
}

impl Node {
    /// What a tenant holds, recomputed from who holds it.
    pub(super) fn broken_tenants(&self) -> Option<String> {
        if let Some(broken) = self.broken_resuming() {
            return Some(broken);
        }
        let mut held: BTreeMap<TenantKey, Resources> = BTreeMap::new();
        for instance in self.instances.values().filter(|instance| instance.bundle.is_none()) {
            let mut its = Resources::clone(&instance.held);
            its.cpus.0 -= instance.lent_cpus.0;
            held.entry(instance.tenant).or_default().give(&its);
        }
        let mut away: BTreeMap<TenantKey, Resources> = BTreeMap::new();
        let mut counts: BTreeMap<TenantKey, [u64; 3]> = BTreeMap::new();
        for task in self.tasks.values() {
            let class = &self.classes[task.class];
            if self.is_held_away(task) {
                away.entry(class.tenant).or_default().give(&class.needs);
            }
            counts.entry(class.tenant).or_default()[0] += u64::from(task.owner().is_none());
        }
        for actor in self.actors.values().filter(|actor| actor.is_counted) {
            counts.entry(self.classes[actor.class].tenant).or_default()[1] += 1;
        }
        for instance in self.instances.values().filter(|instance| instance.component.is_some()) {
            counts.entry(instance.tenant).or_default()[2] += 1;
        }
        let mut bytes: BTreeMap<TenantKey, u64> = BTreeMap::new();
        for object in self.objects.values() {
            let job = object.counted_for().and_then(|job| self.jobs.get(&job));
            if let (Some(job), Some(value)) = (job, object.state.value()) {
                *bytes.entry(job.tenant).or_default() += value.counted_bytes();
            }
        }
        let jobs = self.jobs.len();
        if jobs != self.tenants.jobs() {
            return Some(format!("{jobs} jobs are here and their tenants say {}", self.tenants.jobs()));
        }
        for (key, tenant) in self.tenants.all() {
            let holds = held.remove(&key).unwrap_or_default();
            let its = away.remove(&key).unwrap_or_default();
            if its != tenant.away {
                return Some(format!(
                    "{:?} holds {its:?} away and the books say {:?}",
                    tenant.name, tenant.away
                ));
            }
            let of_objects = bytes.remove(&key).unwrap_or_default();
            if of_objects != tenant.object_bytes {
                let name = &tenant.name;
                return Some(format!(
                    "{name:?} has {of_objects} bytes of objects, not {}",
                    tenant.object_bytes
                ));
            }
            let counted = counts.remove(&key).unwrap_or_default();
            let books = [tenant.queued, tenant.actors, tenant.sandboxes];
            if counted != books {
                let name = &tenant.name;
                return Some(format!("{name:?} has {counted:?} tasks, actors, sandboxes, not {books:?}"));
            }
            if holds != tenant.held {
                return Some(format!(
                    "{:?} holds {holds:?} and the books say {:?}",
                    tenant.name, tenant.held
                ));
            }
        }
        held.keys().next().map(|key| format!("{key:?} holds something and is no tenant"))
    }

    /// Who waits for CPUs to go on is in its tenant's line, and once.
    fn broken_resuming(&self) -> Option<String> {
        let queued: usize = self.tenants.all().map(|(_, tenant)| tenant.resuming.len()).sum();
        if queued != self.tenants.resuming {
            return Some(format!("{queued} calls lack CPUs and the books say {}", self.tenants.resuming));
        }
        let goes_on = self.instances.iter().filter(|(_, instance)| instance.stopping.is_none());
        let paused = goes_on.filter_map(|(id, instance)| Some((id, instance, instance.paused?)));
        for (id, instance, wait) in paused {
            let lines = &self.tenants.get(instance.tenant).resuming;
            let times = lines.iter().filter(|other| **other == wait).count();
            let is_known = instance.waits.contains(&wait);
            if times != 1 || !is_known {
                return Some(format!("{id} is paused, and waits {times} times for its CPUs"));
            }
        }
        None
    }
}
