//! Jobs on this node: the root task, what belongs to it, and its end (contract J2).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, ComponentId, JobId, NodeId, TaskId};
use crate::node::class::ClassSpec;
use crate::node::spawn::NewTask;
use crate::node::task::Kind;
use crate::node::{ClassKey, Effect, Effects, Node, TaskKey, TaskState, TenantKey};
use crate::options::{Function, Placement, Retries, TaskOptions};
use crate::resources::Quantity;
use crate::tenant::TenantName;
use crate::time::Time;
use crate::value::Outcome;
use crate::work::{Entry, StopReason};

/// What a job runs.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// Given by the head.
    pub job: JobId,
    /// The main component. Of a client's job: none, all zeros.
    pub component: ComponentId,
    /// What its root task runs.
    pub entry: RootEntry,
    /// CPUs of the root task; 0 unless said, as it mostly waits.
    pub cpus: Quantity,
    /// Bytes of guest memory of the root task.
    pub memory: Option<u64>,
    /// Tasks and calls that have not ended, at once; none: no bound but the node's.
    pub unfinished_tasks_max: Option<usize>,
    /// Guest memory of its tasks that do not say; none: the node's default.
    pub task_memory_bytes: Option<u64>,
    /// From submission to the end of the root task.
    pub deadline: Option<std::time::Duration>,
    /// Whether it is stopped when no client is attached to it for `client_grace`.
    pub is_attached: bool,
    /// To whom it belongs.
    pub tenant: TenantName,
}

impl JobSpec {
    /// A job with the defaults of all that may be left out.
    pub fn new(job: JobId, component: ComponentId, entry: RootEntry) -> Self {
        Self {
            job,
            component,
            entry,
            cpus: Quantity::ZERO,
            memory: None,
            unfinished_tasks_max: None,
            task_memory_bytes: None,
            deadline: None,
            is_attached: false,
            tenant: TenantName::default(),
        }
    }

    /// A job whose root is a client outside.
    pub fn of_client(job: JobId) -> Self {
        Self::new(job, ComponentId::NONE, RootEntry::Client)
    }
}

/// What a job's root task runs.
#[derive(Debug, Clone)]
pub enum RootEntry {
    /// The component's main, with these arguments.
    Main(Vec<String>),
    /// An export of a plain component, as a WAVE expression.
    Invoke(String),
    /// Nothing here: the root is a client outside, attached to this node, which owns on its behalf
    /// (contract J3).
    Client,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub struct JobEnd {
    /// The root's value, or why there is none.
    pub result: Outcome,
    /// Whether it was told to stop.
    pub stopped: bool,
    /// Its tasks, at the end.
    pub progress: Progress,
}

/// How many tasks and calls of a job are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// By [`TaskState`].
    pub by_state: [u64; TaskState::COUNT],
    /// Sandboxes that were started.
    pub instances: u64,
}

impl Progress {
    /// Tasks in this state.
    pub fn of(&self, state: TaskState) -> u64 {
        self.by_state[state as usize]
    }

    /// Tasks that have not ended.
    pub fn unfinished(&self) -> u64 {
        TaskState::ALL.iter().filter(|state| !state.is_end()).map(|state| self.of(*state)).sum()
    }

    /// All tasks.
    pub fn total(&self) -> u64 {
        self.by_state.iter().sum()
    }
}

pub(super) struct Job {
    pub spec: JobSpec,
    pub tenant: TenantKey,
    pub by_state: [u64; TaskState::COUNT],
    /// Those among them that other nodes own, which count them.
    pub foreign: [u64; TaskState::COUNT],
    /// Those among them that are on other nodes.
    pub away: u64,
    /// Sandboxes that were started for it.
    pub instances: u64,
    /// Classes of its latest spawns.
    pub recent_classes: [ClassKey; 4],
    /// Objects that its tasks have made, or will, and that are there.
    pub objects: u64,
    /// Bytes of those that are this node's own.
    pub object_bytes: u64,
    pub root: Option<TaskKey>,
    /// Tasks, sandboxes and actors that end with it.
    members: u64,
    /// Tasks, sandboxes and actors that a detached actor keeps.
    detached: u64,
    ending: Option<(Outcome, bool)>,
    reported: bool,
    /// The node of its root task, when that is another.
    pub home: Option<NodeId>,
    /// Nodes that were given tasks of it from here, or have said so to the node of its root.
    pub spread: BTreeSet<NodeId>,
    /// Who told of its end.
    pub ended_by: Option<NodeId>,
    /// Nodes that have yet to say that nothing of it is left there.
    pub elsewhere: BTreeSet<NodeId>,
    /// Nodes that had something of it.
    pub nodes: BTreeSet<NodeId>,
}

impl Job {
    /// One of which nothing is here yet.
    pub fn new(spec: JobSpec, tenant: TenantKey) -> Self {
        Self {
            spec,
            tenant,
            by_state: [0; TaskState::COUNT],
            foreign: [0; TaskState::COUNT],
            away: 0,
            instances: 0,
            recent_classes: [ClassKey::default(); 4],
            objects: 0,
            object_bytes: 0,
            root: None,
            members: 0,
            detached: 0,
            ending: None,
            reported: false,
            home: None,
            spread: BTreeSet::new(),
            ended_by: None,
            elsewhere: BTreeSet::new(),
            nodes: BTreeSet::new(),
        }
    }

