//! What listings show.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::ids::{ActorId, InstanceId, JobId, NodeId, ObjectId, TaskId};
use crate::node::actor::ActorState;
use crate::node::drain::DrainView;
use crate::node::holders::Holder;
use crate::node::task::Kind;
use crate::node::{Node, Progress, TaskKey, TaskState};
use crate::resources::Resources;
use crate::time::Time;

/// One attempt of a task (contract T1).
#[derive(Debug, Clone)]
pub struct AttemptView {
    /// Counted from 0.
    pub attempt: u32,
    /// Where it ran.
    pub node: NodeId,
    /// In which sandbox; none: it was never started.
    pub instance: Option<InstanceId>,
    /// When it was started.
    pub started: Time,
    /// When it ended; none: it runs.
    pub ended: Option<Time>,
    /// Why it failed; none: it did not.
    pub cause: Option<Arc<Error>>,
}

/// A task or call.
#[derive(Debug, Clone)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// The task that spawned it, while that has not ended.
    pub parent: Option<TaskId>,
    /// The actor whose constructor or call it is.
    pub actor: Option<ActorId>,
    /// `main`, the function, class or method.
    pub function: String,
    /// Given by whoever spawned it.
    pub name: Option<String>,
    /// Where it stands.
    pub state: TaskState,
    /// Attempts so far, the oldest left out when there were too many.
    pub attempts: Vec<AttemptView>,
    /// When it was spawned.
    pub submitted: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// Why it failed.
    pub error: Option<Arc<Error>>,
    /// What the ledger takes for it.
    pub needs: Resources,
}

/// An actor.
#[derive(Debug, Clone)]
pub struct ActorView {
    /// Its id.
    pub id: ActorId,
    /// The job that created it.
    pub job: JobId,
    /// Its class.
    pub class: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether it outlives its job.
    pub detached: bool,
    /// PENDING, ALIVE, RESTARTING or DEAD.
    pub state: &'static str,
    /// Why it is dead.
    pub cause: Option<Arc<Error>>,
    /// Times it was restarted.
    pub restarts: u32,
    /// Calls that have not ended.
    pub pending_calls: u32,
    /// Calls inside.
    pub running_calls: u32,
    /// Calls that have ended.
    pub ended_calls: u64,
    /// Where it lives, or is about to; none while it waits for a place, and once it is dead.
    pub node: Option<NodeId>,
    /// Its sandbox, when that is on this node.
    pub instance: Option<InstanceId>,
    /// When it was created.
    pub created: Time,
    /// What the ledger of the node that it lives on has taken for it.
    pub held: Resources,
}

/// An object.
#[derive(Debug, Clone)]
pub struct ObjectView {
    /// Its id.
    pub id: ObjectId,
    /// The task that made it, or will.
    pub task: TaskId,
    /// PENDING, READY or FAILED.
    pub state: &'static str,
    /// Bytes.
    pub size: u64,
    /// Handles inside it.
    pub handles: usize,
    /// The job of that task.
    pub job: JobId,
    /// How many hold it: sandboxes, pending tasks, values and streams.
    pub holders: u32,
    /// Some of those: who and why.
    pub held_by: Vec<Holder>,
    /// Where its bytes lie: INLINE, ARENA, SPILLING, SPILLED or RESTORING; empty while there are none.
    pub place: &'static str,
    /// Tasks that keep it where it is.
    pub pins: u32,
    /// Why there is no value.
    pub error: Option<Arc<Error>>,
}

