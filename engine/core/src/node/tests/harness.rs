//! Plays runtime and host over a [`Node`]: applies its effects, keeps the calls that run, and checks
//! the invariants after every event. A test says who spawns what and how each call ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::error::{Error, ErrorCode};
use crate::group::GroupMessage;
use crate::ids::{
    ActorId, IdGenerator, InstanceId, JobId, LaneId, ObjectId, PlacementGroupId, TaskId, WaitId,
};
use crate::node::planted::Planted;
pub use crate::node::tests::samples::*;
use crate::node::tests::trace::Trace;
use crate::node::*;
use crate::options::{ActorOptions, CallOptions, Returns, TaskOptions};
use crate::quota::{Amounts, TenantNews};
use crate::resources::{Quantity, Resources};
use crate::tenant::TenantSpec;
use crate::time::Time;
use crate::value::{Argument, Handle, Outcome, Place, Residence, Value};
use crate::work::{Call, CallReport, Entry, GoneReport, Life, StopReason, Usage};

/// A sandbox as the runtime would have it.
pub struct Sandbox {
    pub job: JobId,
    pub life: Life,
    pub assigned: Arc<Resources>,
    pub calls: Vec<TaskId>,
    pub served: usize,
}

pub struct World {
    pub node: Node,
    pub now: Time,
    pub sandboxes: BTreeMap<InstanceId, Sandbox>,
    /// Calls that sandboxes were given and have not ended.
    pub running: BTreeMap<TaskId, (InstanceId, Call)>,
    /// Every call that was begun, in order: task and attempt.
    pub begun: Vec<(TaskId, u32)>,
    /// How often a warm sandbox was given a further call.
    pub reused: u64,
    pub stops: Vec<(InstanceId, StopReason)>,
    /// With this set, a sandbox that is told to end does so only by [`World::gone`].
    pub slow_stops: bool,
    pub interrupts: Vec<TaskId>,
    pub woken: BTreeSet<WaitId>,
    pub ended: BTreeMap<JobId, JobEnd>,
    /// Jobs of which no sandbox may be started any more.
    pub forgotten: BTreeSet<JobId>,
    /// It is, or was, one of several nodes.
    met_others: bool,
    pub released_names: Vec<ActorId>,
    pub roots: BTreeMap<JobId, TaskId>,
    timer: Option<Time>,
    /// Every effect, as text, when that is asked for.
    pub trace: Option<Trace>,
    /// Whether the invariants are checked after every event: they cost a walk over all tables.
    pub checks: bool,
    /// With this set, what is written out and brought back is so only by [`World::write_out`] and
    /// [`World::bring_back`].
    pub slow_disk: bool,
    pub spills: VecDeque<Vec<(ObjectId, Place)>>,
    pub restores: VecDeque<(ObjectId, Place)>,
    /// What is to be sent to other nodes.
    pub outbox: Vec<Packet>,
    /// It drains, and has asked to be let go: whether with nothing on it.
    pub leaves: Option<bool>,
    /// What is to be told to the head.
    pub to_head: Vec<GroupMessage>,
    /// Lost runs of jobs of which the head is to be told that nothing is left.
    pub runs_gone: Vec<JobId>,
    /// Whether it wants to hear what others have free.
    pub asks_for_loads: Vec<bool>,
    /// What the head said to groups that were asked for.
    pub answered: BTreeMap<PlacementGroupId, Result<(), Error>>,
    /// What the head is to hear of quotas.
    pub to_ledger: Vec<crate::quota::LedgerReport>,
    /// Jobs are of one of so many tenants, by their ids.
    pub tenants: u64,
    /// Sandboxes that stand still.
    pub paused: BTreeSet<InstanceId>,
    /// Bytes that are to come from other nodes.
    pub fetches: Vec<(ObjectId, RemotePlace)>,
    ids: IdGenerator,
}

impl World {
    pub fn new(total: Resources, limits: Limits) -> Self {
        Self::with_key(7, total, limits)
    }

