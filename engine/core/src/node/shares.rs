//! Guaranteed shares of tenants: what a tenant may have of this node whenever it wants it.
//!
//! What a tenant does not use of its share others use meanwhile. When it comes back, its calls are served
//! first until it has its share again, and room is made for them where others have more than theirs.
//!
//! CPUs it has at once: sandboxes of others are *paused*. They stand still, keep all else that they have, and
//! go on as soon as CPUs are free for them, in their tenant's turn. Nothing is lost by that, so it happens to
//! whatever holds CPUs of the node, to actors and roots of jobs too, and as often as need be.
//!
//! Memory and everything else can only be had of a sandbox that ends. Where being served first does not help
//! for `preempt_after`, tasks of others are *preempted*: their sandboxes end, and they are in line again, which
//! is no fault of theirs and costs none of their retries. Only tasks that may be tried again are, none more
//! often than `preemptions_per_task_max`: after that they begin only on room that no other tenant's share
//! covers.
//!
//! Either way it happens to those of the lowest priority first, and of those to the ones that have begun last.
//! What runs in placement groups is left alone.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::error::{Error, ErrorCode};
use crate::ids::InstanceId;
use crate::node::instance::{Instance, Role};
use crate::node::peers::{Message, PreemptedBy};
use crate::node::task::{Kind, Task};
use crate::node::tenants::Tenant;
use crate::node::{ClassKey, Effect, Effects, Node, TaskKey, TaskState, TenantKey};
use crate::resources::{Lack, Quantity, ResourceKind, Resources};
use crate::time::Time;
use crate::work::StopReason;

/// A tenant waits for its share.
pub(super) struct Owed {
    /// Since it began to, or room was made for it.
    since: Time,
    /// Room was made for it, as far as that was possible.
    was_claimed: bool,
}

/// What a tenant wants of its share.
struct Claim {
    /// What one of its calls needs.
    each: Resources,
    /// What all need that its share covers.
    all: Resources,
}

/// Tenants for which sandboxes were paused while one event is dealt with: once is enough.
#[derive(Default)]
pub(super) struct Claims(SmallVec<[TenantKey; 4]>);

/// Who has to make room first: the lowest priority, and of that who has begun last.
type Order = (i32, Reverse<(Time, InstanceId)>);

/// A sandbox that may be paused.
struct Pausable {
    instance: InstanceId,
    tenant: TenantKey,
    cpus: Quantity,
    order: Order,
}

/// A task that may be preempted.
struct Victim {
    instance: InstanceId,
    task: TaskKey,
    tenant: TenantKey,
    order: Order,
}

impl Tenant {
    /// How many times it may have so much more here by its share.
    fn is_owed(&self, each: &Resources, total: &Resources) -> u64 {
        let left = |kind: &ResourceKind| self.share_of(kind, total).saturating_sub(self.held().of(kind));
        each.kinds().map(|kind| left(&kind) / each.of(&kind)).min().unwrap_or(0)
    }

    /// Whether it still has its share here of a kind, without so much of what it holds.
    fn has_its_share_without(&self, less: &Resources, kind: &ResourceKind, total: &Resources) -> bool {
        let left = self.held().of(kind).checked_sub(less.of(kind));
        left.is_some_and(|left| left >= self.share_of(kind, total))
    }

    /// What it may have here of a kind whenever it wants it.
    fn share_of(&self, kind: &ResourceKind, total: &Resources) -> u64 {
        (u128::from(total.of(kind)) * u128::from(self.guaranteed_percent) / 100) as u64
    }
}

/// Tasks of one tenant for which room is made at once.
const CLAIMED_AT_ONCE_MAX: u64 = 256;

