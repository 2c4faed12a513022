//! Calls of actors that live on another node.
//!
//! The caller's node owns the call and its objects. The actor's node has its place in line, its retries
//! and its end: the calls of one handle come in the order in which they were made, as messages do, and
//! wait there for what they lack (contract A1).

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, ComponentId, LaneId, NodeId, TaskId};
use crate::node::class::ClassSpec;
use crate::node::peers::message::{Failure, Held, Message, RemoteCall};
use crate::node::spawn::NewTask;
use crate::node::task::{Kind, SentCall};
use crate::node::{Caller, Effects, Node, Spawned, TaskKey};
use crate::options::{CallOptions, Function, Retries, TaskOptions};
use crate::time::Time;
use crate::value::{Argument, Handle};
use crate::work::{Entry, StopReason};

impl Node {
    // ---- at the caller ----

    /// Calls a method of an actor that is elsewhere, whose handle the caller holds. What was asked was
    /// checked.
    #[allow(clippy::too_many_arguments)]
    pub(in crate::node) fn call_remote_actor(
        &mut self,
        now: Time,
        from: Caller,
        (actor, lane): (ActorId, LaneId),
        method: Arc<str>,
        mut arguments: Vec<Argument>,
        options: CallOptions,
        argument_bytes: u64,
        fx: &mut Effects,
    ) -> Result<Spawned, Error> {
        let parent = self.serving(from)?;
        let remote = self.peers.references.actors.get(&actor).map(|remote| remote.owner);
        let Some(to) = remote.filter(|owner| !self.peers.dead.contains(owner)) else {
            return Err(Error::new(ErrorCode::ActorDied, format!("{actor} is gone, with its node")));
        };
        let instance = &self.instances[&from.instance];
        let (job, scope) = (instance.job, instance.scope);
        // What is called is the actor's: this only says who calls.
        let component = instance.component.unwrap_or(ComponentId::NONE);
        let function = Function { component, name: method.clone() };
        let none = Retries { system: 0, application: 0, kinds: Vec::new() };
        let task_options = TaskOptions { returns: options.returns, retries: none, ..TaskOptions::default() };
        let class = self.class_of(ClassSpec { job, scope, function, options: task_options }, 0);
        self.reserve_inline(argument_bytes, "the arguments")?;
        self.promote_arguments(parent, &mut arguments, fx);
        let id = self.ids.task();
        let new = NewTask {
            id,
            job,
            class,
            kind: Kind::Sent(Box::new(SentCall { actor })),
            entry: Entry::Method(method.clone()),
            arguments,
            parent: Some(parent),
            deadline: options.deadline,
            name: options.name.clone(),
        };
        let key = self.register(now, new, argument_bytes, fx);
        let returns = options.returns;
        let spawned = self.give_outputs(from, key, returns);
        let arguments = self.pack_arguments(to, key);
        self.go_away(now, key, to);
        let job = self.remote_job(job);
        let call = RemoteCall { id, job, actor, lane, component, method, arguments, options };
        self.tell(to, Message::Call(Box::new(call)));
        self.schedule(now, fx);
        Ok(spawned)
    }

    /// Ends an actor's incarnation on another node.
    pub(in crate::node) fn kill_remote_actor(&mut self, actor: ActorId, restart: bool) {
        if let Some(owner) = self.peers.references.actors.get(&actor).map(|actor| actor.owner) {
            self.tell(owner, Message::KillActor(actor, restart));
        }
    }

    /// Cancels a call of an actor on another node: its end follows from there.
    pub(in crate::node) fn cancel_sent(&mut self, key: TaskKey, force: bool, recursive: bool) {
        let task = &self.tasks[key];
        if let Some(node) = task.away() {
            let task = task.id;
            self.tell(node, Message::CancelCall { task, force, recursive });
        }
    }

    // ---- at the actor ----

