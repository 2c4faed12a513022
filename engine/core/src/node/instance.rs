//! Sandboxes on this node: what they hold, what the ledger took for them, and the warm ones that
//! wait for work.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::group::BundleId;
use crate::ids::{ActorId, ComponentId, IdMap, InstanceId, JobId, PlacementGroupId, WaitId};
use crate::node::{Effect, Effects, Node, TaskKey, TenantKey};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::Handle;
use crate::work::StopReason;

/// A sandbox, or what stands in its place: a client outside.
pub(super) struct Instance {
    pub job: JobId,
    pub tenant: TenantKey,
    /// What runs in it; none: it is a client.
    pub component: Option<ComponentId>,
    pub scope: Option<ActorId>,
    pub role: Role,
    /// Handles in its table, each kind once, with how many the guest has.
    pub handles: IdMap<Handle, u32>,
    /// Calls that it was given and has not ended.
    pub calls: SmallVec<[TaskKey; 1]>,
    /// The bundle that it is in, whose ledger is meant; none: the node's.
    pub bundle: Option<BundleId>,
    /// What its calls spawn runs in this group too, unless they say otherwise.
    pub captures: Option<PlacementGroupId>,
    /// What the ledger took for it and has not got back.
    pub held: Arc<Resources>,
    /// CPUs of `held` that were given back because all of its calls are blocked, or it is paused.
    pub lent_cpus: Quantity,
    /// Calls that are blocked.
    pub blocked: usize,
    /// Waits of its calls that are not over.
    pub waits: SmallVec<[WaitId; 1]>,
    /// It stands still, and waits for its CPUs by this.
    pub paused: Option<WaitId>,
    /// It was told to end.
    pub stopping: Option<StopReason>,
}

impl Instance {
    /// Whether a call of it that goes on must be given CPUs of the node's first.
    pub fn lacks_cpus_of_node(&self) -> bool {
        self.bundle.is_none() && self.lent_cpus > Quantity::ZERO
    }
}

pub(super) enum Role {
    Task,
    Warm(ReuseKey),
    Actor(ActorId),
    /// Not a sandbox: a client outside, which is the root of its job.
    Client,
}

/// Tasks that may share a warm sandbox (contract T3): compared often, so hashed once.
#[derive(Debug, Clone)]
pub(super) struct ReuseKey {
    hash: u64,
    kind: Arc<ReuseKind>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ReuseKind {
    pub job: JobId,
    pub scope: Option<ActorId>,
    pub component: ComponentId,
    pub env: Arc<[(String, String)]>,
    pub memory: u64,
}

impl ReuseKey {
    pub fn new(kind: ReuseKind) -> Self {
        Self { hash: BuildHasherDefault::<DefaultHasher>::default().hash_one(&kind), kind: Arc::new(kind) }
    }
}

impl Hash for ReuseKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for ReuseKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kind, &other.kind) || (self.hash == other.hash && self.kind == other.kind)
    }
}

impl Eq for ReuseKey {}

/// Warm sandboxes that wait for work.
#[derive(Default)]
pub(super) struct WarmPool {
    by_key: IdMap<ReuseKey, Vec<(InstanceId, Time)>>,
    by_age: BTreeSet<(Time, InstanceId)>,
    /// Bytes of guest memory that they keep.
    memory: u64,
}

/// What comes back without anyone's doing: sandboxes that were told to end.
#[derive(Default)]
pub(super) struct Stopping {
    pub sandboxes: usize,
    /// Bytes of guest memory.
    memory: u64,
}

impl WarmPool {
    pub fn idle(&self) -> usize {
        self.by_age.len()
    }

    fn put(&mut self, key: &ReuseKey, instance: InstanceId, now: Time) {
        match self.by_key.get_mut(key) {
            Some(waiting) => waiting.push((instance, now)),
            None => drop(self.by_key.insert(key.clone(), vec![(instance, now)])),
        }
        self.by_age.insert((now, instance));
        self.memory += key.kind.memory;
    }

    pub fn has(&self, key: &ReuseKey) -> bool {
        self.by_key.get(key).is_some_and(|waiting| !waiting.is_empty())
    }

    /// The one that was used last, as its memory is the warmest.
    pub fn take(&mut self, key: &ReuseKey) -> Option<InstanceId> {
        let (instance, since) = self.by_key.get_mut(key)?.pop()?;
        self.by_age.remove(&(since, instance));
        self.memory -= key.kind.memory;
        Some(instance)
    }

    fn remove(&mut self, key: &ReuseKey, instance: InstanceId) {
        let Some(waiting) = self.by_key.get_mut(key) else { return };
        if let Some(at) = waiting.iter().position(|(id, _)| *id == instance) {
            let (_, since) = waiting.remove(at);
            self.by_age.remove(&(since, instance));
            self.memory -= key.kind.memory;
        }
        // Taking one for a task leaves the key, as the sandbox mostly comes back.
        if self.by_key.get(key).is_some_and(Vec::is_empty) {
            self.by_key.remove(key);
        }
    }

    /// Keys that it knows: none when no warm sandbox is left.
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// The one that has been idle for longest.
    fn oldest(&self) -> Option<(InstanceId, Time)> {
        self.by_age.first().map(|(since, id)| (*id, *since))
    }
}