    /// It ends, with this.
    pub fn end(&mut self, result: Outcome, stopped: bool) {
        self.ending.get_or_insert((result, stopped));
    }

    pub fn unfinished(&self) -> usize {
        self.progress().unfinished() as usize
    }

    pub fn progress(&self) -> Progress {
        let mut by_state = self.by_state;
        for (count, foreign) in by_state.iter_mut().zip(self.foreign) {
            *count -= foreign;
        }
        // A node that has no room gives a task back at once: those that are elsewhere run.
        by_state[TaskState::Submitted as usize] -= self.away;
        by_state[TaskState::Running as usize] += self.away;
        Progress { by_state, instances: self.instances }
    }

    /// Whether its end was told.
    pub fn is_reported(&self) -> bool {
        self.reported
    }

    /// Whether a detached actor of it goes on.
    pub fn has_detached(&self) -> bool {
        self.detached > 0
    }

    /// It has ended, and a detached actor of it goes on.
    pub fn has_ended(&mut self, why: Error) {
        self.end(Err(Arc::new(why)), true);
        self.reported = true;
    }

    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }
}

impl Node {
    /// Starts a job; its root task is what is returned.
    pub fn submit_job(&mut self, now: Time, spec: JobSpec, fx: &mut Effects) -> Result<TaskId, Error> {
        let id = spec.job;
        if self.jobs.contains_key(&id) {
            return Err(Error::new(ErrorCode::AlreadyExists, format!("{id} is here already")));
        }
        let is_client = matches!(spec.entry, RootEntry::Client);
        if is_client {
            self.check_room_for_client()?;
        }
        let (name, entry) = match &spec.entry {
            RootEntry::Main(arguments) => (Arc::from("main"), Entry::Main(arguments.as_slice().into())),
            RootEntry::Invoke(expression) => {
                let expression: Arc<str> = expression.as_str().into();
                (expression.clone(), Entry::Invoke(expression))
            }
            RootEntry::Client => (Arc::from("client"), Entry::Client),
        };
        // A client takes no memory of the node.
        let memory = if is_client { Some(0) } else { spec.memory };
        let options = TaskOptions {
            placement: Placement { cpus: Some(spec.cpus), memory, ..Placement::default() },
            retries: Retries { system: 0, application: 0, kinds: Vec::new() },
            ..TaskOptions::default()
        };
        let function = Function { component: spec.component, name };
        let (deadline, is_attached) = (spec.deadline, spec.is_attached || is_client);
        let tenant = self.tenants.job_comes(&spec.tenant);
        self.jobs.insert(id, Job::new(spec, tenant));
        let memory = self.limits.root_memory_bytes_default.min(self.total.memory);
        let class = self.class_of(ClassSpec { job: id, scope: None, function, options }, memory);
        let new = NewTask {
            id: self.ids.task(),
            job: id,
            class,
            kind: Kind::Root,
            entry,
            arguments: Vec::new(),
            parent: None,
            deadline,
            name: None,
        };
        let key = self.register(now, new, 0, fx);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.root = Some(key);
        }
        self.counters.jobs_submitted += 1;
        let root = self.tasks[key].id;
        if is_attached {
            self.bind_to_clients(now, id);
        }
        match is_client {
            true => self.start_client(now, key),
            false => self.admit(now, key, fx),
        }
        self.schedule(now, fx);
        if is_attached {
            self.arm_timer(fx);
        }
        Ok(root)
    }

    /// Stops a job: nothing of it runs any more when `JobEnded` follows.
    pub fn stop_job(&mut self, now: Time, id: JobId, why: &str, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.ending.is_some() {
            return;
        }
        let error = Error::new(ErrorCode::TaskCancelled, format!("the job was stopped: {why}"));
        job.ending = Some((Err(Arc::new(error)), true));
        let why = format!("its job has ended: {why}");
        self.end_job_elsewhere(id, &why);
        self.end_members(now, id, None, &why, fx);
        self.report_if_ended(id, fx);
        self.schedule(now, fx);
    }

    /// How far a job is; none when it is not here any more.
    pub fn job_progress(&self, id: JobId) -> Option<Progress> {
        self.jobs.get(&id).map(Job::progress)
    }

    pub(super) fn root_ended(&mut self, now: Time, id: JobId, result: Outcome, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.root = None;
        if job.ending.is_none() {
            job.ending = Some((result, false));
            let why = "its job has ended: its root task has ended";
            self.end_job_elsewhere(id, why);
            self.end_members(now, id, None, why, fx);
        }
    }

    /// Ends what belongs to a job and not to a detached actor, or what belongs to a detached actor.
    pub(super) fn end_members(
        &mut self,
        now: Time,
        id: JobId,
        scope: Option<ActorId>,
        why: &str,
        fx: &mut Effects,
    ) {
        let actors: Vec<ActorId> = self
            .actors
            .iter()
            .filter(|(_, actor)| actor.job == id && actor.scope == scope && !actor.is_dead())
            .map(|(id, _)| *id)
            .collect();
        for actor in actors {
            self.end_actor(now, actor, why, StopReason::JobEnded, fx);
        }
        let tasks: Vec<TaskKey> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.job == id && self.classes[task.class].spec.scope == scope)
            .map(|(key, _)| key)
            .collect();
        for key in tasks {
            if self.runs_in_another_scope(key) {
                self.hand_over(key, fx);
            } else if self.tasks.contains_key(key) {
                let error = Error::new(ErrorCode::TaskCancelled, why);
                self.end_now(now, key, error, StopReason::JobEnded, fx);
            }
        }
        // Warm sandboxes that wait for work.
        let idle: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, i)| i.job == id && i.scope == scope && i.stopping.is_none())
            .map(|(id, _)| *id)
            .collect();
        for instance in idle {
            self.stop_instance(instance, StopReason::JobEnded, fx);
        }
        self.remove_groups_of(now, id, scope, why, fx);
    }

    /// Whether this is a call inside an actor that does not end with whoever made it.
    fn runs_in_another_scope(&self, key: TaskKey) -> bool {
        let Some(task) = self.tasks.get(key) else { return false };
        let (Kind::Call(call), true) = (&task.kind, task.is_inside()) else { return false };
        let scope = self.classes[task.class].spec.scope;
        self.actors.get(&call.actor).is_some_and(|actor| (actor.job, actor.scope) != (task.job, scope))
    }

    /// Whoever made this call has ended, and the actor that it is inside goes on: the call is the
    /// actor's from now on, and is asked to end.
    fn hand_over(&mut self, key: TaskKey, fx: &mut Effects) {
        let task = &self.tasks[key];
        let (from, class) = (task.job, task.class);
        let state = task.state;
        let is_foreign = u64::from(task.owner().is_some());
        let is_away = u64::from(task.is_counted_away());
        let Kind::Call(call) = &task.kind else { return };
        let Some(actor) = self.actors.get(&call.actor) else { return };
        let (job, scope) = (actor.job, actor.scope);
        let spec = ClassSpec { job, scope, ..ClassSpec::clone(&self.classes[class].spec) };
        let own = self.class_of(spec, 0);
        self.classes[own].tasks += 1;
        let task = &mut self.tasks[key];
        (task.job, task.class) = (job, own);
        self.ask_to_end(key, false, fx);
        if let Some(job) = self.jobs.get_mut(&from) {
            job.by_state[state as usize] -= 1;
            job.foreign[state as usize] -= is_foreign;
            job.away -= is_away;
        }
        if let Some(job) = self.jobs.get_mut(&job) {
            job.by_state[state as usize] += 1;
            job.foreign[state as usize] += is_foreign;
            job.away += is_away;
        }
        self.classes[class].tasks -= 1;
        let from_scope = self.classes[class].spec.scope;
        self.forget_class_if_unused(class);
        self.add_member(job, scope);
        self.remove_member(from, from_scope, fx);
    }

    pub(super) fn add_member(&mut self, job: JobId, scope: Option<ActorId>) {
        let Some(job) = self.jobs.get_mut(&job) else { return };
        match scope {
            None => job.members += 1,
            Some(_) => job.detached += 1,
        }
    }

    pub(super) fn remove_member(&mut self, id: JobId, scope: Option<ActorId>, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match scope {
            None => job.members -= 1,
            Some(_) => job.detached -= 1,
        }
        self.report_if_ended(id, fx);
    }

    /// Says that a job has ended when nothing of it is left, and forgets it when no detached actor
    /// needs it.
    pub(super) fn report_if_ended(&mut self, id: JobId, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.members > 0 || !job.elsewhere.is_empty() {
            return;
        }
        let Some((result, stopped)) = &job.ending else { return };
        if !job.reported {
            job.reported = true;
            self.clients.forget(id);
            if job.objects > 0 {
                self.ended_jobs.push(id);
            }
            let end = JobEnd { result: result.clone(), stopped: *stopped, progress: job.progress() };
            match job.home {
                None => fx.push(Effect::JobEnded(id, end)),
                Some(_) => self.tell_job_gone(id),
            }
            self.plan_sweep(id);
        }
        let Some(job) = self.jobs.get(&id) else { return };
        if job.detached == 0 {
            if job.objects > 0 && !self.ended_jobs.contains(&id) {
                self.ended_jobs.push(id);
            }
            let classes = job.recent_classes;
            let tenant = job.tenant;
            // What is left of them nobody counts any more.
            self.tenants.note_consumption(tenant);
            self.tenants.get_mut(tenant).object_bytes -= job.object_bytes;
            self.jobs.remove(&id);
            fx.push(Effect::JobForgotten(id));
            self.look_at_retained();
            for class in classes {
                self.forget_class_if_unused(class);
            }
            self.tenants.job_goes(tenant);
        }
    }
}
