//! Waiting for objects and streams. A call that waits gives its sandbox's CPUs back and takes them
//! again before it goes on (contract T2).

use std::time::Duration;

use crate::error::Error;
use crate::ids::{InstanceId, ObjectId, TaskId, WaitId};
use crate::node::edges::{Object, State, Waiter};
use crate::node::instance::Role;
#[cfg(test)]
use crate::node::tenants::Tenant;
use crate::node::tenants::Turn;
use crate::node::{Caller, Effect, Effects, Node, TaskKey, TaskState};
use crate::resources::Quantity;
use crate::time::Time;
use crate::value::Handle;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waitable {
    /// An object's value or failure.
    Object(ObjectId),
    /// An object's failure, or its value where it can be read: in memory, if it can be brought there.
    Value(ObjectId),
    /// A stream's next object, its end or its failure.
    NextOf(TaskId),
}

/// When a wait ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All are ready, or any has failed.
    AllOrFailure,
    /// So many are ready.
    Count(u32),
}

/// The answer to a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitState {
    /// There is nothing to wait for.
    Ready,
    /// `Effect::Wake` with this id follows, unless the sandbox ends first.
    Blocked(WaitId),
}

/// How many of those that wait for CPUs to go on are looked at, for one that fits.
const RESUME_LOOKAHEAD: usize = 64;

pub(super) struct WaitRecord {
    instance: InstanceId,
    /// The call that waits; none: its sandbox is paused.
    task: Option<TaskKey>,
    items: Box<[Waitable]>,
    fail_fast: bool,
    /// Items that have yet to become ready.
    missing: u32,
    timeout: Option<Time>,
    over: bool,
}

impl WaitRecord {
    pub fn is_of(&self, task: TaskKey) -> bool {
        self.task == Some(task)
    }
}

/// What became of a tenant's calls that go on.
pub(super) enum Resuming {
    /// One does.
    GoesOn,
    /// None can for now, and holding others back would not help.
    NoneCan,
    /// The first lacks CPUs that will come free: nothing else of its tenant starts before.
    LacksCpus,
    /// So it is, and others were served too often meanwhile: nothing of anybody starts before.
    HoldsOthersUp,
}

enum Readiness {
    Pending,
    Ready,
    Failed,
}

impl Node {
    /// Whether a wait for this would end now.
    pub fn is_ready(&self, from: Caller, item: Waitable) -> bool {
        let handle = match item {
            Waitable::Object(id) | Waitable::Value(id) => Handle::Object(id),
            Waitable::NextOf(id) => Handle::Stream(id),
        };
        self.check_holds(from, handle).is_err() || !matches!(self.readiness(item), Readiness::Pending)
    }

    fn readiness(&self, item: Waitable) -> Readiness {
        match item {
            Waitable::Object(id) | Waitable::Value(id) => {
                match self.objects.get(&id).map(|object| &object.state) {
                    Some(State::Pending) => Readiness::Pending,
                    Some(State::Ready(_)) => Readiness::Ready,
                    Some(State::Failed(_)) | None => Readiness::Failed,
                }
            }
            Waitable::NextOf(id) => match self.streams.get(&id) {
                Some(stream) if !stream.has_next() => Readiness::Pending,
                _ => Readiness::Ready,
            },
        }
    }

