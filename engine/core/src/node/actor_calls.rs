//! Calls of actors: in order by lane, bounded by group (contract A1, A6, A7).

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, InstanceId, LaneId};
use crate::node::actor::ActorState;
use crate::node::class::ClassSpec;
use crate::node::spawn::NewTask;
use crate::node::task::{CallKind, Kind};
use crate::node::{Caller, Effect, Effects, Node, Spawned, TaskKey, TaskState};
use crate::options::{CallOptions, Function, TaskOptions};
use crate::time::Time;
use crate::value::{Argument, Handle};
use crate::work::{Call, Entry, StopReason};

impl Node {
    /// Calls a method on behalf of a running call.
    #[allow(clippy::too_many_arguments)]
    pub fn call_actor(
        &mut self,
        now: Time,
        from: Caller,
        id: ActorId,
        lane: LaneId,
        method: Arc<str>,
        mut arguments: Vec<Argument>,
        options: CallOptions,
        fx: &mut Effects,
    ) -> Result<Spawned, Error> {
        let parent = self.check_may_spawn(from)?;
        self.check_holds(from, Handle::Actor(id))?;
        let argument_bytes = self.check_arguments(from, &arguments)?;
        self.check_returns(options.returns)?;
        self.check_large_arguments(parent, &arguments)?;
        let Some(actor) = self.actors.get(&id) else {
            if self.peers.references.actors.contains_key(&id) {
                let to = (id, lane);
                return self.call_remote_actor(now, from, to, method, arguments, options, argument_bytes, fx);
            }
            return Err(Error::new(ErrorCode::ActorDied, format!("{id} is gone")));
        };
        let group = actor.group(options.concurrency_group.as_deref())?;
        actor.check_pending(lane)?;
        let component = actor.function.component;
        let instance = &self.instances[&from.instance];
        let (job, scope) = (instance.job, instance.scope);
        let (returns, retries) = (options.returns, options.retries.clone());
        let task_options = TaskOptions { returns, retries, ..TaskOptions::default() };
        let function = Function { component, name: method.clone() };
        let class = self.class_of(ClassSpec { job, scope, function, options: task_options }, 0);
        self.reserve_inline(argument_bytes, "the arguments")?;
        self.promote_arguments(parent, &mut arguments, fx);
        let Some((kind, dead)) = self.enter_lane(id, lane, group, &options) else {
            return Err(Error::new(ErrorCode::ActorDied, format!("{id} is gone")));
        };
        let new = NewTask {
            id: self.ids.task(),
            job,
            class,
            kind,
            entry: Entry::Method(method),
            arguments,
            parent: Some(parent),
            deadline: options.deadline,
            name: options.name,
        };
        let key = self.register(now, new, argument_bytes, fx);
        let spawned = self.give_outputs(from, key, options.returns);
        self.queue_call(now, key, dead, fx);
        self.schedule(now, fx);
        Ok(spawned)
    }

    /// Counts a call of an actor in: what its task is to be, and why the actor is dead, if it is.
    pub(super) fn enter_lane(
        &mut self,
        id: ActorId,
        lane: LaneId,
        group: u32,
        options: &CallOptions,
    ) -> Option<(Kind, Option<Arc<Error>>)> {
        let actor = self.actors.get_mut(&id)?;
        actor.unfinished += 1;
        *actor.unfinished_by_lane.entry(lane).or_insert(0) += 1;
        actor.next_order += 1;
        let (actor_id, order) = (id, actor.next_order);
        let system_retries = larger(actor.options.max_task_retries, options.retries.system);
        let dead = match &actor.state {
            ActorState::Dead(cause) => Some(cause.clone()),
            _ => None,
        };
        let call = CallKind { actor: actor_id, lane, group, order, system_retries };
        Some((Kind::Call(Box::new(call)), dead))
    }

