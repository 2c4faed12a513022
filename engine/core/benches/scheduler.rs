//! What the core alone costs per task: no sandbox, no thread, no clock. One loop plays runtime and
//! guest, and every task does nothing.
//!
//! `cargo bench -p engine-core` prints nanoseconds of CPU time per task, the best of five rounds, and
//! the bytes that a million queued tasks take. With an argument, only what contains it: `-- warm`.

use std::sync::Arc;
use std::time::Duration;

use engine_core::node::{
    ActorCreation, Caller, Effect, Effects, JobSpec, Limits, Node, NodeInfo, Packet, RootEntry, Until,
    WaitState, Waitable,
};
use engine_core::options::{ActorOptions, CallOptions, Function, Placement, Reuse, TaskOptions};
use engine_core::resources::{Quantity, Resources};
use engine_core::work::{CallReport, GoneReport, Usage};
use engine_core::{ComponentId, Handle, InstanceId, JobId, ObjectId, TaskId, Time, Value};

const TASKS: u32 = 200_000;
const QUEUED: u64 = 1_000_000;
const ROUNDS: usize = 5;

/// A node with a job whose root asks for everything.
struct World {
    node: Node,
    root: Caller,
    now: u64,
    /// Calls that were begun, with the sandbox that serves them.
    begun: Vec<(InstanceId, TaskId)>,
    value: Value,
    fx: Effects,
    packets: Vec<Packet>,
}

impl World {
    fn new(cpus: u64) -> Self {
        Self::with_key(3, cpus)
    }

    fn with_key(key: u8, cpus: u64) -> Self {
        Self::with_limits(key, cpus, Limits::default())
    }

    fn with_limits(key: u8, cpus: u64, limits: Limits) -> Self {
        let mut total = Resources::default();
        (total.cpus, total.memory) = (Quantity::units(cpus), 1 << 40);
        let mut node = Node::new([key; 16], total, Vec::new(), limits);
        let spec = JobSpec {
            memory: Some(1 << 20),
            ..JobSpec::new(
                JobId::from_bits(u64::from(key), 0),
                ComponentId([1; 32]),
                RootEntry::Main(Vec::new()),
            )
        };
        let mut fx = Effects::new();
        let task = node.submit_job(Time(0), spec, &mut fx).expect("the first job");
        let mut begun = Vec::new();
        take_begun(&mut fx, &mut begun, &mut Vec::new());
        let (instance, _) = begun.pop().expect("the root runs at once");
        Self {
            node,
            root: Caller { instance, task },
            now: 0,
            begun,
            value: Value::empty(),
            fx,
            packets: Vec::new(),
        }
    }

    fn now(&mut self) -> Time {
        self.now += 1_000;
        Time(self.now)
    }

    fn take_begun(&mut self) {
        take_begun(&mut self.fx, &mut self.begun, &mut self.packets);
    }

    fn spawn(&mut self, function: &Function, options: &TaskOptions) -> TaskId {
        let now = self.now();
        let spawned =
            self.node.spawn(now, self.root, function.clone(), Vec::new(), options.clone(), &mut self.fx);
        self.take_begun();
        spawned.expect("a task that is accepted").task
    }

    /// Ends a call of a sandbox that serves on.
    fn finish(&mut self, (instance, task): (InstanceId, TaskId)) {
        let now = self.now();
        self.node.finished(now, instance, self.report(task), &mut self.fx);
        self.take_begun();
    }

    /// Ends a call with its sandbox.
    fn finish_and_go(&mut self, (instance, task): (InstanceId, TaskId)) {
        let now = self.now();
        let calls = smallvec::smallvec![self.report(task)];
        self.node.gone(now, GoneReport { instance, calls, cause: None }, &mut self.fx);
        self.take_begun();
    }

    fn report(&self, task: TaskId) -> CallReport {
        CallReport { task, result: Ok(vec![self.value.clone()]), usage: Usage::default() }
    }

    /// Lets this node say what it has to say.
    fn flush(&mut self) {
        let now = self.now();
        self.node.flush(now, &mut self.fx);
        self.take_begun();
    }

    /// Brings what this node has to say to another; how many packets.
    fn pass_on(&mut self, to: &mut World) -> usize {
        self.flush();
        let packets = std::mem::take(&mut self.packets);
        let count = packets.len();
        for packet in packets {
            let now = to.now();
            to.node.packet(now, packet, &mut to.fx);
            to.flush();
        }
        count
    }

