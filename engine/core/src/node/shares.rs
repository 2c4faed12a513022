//! Guaranteed shares of tenants: what a tenant may have of this node whenever it wants it.
//!
//! What a tenant does not use of its share others use meanwhile. When it comes back, its tasks are served
//! first until it has its share again. Where that alone does not help for `preempt_after`, tasks of tenants
//! that have more than theirs are *preempted*: their sandboxes end, and they are in line again, which is no
//! fault of theirs and costs none of their retries. Only tasks that may be tried again are, those of the
//! lowest priority first, and of those the ones that have begun last; none more often than
//! `preemptions_per_task_max`. Actors, roots of jobs and what runs in placement groups never are.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::error::{Error, ErrorCode};
use crate::ids::InstanceId;
use crate::node::instance::Role;
use crate::node::peers::{Message, PreemptedBy};
use crate::node::task::{Kind, Task};
use crate::node::tenants::Tenant;
use crate::node::{ClassKey, Effects, Node, TaskKey, TaskState, TenantKey};
use crate::resources::{ResourceKind, Resources};
use crate::tenant::TenantName;
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

/// A task that may be preempted.
struct Victim {
    instance: InstanceId,
    task: TaskKey,
    tenant: TenantKey,
    order: (i32, Reverse<(Time, InstanceId)>),
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
    /// Makes room for tenants that have waited too long for their shares. Called when turns were served.
    pub(super) fn claim_shares(&mut self, now: Time, fx: &mut Effects) {
        if self.tenants.guaranteed == 0 {
            return;
        }
        self.timers.claims = None;
        for key in self.tenants.waiting_for_shares() {
            let Some(claim) = self.claim_of(key) else {
                self.tenants.get_mut(key).owed = None;
                continue;
            };
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

    fn preempt_for(&mut self, now: Time, claimant: TenantKey, claim: &Claim, fx: &mut Effects) {
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
        let by = self.tenants.get(claimant).name.clone();
        for victim in chosen {
            self.preempt_task(now, victim.task, &by, fx);
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

    fn preempt_task(&mut self, now: Time, key: TaskKey, by: &TenantName, fx: &mut Effects) {
        let task = &mut self.tasks[key];
        let (id, attempt, owner, instance) = (task.id, task.attempt, task.owner(), task.instance);
        match owner {
            Some(owner) => {
                task.extra().untold = true;
                let by = PreemptedBy::Tenant(by.clone());
                self.tell(owner, Message::Preempted { task: id, attempt, by });
                let error = Error::new(ErrorCode::TaskCancelled, "it was preempted");
                self.end_now(now, key, error, StopReason::Cancelled, fx);
            }
            None => {
                task.extra().preempted_by = Some(by.clone());
                if let Some(instance) = instance {
                    self.stop_instance(instance, StopReason::Cancelled, fx);
                }
            }
        }
    }

    /// Whether the attempt that ends was preempted: why it ended.
    pub(super) fn was_preempted(&mut self, key: TaskKey) -> Option<Error> {
        let extra = self.tasks[key].extra.as_mut()?;
        let by = extra.preempted_by.take()?;
        extra.preemptions += 1;
        let message = format!(
            "it was preempted, as the tenant {by} came for its guaranteed share: it is tried again, and that costs none of its retries"
        );
        Some(Error::new(ErrorCode::WorkerDied, message))
    }
}
