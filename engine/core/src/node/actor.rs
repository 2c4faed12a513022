//! Actors: creation (contract, "Actors"). Their calls: `actor_calls`; how their incarnations end:
//! `incarnation`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, IdMap, InstanceId, JobId, LaneId, NodeId};
use crate::node::class::ClassSpec;
use crate::node::finish::is_within;
use crate::node::peers::Host;
use crate::node::spawn::{NewTask, limit};
use crate::node::task::Kind;
use crate::node::{Caller, ClassKey, Effects, Node, TaskKey};
use crate::options::{ActorOptions, Function, Lifetime, Retries, Returns, Reuse, TaskOptions};
use crate::quota::QuotaKind;
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::{Argument, Handle};
use crate::work::Entry;

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
    /// Where its incarnation is, when that is another node.
    pub host: Option<Box<Host>>,
    /// Of a detached actor: other nodes that may have something that ends with it.
    pub hosted_on: Vec<NodeId>,
    /// The task that runs its constructor.
    pub creating: Option<TaskKey>,
    pub restarts: u32,
    /// Holders of handles, and itself while it is detached.
    pub edges: u32,
    pub groups: Vec<Group>,
    /// Queued calls with their order, by lane and group.
    pub lanes: IdMap<(LaneId, u32), VecDeque<(u64, TaskKey)>>,
    pub unfinished_by_lane: IdMap<LaneId, u32>,
    /// Calls that have not ended.
    pub unfinished: u32,
    pub next_order: u64,
    pub created: Time,
    pub calls_ended: u64,
    /// It counts as one of its tenant's: it has not died.
    pub is_counted: bool,
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

pub(super) struct Group {
    name: String,
    pub max: u32,
    pub running: u32,
    /// Lanes whose first call can run.
    pub ready: VecDeque<LaneId>,
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

    /// Whether an incarnation of it is somewhere, or about to be.
    pub fn has_incarnation(&self) -> bool {
        self.instance.is_some() || self.host.is_some()
    }

    /// Whether another incarnation follows when this one is lost.
    pub fn may_restart(&self) -> bool {
        !self.is_dead() && is_within(self.options.max_restarts, self.restarts)
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
        let ActorCreation { id, class, mut arguments, mut options } = creation;
        let argument_bytes = self.check_arguments(from, &arguments)?;
        self.check_actor_options(&options)?;
        self.settle_strategy(from, &mut options.placement)?;
        let alive = || self.actors.values().filter(|actor| !actor.is_dead()).count();
        if self.actors.len() >= self.limits.actors_max && alive() >= self.limits.actors_max {
            return Err(limit("actors_max", self.limits.actors_max, "kill actors that are no longer needed"));
        }
        self.check_quota(self.instances[&from.instance].tenant, QuotaKind::Actors, 1)?;
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
                host: None,
                hosted_on: Vec::new(),
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
                is_counted: true,
            },
        );
        self.tasks[parent].children_spawned += 1;
        // The class is the actor's for as long as it may restart.
        self.classes[key].tasks += 1;
        self.add_member(job, scope);
        self.acquire(from.instance, Handle::Actor(id));
        self.counters.actors_created += 1;
        let tenant = self.classes[key].tenant;
        self.tenants.get_mut(tenant).actors += 1;
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
    pub(super) fn construct(&mut self, now: Time, id: ActorId, fx: &mut Effects) {
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
            self.hold_bundle_there(id);
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