    /// Waits on behalf of a call that holds all of `items`.
    pub fn wait(
        &mut self,
        now: Time,
        from: Caller,
        items: &[Waitable],
        until: Until,
        timeout: Option<Duration>,
        fx: &mut Effects,
    ) -> Result<WaitState, Error> {
        let task = self.serving(from)?;
        if items.len() > self.limits.wait_items_max {
            return Err(super::spawn::limit(
                "wait_items_max",
                self.limits.wait_items_max,
                "wait for fewer at once",
            ));
        }
        for item in items {
            let handle = match item {
                Waitable::Object(id) | Waitable::Value(id) => Handle::Object(*id),
                Waitable::NextOf(id) => Handle::Stream(*id),
            };
            self.check_holds(from, handle)?;
        }
        let (mut ready, mut failed) = (0_u32, false);
        for item in items {
            if let Waitable::Value(id) = item {
                self.storage.touch(*id);
                if self.storage.is_away(*id) {
                    continue;
                }
            }
            match self.readiness(*item) {
                Readiness::Pending => {}
                Readiness::Ready => ready += 1,
                Readiness::Failed => {
                    ready += 1;
                    failed = true;
                }
            }
        }
        let fail_fast = until == Until::AllOrFailure;
        let wanted = match until {
            Until::AllOrFailure => items.len() as u32,
            Until::Count(count) => count.min(items.len() as u32),
        };
        if ready >= wanted || (fail_fast && failed) || timeout == Some(Duration::ZERO) {
            return Ok(WaitState::Ready);
        }
        let wait = self.new_wait(now, from.instance, task, items.into(), wanted - ready, timeout, fx);
        if let Some(record) = self.waits.get_mut(&wait) {
            record.fail_fast = fail_fast;
        }
        for item in items {
            match item {
                Waitable::Value(id) if self.fetch(*id, Waiter::Wait(wait)) => {}
                Waitable::Object(id) | Waitable::Value(id) => {
                    if let Some(object @ Object { state: State::Pending, .. }) = self.objects.get_mut(id) {
                        object.waiting.push(Waiter::Wait(wait));
                        if object.owner().is_some() {
                            self.want(*id);
                        }
                    }
                }
                Waitable::NextOf(stream) => {
                    if let Some(stream) = self.streams.get_mut(stream)
                        && !stream.has_next()
                    {
                        stream.waiting.push(wait);
                    }
                }
            }
        }
        self.schedule(now, fx);
        Ok(WaitState::Blocked(wait))
    }