    fn read_and_release(&mut self, object: ObjectId) {
        let outcome = self.node.outcome(self.root, object);
        assert!(outcome.is_some_and(|outcome| outcome.is_ok()));
        let now = self.now();
        self.node.release(now, self.root.instance, Handle::Object(object), &mut self.fx);
    }
}

fn take_begun(fx: &mut Effects, begun: &mut Vec<(InstanceId, TaskId)>, packets: &mut Vec<Packet>) {
    for effect in fx.drain(..) {
        match effect {
            Effect::Start(start) => begun.push((start.instance, start.call.task)),
            Effect::Deliver(instance, call) => begun.push((instance, call.task)),
            Effect::Send(packet) => packets.push(*packet),
            _ => {}
        }
    }
}

fn function() -> Function {
    Function { component: ComponentId([1; 32]), name: "f".into() }
}

/// Spawn, start, finish, read, release; one task after the other.
fn one_by_one(reuse: Reuse) -> Duration {
    let mut world = World::new(4);
    let (function, options) = (function(), TaskOptions { reuse, ..TaskOptions::default() });
    let start = cpu_time();
    for _ in 0..TASKS {
        let task = world.spawn(&function, &options);
        let begun = world.begun.pop().expect("there is room");
        match reuse {
            Reuse::Never => world.finish_and_go(begun),
            Reuse::Job => world.finish(begun),
        }
        world.read_and_release(task.output(0));
    }
    cpu_time() - start
}

/// A thousand at a time: spawn all, wait for all, finish each, read all.
fn a_thousand_at_a_time(options: &[TaskOptions]) -> Duration {
    let mut world = World::new(8);
    let function = function();
    let start = cpu_time();
    for _ in 0..TASKS / 1_000 {
        let spawned: Vec<ObjectId> =
            (0..1_000).map(|n| world.spawn(&function, &options[n % options.len()]).output(0)).collect();
        let items: Vec<Waitable> = spawned.iter().map(|id| Waitable::Object(*id)).collect();
        let now = world.now();
        let wait = world.node.wait(now, world.root, &items, Until::AllOrFailure, None, &mut world.fx);
        assert!(matches!(wait, Ok(WaitState::Blocked(_))));
        while let Some(begun) = world.begun.pop() {
            world.finish_and_go(begun);
        }
        spawned.into_iter().for_each(|id| world.read_and_release(id));
    }
    cpu_time() - start
}

fn actor_calls() -> Duration {
    let mut world = World::new(4);
    let now = world.now();
    let id = world.node.new_actor_id();
    let creation =
        ActorCreation { id, class: function(), arguments: Vec::new(), options: ActorOptions::default() };
    world.node.create_actor(now, world.root, creation, &mut world.fx).expect("the first actor");
    world.take_begun();
    let (instance, task) = world.begun.pop().expect("a constructor");
    let report = CallReport { task, result: Ok(Vec::new()), usage: Usage::default() };
    let now = world.now();
    world.node.finished(now, instance, report, &mut world.fx);
    let (lane, method): (_, Arc<str>) = (world.node.new_lane(), "m".into());
    let start = cpu_time();
    for _ in 0..TASKS {
        let now = world.now();
        let options = CallOptions::default();
        let called = world.node.call_actor(
            now,
            world.root,
            id,
            lane,
            method.clone(),
            Vec::new(),
            options,
            &mut world.fx,
        );
        let call = called.expect("a call that is accepted").task;
        world.take_begun();
        let begun = world.begun.pop().expect("the actor is free");
        world.finish(begun);
        world.read_and_release(call.output(0));
    }
    cpu_time() - start
}

/// A million in line at once, then run; time per task, and bytes per task while they wait.
fn queued() -> (Duration, Option<u64>) {
    let mut world = World::new(4);
    let (function, options) = (function(), TaskOptions::default());
    let before = resident_bytes();
    let start = cpu_time();
    for _ in 0..QUEUED {
        let task = world.spawn(&function, &options);
        let now = world.now();
        world.node.release(now, world.root.instance, Handle::Object(task.output(0)), &mut world.fx);
    }
    let bytes = resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before) / QUEUED);
    while let Some(begun) = world.begun.pop() {
        world.finish_and_go(begun);
    }
    (cpu_time() - start, bytes)
}