    /// Puts a call that was counted in into its lane, unless its actor is dead.
    pub(super) fn queue_call(&mut self, now: Time, key: TaskKey, dead: Option<Arc<Error>>, fx: &mut Effects) {
        if let Some(cause) = dead {
            return self.fail_task(now, key, cause, fx);
        }
        let Kind::Call(call) = &self.tasks[key].kind else { return };
        let (id, at, order) = (call.actor, (call.lane, call.group), call.order);
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.lanes.entry(at).or_default().push_back((order, key));
        }
        self.admit(now, key, fx);
    }

    /// The arguments of a queued call are there: it runs when it is its lane's turn.
    pub(super) fn call_ready(&mut self, now: Time, id: ActorId, key: TaskKey, fx: &mut Effects) {
        let Kind::Call(call) = &self.tasks[key].kind else { return };
        let (lane, group) = (call.lane, call.group);
        let Some(actor) = self.actors.get_mut(&id) else { return self.hosted_call_ready(now, key, fx) };
        let is_head =
            actor.lanes.get(&(lane, group)).and_then(|q| q.front()).is_some_and(|(_, head)| *head == key);
        if is_head {
            actor.groups[group as usize].ready.push_back(lane);
            self.dispatch(now, id, fx);
        }
    }

    /// Hands calls to a living actor, as many as may be inside.
    pub(super) fn dispatch(&mut self, now: Time, id: ActorId, fx: &mut Effects) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let ActorState::Alive = &actor.state else { return };
        if let Some(host) = actor.host.as_ref().filter(|host| host.leaving) {
            if host.calls.is_empty() {
                self.end_incarnation_there(id, StopReason::ActorEnded);
            }
            return;
        }
        let instance = match (actor.instance, &actor.host) {
            (Some(id), _) if self.instances.get(&id).is_some_and(|i| i.stopping.is_none()) => Some(id),
            (None, Some(host)) if !host.ending => None,
            _ => return,
        };
        for group in 0..actor.groups.len() {
            loop {
                let Some(actor) = self.actors.get_mut(&id) else { return };
                let bound = &mut actor.groups[group];
                if bound.running >= bound.max {
                    break;
                }
                let Some(lane) = bound.ready.pop_front() else { break };
                let Some(queue) = actor.lanes.get_mut(&(lane, group as u32)) else { continue };
                let Some((_, key)) = queue.pop_front() else { continue };
                let next = queue.front().map(|(_, next)| *next);
                if next.is_none() {
                    actor.lanes.remove(&(lane, group as u32));
                }
                let submitted = |key| self.tasks.get(key).is_some_and(|t| t.state == TaskState::Submitted);
                debug_assert!(submitted(key));
                if next.is_some_and(submitted) {
                    actor.groups[group].ready.push_back(lane);
                }
                actor.groups[group].running += 1;
                match instance {
                    Some(instance) => self.start_call(now, key, instance, fx),
                    None => self.start_call_there(now, key, id),
                }
            }
        }
    }

    pub(super) fn start_call(&mut self, now: Time, key: TaskKey, id: InstanceId, fx: &mut Effects) {
        let arguments = self.argument_values(key);
        let task = &mut self.tasks[key];
        task.instance = Some(id);
        task.started = now;
        task.emitted = 0;
        let options = &self.classes[task.class].spec.options;
        let arguments = match arguments {
            Ok(arguments) => arguments,
            // It counts as inside, and leaves as one that was.
            Err(error) => return self.fail_task(now, key, Arc::new(error), fx),
        };
        let call = Call {
            task: task.id,
            attempt: task.attempt,
            entry: task.entry.clone(),
            arguments,
            returns: options.returns,
            cpu_time: options.cpu_time,
            assigned: None,
        };
        // An actor whose other calls are blocked has lent its CPUs; they are taken back when there
        // are some, and a new call does not wait for them. One that is paused is served as it goes on.
        if self.instances.get(&id).is_some_and(|instance| instance.paused.is_none()) {
            self.reclaim_cpus(id);
        }
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.calls.push(key);
        }
        self.set_state(key, TaskState::Running);
        fx.push(Effect::Deliver(id, Box::new(call)));
    }

    /// A call has ended, wherever it stood.
    pub(super) fn actor_call_ended(
        &mut self,
        now: Time,
        key: TaskKey,
        call: &CallKind,
        was_inside: bool,
        fx: &mut Effects,
    ) {
        let Some(actor) = self.actors.get_mut(&call.actor) else { return };
        actor.unfinished -= 1;
        actor.calls_ended += 1;
        if let Some(count) = actor.unfinished_by_lane.get_mut(&call.lane) {
            *count -= 1;
            if *count == 0 {
                actor.unfinished_by_lane.remove(&call.lane);
            }
        }
        if was_inside {
            actor.groups[call.group as usize].running -= 1;
        } else {
            self.leave_lane(key, call);
        }
        self.dispatch(now, call.actor, fx);
        self.end_actor_if_unreachable(now, call.actor, fx);
    }

    /// Takes a call that ends before it ran out of its lane.
    fn leave_lane(&mut self, key: TaskKey, call: &CallKind) {
        let at = (call.lane, call.group);
        let Some(actor) = self.actors.get_mut(&call.actor) else { return };
        let Some(queue) = actor.lanes.get_mut(&at) else { return };
        let entry = (call.order, key);
        let was_head = queue.front() == Some(&entry);
        let place = queue.partition_point(|(order, _)| *order < call.order);
        if queue.get(place) == Some(&entry) {
            queue.remove(place);
        }
        let next = queue.front().map(|(_, next)| *next);
        if next.is_none() {
            actor.lanes.remove(&at);
        }
        if was_head {
            let ready = &mut actor.groups[call.group as usize].ready;
            ready.retain(|lane| *lane != call.lane);
            let runs =
                next.is_some_and(|key| self.tasks.get(key).is_some_and(|t| t.state == TaskState::Submitted));
            if runs {
                ready.push_back(call.lane);
            }
        }
    }

    /// A call that was inside goes back to where it was in its lane, to be tried again.
    pub(super) fn requeue_call(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let Kind::Call(call) = &self.tasks[key].kind else { return };
        let (id, lane, group, order) = (call.actor, call.lane, call.group, call.order);
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let queue = actor.lanes.entry((lane, group)).or_default();
        let at = queue.partition_point(|(other, _)| *other < order);
        queue.insert(at, (order, key));
        let bound = &mut actor.groups[group as usize];
        bound.running -= 1;
        if at == 0 {
            bound.ready.retain(|other| *other != lane);
            bound.ready.push_front(lane);
        }
        self.set_state(key, TaskState::Submitted);
        if !self.waits_for_lost(now, key, fx) {
            self.dispatch(now, id, fx);
        }
    }

    /// A call that was on its way to an incarnation that ended before it came is back where it was.
    pub(super) fn put_back(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let task = &mut self.tasks[key];
        if let Some(doom) = task.doom.take() {
            return self.end_task(now, key, Err(doom), fx);
        }
        if task.cancelled {
            let error = Error::new(ErrorCode::TaskCancelled, "it was cancelled before it was begun");
            return self.fail_task(now, key, Arc::new(error), fx);
        }
        task.extra().ran_on = None;
        self.requeue_call(now, key, fx);
    }

    /// A queued call goes on waiting: its lane is held up when the call is its first.
    pub(super) fn take_out_of_lane(&mut self, key: TaskKey) {
        let Kind::Call(call) = &self.tasks[key].kind else { return };
        let (id, lane, group) = (call.actor, call.lane, call.group);
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let head = actor.lanes.get(&(lane, group)).and_then(|queue| queue.front());
        if head.is_some_and(|(_, head)| *head == key) {
            actor.groups[group as usize].ready.retain(|other| *other != lane);
        }
    }
}

/// The larger of two budgets, of which -1 is without end.
fn larger(a: i32, b: i32) -> i32 {
    if a < 0 || b < 0 { -1 } else { a.max(b) }
}