    /// Registers a wait of a running call, which blocks.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new_wait(
        &mut self,
        now: Time,
        instance: InstanceId,
        task: TaskKey,
        items: Box<[Waitable]>,
        missing: u32,
        timeout: Option<Duration>,
        fx: &mut Effects,
    ) -> WaitId {
        let id = self.new_wait_id();
        let timeout = timeout.map(|after| now + after);
        if let Some(at) = timeout {
            self.timers.add_wait(at, id);
            self.arm_timer(fx);
        }
        self.waits.insert(
            id,
            WaitRecord { instance, task: Some(task), items, fail_fast: false, missing, timeout, over: false },
        );
        let Some(holder) = self.instances.get_mut(&instance) else { return id };
        holder.waits.push(id);
        // What a client does meanwhile is not known: it goes on, and nothing is a deadlock that it may end.
        if !matches!(holder.role, Role::Client) {
            let was_blocked = self.tasks[task].state == TaskState::Blocked;
            holder.blocked += usize::from(!was_blocked);
            self.set_state(task, TaskState::Blocked);
            self.lend_cpus(instance);
        }
        id
    }

    fn new_wait_id(&mut self) -> WaitId {
        self.next_wait += 1;
        WaitId(self.next_wait)
    }

    /// A sandbox that is paused waits for CPUs to go on.
    pub(super) fn wait_for_cpus(&mut self, instance: InstanceId) -> WaitId {
        let id = self.new_wait_id();
        let (items, timeout) = (Box::default(), None);
        let record =
            WaitRecord { instance, task: None, items, fail_fast: false, missing: 0, timeout, over: true };
        self.waits.insert(id, record);
        if let Some(record) = self.instances.get_mut(&instance) {
            record.waits.push(id);
            self.tenants.was_paused(record.tenant, id);
        }
        id
    }

    /// One of the items is ready.
    pub(super) fn wait_progress(&mut self, _now: Time, id: WaitId, failed: bool, _fx: &mut Effects) {
        let Some(wait) = self.waits.get_mut(&id) else { return };
        wait.missing = wait.missing.saturating_sub(1);
        if wait.missing == 0 || (failed && wait.fail_fast) {
            self.wait_over(id);
        }
    }

    /// The wait is over: its call goes on as soon as it has its CPUs again.
    pub(super) fn wait_over(&mut self, id: WaitId) {
        let Some(wait) = self.waits.get_mut(&id) else { return };
        if std::mem::replace(&mut wait.over, true) {
            return;
        }
        let instance = wait.instance;
        match self.instances.get(&instance) {
            Some(record) if record.lacks_cpus_of_node() => self.tenants.resumes(record.tenant, id),
            Some(record) if record.bundle.is_some() => self.resuming.push_back(id),
            _ => self.resuming.push_front(id),
        }
    }

    /// Lets calls go on whose waits are over and that need no CPUs of the node: they have theirs, or a
    /// bundle has.
    pub(super) fn resume_at_once(&mut self, fx: &mut Effects) {
        self.nobody_awaits_cpus();
        let mut at = 0;
        while let Some(id) = self.resuming.get(at).copied() {
            let Some(instance) = self.goes_on(id) else {
                self.resuming.remove(at);
                continue;
            };
            if let Some(record) = self.instances.get(&instance).filter(|record| record.lacks_cpus_of_node()) {
                // Others of its calls have begun to wait meanwhile.
                let tenant = record.tenant;
                self.resuming.remove(at);
                self.tenants.resumes(tenant, id);
            } else if self.reclaim_cpus(instance) {
                self.resuming.remove(at);
                self.resume(id, instance, fx);
            } else {
                at += 1;
                let lacks = self.instances.get(&instance).and_then(|i| Some((i.bundle?, i.lent_cpus)));
                if let Some((bundle, cpus)) = lacks {
                    self.await_cpus(bundle, cpus);
                }
            }
        }
    }

    /// Lets one call of a tenant's go on whose wait is over, from where its turn was left.
    pub(super) fn resume_next(&mut self, turn: &mut Turn, fx: &mut Effects) -> Resuming {
        let tenant = turn.tenant;
        while let Some(id) = self.tenants.get(tenant).resuming.get(turn.resuming_at).copied() {
            let Some(instance) = self.goes_on(id) else {
                self.tenants.resumes_no_more(tenant, turn.resuming_at);
                continue;
            };
            if self.is_pause_without_need(id, instance) {
                self.tenants.resumes_no_more(tenant, turn.resuming_at);
                self.resume(id, instance, fx);
                continue;
            }
            if !self.quota_covers_resuming(instance) {
                turn.resuming_at += 1;
                continue;
            }
            if self.reclaim_cpus(instance) {
                let its = self.tenants.get_mut(tenant);
                match turn.resuming_at {
                    0 => (its.resume_passed_over, its.held_back) = (0, 0),
                    _ => its.resume_passed_over += 1,
                }
                self.tenants.resumes_no_more(tenant, turn.resuming_at);
                self.resume(id, instance, fx);
                return Resuming::GoesOn;
            }
            turn.resuming_at += 1;
            // Holding others back helps only when what runs will make room.
            let wanted = self.instances.get(&instance).map_or(Quantity::ZERO, |instance| instance.lent_cpus);
            if self.active_calls > 0 && self.free.cpus.0 + self.held_by_running.cpus.0 >= wanted.0 {
                turn.comes_first = true;
                let held_back = turn.resuming_at >= RESUME_LOOKAHEAD
                    || self.tenants.get(tenant).resume_passed_over >= self.limits.passed_over_max;
                if held_back || self.free.cpus == Quantity::ZERO {
                    break;
                }
            }
        }
        match turn.comes_first {
            true if self.tenants.get(tenant).held_back >= self.limits.passed_over_max => {
                Resuming::HoldsOthersUp
            }
            true => Resuming::LacksCpus,
            false => Resuming::NoneCan,
        }
    }

    /// The sandbox of a wait that is over and whose call is to go on; none when it is not any more.
    fn goes_on(&self, id: WaitId) -> Option<InstanceId> {
        let instance = self.waits.get(&id)?.instance;
        self.instances.get(&instance).is_some_and(|i| i.stopping.is_none()).then_some(instance)
    }

    /// Whether calls lack CPUs to go on.
    pub(super) fn any_resuming(&self) -> bool {
        !self.resuming.is_empty() || self.tenants.resuming > 0
    }

    /// Whether calls that lack CPUs to go on keep everything else from starting.
    #[cfg(test)]
    pub(super) fn resuming_holds_others_up(&self) -> bool {
        let max = self.limits.passed_over_max;
        let holds = |tenant: &Tenant| {
            !tenant.resuming.is_empty() && (tenant.resume_passed_over >= max || tenant.held_back >= max)
        };
        self.tenants.all().any(|(_, tenant)| holds(tenant))
    }

    /// The first of the calls that lack CPUs to go on.
    pub(super) fn first_resuming(&self) -> Option<WaitId> {
        let is_of_a_call = |id: &&WaitId| self.waits.get(id).is_some_and(|wait| wait.task.is_some());
        let of_tenants =
            self.tenants.all().filter_map(|(_, tenant)| tenant.resuming.iter().find(is_of_a_call));
        self.resuming.front().or_else(|| of_tenants.min()).copied()
    }

    /// Whether this is the pause of a sandbox whose calls have all begun to wait: it needs no CPUs until one of
    /// them goes on.
    fn is_pause_without_need(&self, id: WaitId, instance: InstanceId) -> bool {
        self.instances.get(&instance).is_some_and(|instance| {
            instance.paused == Some(id)
                && !instance.calls.is_empty()
                && instance.blocked == instance.calls.len()
        })
    }

    fn resume(&mut self, id: WaitId, instance: InstanceId, fx: &mut Effects) {
        let Some(wait) = self.forget_wait(id) else { return };
        let Some(task) = wait.task else {
            if let Some(record) = self.instances.get_mut(&instance) {
                record.paused = None;
            }
            return fx.push(Effect::GoOn(instance));
        };
        fx.push(Effect::Wake(id));
        // A call with several waits goes on with the first that is over.
        if self.tasks.get(task).is_some_and(|task| task.state == TaskState::Blocked) {
            self.set_state(task, TaskState::Running);
            if let Some(instance) = self.instances.get_mut(&instance) {
                instance.blocked -= 1;
            }
        }
    }

    /// The call of a wait that is over, and the CPUs that it lacks to go on; no call: a sandbox is paused.
    pub(super) fn cpus_to_resume(&self, id: WaitId) -> Option<(Option<TaskKey>, Quantity)> {
        let wait = self.waits.get(&id)?;
        Some((wait.task, self.instances.get(&wait.instance)?.lent_cpus))
    }

    /// A client has given a wait up. Nothing when it is over.
    pub fn give_up_wait(&mut self, id: WaitId) {
        let of_client = |wait: &WaitRecord| {
            self.instances.get(&wait.instance).is_some_and(|holder| matches!(holder.role, Role::Client))
        };
        if self.waits.get(&id).is_some_and(of_client) {
            self.forget_wait(id);
        }
    }

    /// Takes a wait out of every table.
    pub(super) fn forget_wait(&mut self, id: WaitId) -> Option<WaitRecord> {
        let wait = self.waits.remove(&id)?;
        if let Some(at) = wait.timeout {
            self.timers.remove_wait(at, id);
        }
        for item in &wait.items {
            match item {
                Waitable::Object(object) | Waitable::Value(object) => {
                    if let Some(object) = self.objects.get_mut(object) {
                        object.waiting.retain(|waiter| *waiter != Waiter::Wait(id));
                    }
                }
                Waitable::NextOf(stream) => {
                    if let Some(stream) = self.streams.get_mut(stream) {
                        stream.waiting.retain(|waiting| *waiting != id);
                    }
                }
            }
        }
        if let Some(instance) = self.instances.get_mut(&wait.instance) {
            instance.waits.retain(|other| *other != id);
        }
        Some(wait)
    }

    /// For the error of a get that timed out.
    pub fn why_not_ready(&self, object: ObjectId) -> String {
        match self.task_index.get(&object.task()).and_then(|key| self.tasks.get(*key)) {
            Some(task) => format!("{} ({}) is {}", task.id, task.entry.name(), task.state),
            None => format!("{object} has not been made"),
        }
    }

    /// CPUs that blocked calls have lent to others.
    pub(super) fn lent(&self) -> Quantity {
        Quantity(self.instances.values().map(|instance| instance.lent_cpus.0).sum())
    }
}