/// What this node has done and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Jobs that were started here.
    pub jobs_submitted: u64,
    /// Tasks and calls that were spawned, constructors and roots among them.
    pub tasks_spawned: u64,
    /// Those that ended well.
    pub tasks_finished: u64,
    /// Those that ended with an error.
    pub tasks_failed: u64,
    /// Those that were cancelled.
    pub tasks_cancelled: u64,
    /// Attempts that were followed by another.
    pub attempts_retried: u64,
    /// Sandboxes that were started.
    pub instances_started: u64,
    /// Actors created.
    pub actors_created: u64,
    /// Incarnations after the first.
    pub actors_restarted: u64,
    /// Time on guest threads.
    pub cpu_time: Duration,
    /// Objects that were written to disk.
    pub objects_spilled: u64,
    /// Their bytes.
    pub bytes_spilled: u64,
    /// Objects that came back from disk into memory.
    pub objects_restored: u64,
    /// Their bytes.
    pub bytes_restored: u64,
    /// Tasks that were run again to make an object again.
    pub tasks_rebuilt: u64,
    /// Objects whose bytes came here from nodes that drained.
    pub objects_moved: u64,
    /// Attempts that were ended as their node drained, and were followed by another.
    pub tasks_drained: u64,
    /// Attempts that were ended for another tenant's guaranteed share, and were followed by another.
    pub tasks_preempted: u64,
    /// Times that a sandbox stood still while another tenant had its guaranteed share.
    pub sandboxes_paused: u64,
    /// Tasks of other nodes that came here.
    pub foreign_tasks: u64,
    /// Those of them that ended well.
    pub foreign_finished: u64,
    /// Those of them that ended with an error.
    pub foreign_failed: u64,
    /// Those of them that were cancelled.
    pub foreign_cancelled: u64,
    /// Times that another node had no room for a task.
    pub tasks_refused: u64,
    /// Tasks that were given to other nodes ahead of their room.
    pub tasks_ahead: u64,
    /// Bytes of objects that other nodes were given.
    pub bytes_sent: u64,
    /// Bytes of objects that came whole from other nodes.
    pub bytes_received: u64,
    /// Times that a node that asked for an object was sent on to another that has it from here.
    pub nodes_sent_on: u64,
}

/// A node.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// What it has.
    pub total: Resources,
    /// What is free.
    pub free: Resources,
    /// Tasks by state, those that have not ended and are here, whoever owns them.
    pub by_state: [u64; TaskState::COUNT],
    /// Sandboxes alive.
    pub instances: usize,
    /// Of them, warm ones that wait for work.
    pub idle_instances: usize,
    /// Actors alive, pending or restarting.
    pub actors: usize,
    /// Objects.
    pub objects: usize,
    /// Bytes of the values on the heap.
    pub inline_bytes: u64,
    /// Bytes of objects in the arena.
    pub stored_bytes: u64,
    /// Bytes of objects on disk only.
    pub spilled_bytes: u64,
    /// Bytes of the arena.
    pub store_bytes_max: u64,
    /// What it has done.
    pub counters: Counters,
    /// What is left on it, when it drains.
    pub drain: Option<DrainView>,
}

impl Node {
    /// This node.
    pub fn node_view(&self) -> NodeView {
        let mut by_state = [0; TaskState::COUNT];
        for task in self.tasks.values().filter(|task| task.away().is_none()) {
            by_state[task.state as usize] += 1;
        }
        NodeView {
            id: self.id,
            labels: self.labels.clone(),
            total: self.total.clone(),
            free: self.free.clone(),
            by_state,
            instances: self.sandboxes(),
            idle_instances: self.warm.idle(),
            actors: self.actors.values().filter(|actor| !actor.is_dead()).count(),
            objects: self.objects.len(),
            inline_bytes: self.inline_bytes,
            stored_bytes: self.storage.arena_bytes,
            spilled_bytes: self.storage.spilled_bytes,
            store_bytes_max: self.limits.store_bytes_max,
            counters: self.counters,
            drain: self.drain_view(),
        }
    }

