//! Actors: creation, calls in order, restarts (contract, "Actors").

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, IdMap, InstanceId, JobId, LaneId};
use crate::node::class::ClassSpec;
use crate::node::finish::is_within;
use crate::node::spawn::{NewTask, limit};
use crate::node::task::{CallKind, Kind};
use crate::node::{Caller, ClassKey, Effect, Effects, Node, Spawned, TaskKey, TaskState};
use crate::options::{ActorOptions, CallOptions, Function, Lifetime, Retries, Returns, Reuse, TaskOptions};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::{Argument, Handle};
use crate::work::{Call, Entry, GoneReport};

/// What creates an actor. The id comes from [`Node::new_actor_id`], so that its name can be claimed
/// first.
pub struct ActorCreation {
    /// The id that it will have.
    pub id: ActorId,
    /// Its class.
    pub class: Function,
    /// Of the constructor.
    pub arguments: Vec<Argument>,
    /// What it asks for.
    pub options: ActorOptions,
}

pub(super) struct Actor {
    pub job: JobId,
    /// What ends with it: the detached actor that it is or descends from; none: its job.
    pub scope: Option<ActorId>,
    pub class: ClassKey,
    pub function: Function,
    pub options: Arc<ActorOptions>,
    pub arguments: Box<[Argument]>,
    pub argument_bytes: u64,
    pub state: ActorState,
    pub instance: Option<InstanceId>,
    /// The task that runs its constructor.
    pub creating: Option<TaskKey>,
    pub restarts: u32,
    /// Holders of handles, and itself while it is detached.
    pub edges: u32,
    groups: Vec<Group>,
    /// Queued calls with their order, by lane and group.
    lanes: IdMap<(LaneId, u32), VecDeque<(u64, TaskKey)>>,
    unfinished_by_lane: IdMap<LaneId, u32>,
    /// Calls that have not ended.
    pub unfinished: u32,
    next_order: u64,
    pub created: Time,
    pub calls_ended: u64,
}

#[derive(Debug, Clone)]
pub(super) enum ActorState {
    Pending,
    Alive,
    Restarting,
    /// It is being ended, or has ended, for this reason.
    Dead(Arc<Error>),
}

impl ActorState {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Alive => "ALIVE",
            Self::Restarting => "RESTARTING",
            Self::Dead(_) => "DEAD",
        }
    }
}

struct Group {
    name: String,
    max: u32,
    running: u32,
    /// Lanes whose first call can run.
    ready: VecDeque<LaneId>,
}

impl Actor {
    /// Calls inside at once, over all groups.
    pub fn max_concurrency(&self) -> u32 {
        self.groups.iter().fold(0, |sum, group| sum.saturating_add(group.max))
    }

    pub fn running(&self) -> u32 {
        self.groups.iter().map(|group| group.running).sum()
    }

    pub fn group(&self, name: Option<&str>) -> Result<u32, Error> {
        let Some(name) = name else { return Ok(0) };
        if let Some(at) = self.groups.iter().position(|group| group.name == name) {
            return Ok(at as u32);
        }
        let names: Vec<&str> = self.groups.iter().skip(1).map(|group| group.name.as_str()).collect();
        Err(Error::invalid_argument(format!(
            "the actor has no concurrency group {name:?}; it was created with these: {names:?}"
        )))
    }

    /// PENDING_CALLS_EXCEEDED when as many calls of a lane have not ended as may be.
    pub fn check_pending(&self, lane: LaneId) -> Result<(), Error> {
        let unfinished = self.unfinished_by_lane.get(&lane).copied().unwrap_or(0);
        match self.options.max_pending_calls {
            Some(max) if unfinished >= max => Err(Error::new(
                ErrorCode::PendingCallsExceeded,
                format!(
                    "{unfinished} calls made through this handle have not ended, as many as max_pending_calls allows: wait for some of them first"
                ),
            )),
            _ => Ok(()),
        }
    }

    pub fn is_dead(&self) -> bool {
        matches!(self.state, ActorState::Dead(_))
    }
}

impl Node {
    /// An id for an actor that is about to be created.
    pub fn new_actor_id(&mut self) -> ActorId {
        self.ids.actor()
    }

