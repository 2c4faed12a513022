//! Calls of actors that live on another node.
//!
//! The caller's node owns the call and its objects. The actor's node has its place in line, its retries
//! and its end: the calls of one handle come in the order in which they were made, as messages do, and
//! wait there for what they lack (contract A1).

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, LaneId, NodeId, TaskId};
use crate::node::class::ClassSpec;
use crate::node::edges::{Object, State};
use crate::node::peers::message::{Away, Failure, Held, Message, RemoteArgument, RemoteCall};
use crate::node::spawn::NewTask;
use crate::node::task::{Kind, SentCall};
use crate::node::{Caller, Effect, Effects, Node, Spawned, TaskKey, TaskState};
use crate::options::{CallOptions, Function, Retries, TaskOptions};
use crate::time::Time;
use crate::value::{Argument, Handle, Value};
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
        let (job, scope, component) = (instance.job, instance.scope, instance.component);
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
        let arguments = self.pack_call_arguments(to, key);
        self.note_spread(job, to);
        self.set_state(key, TaskState::Submitted);
        self.tasks[key].extra().away = Some(Away { node: to, since: now });
        self.peers.away += 1;
        let job = self.remote_job(job);
        let call = RemoteCall { id, job, actor, lane, component, method, arguments, options };
        self.tell(to, Message::Call(Box::new(call)));
        self.schedule(now, fx);
        Ok(spawned)
    }

    fn pack_call_arguments(&mut self, to: NodeId, key: TaskKey) -> Vec<RemoteArgument> {
        let arguments = self.tasks[key].arguments.clone();
        let mut packed = Vec::with_capacity(arguments.len());
        for argument in &arguments {
            packed.push(match argument {
                Argument::Value(value) => RemoteArgument::Value(self.pack(to, value)),
                Argument::Object(id) => match self.objects.get(id).map(|object| &object.state) {
                    Some(State::Ready(_)) => self.pack_argument(to, *id),
                    _ => RemoteArgument::Handle(*id, self.give(to, Handle::Object(*id))),
                },
            });
        }
        packed
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
        if let Some(away) = task.away() {
            let task = task.id;
            self.tell(away.node, Message::CancelCall { task, force, recursive });
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
                let inline = arguments.iter().map(Argument::inline_bytes).sum();
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
                self.queue_call_from(now, from, (actor, lane, group), new, (inline, component), &options, fx);
            }
            Err(error) => {
                let result = Err(Failure::plain(error));
                self.tell(from, Message::Ended { task: id, attempt: 0, result });
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
        if self.has_ended(job.id) || self.peers.dead.contains(&job.home) {
            return Err(Error::new(ErrorCode::TaskCancelled, "its job has ended"));
        }
        if self.task_index.contains_key(&id) {
            return Err(Error::internal(format!("{from} sent {id} to a node that has it")));
        }
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
        (argument_bytes, component): (u64, crate::ids::ComponentId),
        options: &CallOptions,
        fx: &mut Effects,
    ) {
        // They were accepted where they were made.
        self.inline_bytes += argument_bytes;
        let function = Function { component, name: Arc::from(new.entry.name()) };
        let task_options = TaskOptions {
            returns: options.returns,
            retries: options.retries.clone(),
            ..TaskOptions::default()
        };
        let scope = None;
        new.class = self.class_of(ClassSpec { job: new.job, scope, function, options: task_options }, 0);
        let Some((kind, dead)) = self.enter_lane(actor, lane_of(from, lane), group, options) else { return };
        let puts_as = self.ids.task();
        new.kind = kind;
        let key = self.register(now, new, argument_bytes, fx);
        let extra = self.tasks[key].extra();
        extra.owner = Some(from);
        extra.puts_as = Some(puts_as);
        self.counters.foreign_tasks += 1;
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
        let key = self.task_index.get(&id).copied();
        if let Some(key) = key.filter(|key| self.tasks[*key].owner() == Some(from)) {
            if recursive {
                self.cancel_descendants(now, key, force, fx);
            }
            self.cancel_one(now, key, force, recursive, fx);
        }
    }

    /// Whoever made this call is dead. The actor that it is inside goes on: the call is asked to end, and
    /// its end is nobody's business.
    pub(super) fn orphan_call(&mut self, now: Time, key: TaskKey, error: Error, fx: &mut Effects) {
        let task = &mut self.tasks[key];
        if let Some(instance) = task.instance {
            let asked = std::mem::replace(&mut task.cancelled, true);
            let id = task.id;
            task.extra().owner = None;
            if !asked {
                fx.push(Effect::Interrupt(instance, id));
            }
            return;
        }
        self.end_now(now, key, error, StopReason::Cancelled, fx);
    }

    /// Takes an argument that came with a task or call.
    pub(super) fn take_argument(
        &mut self,
        now: Time,
        from: NodeId,
        job: crate::ids::JobId,
        argument: RemoteArgument,
        held: &mut Held,
        fx: &mut Effects,
    ) -> Argument {
        match argument {
            RemoteArgument::Value(parcel) => Argument::Value(self.unpack(from, job, parcel, held)),
            RemoteArgument::Object(object, owner, parcel) => {
                let value = self.unpack(from, job, parcel, held);
                self.take_loan(now, (object, owner), job, value, held, fx);
                Argument::Object(object)
            }
            RemoteArgument::Handle(object, owner) => {
                self.take_handles(from, job, &[Handle::Object(object)], &[owner], held);
                Argument::Object(object)
            }
        }
    }

    /// Packs an object that is there as an argument.
    pub(super) fn pack_argument(&mut self, to: NodeId, id: crate::ids::ObjectId) -> RemoteArgument {
        let object = self.objects.get(&id);
        let owner = object.and_then(Object::owner).unwrap_or(self.id);
        let value = object.and_then(|object| object.state.value()).cloned().unwrap_or_else(Value::empty);
        match value.place.residence() {
            crate::value::Residence::Inline => RemoteArgument::Value(self.pack(to, &value)),
            _ => RemoteArgument::Object(id, owner, self.pack_object(to, id, &value)),
        }
    }
}

/// The lane of a caller on another node: its own number, and the node. Two that fall together only share
/// an order.
fn lane_of(node: NodeId, lane: LaneId) -> LaneId {
    let (high, low) = node.bits();
    LaneId((high ^ low).wrapping_add(lane.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}