impl Node {
    /// Makes room for tenants that lack what is theirs by their shares. Called when turns were served; true
    /// when there is room now for which they are to be served again.
    pub(super) fn claim_shares(&mut self, now: Time, claims: &mut Claims, fx: &mut Effects) -> bool {
        if self.tenants.guaranteed == 0 {
            return false;
        }
        self.timers.claims = None;
        let mut has_room = false;
        for key in self.tenants.waiting_for_shares() {
            let Some(claim) = self.claim_of(key) else {
                self.tenants.get_mut(key).owed = None;
                continue;
            };
            if !claims.0.contains(&key) && self.pause_for(key, &claim, fx) {
                claims.0.push(key);
                has_room = true;
                continue;
            }
            let wait = self.tenants.get_mut(key).owed.get_or_insert(Owed { since: now, was_claimed: false });
            let (due, was_claimed) = (wait.since + self.limits.preempt_after, wait.was_claimed);
            if due <= now {
                // What comes of it is awaited as long again.
                *wait = Owed { since: now, was_claimed: true };
                self.preempt_for(now, key, &claim, fx);
            }
            if due <= now || was_claimed {
                // Who may be preempted now that could not be before, time alone does not bring.
                continue;
            }
            let timer = &mut self.timers.claims;
            *timer = Some(timer.map_or(due, |at| at.min(due)));
        }
        self.arm_timer(fx);
        has_room
    }

    /// What a tenant is owed for the first of its calls that wait; none when that is nothing.
    fn claim_of(&self, key: TenantKey) -> Option<Claim> {
        let tenant = self.tenants.get(key);
        let lacks = tenant.resuming.front().and_then(|wait| self.cpus_to_resume(*wait));
        if let Some((_, cpus)) = lacks {
            let each = Resources { cpus, ..Resources::default() };
            let is_owed = tenant.is_owed(&each, &self.total) > 0;
            return is_owed.then(|| Claim { all: each.clone(), each });
        }
        let class = tenant.line.order.values().copied().find(|class| self.could_claim(*class))?;
        let (each, in_line) = (&self.classes[class].needs, self.classes[class].queue.len() as u64);
        let count = tenant.is_owed(each, &self.total).min(in_line).min(CLAIMED_AT_ONCE_MAX);
        (count > 0).then(|| Claim { each: Resources::clone(each), all: each.multiplied(count) })
    }

    /// Whether tasks of a class wait for nothing but room on this node.
    fn could_claim(&self, class: ClassKey) -> bool {
        let spec = &self.classes[class];
        let placement = &spec.spec.options.placement;
        spec.group.is_none()
            && !self.is_draining()
            && placement.accepts(&self.labels)
            && placement.strategy.allows(self.id)
            && self.total.covers(&spec.needs)
            && !self.is_over_quota(class)
    }

    // ---- CPUs ----

    /// Pauses sandboxes of tenants that have more than their shares, if nothing but CPUs is lacking and there
    /// are enough for one of the calls that wait; false when not.
    fn pause_for(&mut self, claimant: TenantKey, claim: &Claim, fx: &mut Effects) -> bool {
        let mut others = but_cpus(&claim.each);
        others.memory = others.memory.saturating_sub(self.memory_of_warm_sandboxes());
        if self.free.cpus >= claim.each.cpus || !self.free.covers(&others) {
            return false;
        }
        let pausable = |(id, instance): (&InstanceId, &Instance)| self.pausable(claimant, *id, instance);
        let mut pausable: Vec<Pausable> = self.instances.iter().filter_map(pausable).collect();
        // The order must be the same in every run.
        pausable.sort_by_key(|sandbox| sandbox.order);
        let mut cpus = self.free.cpus;
        let mut leaving: BTreeMap<TenantKey, Resources> = BTreeMap::new();
        let mut chosen: SmallVec<[InstanceId; 4]> = SmallVec::new();
        for sandbox in pausable {
            if cpus >= claim.all.cpus {
                break;
            }
            let gone = leaving.entry(sandbox.tenant).or_default();
            gone.cpus.0 += sandbox.cpus.0;
            let tenant = self.tenants.get(sandbox.tenant);
            if tenant.has_its_share_without(gone, &ResourceKind::Cpus, &self.total) {
                cpus.0 += sandbox.cpus.0;
                chosen.push(sandbox.instance);
            } else {
                gone.cpus.0 -= sandbox.cpus.0;
            }
        }
        if cpus < claim.each.cpus {
            return false;
        }
        chosen.into_iter().for_each(|id| self.pause(id, fx));
        true
    }