/// The owner has no CPUs and another node has eight, among `others` that have none: a thousand tasks at a
/// time go there and come back. What both nodes' cores take together.
fn elsewhere(others: u64, limits: Limits) -> Duration {
    let (mut owner, mut other) = (World::with_limits(3, 0, limits), World::with_key(4, 8));
    let mut ids = engine_core::ids::IdGenerator::new([5; 16]);
    let join = |world: &mut World, id, total: &Resources| {
        let info = NodeInfo { id, labels: Vec::new(), total: total.clone() };
        let now = world.now();
        world.node.node_joined(now, info, &mut world.fx);
    };
    let (first, second) = (owner.node.id(), other.node.id());
    let (none, eight) = (owner.node.ledger().0.clone(), other.node.ledger().0.clone());
    join(&mut other, first, &none);
    join(&mut owner, second, &eight);
    for _ in 0..others {
        join(&mut owner, ids.node(), &none);
    }
    let (function, options) = (function(), TaskOptions::default());
    let (mut packets, mut rounds) = (0, 0);
    let start = cpu_time();
    for _ in 0..TASKS / 1_000 {
        let spawned: Vec<ObjectId> = (0..1_000).map(|_| owner.spawn(&function, &options).output(0)).collect();
        loop {
            let sent = owner.pass_on(&mut other) + other.pass_on(&mut owner);
            rounds += u32::from(sent > 0);
            packets += sent;
            if sent == 0 && other.begun.is_empty() {
                break;
            }
            // All that can end before another word comes, each told at once.
            for _ in 0..8 {
                for begun in std::mem::take(&mut other.begun) {
                    other.finish_and_go(begun);
                    other.flush();
                }
            }
        }
        spawned.into_iter().for_each(|id| owner.read_and_release(id));
    }
    let time = cpu_time() - start;
    let per_task = |count: f64| count / f64::from(TASKS);
    let (packets, rounds) = (per_task(packets as f64), per_task(f64::from(rounds)));
    print!("[{packets:.2} packets, {rounds:.3} round trips for each] ");
    time
}

/// The CPU time of this thread: other programs on the machine do not count.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux machine");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds first");
    Duration::from_nanos(nanos)
}

/// Bytes of memory that this process has.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

fn nanos_per_task(best: Duration, tasks: u64) -> u64 {
    u64::try_from(best.as_nanos()).unwrap_or(u64::MAX) / tasks
}

fn main() {
    let chosen = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| chosen.as_ref().is_none_or(|chosen| name.contains(chosen.as_str()));
    let plain = [TaskOptions::default()];
    let cpus: Vec<TaskOptions> = (0..100)
        .map(|n| {
            let placement = Placement { cpus: Some(Quantity(10_000 - n)), ..Placement::default() };
            TaskOptions { placement, ..TaskOptions::default() }
        })
        .collect();
    type Round<'a> = Box<dyn Fn() -> Duration + 'a>;
    let none_ahead = || Limits { ahead_time_max: Duration::ZERO, ..Limits::default() };
    let rounds: [(&str, Round); 8] = [
        ("fresh sandboxes, one by one", Box::new(|| one_by_one(Reuse::Never))),
        ("warm sandboxes, one by one", Box::new(|| one_by_one(Reuse::Job))),
        ("fresh sandboxes, 1000 at a time", Box::new(|| a_thousand_at_a_time(&plain))),
        ("the same of 100 kinds", Box::new(|| a_thousand_at_a_time(&cpus))),
        ("actor calls, one by one", Box::new(actor_calls)),
        ("on another node, both cores", Box::new(|| elsewhere(0, Limits::default()))),
        ("on another node, none given ahead", Box::new(|| elsewhere(0, none_ahead()))),
        ("the same among 1000 full nodes", Box::new(|| elsewhere(1_000, Limits::default()))),
    ];
    for (name, round) in rounds.iter().filter(|(name, _)| wanted(name)) {
        let best = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
        println!("{name}: {} ns per task", nanos_per_task(best, u64::from(TASKS)));
    }
    let name = "1000000 tasks in line";
    if wanted(name) {
        let (time, bytes) = queued();
        let bytes = bytes.map_or("an unknown number of".to_owned(), |bytes| bytes.to_string());
        println!("{name}: {} ns and {bytes} bytes per task", nanos_per_task(time, QUEUED));
    }
}