    /// Creates an actor on behalf of a running call, which holds a handle to it.
    pub fn create_actor(
        &mut self,
        now: Time,
        from: Caller,
        creation: ActorCreation,
        fx: &mut Effects,
    ) -> Result<ActorId, Error> {
        let parent = self.check_may_spawn(from)?;
        let ActorCreation { id, class, mut arguments, options } = creation;
        let argument_bytes = self.check_arguments(from, &arguments)?;
        self.check_actor_options(&options)?;
        let alive = || self.actors.values().filter(|actor| !actor.is_dead()).count();
        if self.actors.len() >= self.limits.actors_max && alive() >= self.limits.actors_max {
            return Err(limit("actors_max", self.limits.actors_max, "kill actors that are no longer needed"));
        }
        self.check_large_arguments(parent, &arguments)?;
        self.reserve_inline(argument_bytes, "the arguments of the constructor")?;
        self.promote_arguments(parent, &mut arguments, fx);
        let instance = &self.instances[&from.instance];
        let job = instance.job;
        let detached = options.lifetime == Lifetime::Detached;
        let scope = if detached { Some(id) } else { instance.scope };
        let task_options = TaskOptions {
            placement: options.placement.clone(),
            returns: Returns::Fixed(0),
            retries: Retries { system: 0, application: 0, kinds: Vec::new() },
            env: options.env.clone(),
            reuse: Reuse::Never,
            ..TaskOptions::default()
        };
        let memory = self.task_memory_default(job);
        let key =
            self.class_of(ClassSpec { job, scope, function: class.clone(), options: task_options }, memory);
        self.hold_arguments(&arguments);
        let mut groups = vec![Group::new(String::new(), options.max_concurrency)];
        groups.extend(options.concurrency_groups.iter().map(|(name, max)| Group::new(name.clone(), *max)));
        self.actors.insert(
            id,
            Actor {
                job,
                scope,
                class: key,
                function: class,
                options: Arc::new(options),
                arguments: arguments.into_boxed_slice(),
                argument_bytes,
                state: ActorState::Pending,
                instance: None,
                creating: None,
                restarts: 0,
                edges: u32::from(detached),
                groups,
                lanes: IdMap::default(),
                unfinished_by_lane: IdMap::default(),
                unfinished: 0,
                next_order: 0,
                created: now,
                calls_ended: 0,
            },
        );
        self.tasks[parent].children_spawned += 1;
        // The class is the actor's for as long as it may restart.
        self.classes[key].tasks += 1;
        self.add_member(job, scope);
        self.acquire(from.instance, Handle::Actor(id));
        self.counters.actors_created += 1;
        self.construct(now, id, fx);
        self.schedule(now, fx);
        Ok(id)
    }

    fn check_actor_options(&self, options: &ActorOptions) -> Result<(), Error> {
        if options.concurrency_groups.len() > self.limits.concurrency_groups_max {
            return Err(limit(
                "concurrency_groups_max",
                self.limits.concurrency_groups_max,
                "use fewer groups",
            ));
        }
        let bounds = options.concurrency_groups.iter().map(|(_, max)| *max).chain([options.max_concurrency]);
        let mut sum = 0_u32;
        for max in bounds {
            if max == 0 {
                return Err(Error::invalid_argument(
                    "max_concurrency is 0, so that no call could ever run: give 1 or more",
                ));
            }
            sum = sum.saturating_add(max);
        }
        if sum > self.limits.max_concurrency_max {
            return Err(limit(
                "max_concurrency_max",
                self.limits.max_concurrency_max,
                "create more actors instead",
            ));
        }
        Ok(())
    }