impl Node {
    /// Tells a sandbox to end; what it holds comes back when it is gone.
    pub(super) fn stop_instance(&mut self, id: InstanceId, reason: StopReason, fx: &mut Effects) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if instance.stopping.is_some() {
            return;
        }
        instance.stopping = Some(reason);
        self.stopping.sandboxes += 1;
        self.stopping.memory += instance.held.memory;
        if let Role::Warm(key) = &instance.role {
            self.warm.remove(key, id);
        }
        fx.push(Effect::Stop(id, reason));
    }

    /// A sandbox has ended: it is neither waiting for work nor about to end any more.
    pub(super) fn note_gone(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        match instance.stopping {
            Some(_) => {
                self.stopping.sandboxes -= 1;
                self.stopping.memory -= instance.held.memory;
            }
            None => instance.stopping = Some(StopReason::Retired),
        }
        if let Role::Warm(key) = &instance.role {
            self.warm.remove(key, id);
        }
    }

    /// Leaves a sandbox no more than `keeps` of what it holds, and gives the rest back.
    pub(super) fn keep_only(&mut self, id: InstanceId, keeps: Resources) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let lent = instance.lent_cpus.min(keeps.cpus);
        let lent_before = std::mem::replace(&mut instance.lent_cpus, lent);
        let (bundle, tenant) = (instance.bundle, instance.tenant);
        let keeps = Arc::new(keeps);
        let held = std::mem::replace(&mut instance.held, keeps.clone());
        self.give_resources(bundle, &held);
        self.take_resources(bundle, &keeps);
        let cpus = self.free_cpus_of(bundle);
        cpus.0 = cpus.0 + lent.0 - lent_before.0;
        if bundle.is_none() {
            self.tenants.cpus_change(tenant, Quantity::ZERO, lent_before);
            self.tenants.gives(tenant, &held);
            self.tenants.takes(tenant, &keeps);
            self.tenants.cpus_change(tenant, lent, Quantity::ZERO);
        }
    }

    /// Has a warm sandbox wait for work.
    pub(super) fn idle_instance(&mut self, now: Time, id: InstanceId, fx: &mut Effects) {
        let Some(instance) = self.instances.get(&id) else { return };
        let Role::Warm(key) = &instance.role else { return };
        self.warm.put(key, id, now);
        // An idle sandbox keeps its memory and gives the rest back.
        self.keep_only(id, Resources { memory: instance.held.memory, ..Resources::default() });
        self.lift_pause(id, fx);
        // On a node that drains none is to wait.
        let max = if self.is_draining() { 0 } else { self.limits.warm_idle_max };
        while self.warm.idle() > max {
            if !self.retire_oldest_warm(fx) {
                break;
            }
        }
        self.arm_warm_timer(fx);
    }

    /// Ends the warm sandbox that has been idle for longest; false when there is none.
    pub(super) fn retire_oldest_warm(&mut self, fx: &mut Effects) -> bool {
        let Some((id, _)) = self.warm.oldest() else { return false };
        self.stop_instance(id, StopReason::Retired, fx);
        true
    }

    /// Bytes of guest memory that come back when nothing starts: of those that end or may.
    pub(super) fn memory_of_ending_sandboxes(&self) -> u64 {
        self.stopping.memory + self.warm.memory
    }

    /// Bytes of guest memory of warm sandboxes that wait.
    pub(super) fn memory_of_warm_sandboxes(&self) -> u64 {
        self.warm.memory
    }

    /// Ends idle warm sandboxes until this much memory is free or about to be, if they have it.
    pub(super) fn retire_for_memory(&mut self, wanted: u64, fx: &mut Effects) {
        if self.free.memory + self.stopping.memory + self.warm.memory < wanted {
            return;
        }
        while self.free.memory + self.stopping.memory < wanted && self.retire_oldest_warm(fx) {}
    }

    /// Ends warm sandboxes that have waited for longer than they may.
    pub(super) fn retire_idle(&mut self, now: Time, fx: &mut Effects) {
        while let Some((id, since)) = self.warm.oldest() {
            if since + self.limits.warm_idle_duration_max > now {
                break;
            }
            self.stop_instance(id, StopReason::Retired, fx);
        }
        self.arm_warm_timer(fx);
    }

    fn arm_warm_timer(&mut self, fx: &mut Effects) {
        let at = self.warm.oldest().map(|(_, since)| since + self.limits.warm_idle_duration_max);
        self.timers.set_warm(at);
        self.arm_timer(fx);
    }

    /// Gives back the CPUs of a sandbox whose calls are all blocked.
    pub(super) fn lend_cpus(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let all_blocked = !instance.calls.is_empty() && instance.blocked == instance.calls.len();
        if all_blocked && instance.lent_cpus == Quantity::ZERO {
            instance.lent_cpus = instance.held.cpus;
            let (bundle, lent, tenant) = (instance.bundle, instance.lent_cpus, instance.tenant);
            self.free_cpus_of(bundle).0 += lent.0;
            if bundle.is_none() {
                self.tenants.cpus_change(tenant, lent, Quantity::ZERO);
            }
        }
    }

    /// Takes back what [`Self::lend_cpus`] gave; false when it is not there.
    pub(super) fn reclaim_cpus(&mut self, id: InstanceId) -> bool {
        let Some(instance) = self.instances.get(&id) else { return true };
        let (lent, bundle, tenant) = (instance.lent_cpus, instance.bundle, instance.tenant);
        let free = self.free_cpus_of(bundle);
        if *free < lent {
            return false;
        }
        free.0 -= lent.0;
        if bundle.is_none() {
            self.tenants.cpus_change(tenant, Quantity::ZERO, lent);
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.lent_cpus = Quantity::ZERO;
        }
        true
    }

    /// Gives back all that the ledger took for a sandbox that is gone.
    pub(super) fn return_resources(&mut self, instance: &Instance) {
        self.give_resources(instance.bundle, &instance.held);
        self.free_cpus_of(instance.bundle).0 -= instance.lent_cpus.0;
        if instance.bundle.is_none() {
            self.tenants.cpus_change(instance.tenant, Quantity::ZERO, instance.lent_cpus);
            self.tenants.gives(instance.tenant, &instance.held);
        }
        self.leave_sandbox(instance.bundle);
    }
}