    /// A sandbox that holds CPUs of the node which another tenant may have.
    fn pausable(&self, claimant: TenantKey, id: InstanceId, instance: &Instance) -> Option<Pausable> {
        let is_in_the_way = instance.tenant != claimant
            && instance.bundle.is_none()
            && instance.stopping.is_none()
            && instance.component.is_some()
            && instance.paused.is_none()
            && instance.lent_cpus == Quantity::ZERO
            && instance.held.cpus > Quantity::ZERO;
        if !is_in_the_way {
            return None;
        }
        let call = instance.calls.first().and_then(|call| self.tasks.get(*call));
        let priority = call.map_or(0, |call| self.classes[call.class].spec.options.placement.priority);
        let began = call.map_or(Time(0), |call| call.started);
        let order = (priority, Reverse((began, id)));
        Some(Pausable { instance: id, tenant: instance.tenant, cpus: instance.held.cpus, order })
    }

    /// Has a sandbox stand still, and gives its CPUs to others until it goes on.
    fn pause(&mut self, id: InstanceId, fx: &mut Effects) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let (cpus, tenant) = (instance.held.cpus, instance.tenant);
        instance.lent_cpus = cpus;
        self.free.cpus.0 += cpus.0;
        self.tenants.cpus_change(tenant, cpus, Quantity::ZERO);
        let wait = self.wait_for_cpus(id);
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.paused = Some(wait);
        }
        self.counters.sandboxes_paused += 1;
        fx.push(Effect::Pause(id));
    }

    /// A sandbox that may be paused goes on without CPUs, as it has nothing to do.
    pub(super) fn lift_pause(&mut self, id: InstanceId, fx: &mut Effects) {
        if let Some(wait) = self.instances.get_mut(&id).and_then(|instance| instance.paused.take()) {
            self.forget_wait(wait);
            fx.push(Effect::GoOn(id));
        }
    }

    /// Whether the sandbox of a task stands still.
    pub(super) fn is_paused(&self, key: TaskKey) -> bool {
        let instance = self.tasks[key].instance.and_then(|id| self.instances.get(&id));
        instance.is_some_and(|instance| instance.paused.is_some())
    }

    // ---- memory, and all else that comes back at the end of a sandbox only ----

    fn preempt_for(&mut self, now: Time, claimant: TenantKey, claim: &Claim, fx: &mut Effects) {
        let claim = Claim { each: but_cpus(&claim.each), all: but_cpus(&claim.all) };
        let mut soon = self.free.clone();
        soon.memory += self.memory_of_warm_sandboxes();
        // What each tenant holds and is about to give back.
        let mut leaving: BTreeMap<TenantKey, Resources> = BTreeMap::new();
        let mut victims = Vec::new();
        for (id, instance) in self.instances.iter().filter(|(_, instance)| instance.bundle.is_none()) {
            if instance.stopping.is_some() {
                soon.give(&instance.held);
                soon.cpus.0 -= instance.lent_cpus.0;
                leaving.entry(instance.tenant).or_default().give(&instance.held);
            } else if instance.tenant != claimant
                && matches!(instance.role, Role::Task | Role::Warm(_))
                && let [key] = instance.calls[..]
                && self.may_be_preempted(&self.tasks[key])
            {
                let task = &self.tasks[key];
                let priority = self.classes[task.class].spec.options.placement.priority;
                let order = (priority, Reverse((task.started, *id)));
                victims.push(Victim { instance: *id, task: key, tenant: instance.tenant, order });
            }
        }
        // The order must be the same in every run.
        victims.sort_by_key(|victim| victim.order);
        let mut chosen = Vec::new();
        for victim in victims {
            if soon.covers(&claim.all) {
                break;
            }
            let held = &self.instances[&victim.instance].held;
            let tenant = self.tenants.get(victim.tenant);
            let mut gone = leaving.get(&victim.tenant).cloned().unwrap_or_default();
            gone.give(held);
            let mut lacking = claim.all.kinds().filter(|kind| soon.of(kind) < claim.all.of(kind)).peekable();
            let helps = lacking
                .any(|kind| held.of(&kind) > 0 && tenant.has_its_share_without(&gone, &kind, &self.total));
            if helps {
                soon.give(held);
                leaving.insert(victim.tenant, gone);
                chosen.push(victim);
            }
        }
        if !soon.covers(&claim.each) {
            return;
        }
        for victim in chosen {
            self.preempt_task(now, victim.task, fx);
        }
    }

    /// Whether a task may be ended and begun anew.
    fn may_be_preempted(&self, task: &Task) -> bool {
        let is_plain = matches!(task.kind, Kind::Function) && task.state == TaskState::Running;
        is_plain
            && task.doom.is_none()
            && match task.owner() {
                Some(_) => task.extra.as_ref().is_some_and(|extra| extra.may_preempt),
                None => self.may_preempt(task),
            }
    }

    /// Whether a task of this node's own may be preempted once more, wherever it runs.
    pub(super) fn may_preempt(&self, task: &Task) -> bool {
        let times = task.extra.as_ref().map_or(0, |extra| extra.preemptions);
        self.classes[task.class].retries().system != 0
            && !task.cancelled
            && times < self.limits.preemptions_per_task_max
    }

    fn preempt_task(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let task = &mut self.tasks[key];
        let (id, attempt, owner, instance) = (task.id, task.attempt, task.owner(), task.instance);
        match owner {
            Some(owner) => {
                task.extra().untold = true;
                self.tell(owner, Message::Preempted { task: id, attempt, by: PreemptedBy::Share });
                let error = Error::new(ErrorCode::TaskCancelled, "it was preempted");
                self.end_now(now, key, error, StopReason::Cancelled, fx);
            }
            None => {
                task.extra().was_preempted = true;
                if let Some(instance) = instance {
                    self.stop_instance(instance, StopReason::Cancelled, fx);
                }
            }
        }
    }

    /// Whether the attempt that ends was preempted: why it ended.
    pub(super) fn was_preempted(&mut self, key: TaskKey) -> Option<Error> {
        let extra = self.tasks[key].extra.as_mut()?;
        if !std::mem::take(&mut extra.was_preempted) {
            return None;
        }
        extra.preemptions += 1;
        // Whose share it was is that tenant's business.
        let message = "it was preempted, as another tenant came for its guaranteed share: it is tried again, and that costs none of its retries";
        Some(Error::new(ErrorCode::WorkerDied, message))
    }

    /// What the first of a class lacks if it was preempted as often as may be: room that no other tenant's
    /// share covers. CPUs it need not have for good.
    pub(super) fn lacks_beside_shares(&self, class_key: ClassKey) -> Vec<Lack> {
        if self.tenants.guaranteed == 0 {
            return Vec::new();
        }
        let class = &self.classes[class_key];
        let head = class.queue.front().and_then(|(_, head)| self.tasks.get(*head));
        let times = head.and_then(|head| head.extra.as_ref()).map_or(0, |extra| extra.preemptions);
        if times < self.limits.preemptions_per_task_max {
            return Vec::new();
        }
        let tenant = self.tenants.get(class.tenant);
        let is_its_own = |kind: &ResourceKind| {
            let held = tenant.held().of(kind).saturating_add(class.needs.of(kind));
            held <= tenant.share_of(kind, &self.total)
        };
        let owed = |kind: &ResourceKind| {
            let others = self.tenants.all().filter(|(key, _)| *key != class.tenant);
            let owed =
                |tenant: &Tenant| tenant.share_of(kind, &self.total).saturating_sub(tenant.held().of(kind));
            others.map(|(_, tenant)| owed(tenant)).sum::<u64>()
        };
        let (mut wanted, mut left) = (Resources::default(), Resources::default());
        for kind in class.needs.kinds().filter(|kind| *kind != ResourceKind::Cpus && !is_its_own(kind)) {
            wanted.set(&kind, class.needs.of(&kind));
            left.set(&kind, self.free.of(&kind).saturating_sub(owed(&kind)));
        }
        let mut lacks = left.lacking(&wanted);
        for lack in &mut lacks {
            lack.resource.push_str(&format!(" beside other tenants' shares, after {times} preemptions"));
        }
        lacks
    }
}

fn but_cpus(wanted: &Resources) -> Resources {
    Resources { cpus: Quantity::ZERO, ..wanted.clone() }
}
