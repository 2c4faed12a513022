//! One run: which node, what the guests know, and what happens next.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checker::Checker;
use super::random::Random;
use crate::error::ErrorCode;
use crate::ids::{ActorId, InstanceId, LaneId, TaskId, WaitId};
use crate::node::tests::harness::{World, error};
use crate::node::{Caller, Limits, RoomTicket, Waitable};
use crate::resources::{Quantity, Resources};
use crate::value::{Argument, Handle};

pub const MIB: u64 = 1 << 20;

/// A wait as its guest knows it.
pub struct Waiting {
    pub instance: InstanceId,
    pub wait: WaitId,
    /// None for one that yields.
    pub items: Vec<Waitable>,
}

pub struct Simulation {
    pub world: World,
    pub random: Random,
    pub checker: Checker,
    pub total: Resources,
    /// Handles in each sandbox, as often as it has them.
    pub held: BTreeMap<InstanceId, Vec<Handle>>,
    pub lanes: BTreeMap<(InstanceId, ActorId), LaneId>,
    /// Calls that wait, as their guests know it.
    pub waiting: BTreeMap<TaskId, Waiting>,
    /// Every task that was accepted, with the objects among its arguments.
    pub tasks: BTreeMap<TaskId, Vec<Argument>>,
    /// Calls that look for room in the arena.
    pub tickets: BTreeMap<TaskId, RoomTicket>,
    pub detached: Vec<ActorId>,
    pub next_token: u64,
    seen_begun: usize,
    seen_stops: usize,
    /// Sandboxes that were told to end.
    pub stopping: Vec<InstanceId>,
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut total = Resources {
            cpus: Quantity::units(random.of([1, 1, 2, 4])),
            gpus: Quantity::units(random.of([0, 1])),
            memory: random.of([64, 256, 4096]) * MIB,
            ..Resources::default()
        };
        total.set_custom("disk", Quantity(random.of([0, 5_000, 20_000])));
        let limits = Limits {
            queued_tasks_max: random.of([20, 1_000]),
            inline_bytes_max: random.of([50, 10_000]),
            store_bytes_max: random.of([10, 40, 10_000]),
            spill: random.of([true, true, false]),
            fetching_tasks_max: random.of([1, 64]),
            lineage_bytes_max: random.of([0, 2_000, 1 << 20]),
            instances_max: random.of([4, 1_000]),
            warm_idle_max: random.of([1, 3, 100]),
            passed_over_max: random.of([0, 2, 100]),
            preempt_after: random.of([Duration::from_nanos(1), Duration::from_millis(50)]),
            preemptions_per_task_max: random.of([1, 8]),
            attempts_kept_max: random.of([1, 8]),
            ..Limits::default()
        };
        let mut world = World::new(total.clone(), limits);
        world.tenants = 3;
        world.guarantee("t0", random.of([0, 30, 60]));
        world.guarantee("t1", random.of([0, 40]));
        world.slow_stops = true;
        world.slow_disk = true;
        Self {
            world,
            random,
            checker: Checker::default(),
            total,
            held: BTreeMap::new(),
            lanes: BTreeMap::new(),
            waiting: BTreeMap::new(),
            tasks: BTreeMap::new(),
            tickets: BTreeMap::new(),
            detached: Vec::new(),
            next_token: 0,
            seen_begun: 0,
            seen_stops: 0,
            stopping: Vec::new(),
        }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        match self.random.below(100) {
            _ if self.world.running.is_empty() => self.submit(),
            0..=2 => self.submit(),
            3 if self.random.once_in(3) => self.stop_job(),
            4..=5 => self.lose_sandbox(),
            6..=14 => self.end_stopping(),
            15..=20 => self.pass_time(),
            21 => self.late_event(),
            22..=27 => self.disk_works(),
            _ => self.guest_acts(),
        }
        self.look_around();
    }

    fn submit(&mut self) {
        let jobs = self.world.roots.values().filter(|root| self.world.running.contains_key(root)).count();
        if jobs >= 3 {
            return;
        }
        if self.random.once_in(4) {
            self.world.client();
            return;
        }
        let cpus = Quantity(self.random.of([0, 0, 0, 10_000]));
        let quota = self.random.of([None, None, Some(10)]);
        self.world.submit(cpus, quota);
    }

    fn stop_job(&mut self) {
        let jobs: Vec<_> = self.world.roots.keys().copied().collect();
        if let Some(job) = self.random.pick(&jobs) {
            self.world.event(|node, now, fx| node.stop_job(now, job, "a person said so", fx));
        }
    }

    fn lose_sandbox(&mut self) {
        let sandboxes: Vec<InstanceId> = self.world.sandboxes.keys().copied().collect();
        let Some(instance) = self.random.pick(&sandboxes) else { return };
        // With a root all that it started goes: that is for now and then.
        let is_root =
            self.world.roots.values().any(|root| self.world.sandboxes[&instance].calls.contains(root));
        if is_root && !self.random.once_in(5) {
            return;
        }
        let calls = self.world.sandboxes[&instance].calls.clone();
        match self.random.pick(&calls) {
            Some(task) if self.random.once_in(2) => {
                let code =
                    self.random.of([ErrorCode::Trapped, ErrorCode::OutOfMemory, ErrorCode::WorkerDied]);
                self.world.trap(task, error(code));
            }
            _ => self.world.die(instance),
        }
    }

    /// One of those that were told to end has ended.
    pub fn end_stopping(&mut self) {
        let sandboxes = &self.world.sandboxes;
        self.stopping.retain(|instance| sandboxes.contains_key(instance));
        if let Some(instance) = self.random.pick(&self.stopping) {
            self.world.gone(instance);
        }
    }

    /// Something is written out or brought back, or is not.
    fn disk_works(&mut self) {
        if self.random.once_in(2) {
            let fails = self.random.once_in(6);
            self.world.write_out(fails.then(|| error(ErrorCode::OutOfDisk)));
            return;
        }
        let code =
            self.random.of([None, None, None, Some(ErrorCode::StoreFull), Some(ErrorCode::ObjectLost)]);
        if code == Some(ErrorCode::ObjectLost) {
            self.checker.lost();
        }
        self.world.bring_back(code.map(error));
        let on_disk: Vec<_> = self.world.node.objects(None, usize::MAX);
        let on_disk: Vec<_> =
            on_disk.iter().filter(|view| view.place == "SPILLED").map(|view| view.id).collect();
        if let Some(object) = self.random.pick(&on_disk)
            && self.random.once_in(3)
        {
            self.checker.lost();
            let cause = error(ErrorCode::ObjectLost);
            self.world.event(|node, now, fx| node.lost(now, object, &cause, fx));
        }
    }

    fn pass_time(&mut self) {
        let by = self.random.of([1, 50, 400, 70_000]);
        self.world.advance(Duration::from_millis(by));
    }

    /// Something that happened long ago is told again.
    fn late_event(&mut self) {
        let tasks: Vec<TaskId> =
            self.tasks.keys().copied().filter(|t| !self.world.running.contains_key(t)).collect();
        let Some(task) = self.random.pick(&tasks) else { return };
        let instance = InstanceId(self.random.below(50) as u64);
        let result = Ok(vec![self.value(&[])]);
        let report = crate::work::CallReport { task, result, usage: Default::default() };
        match self.world.sandboxes.contains_key(&instance) {
            true => self.world.event(|node, now, fx| node.finished(now, instance, report, fx)),
            false => self.world.event(|node, now, fx| {
                let calls = smallvec::SmallVec::from_elem(report, 1);
                node.gone(now, crate::work::GoneReport { instance, calls, cause: None }, fx);
            }),
        }
    }

    /// Takes note of what the node did: calls begun, waits over, sandboxes told to end or gone.
    pub fn look_around(&mut self) {
        while let Some((task, _)) = self.world.begun.get(self.seen_begun).copied() {
            self.seen_begun += 1;
            self.checker.begun(&self.world, task);
            self.take_arguments(task);
        }
        let stops = &self.world.stops[self.seen_stops..];
        self.stopping.extend(stops.iter().map(|(instance, _)| *instance));
        self.seen_stops = self.world.stops.len();
        let world = &self.world;
        self.waiting.retain(|task, waiting| {
            let same = world.running.get(task).is_some_and(|(now, _)| *now == waiting.instance);
            same && !world.woken.contains(&waiting.wait)
        });
        self.held.retain(|instance, _| world.sandboxes.contains_key(instance));
        self.lanes.retain(|(instance, _), _| world.sandboxes.contains_key(instance));
        self.checker.ledger(world, |task| self.waiting.contains_key(task), &self.total);
    }

    /// A guest gets the handles inside the arguments of its call.
    fn take_arguments(&mut self, task: TaskId) {
        let Some((instance, call)) = self.world.running.get(&task) else { return };
        let (instance, values) = (*instance, call.arguments.clone());
        let arguments = self.tasks.get(&task).cloned().unwrap_or_default();
        for (argument, value) in arguments.iter().zip(&values) {
            if let Argument::Object(object) = argument {
                self.checker.given(*object, value);
            }
        }
        let guest = Caller { instance, task };
        for handle in values.iter().flat_map(|value| value.handles.iter()) {
            self.take(guest, *handle);
        }
    }

    /// A guest gets a handle.
    pub fn take(&mut self, guest: Caller, handle: Handle) {
        self.world.acquire(guest, handle);
        self.held.entry(guest.instance).or_default().push(handle);
    }

    /// Notes a handle that the node gave a guest with an answer.
    pub fn got(&mut self, guest: Caller, handle: Handle) {
        self.held.entry(guest.instance).or_default().push(handle);
    }
}