    pub(super) fn call_from(&mut self, now: Time, from: NodeId, call: RemoteCall, fx: &mut Effects) {
        let RemoteCall { id, job, actor, lane, component, method, arguments, options } = call;
        let job_id = job.id;
        let mut held = Held::new();
        let refuse = self.check_call(from, &job, id, actor, lane, &options);
        if refuse.is_ok() {
            self.know_job(&job, component);
        }
        let arguments: Vec<Argument> = arguments
            .into_iter()
            .map(|argument| self.take_argument(now, from, job_id, argument, &mut held, fx))
            .collect();
        match refuse {
            Ok(group) => {
                let new = NewTask {
                    id,
                    job: job_id,
                    class: Default::default(),
                    kind: Kind::Function,
                    entry: Entry::Method(method),
                    arguments,
                    parent: None,
                    deadline: None,
                    name: options.name.clone(),
                };
                self.queue_call_from(now, from, (actor, lane, group), new, component, &options, fx);
            }
            Err(error) => {
                let result = Err(Failure::plain(error));
                self.tell(from, Message::Ended { task: id, attempt: 0, ran: None, result });
            }
        }
        self.let_go(now, held, fx);
    }

    /// The group of a call that is welcome.
    fn check_call(
        &self,
        from: NodeId,
        job: &super::RemoteJob,
        id: TaskId,
        actor: ActorId,
        lane: LaneId,
        options: &CallOptions,
    ) -> Result<u32, Error> {
        self.check_foreign(from, job, id, false)?;
        if self.tasks.len() >= self.limits.queued_tasks_max {
            return Err(crate::node::spawn::limit(
                "queued_tasks_max",
                self.limits.queued_tasks_max,
                "the actor's node has as many tasks as it may have: wait for some of the calls first",
            ));
        }
        let Some(actor) = self.actors.get(&actor) else {
            return Err(Error::new(ErrorCode::ActorDied, format!("{actor} is gone")));
        };
        actor.check_pending(lane_of(from, lane))?;
        actor.group(options.concurrency_group.as_deref())
    }

    #[allow(clippy::too_many_arguments)]
    fn queue_call_from(
        &mut self,
        now: Time,
        from: NodeId,
        (actor, lane, group): (ActorId, LaneId, u32),
        mut new: NewTask,
        component: ComponentId,
        options: &CallOptions,
        fx: &mut Effects,
    ) {
        let function = Function { component, name: Arc::from(new.entry.name()) };
        let task_options = TaskOptions {
            returns: options.returns,
            retries: options.retries.clone(),
            ..TaskOptions::default()
        };
        let scope = None;
        new.class = self.class_of(ClassSpec { job: new.job, scope, function, options: task_options }, 0);
        let Some((kind, dead)) = self.enter_lane(actor, lane_of(from, lane), group, options) else { return };
        new.kind = kind;
        let key = self.register_foreign(now, from, new, fx);
        self.queue_call(now, key, dead, fx);
    }

    pub(super) fn kill_from(
        &mut self,
        now: Time,
        from: NodeId,
        actor: ActorId,
        restart: bool,
        fx: &mut Effects,
    ) {
        if self.peers.references.holds(from, Handle::Actor(actor)) {
            self.kill(now, actor, restart, fx);
        }
    }

    pub(super) fn cancel_call_from(
        &mut self,
        now: Time,
        from: NodeId,
        id: TaskId,
        (force, recursive): (bool, bool),
        fx: &mut Effects,
    ) {
        if let Some(key) = self.foreign(from, id) {
            if recursive {
                self.cancel_descendants(now, key, force, fx);
            }
            self.cancel_one(now, key, force, recursive, fx);
        }
    }

    /// Whoever made this call is dead. The actor that it is inside goes on: the call is asked to end, and
    /// its end is nobody's business.
    pub(super) fn orphan_call(
        &mut self,
        now: Time,
        key: TaskKey,
        error: Error,
        recursive: bool,
        fx: &mut Effects,
    ) {
        let task = &mut self.tasks[key];
        if task.is_inside() {
            if task.extra().owner.take().is_some() {
                self.tenants.get_mut(self.classes[task.class].tenant).queued += 1;
            }
            let (job, state, is_away) = (task.job, task.state, u64::from(task.is_counted_away()));
            if let Some(job) = self.jobs.get_mut(&job) {
                job.foreign[state as usize] -= 1;
                job.away += is_away;
            }
            return self.ask_to_end(key, recursive, fx);
        }
        self.end_now(now, key, error, StopReason::Cancelled, fx);
    }
}

/// The lane of a caller on another node: its own number, and the node. Two that fall together only share
/// an order.
fn lane_of(node: NodeId, lane: LaneId) -> LaneId {
    let (high, low) = node.bits();
    LaneId((high ^ low).wrapping_add(lane.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}