    /// Registers the task that runs an incarnation's constructor.
    fn construct(&mut self, now: Time, id: ActorId, fx: &mut Effects) {
        let Some(actor) = self.actors.get(&id) else { return };
        let (job, class, arguments) = (actor.job, actor.class, actor.arguments.to_vec());
        let entry = Entry::Create(actor.function.name.clone());
        let name = actor.options.name.clone();
        let new = NewTask {
            id: self.ids.task(),
            job,
            class,
            kind: Kind::Create(id),
            entry,
            arguments,
            parent: None,
            deadline: None,
            name,
        };
        let key = self.register(now, new, 0, fx);
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.creating = Some(key);
        }
        self.admit(now, key, fx);
    }

    /// The constructor has ended: the actor is alive, or dead.
    pub(super) fn constructor_ended(
        &mut self,
        now: Time,
        id: ActorId,
        error: Option<Arc<Error>>,
        fx: &mut Effects,
    ) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.creating = None;
        let Some(error) = error else {
            if actor.is_dead() {
                return;
            }
            actor.state = ActorState::Alive;
            let keeps_cpus = actor.options.placement.cpus.unwrap_or(Quantity::ZERO);
            if let Some((id, instance)) = actor.instance.and_then(|id| Some((id, self.instances.get(&id)?))) {
                // 1 CPU to be placed, and then what was asked for, which is none by default.
                let keeps = Resources { cpus: keeps_cpus, ..Resources::clone(&instance.held) };
                self.keep_only(id, keeps);
            }
            return self.dispatch(now, id, fx);
        };
        let message = format!("its constructor failed: {error}");
        let cause = Error::new(ErrorCode::ActorDied, message)
            .with_path(error.path().to_vec())
            .with_backtrace(error.backtrace().map(str::to_owned))
            .with_payload(error.payload().cloned());
        let cause = match error.kind() {
            Some(kind) => cause.with_kind(kind),
            None => cause,
        };
        self.actor_dies(now, id, Arc::new(cause), fx);
    }

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
        let Some(actor) = self.actors.get_mut(&id) else { return };
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
        let (ActorState::Alive, Some(instance)) = (&actor.state, actor.instance) else { return };
        if self.instances.get(&instance).is_none_or(|i| i.stopping.is_some()) {
            return;
        }
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
                self.start_call(now, key, instance, fx);
            }
        }
    }

    fn start_call(&mut self, now: Time, key: TaskKey, id: InstanceId, fx: &mut Effects) {
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
        };
        // An actor whose other calls are blocked has lent its CPUs; they are taken back when there
        // are some, and a new call does not wait for them.
        self.reclaim_cpus(id);
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
        was_running: bool,
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
        if was_running {
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

    /// The sandbox of an actor is gone: calls inside are retried or fail, and the actor restarts or
    /// dies (contract A3: the restart budget binds first).
    pub(super) fn incarnation_ended(&mut self, now: Time, id: ActorId, report: GoneReport, fx: &mut Effects) {
        let sandbox = report.instance;
        let calls = self.instances.get(&sandbox).map(|i| i.calls.clone()).unwrap_or_default();
        let Some(actor) = self.actors.get_mut(&id) else { return };
        if actor.instance == Some(sandbox) {
            actor.instance = None;
        }
        let cause = match &report.cause {
            Some(cause) => cause.to_string(),
            None => "its sandbox was stopped".to_owned(),
        };
        let budget = actor.options.max_restarts;
        let creating = actor.creating.take();
        // A constructor that failed by itself would fail again.
        let failed = creating.is_some_and(|key| {
            let task = self.tasks.get(key).map(|task| task.id);
            let own = report.calls.iter().find(|call| Some(call.task) == task);
            own.and_then(|call| call.result.as_ref().err()).is_some_and(|error| !error.code().is_system())
        });
        let restart = !actor.is_dead() && !failed && is_within(budget, actor.restarts);
        let died = match &actor.state {
            ActorState::Dead(cause) => cause.clone(),
            _ => Arc::new(Error::new(ErrorCode::ActorDied, format!("the actor died: {cause}"))),
        };
        if restart {
            actor.state = ActorState::Restarting;
            actor.restarts += 1;
        } else if !actor.is_dead() {
            actor.state = ActorState::Dead(died.clone());
        }
        for key in calls {
            if Some(key) == creating {
                // A constructor that was cut short by the system is run again by the restart.
                self.end_constructor(now, key, &report, restart, fx);
                continue;
            }
            let reported =
                report.calls.iter().find(|call| self.tasks.get(key).is_some_and(|task| task.id == call.task));
            match reported.map(|call| call.result.clone()) {
                Some(Ok(values)) => {
                    let task = self.tasks[key].id;
                    let call =
                        crate::work::CallReport { task, result: Ok(values), usage: Default::default() };
                    self.call_ended(now, sandbox, call, fx);
                }
                Some(Err(error)) => {
                    let retry = restart && self.take_retry(key, &error);
                    self.call_cut_short(now, key, retry, error, fx);
                }
                None => {
                    let retry = restart && self.take_system_retry(key);
                    self.call_cut_short(now, key, retry, Error::clone(&died), fx);
                }
            }
        }
        if restart {
            self.counters.actors_restarted += 1;
            self.construct(now, id, fx);
        } else {
            self.actor_dies(now, id, died, fx);
        }
    }

    fn end_constructor(
        &mut self,
        now: Time,
        key: TaskKey,
        report: &GoneReport,
        restart: bool,
        fx: &mut Effects,
    ) {
        let task = self.tasks[key].id;
        let own = report.calls.iter().find(|call| call.task == task);
        let own = own.and_then(|call| call.result.clone().err());
        let error = own.unwrap_or_else(|| self.lost_with_sandbox(report.cause.as_ref()));
        let error = match self.tasks[key].doom.take() {
            Some(doom) => doom,
            None => Arc::new(error.with_frame(self.frame(&self.tasks[key]))),
        };
        let actor = match self.tasks[key].kind {
            Kind::Create(actor) => actor,
            _ => return,
        };
        if !restart && let Some(record) = self.actors.get_mut(&actor) {
            // The constructor's own error is the better cause.
            let message = format!("its constructor failed: {error}");
            let died = Error::new(ErrorCode::ActorDied, message)
                .with_path(error.path().to_vec())
                .with_backtrace(error.backtrace().map(str::to_owned));
            if !matches!(&record.state, ActorState::Dead(cause) if cause.code() != ErrorCode::ActorDied) {
                record.state = ActorState::Dead(Arc::new(died));
            }
        }
        // From here on nobody is told of its end.
        self.detach_from_instance(key);
        self.set_state(key, TaskState::Failed);
        self.tasks[key].kind = Kind::Function;
        self.end_task(now, key, Err(error), fx);
    }

    /// A call was inside when its actor's incarnation ended.
    fn call_cut_short(&mut self, now: Time, key: TaskKey, retry: bool, error: Error, fx: &mut Effects) {
        if let Some(doom) = self.tasks[key].doom.take() {
            return self.end_task(now, key, Err(doom), fx);
        }
        if retry {
            self.prepare_retry(now, key, &error);
            return self.requeue_call(now, key, fx);
        }
        self.fail_task(now, key, Arc::new(error), fx);
    }

    /// An actor ends for good: its queued calls fail, and its name is free.
    pub(super) fn actor_dies(&mut self, now: Time, id: ActorId, cause: Arc<Error>, fx: &mut Effects) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let cause = match &actor.state {
            ActorState::Dead(cause) => cause.clone(),
            _ => cause,
        };
        actor.state = ActorState::Dead(cause.clone());
        let detached = actor.options.lifetime == Lifetime::Detached;
        if actor.creating.is_none() && actor.arguments_held() {
            let arguments = std::mem::take(&mut actor.arguments);
            self.inline_bytes -= std::mem::take(&mut actor.argument_bytes);
            let (class, name) = (actor.class, actor.options.name.is_some());
            let (job, scope) = (actor.job, actor.scope);
            actor.class = ClassKey::default();
            self.release_arguments(now, &arguments, fx);
            if let Some(class) = self.classes.get_mut(class) {
                class.tasks -= 1;
            }
            self.forget_class_if_unused(class);
            if name {
                fx.push(Effect::ReleaseName(id));
            }
            self.remove_member(job, scope, fx);
            if detached {
                self.remove_edge(now, Handle::Actor(id), fx);
                let why = format!("the detached actor that it descends from has ended: {cause}");
                self.end_members(now, job, Some(id), &why, fx);
            }
        }
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let queued = std::mem::take(&mut actor.lanes).into_values().flatten();
        let mut queued: Vec<TaskKey> = queued.map(|(_, key)| key).collect();
        actor.groups.iter_mut().for_each(|group| group.ready.clear());
        queued.sort_by_key(|key| self.tasks.get(*key).map(|task| task.id));
        for key in queued {
            if self.tasks.contains_key(key) {
                self.fail_task(now, key, cause.clone(), fx);
            }
        }
        let Some(actor) = self.actors.get(&id) else { return };
        if let Some(instance) = actor.instance {
            self.stop_instance(instance, crate::work::StopReason::ActorEnded, fx);
        }
        self.end_actor_if_unreachable(now, id, fx);
    }
}

impl Group {
    fn new(name: String, max: u32) -> Self {
        Self { name, max, running: 0, ready: VecDeque::new() }
    }
}

impl Actor {
    /// Whether the actor still has what it was created with: until it dies.
    pub fn arguments_held(&self) -> bool {
        self.class != ClassKey::default()
    }
}

/// The larger of two budgets, of which -1 is without end.
fn larger(a: i32, b: i32) -> i32 {
    if a < 0 || b < 0 { -1 } else { a.max(b) }
}
