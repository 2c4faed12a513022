//! What anyone outside the core can see, held against the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, InstanceId, LaneId, ObjectId, TaskId};
use crate::node::tests::harness::World;
use crate::options::{ActorOptions, Placement};
use crate::resources::{Quantity, Resources};
use crate::value::{Outcome, Value};
use crate::work::{Entry, Life};

/// A value's token: no two values that guests make have the same.
pub fn token(value: &Value) -> Option<u64> {
    value.place.downcast::<u64>().copied()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Value(Option<u64>),
    Failure,
}

struct CallRecord {
    actor: ActorId,
    queue: (LaneId, Option<String>),
    may_run_again: bool,
    begun: u32,
}

struct ActorRecord {
    /// What it keeps once it is there.
    cpus: Quantity,
    serves_one: bool,
    retries_calls: bool,
}

#[derive(Default)]
pub struct Checker {
    outcomes: BTreeMap<ObjectId, Seen>,
    calls: BTreeMap<TaskId, CallRecord>,
    /// Calls that may still run, in the order in which they were made.
    queues: BTreeMap<(ActorId, LaneId, Option<String>), Vec<TaskId>>,
    actors: BTreeMap<ActorId, ActorRecord>,
    /// Codes that guests have seen.
    pub errors: BTreeSet<ErrorCode>,
    /// What each task asked for.
    needs: BTreeMap<TaskId, Resources>,
}

impl Checker {
    pub fn actor_created(&mut self, actor: ActorId, options: &ActorOptions) {
        let record = ActorRecord {
            cpus: options.placement.cpus.unwrap_or(Quantity::ZERO),
            serves_one: options.max_concurrency == 1 && options.concurrency_groups.is_empty(),
            retries_calls: options.max_task_retries != 0,
        };
        self.actors.insert(actor, record);
    }

    pub fn task_spawned(&mut self, task: TaskId, placement: &Placement) {
        let mut needs = Resources {
            cpus: placement.cpus.unwrap_or(Quantity::units(1)),
            gpus: placement.gpus,
            memory: placement.memory.unwrap_or(0),
            ..Resources::default()
        };
        for (name, quantity) in &placement.resources {
            needs.set_custom(name, *quantity);
        }
        self.needs.insert(task, needs);
    }

    pub fn call_made(
        &mut self,
        actor: ActorId,
        lane: LaneId,
        group: Option<String>,
        task: TaskId,
        retries: bool,
    ) {
        let may_run_again = retries || self.actors[&actor].retries_calls;
        self.queues.entry((actor, lane, group.clone())).or_default().push(task);
        self.calls.insert(task, CallRecord { actor, queue: (lane, group), may_run_again, begun: 0 });
    }

    /// A call was begun: it was its turn, and what it was given is what its arguments are.
    pub fn begun(&mut self, world: &World, task: TaskId) {
        let Some(call) = self.calls.get_mut(&task) else { return };
        call.begun += 1;
        assert!(call.begun == 1 || call.may_run_again, "{task} ran twice and may run once");
        let queue = (call.actor, call.queue.0, call.queue.1.clone());
        let Some(queue) = self.queues.get_mut(&queue) else { return };
        queue.retain(|other| world.node.task(*other).is_some_and(|view| !view.state.is_end()));
        for before in queue.iter().take_while(|other| **other != task) {
            assert!(
                world.running.contains_key(before),
                "{task} began before {before}, which was made earlier"
            );
        }
    }

    /// Someone read an object.
    pub fn read(&mut self, object: ObjectId, outcome: &Outcome) {
        let seen = match outcome {
            Ok(value) => Seen::Value(token(value)),
            Err(_) => Seen::Failure,
        };
        let before = *self.outcomes.entry(object).or_insert(seen);
        assert_eq!(before, seen, "{object} changed");
    }

    /// An object was lost: it and what is needed to make it again may have other values from now on.
    pub fn lost(&mut self) {
        self.outcomes.clear();
    }

    /// The value of an argument, as its callee sees it.
    pub fn given(&mut self, object: ObjectId, value: &Value) {
        self.read(object, &Ok(value.clone()));
    }

    /// A guest was told no, or read an error.
    pub fn refused(&mut self, error: &Error) {
        self.errors.insert(error.code());
        assert_ne!(error.code(), ErrorCode::Internal, "{error}");
    }

    /// No more is in use than there is; what is blocked uses no CPUs.
    pub fn ledger(&self, world: &World, is_blocked: impl Fn(&TaskId) -> bool, total: &Resources) {
        let (mut used, mut users) = (Resources::default(), Vec::new());
        for (id, sandbox) in &world.sandboxes {
            let running = sandbox.calls.iter().filter(|task| !is_blocked(task)).count();
            let mut takes = match (&sandbox.life, sandbox.calls.first()) {
                (Life::Warm, None) => Resources { memory: sandbox.assigned.memory, ..Resources::default() },
                // A warm one takes what its task asked for, whatever it was started with.
                (Life::Warm, Some(task)) => self.needs[task].clone(),
                _ => Resources::clone(&sandbox.assigned),
            };
            takes.cpus = match &sandbox.life {
                _ if world.paused.contains(id) => Quantity::ZERO,
                Life::Actor { actor, .. } => self.cpus_of_actor(world, *id, *actor, running > 0),
                _ if running > 0 => takes.cpus,
                _ => Quantity::ZERO,
            };
            used.give(&takes);
            users.push(format!("{id} ({:?}) has {takes:?} for {:?}", sandbox.life, sandbox.calls));
        }
        assert!(total.covers(&used), "{used:?} is in use of {total:?}: {users:#?}");
    }

    fn cpus_of_actor(&self, world: &World, id: InstanceId, actor: ActorId, runs: bool) -> Quantity {
        let sandbox = &world.sandboxes[&id];
        let constructs =
            sandbox.calls.iter().any(|task| matches!(world.running[task].1.entry, Entry::Create(_)));
        match self.actors.get(&actor) {
            _ if constructs && runs => sandbox.assigned.cpus,
            // A new call of one whose other calls are blocked does not wait for its CPUs.
            Some(actor) if runs && actor.serves_one => actor.cpus,
            _ => Quantity::ZERO,
        }
    }
}

pub fn is_ended(world: &World, task: TaskId) -> bool {
    world.node.task(task).is_none_or(|view| view.state.is_end())
}

pub fn arc<T>(value: T) -> Arc<T> {
    Arc::new(value)
}