    /// A node whose ids follow from `key`.
    pub fn with_key(key: u8, total: Resources, limits: Limits) -> Self {
        Self {
            node: Node::new(
                [key; 16],
                total,
                vec![("zone".into(), "a".into()), ("rack".into(), (key - 1).to_string())],
                limits,
            ),
            now: Time(0),
            sandboxes: BTreeMap::new(),
            running: BTreeMap::new(),
            begun: Vec::new(),
            reused: 0,
            stops: Vec::new(),
            slow_stops: false,
            interrupts: Vec::new(),
            woken: BTreeSet::new(),
            ended: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            met_others: false,
            released_names: Vec::new(),
            roots: BTreeMap::new(),
            timer: None,
            trace: None,
            checks: true,
            slow_disk: false,
            spills: VecDeque::new(),
            restores: VecDeque::new(),
            outbox: Vec::new(),
            leaves: None,
            to_head: Vec::new(),
            runs_gone: Vec::new(),
            asks_for_loads: Vec::new(),
            answered: BTreeMap::new(),
            to_ledger: Vec::new(),
            tenants: 1,
            paused: BTreeSet::new(),
            fetches: Vec::new(),
            ids: IdGenerator::new([!key; 16]),
        }
    }

    /// Switches a bug on.
    pub fn plant(&mut self, bug: Planted) {
        self.node.planted = Some(bug);
    }

    /// A node with so many CPUs and the default limits.
    pub fn with_cpus(count: u64) -> Self {
        Self::new(cpus(count), Limits::default())
    }

    /// Brings an event to the node and carries out what follows.
    pub fn event<R>(&mut self, event: impl FnOnce(&mut Node, Time, &mut Effects) -> R) -> R {
        self.met_others |= !self.node.peers.is_empty();
        let mut fx = Effects::new();
        let result = event(&mut self.node, self.now, &mut fx);
        self.check();
        self.follow(fx);
        result
    }

    fn check(&self) {
        if self.checks
            && let Some(broken) = self.node.broken_invariant()
        {
            panic!("at {}: {broken}", self.now);
        }
    }

