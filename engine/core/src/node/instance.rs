//! Sandboxes on this node: what they hold, what the ledger took for them, and the warm ones that
//! wait for work.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::ids::{ActorId, ComponentId, IdMap, InstanceId, JobId, WaitId};
use crate::node::{Effect, Effects, Node, TaskKey};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::Handle;
use crate::work::StopReason;

pub(super) struct Instance {
    pub job: JobId,
    pub scope: Option<ActorId>,
    pub role: Role,
    /// Handles in its table, each kind once, with how many the guest has.
    pub handles: IdMap<Handle, u32>,
    /// Calls that it was given and has not ended.
    pub calls: SmallVec<[TaskKey; 1]>,
    /// What the ledger took for it and has not got back.
    pub held: Arc<Resources>,
    /// CPUs of `held` that were given back because all of its calls are blocked.
    pub lent_cpus: Quantity,
    /// Calls that are blocked.
    pub blocked: usize,
    /// Waits of its calls that are not over.
    pub waits: SmallVec<[WaitId; 1]>,
    /// It was told to end.
    pub stopping: Option<StopReason>,
}

pub(super) enum Role {
    Task,
    Warm(ReuseKey),
    Actor(ActorId),
}

/// Tasks that may share a warm sandbox (contract T3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ReuseKey {
    pub job: JobId,
    pub scope: Option<ActorId>,
    pub component: ComponentId,
    pub env: Arc<[(String, String)]>,
    pub memory: u64,
}

/// Warm sandboxes that wait for work, longest idle first.
#[derive(Default)]
pub(super) struct WarmPool {
    by_key: HashMap<ReuseKey, VecDeque<(InstanceId, Time)>>,
    idle: usize,
}

impl WarmPool {
    pub fn idle(&self) -> usize {
        self.idle
    }

    fn put(&mut self, key: ReuseKey, instance: InstanceId, now: Time) {
        self.by_key.entry(key).or_default().push_back((instance, now));
        self.idle += 1;
    }

    pub fn has(&self, key: &ReuseKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// The one that was used last, as its memory is the warmest.
    pub fn take(&mut self, key: &ReuseKey) -> Option<InstanceId> {
        let queue = self.by_key.get_mut(key)?;
        let (instance, _) = queue.pop_back()?;
        self.idle -= 1;
        if queue.is_empty() {
            self.by_key.remove(key);
        }
        Some(instance)
    }

    fn remove(&mut self, key: &ReuseKey, instance: InstanceId) {
        let Some(queue) = self.by_key.get_mut(key) else { return };
        let before = queue.len();
        queue.retain(|(id, _)| *id != instance);
        self.idle -= before - queue.len();
        if queue.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// The one that has been idle for longest.
    fn oldest(&self) -> Option<(InstanceId, Time)> {
        self.by_key
            .values()
            .filter_map(|queue| queue.front().copied())
            .min_by_key(|(id, since)| (*since, *id))
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
        if let Role::Warm(key) = &instance.role {
            self.warm.remove(key, id);
        }
        fx.push(Effect::Stop(id, reason));
    }

    /// A warm sandbox that ended by itself is not waiting for work any more.
    pub(super) fn leave_warm_pool(&mut self, id: InstanceId) {
        if let Some(Role::Warm(key)) = self.instances.get(&id).map(|i| &i.role) {
            self.warm.remove(key, id);
        }
    }

    /// Has a warm sandbox wait for work.
    pub(super) fn idle_instance(&mut self, now: Time, id: InstanceId, fx: &mut Effects) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let Role::Warm(key) = &instance.role else { return };
        let key = key.clone();
        // An idle sandbox keeps its memory and gives the rest back.
        let keeps = Resources { memory: instance.held.memory, ..Resources::default() };
        let mut gives = Resources::clone(&instance.held);
        gives.memory = 0;
        instance.held = Arc::new(keeps);
        self.free.give(&gives);
        self.warm.put(key, id, now);
        while self.warm.idle() > self.limits.warm_idle_max {
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
        if instance.blocked == instance.calls.len() && instance.lent_cpus == Quantity::ZERO {
            instance.lent_cpus = instance.held.cpus;
            self.free.cpus.0 += instance.lent_cpus.0;
        }
    }

    /// Takes back what [`Self::lend_cpus`] gave; false when it is not there.
    pub(super) fn reclaim_cpus(&mut self, id: InstanceId) -> bool {
        let Some(instance) = self.instances.get_mut(&id) else { return true };
        if self.free.cpus < instance.lent_cpus {
            return false;
        }
        self.free.cpus.0 -= instance.lent_cpus.0;
        instance.lent_cpus = Quantity::ZERO;
        true
    }

    /// Gives back all that the ledger took for a sandbox that is gone.
    pub(super) fn return_resources(&mut self, instance: &Instance) {
        self.free.give(&instance.held);
        self.free.cpus.0 -= instance.lent_cpus.0;
    }
}