    /// Tasks and calls that this node owns by state: those that have not ended, and all that have.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        for job in self.jobs.values() {
            for (sum, count) in progress.by_state.iter_mut().zip(job.progress().by_state) {
                *sum += count;
            }
        }
        let counters = &self.counters;
        let ended = [
            (TaskState::Finished, counters.tasks_finished - counters.foreign_finished),
            (TaskState::Failed, counters.tasks_failed - counters.foreign_failed),
            (TaskState::Cancelled, counters.tasks_cancelled - counters.foreign_cancelled),
        ];
        for (state, count) in ended {
            progress.by_state[state as usize] = count;
        }
        progress
    }

    /// Actors alive and sandboxes started so far, of a job that is here.
    pub fn job_counts(&self, id: JobId) -> Option<(u64, u64)> {
        let job = self.jobs.get(&id)?;
        let actors = self.actors.values().filter(|actor| actor.job == id && !actor.is_dead()).count();
        Some((actors as u64, job.instances))
    }

    /// Tasks that can be listed.
    pub fn task_count(&self) -> u64 {
        (self.tasks.len() + self.history.len()) as u64
    }

    /// Objects that there are.
    pub fn object_count(&self) -> u64 {
        self.objects.len() as u64
    }

    /// Total and free, without the rest of the view.
    pub fn ledger(&self) -> (&Resources, &Resources) {
        (&self.total, &self.free)
    }

    /// Tasks of a job, or of all: those that have not ended, then the latest that have, `max` at
    /// most.
    pub fn tasks(&self, job: Option<JobId>, max: usize) -> Vec<TaskView> {
        let wanted = |of: JobId| job.is_none_or(|job| job == of);
        let live = self.tasks.iter().filter(|(_, task)| wanted(task.job)).map(|(key, _)| self.task_view(key));
        let ended = self.history.iter().rev().filter(|task| wanted(task.job));
        let ended = ended.map(|task| self.ended_view(task));
        live.chain(ended).take(max).collect()
    }

    /// One task.
    pub fn task(&self, id: TaskId) -> Option<TaskView> {
        match self.task_index.get(&id) {
            Some(key) => Some(self.task_view(*key)),
            None => self.history.iter().rev().find(|task| task.id == id).map(|task| self.ended_view(task)),
        }
    }

    pub(super) fn task_view(&self, key: TaskKey) -> TaskView {
        let task = &self.tasks[key];
        let mut attempts = task.extra.as_ref().map(|extra| extra.attempts.clone()).unwrap_or_default();
        let away = task.away();
        if task.instance.is_some() || away.is_some() {
            attempts.push(AttemptView {
                attempt: task.attempt,
                node: away.unwrap_or(self.id),
                instance: task.instance,
                started: task.started,
                ended: None,
                cause: None,
            });
        }
        TaskView {
            id: task.id,
            job: task.job,
            parent: task.parent.and_then(|key| self.tasks.get(key)).map(|parent| parent.id),
            actor: match &task.kind {
                Kind::Create(actor) => Some(*actor),
                Kind::Call(call) => Some(call.actor),
                Kind::Sent(call) => Some(call.actor),
                _ => None,
            },
            function: self.function_name(task),
            name: task.extra.as_ref().and_then(|extra| extra.name.clone()),
            state: task.state,
            attempts,
            submitted: task.submitted,
            ended: None,
            error: None,
            needs: match &task.kind {
                Kind::Call(_) | Kind::Sent(_) => Resources::default(),
                _ => Resources::clone(&self.classes[task.class].needs),
            },
        }
    }

    /// Actors: those that live, then the latest that have died, `max` at most.
    pub fn actors(&self, job: Option<JobId>, max: usize) -> Vec<ActorView> {
        let wanted = |of: JobId| job.is_none_or(|job| job == of);
        let live = self.actors.keys().filter_map(|id| self.actor_view(*id)).filter(|view| wanted(view.job));
        let dead = self.dead_actors.iter().rev().filter(|view| wanted(view.job)).cloned();
        live.chain(dead).take(max).collect()
    }

    /// One actor.
    pub fn actor(&self, id: ActorId) -> Option<ActorView> {
        self.actor_view(id).or_else(|| self.dead_actors.iter().rev().find(|view| view.id == id).cloned())
    }

    /// What a task runs, and whether it is its job's root; none when it is not known any more.
    pub fn function_of(&self, id: TaskId) -> Option<(String, bool)> {
        let task = &self.tasks[*self.task_index.get(&id)?];
        Some((self.function_name(task), matches!(task.kind, Kind::Root)))
    }

    fn actor_view(&self, id: ActorId) -> Option<ActorView> {
        let actor = self.actors.get(&id)?;
        let held = match &actor.host {
            Some(_) => self.held_there(actor),
            None => {
                let instance = actor.instance.and_then(|id| self.instances.get(&id));
                instance.map(|instance| Resources::clone(&instance.held)).unwrap_or_default()
            }
        };
        Some(ActorView {
            id,
            job: actor.job,
            class: actor.function.name.to_string(),
            name: actor.options.name.clone(),
            detached: actor.options.lifetime == crate::options::Lifetime::Detached,
            state: actor.state.as_str(),
            cause: match &actor.state {
                ActorState::Dead(cause) => Some(cause.clone()),
                _ => None,
            },
            restarts: actor.restarts,
            pending_calls: actor.unfinished,
            running_calls: actor.running(),
            ended_calls: actor.calls_ended,
            node: actor.host.as_ref().map(|host| host.node).or(actor.instance.map(|_| self.id)),
            instance: actor.instance,
            created: actor.created,
            held,
        })
    }

    pub(super) fn keep_dead_actor(&mut self, id: ActorId) {
        if self.limits.history_actors_max == 0 {
            return;
        }
        while self.dead_actors.len() >= self.limits.history_actors_max {
            self.dead_actors.pop_front();
        }
        self.dead_actors.extend(self.actor_view(id));
    }
}