    /// Writes into the trace, when there is one.
    pub fn note(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.note(self.now, &format!("{} {}", self.node.id(), what()));
        }
    }

    fn carry_out(&mut self, effect: Effect, fx: &mut VecDeque<Effect>) {
        self.note(|| format!("{effect:?}"));
        match effect {
            Effect::Start(start) => {
                let Start { instance, job, assigned, life, call, .. } = *start;
                if let Life::Actor { .. } = life {
                    // A detached actor may come back to a node that has forgotten its job.
                    self.forgotten.remove(&job);
                }
                assert!(!self.forgotten.contains(&job), "a sandbox of {job} was started after its end");
                let sandbox = Sandbox { job, life, assigned, calls: Vec::new(), served: 0 };
                assert!(self.sandboxes.insert(instance, sandbox).is_none(), "{instance} was started twice");
                self.begin(instance, call);
            }
            Effect::Deliver(instance, call) => {
                let warm = self.sandboxes.get(&instance).is_some_and(|sandbox| sandbox.life == Life::Warm);
                self.reused += u64::from(warm);
                self.begin(instance, *call);
            }
            Effect::Stop(instance, reason) => {
                assert!(self.sandboxes.contains_key(&instance), "{instance} was stopped and is not there");
                self.stops.push((instance, reason));
                if !self.slow_stops {
                    let mut more = Effects::new();
                    self.leave(instance);
                    let report = GoneReport { instance, calls: SmallVec::new(), cause: None };
                    self.node.gone(self.now, report, &mut more);
                    self.check();
                    fx.extend(more);
                }
            }
            Effect::Pause(instance) => {
                assert!(self.sandboxes.contains_key(&instance), "{instance} was paused and is not there");
                assert!(self.paused.insert(instance), "{instance} was paused twice");
            }
            Effect::GoOn(instance) => {
                assert!(self.paused.remove(&instance), "{instance} goes on and was not paused");
            }
            Effect::Interrupt(_, task) => self.interrupts.push(task),
            Effect::Wake(wait) => {
                assert!(self.woken.insert(wait), "{wait:?} was woken twice");
            }
            Effect::ArmTimer(at) => self.timer = Some(at),
            Effect::JobEnded(job, end) => {
                // What a detached actor started may outlive the job too.
                let ends_with_it =
                    |id: &InstanceId| self.node.instances.get(id).is_none_or(|i| i.scope.is_none());
                let of_it = self.sandboxes.iter().filter(|(_, sandbox)| sandbox.job == job);
                let left = of_it.filter(|(id, _)| ends_with_it(id)).count();
                assert_eq!(left, 0, "{job} ended with sandboxes left");
                assert!(self.ended.insert(job, end).is_none(), "{job} ended twice");
            }
            Effect::JobForgotten(job) => {
                let is_own = self.roots.contains_key(&job);
                assert!(!is_own || self.ended.contains_key(&job), "{job} was forgotten before it ended");
                // In a cluster, what was to be restarted here and was not has the job known for a while.
                let is_new = self.forgotten.insert(job);
                assert!(is_new || self.met_others, "{job} was forgotten twice");
            }
            Effect::ReleaseName(actor) => self.released_names.push(actor),
            Effect::Spill(batch) => {
                self.spills.push_back(batch);
                if !self.slow_disk {
                    let mut more = Effects::new();
                    self.write_out_into(None, &mut more);
                    fx.extend(more);
                }
            }
            Effect::Leave { in_order } => {
                assert!(self.leaves.is_none(), "it asked to leave twice");
                self.leaves = Some(in_order);
            }
            Effect::Send(packet) => self.outbox.push(*packet),
            Effect::ToHead(message) => self.to_head.push(*message),
            Effect::AskForLoads(wants) => self.asks_for_loads.push(wants),
            Effect::TellLedger(report) => self.to_ledger.push(report),
            Effect::RunGone(run) => {
                let ends_with_it =
                    |id: &InstanceId| self.node.instances.get(id).is_none_or(|i| i.scope.is_none());
                let of_it = self.sandboxes.iter().filter(|(_, sandbox)| sandbox.job == run);
                assert_eq!(of_it.filter(|(id, _)| ends_with_it(id)).count(), 0, "{run} is said to be gone");
                self.runs_gone.push(run);
            }
            Effect::GroupAnswered(group, answer) => {
                assert!(self.answered.insert(group, answer).is_none(), "{group} was answered twice");
            }
            Effect::Restore(id, place) if place.residence() == Residence::Remote => {
                let place = RemotePlace::of(&place).expect("the place of bytes on another node");
                self.fetches.push((id, place));
            }
            Effect::Restore(id, place) => {
                self.restores.push_back((id, place));
                if !self.slow_disk {
                    let mut more = Effects::new();
                    self.bring_back_into(None, &mut more);
                    fx.extend(more);
                }
            }
        }
    }

    fn write_out_into(&mut self, failure: Option<Error>, more: &mut Effects) {
        let Some(batch) = self.spills.pop_front() else { return };
        let result = |place: &Place| match &failure {
            Some(error) => Err(error.clone()),
            None => Ok(moved(place, Residence::Spilled)),
        };
        let results = batch.iter().map(|(id, place)| (*id, result(place))).collect();
        self.node.spilled(self.now, results, more);
        self.check();
    }

    fn bring_back_into(&mut self, failure: Option<Error>, more: &mut Effects) {
        let Some((id, place)) = self.restores.pop_front() else { return };
        let result = match failure {
            Some(error) => Err(error),
            None => Ok(moved(&place, Residence::Arena)),
        };
        self.node.restored(self.now, id, result, more);
        self.check();
    }

    /// The oldest batch on its way out is on disk, or failed.
    pub fn write_out(&mut self, failure: Option<Error>) {
        let mut more = Effects::new();
        self.write_out_into(failure, &mut more);
        self.follow(more);
    }

    /// The object that was asked back first is in memory again, or failed to be.
    pub fn bring_back(&mut self, failure: Option<Error>) {
        let mut more = Effects::new();
        self.bring_back_into(failure, &mut more);
        self.follow(more);
    }

    fn follow(&mut self, fx: Effects) {
        let mut fx = VecDeque::from(fx);
        loop {
            while let Some(effect) = fx.pop_front() {
                self.carry_out(effect, &mut fx);
            }
            let mut more = Effects::new();
            self.node.flush(self.now, &mut more);
            if more.is_empty() {
                return;
            }
            fx.extend(more);
        }
    }

    fn begin(&mut self, instance: InstanceId, call: Call) {
        let sandbox =
            self.sandboxes.get_mut(&instance).expect("a call was given to a sandbox that is not there");
        sandbox.calls.push(call.task);
        sandbox.served += 1;
        let max = match sandbox.life {
            Life::Actor { max_concurrency, .. } => max_concurrency as usize,
            _ => 1,
        };
        assert!(
            sandbox.calls.len() <= max,
            "{} calls are inside {instance}, which takes {max}",
            sandbox.calls.len()
        );
        self.begun.push((call.task, call.attempt));
        let task = call.task;
        assert!(self.running.insert(task, (instance, call)).is_none(), "{task} runs twice");
    }

    fn leave(&mut self, instance: InstanceId) -> Sandbox {
        let sandbox = self.sandboxes.remove(&instance).expect("a sandbox that is there");
        self.paused.remove(&instance);
        for task in &sandbox.calls {
            self.running.remove(task);
        }
        sandbox
    }

    // ---- jobs ----

    /// Starts a job of no CPUs; its root, which asks for everything that follows.
    pub fn job(&mut self) -> Caller {
        let root = self.submit(Quantity::ZERO, None);
        self.caller(root)
    }

    /// Starts a job of a tenant's whose root task takes no CPUs.
    pub fn job_of_tenant(&mut self, tenant: &str) -> Caller {
        let root = self.submit_of_tenant(tenant, 0);
        self.caller(root)
    }

    /// A tenant has so many hundredths of the node whenever it wants them.
    pub fn guarantee(&mut self, tenant: &str, guaranteed_percent: u32) {
        let spec = TenantSpec { guaranteed_percent, ..TenantSpec::new(tenant.parse().expect("a name")) };
        let news = TenantNews { spec, version: 0, granted: Amounts::default(), heard: 0, is_wanted: false };
        self.event(|node, now, fx| node.tenant_news(now, news, fx));
    }

    /// The same with a root of so many CPUs, which may have to wait.
    pub fn submit_of_tenant(&mut self, tenant: &str, cpus: u64) -> TaskId {
        let spec = Self::spec(self.ids.job(), Quantity::units(cpus), None);
        self.submit_spec(JobSpec { tenant: tenant.parse().expect("a name"), ..spec })
    }

    /// Starts a job; its root task.
    pub fn submit(&mut self, cpus: Quantity, unfinished_tasks_max: Option<usize>) -> TaskId {
        let job = self.ids.job();
        let mut spec = Self::spec(job, cpus, unfinished_tasks_max);
        if self.tenants > 1 {
            let which = job.bits().1 % self.tenants;
            spec.tenant = format!("t{which}").parse().expect("a name");
        }
        self.submit_spec(spec)
    }

    /// A job of no CPUs.
    pub fn spec_of(job: JobId) -> JobSpec {
        Self::spec(job, Quantity::ZERO, None)
    }

    fn spec(job: JobId, cpus: Quantity, unfinished_tasks_max: Option<usize>) -> JobSpec {
        JobSpec {
            cpus,
            memory: Some(1 << 20),
            unfinished_tasks_max,
            ..JobSpec::new(job, component(), RootEntry::Main(Vec::new()))
        }
    }

    /// Starts this job; its root task.
    pub fn submit_spec(&mut self, spec: JobSpec) -> TaskId {
        let job = spec.job;
        let root = self.event(|node, now, fx| node.submit_job(now, spec, fx)).expect("a new job");
        self.roots.insert(job, root);
        if let Some(client) = self.node.client_of(job) {
            self.attach(job, client);
        }
        root
    }

    /// Starts a job whose root is a client outside, attached to the node.
    pub fn client(&mut self) -> Caller {
        let job = self.ids.job();
        let root = self.submit_spec(JobSpec::of_client(job));
        self.event(|node, _, _| node.client_attached(job));
        self.caller(root)
    }

    /// A client stands where a sandbox would that runs its job's root.
    fn attach(&mut self, job: JobId, client: Caller) {
        let Caller { instance, task } = client;
        let sandbox =
            Sandbox { job, life: Life::Task, assigned: Arc::default(), calls: Vec::new(), served: 0 };
        self.sandboxes.insert(instance, sandbox);
        let (arguments, returns) = (Vec::new(), Returns::Fixed(1));
        self.begin(
            instance,
            Call {
                task,
                attempt: 0,
                entry: Entry::Client,
                arguments,
                returns,
                cpu_time: None,
                assigned: None,
            },
        );
    }

    /// Ends every job, and checks that nothing of them is left.
    pub fn end(mut self) {
        for root in self.roots.clone().into_values() {
            if self.running.contains_key(&root) {
                self.finish(root);
            }
        }
        for job in self.roots.clone().into_keys() {
            self.event(|node, now, fx| node.stop_job(now, job, "the test ends", fx));
            assert!(self.ended.contains_key(&job), "{job} has not ended");
        }
        assert_eq!(self.node.leftover(), None);
        assert!(self.sandboxes.is_empty() && self.running.is_empty());
    }

    /// The job that a caller belongs to.
    pub fn job_of(&self, from: Caller) -> JobId {
        self.sandboxes[&from.instance].job
    }

    // ---- what guests ask for ----

    /// Who a running call is to the host.
    #[track_caller]
    pub fn caller(&self, task: TaskId) -> Caller {
        match self.running.get(&task) {
            Some((instance, _)) => Caller { instance: *instance, task },
            None => panic!("{task} does not run: it is {:?}", self.node.task(task).map(|task| task.state)),
        }
    }

    #[track_caller]
    pub fn spawn(&mut self, from: Caller, arguments: &[ObjectId], options: TaskOptions) -> TaskId {
        let arguments = arguments.iter().map(|id| Argument::Object(*id)).collect();
        self.try_spawn(from, arguments, options).expect("a task that is accepted")
    }

    pub fn try_spawn(
        &mut self,
        from: Caller,
        arguments: Vec<Argument>,
        options: TaskOptions,
    ) -> Result<TaskId, Error> {
        let spawned =
            self.event(|node, now, fx| node.spawn(now, from, function("f"), arguments, options, fx));
        spawned.map(|spawned| spawned.task)
    }

    /// Spawns so many tasks of one CPU.
    pub fn spawn_many(&mut self, from: Caller, count: usize) -> Vec<TaskId> {
        (0..count).map(|_| self.spawn(from, &[], options())).collect()
    }

    #[track_caller]
    pub fn put(&mut self, from: Caller, value: Value) -> ObjectId {
        self.event(|node, now, fx| node.put(now, from, value, fx)).expect("a value that is accepted")
    }

    pub fn wait(
        &mut self,
        from: Caller,
        items: &[Waitable],
        until: Until,
        timeout: Option<Duration>,
    ) -> WaitState {
        self.event(|node, now, fx| node.wait(now, from, items, until, timeout, fx)).expect("a wait")
    }

    /// Waits for all of these objects without a timeout; none when it need not wait.
    pub fn get(&mut self, from: Caller, objects: &[ObjectId]) -> Option<WaitId> {
        let items: Vec<Waitable> = objects.iter().map(|id| Waitable::Object(*id)).collect();
        match self.wait(from, &items, Until::AllOrFailure, None) {
            WaitState::Ready => None,
            WaitState::Blocked(wait) => Some(wait),
        }
    }

    /// Blocks a call until the first output of `task` is there.
    #[track_caller]
    pub fn block_on(&mut self, from: Caller, task: TaskId) -> WaitId {
        self.get(from, &[task.output(0)]).expect("an output that is not there yet")
    }

    pub fn is_awake(&self, wait: WaitId) -> bool {
        self.woken.contains(&wait)
    }

    pub fn outcome(&self, from: Caller, object: ObjectId) -> Option<Outcome> {
        self.node.outcome(from, object)
    }

    /// The error of an object that has one.
    #[track_caller]
    pub fn error_of(&self, from: Caller, object: ObjectId) -> Arc<Error> {
        match self.outcome(from, object) {
            Some(Err(error)) => error,
            other => panic!("{object} has no error: {other:?}"),
        }
    }

    #[track_caller]
    pub fn code_of(&self, from: Caller, task: TaskId) -> ErrorCode {
        self.error_of(from, task.output(0)).code()
    }

    pub fn release(&mut self, from: Caller, handle: Handle) {
        self.event(|node, now, fx| node.release(now, from.instance, handle, fx));
    }

    pub fn release_output(&mut self, from: Caller, task: TaskId) {
        self.release(from, Handle::Object(task.output(0)));
    }

    pub fn acquire(&mut self, from: Caller, handle: Handle) {
        self.event(|node, _, _| node.acquire(from.instance, handle));
    }

    pub fn emit(&mut self, from: Caller) -> Result<WaitState, Error> {
        self.event(|node, now, fx| node.emit(now, from, value(8), fx))
    }

    pub fn next(&mut self, from: Caller, stream: TaskId) -> Next {
        self.event(|node, now, fx| node.next(now, from, stream, fx))
    }

    pub fn cancel(&mut self, task: TaskId, force: bool, recursive: bool) {
        self.event(|node, now, fx| node.cancel(now, task, force, recursive, fx));
    }

    #[track_caller]
    pub fn create(&mut self, from: Caller, options: ActorOptions) -> ActorId {
        self.try_create(from, Vec::new(), options).expect("an actor that is accepted")
    }

    pub fn try_create(
        &mut self,
        from: Caller,
        arguments: Vec<Argument>,
        options: ActorOptions,
    ) -> Result<ActorId, Error> {
        self.event(|node, now, fx| {
            let id = node.new_actor_id();
            let creation = ActorCreation { id, class: function("Actor"), arguments, options };
            node.create_actor(now, from, creation, fx)
        })
    }

    /// Creates an actor whose constructor has ended.
    #[track_caller]
    pub fn actor(&mut self, from: Caller, options: ActorOptions) -> ActorId {
        let actor = self.create(from, options);
        self.construct(actor);
        actor
    }

    /// Ends the constructor of an actor that is being created or restarted.
    #[track_caller]
    pub fn construct(&mut self, actor: ActorId) {
        let task = self.constructor(actor);
        self.finish(task);
    }

    #[track_caller]
    pub fn constructor(&self, actor: ActorId) -> TaskId {
        let instance = self.node.actor(actor).and_then(|view| view.instance).expect("a placed actor");
        let create = |task: &&TaskId| matches!(self.running[*task].1.entry, Entry::Create(_));
        *self.sandboxes[&instance].calls.iter().find(create).expect("a constructor that runs")
    }

    pub fn lane(&mut self) -> LaneId {
        self.node.new_lane()
    }

    #[track_caller]
    pub fn call(&mut self, from: Caller, actor: ActorId, lane: LaneId, arguments: &[ObjectId]) -> TaskId {
        self.call_with(from, actor, lane, arguments, CallOptions::default()).expect("a call that is accepted")
    }

    pub fn call_with(
        &mut self,
        from: Caller,
        actor: ActorId,
        lane: LaneId,
        arguments: &[ObjectId],
        options: CallOptions,
    ) -> Result<TaskId, Error> {
        let arguments = arguments.iter().map(|id| Argument::Object(*id)).collect();
        let spawned = self.event(|node, now, fx| {
            node.call_actor(now, from, actor, lane, "m".into(), arguments, options, fx)
        });
        spawned.map(|spawned| spawned.task)
    }

    pub fn kill(&mut self, from: Caller, actor: ActorId, restart: bool) {
        self.event(|node, now, fx| node.kill_actor(now, from, actor, restart, fx)).expect("a handle");
    }

    #[track_caller]
    pub fn instance_of(&self, actor: ActorId) -> InstanceId {
        self.node.actor(actor).and_then(|view| view.instance).expect("an actor that has a sandbox")
    }

    // ---- how calls end ----

    /// Ends a call well, with as many empty values as it declared.
    #[track_caller]
    pub fn finish(&mut self, task: TaskId) {
        let (_, call) = self.running.get(&task).unwrap_or_else(|| panic!("{task} does not run"));
        let count = match (&call.entry, call.returns) {
            (Entry::Create(_), _) | (_, Returns::Streaming(_)) => 0,
            (_, Returns::Fixed(count)) => count,
        };
        self.finish_with(task, (0..count).map(|_| value(8)).collect());
    }

    #[track_caller]
    pub fn finish_with(&mut self, task: TaskId, values: Vec<Value>) {
        self.report(task, Ok(values));
    }

    /// Ends a call with an error; its sandbox serves on if it is one that may.
    #[track_caller]
    pub fn fail(&mut self, task: TaskId, error: Error) {
        self.report(task, Err(error));
    }

    #[track_caller]
    fn report(&mut self, task: TaskId, result: Result<Vec<Value>, Error>) {
        let (instance, _) = self.running.remove(&task).unwrap_or_else(|| panic!("{task} does not run"));
        let report = CallReport { task, result, usage: Usage::default() };
        let sandbox = self.sandboxes.get_mut(&instance).expect("the sandbox of a call");
        sandbox.calls.retain(|call| *call != task);
        if sandbox.life == Life::Task {
            self.leave(instance);
            self.event(|node, now, fx| {
                let calls = SmallVec::from_elem(report, 1);
                node.gone(now, GoneReport { instance, calls, cause: None }, fx);
            });
        } else {
            self.event(|node, now, fx| node.finished(now, instance, report, fx));
        }
    }

    /// The guest traps in this call: its sandbox is gone.
    #[track_caller]
    pub fn trap(&mut self, task: TaskId, error: Error) {
        let instance = self.caller(task).instance;
        self.leave(instance);
        let report = CallReport { task, result: Err(error.clone()), usage: Usage::default() };
        self.event(|node, now, fx| {
            let calls = SmallVec::from_elem(report, 1);
            node.gone(now, GoneReport { instance, calls, cause: Some(error) }, fx);
        });
    }

    /// A sandbox is lost through no fault of its guest.
    pub fn die(&mut self, instance: InstanceId) {
        self.leave(instance);
        let cause = Some(error(ErrorCode::WorkerDied));
        self.event(|node, now, fx| {
            node.gone(now, GoneReport { instance, calls: SmallVec::new(), cause }, fx);
        });
    }

    /// The sandbox of a running call is lost.
    #[track_caller]
    pub fn lose(&mut self, task: TaskId) {
        let instance = self.caller(task).instance;
        self.die(instance);
    }

    /// A sandbox that was told to end, or ends by itself without a cause, is gone.
    pub fn gone(&mut self, instance: InstanceId) {
        self.leave(instance);
        self.event(|node, now, fx| {
            node.gone(now, GoneReport { instance, calls: SmallVec::new(), cause: None }, fx);
        });
    }

    /// Lets time pass, and timers with it.
    pub fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(at) = self.timer
            && at <= until
        {
            self.timer = None;
            self.now = self.now.max(at);
            self.event(|node, now, fx| node.timer(now, fx));
        }
        self.now = until;
    }

    /// When the node wants to be called, if at all.
    pub fn next_timer(&self) -> Option<Time> {
        self.timer
    }

    /// Finishes whatever runs of these, until none is left.
    pub fn finish_all(&mut self, tasks: &[TaskId]) {
        let mut left: BTreeSet<TaskId> = tasks.iter().copied().collect();
        while let Some(task) = left.iter().copied().find(|task| self.running.contains_key(task)) {
            self.finish(task);
            left.remove(&task);
        }
        assert!(left.is_empty(), "these never ran: {left:?}");
    }

    // ---- what is seen ----

    #[track_caller]
    pub fn state(&self, task: TaskId) -> TaskState {
        self.node.task(task).unwrap_or_else(|| panic!("{task} is not known")).state
    }

    #[track_caller]
    pub fn assert_states(&self, tasks: &[TaskId], states: &[TaskState]) {
        let found: Vec<TaskState> = tasks.iter().map(|task| self.state(*task)).collect();
        assert_eq!(found, states);
    }

    /// How many of these run.
    pub fn count_running(&self, tasks: &[TaskId]) -> usize {
        tasks.iter().filter(|task| self.running.contains_key(task)).count()
    }

    pub fn free(&self) -> &Resources {
        self.node.ledger().1
    }

    pub fn actor_state(&self, actor: ActorId) -> &'static str {
        self.node.actor(actor).expect("an actor that is known").state
    }
}
