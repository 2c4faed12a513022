//! Nodes, a head, and what is between them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use engine_core::head::{self, Head, Notice, Watch};
use engine_core::node::{
    Caller, Effect, Effects, JobSpec, Limits, Message, Node, NodeInfo, Packet, RootEntry, TaskState,
};
use engine_core::options::{Function, TaskOptions};
use engine_core::resources::{Quantity, Resources};
use engine_core::work::{CallReport, GoneReport, Usage};
use engine_core::{ComponentId, Handle, InstanceId, JobId, NodeId, TaskId, Time, Value};

use crate::events::{Alarm, Event, Queue};
use crate::measure::{Cost, clock_nanos, cpu_nanos};
use crate::network::{HEAD, Network, Random};

/// CPUs of a node that runs tasks, each of which takes one.
pub const CPUS: u64 = 4;
/// One of so many nodes owns tasks, and no more than so many in all.
const NODES_PER_OWNER: usize = 20;
const OWNERS_MAX: usize = 50;
/// Of the others a node knows so many where views are sampled.
const SAMPLE: u64 = 64;
/// How often it is looked where tasks and CPUs are.
const CENSUS_EVERY: Duration = Duration::from_millis(33);
/// A node gives a sign of life at least every so many turns, as the agent does.
const TURNS_PER_SIGN_OF_LIFE: u32 = 5;

/// What the CPU time of a node or the head went to.
#[derive(Default, Clone, Copy)]
pub struct Costs {
    pub spawn: Cost,
    pub read: Cost,
    pub packet_at_owner: Cost,
    pub packet_at_runner: Cost,
    pub guest_done: Cost,
    pub timer_at_owner: Cost,
    pub timer_at_runner: Cost,
    /// Loads of others; `count` is that of notices.
    pub loads: Cost,
    pub membership: Cost,
    pub head_joins: Cost,
    pub head_heard: Cost,
    pub head_timer: Cost,
}

/// Where tasks and CPUs are: sums over all looks.
#[derive(Default, Clone, Copy)]
pub struct Census {
    pub looks: u64,
    /// CPUs that nothing runs on.
    pub idle: u64,
    /// Of them, those of nodes with a task in line.
    pub idle_with_line: u64,
    /// Tasks in line at their owners.
    pub with_owners: u64,
    /// Tasks in line at nodes that run tasks.
    pub with_runners: u64,
    /// The longest line at a node that runs tasks.
    pub longest: u64,
    /// Nodes with an idle CPU.
    pub idle_nodes: u64,
}

/// What has gone over the wires.
#[derive(Default, Clone, Copy)]
pub struct Traffic {
    pub packets: u64,
    pub beats: u64,
    pub notices: u64,
    pub notice_bytes: u64,
    pub loads: u64,
}

/// A death, as the others see it.
pub struct Death {
    pub node: u32,
    /// Tasks that the node was given and has not given back.
    given: HashSet<TaskId>,
    pub lost: usize,
    pub at: Option<Time>,
    pub declared: Option<Time>,
    /// The last owner has heard.
    pub heard: Option<Time>,
    /// The last of its tasks has begun elsewhere.
    pub recovered: Option<Time>,
}

struct Owner {
    root: Caller,
    left: u64,
}

struct Machine {
    node: Node,
    is_alive: bool,
    alarm: Alarm,
    owner: Option<Owner>,
    /// The nodes that it is told of; none: all.
    sample: Option<HashSet<u32>>,
    said: Option<Resources>,
    silent_turns: u32,
}

/// A cluster in virtual time.
pub struct Cluster {
    pub now: Time,
    machines: Vec<Machine>,
    index: HashMap<NodeId, u32>,
    head: Head,
    head_alarm: Alarm,
    queue: Queue,
    network: Network,
    random: Random,
    pub owners: usize,
    pub tasks: u64,
    /// How long a task runs on average.
    pub task_ms: u64,
    pub is_full: bool,
    pub ended: u64,
    /// Times that a node had no room for a task.
    pub refused: u64,
    pub costs: Costs,
    pub traffic: Traffic,
    pub census: Census,
    joins_under_way: u64,
    /// Nodes that the head has told of.
    told_of: HashSet<u32>,
    pub has_joined: Option<Time>,
    /// At the first task and at the deaths: what had been done until then.
    pub begin: (Time, Costs, Traffic),
    pub half: (Time, Costs, Traffic),
    pub deaths: [Death; 2],
    started: Instant,
    clock: u64,
}

impl Cluster {
    pub fn new(nodes: usize, tasks: u64, task_ms: u64, seed: u64, is_full: bool) -> Self {
        let owners = (nodes / NODES_PER_OWNER).clamp(1, OWNERS_MAX);
        let mut random = Random(seed);
        let mut machines: Vec<Machine> = Vec::with_capacity(nodes);
        for at in 0..nodes {
            let mut node = machine(seed << 32 | at as u64, if at < owners { 0 } else { CPUS });
            let share = tasks / owners as u64 + u64::from((at as u64) < tasks % owners as u64);
            let owner = (at < owners).then(|| Owner { root: owner_of(&mut node), left: share });
            // The first that runs tasks knows all, as the owners do.
            let sample = (!is_full && at > owners).then(|| {
                let some = (0..SAMPLE).map(|_| random.below(nodes as u64) as u32);
                some.chain(0..owners as u32).collect()
            });
            let alarm = Alarm::default();
            machines.push(Machine {
                node,
                is_alive: true,
                alarm,
                owner,
                sample,
                said: None,
                silent_turns: 0,
            });
        }
        let index = machines.iter().zip(0..).map(|(machine, at)| (machine.node.id(), at)).collect();
        let watch = Watch { nodes_max: nodes.max(10_000), ..Watch::default() };
        let head = Head::new([9; 16], head::Limits { watch, ..head::Limits::default() });
        let death = |node: usize| Death {
            node: node as u32,
            given: HashSet::new(),
            lost: 0,
            at: None,
            declared: None,
            heard: None,
            recovered: None,
        };
        let mut cluster = Self {
            now: Time(0),
            machines,
            index,
            head,
            head_alarm: Alarm::default(),
            queue: Queue::default(),
            network: Network::new(seed ^ 0x5eed),
            random,
            owners,
            tasks,
            task_ms,
            is_full,
            ended: 0,
            refused: 0,
            costs: Costs::default(),
            traffic: Traffic::default(),
            census: Census::default(),
            joins_under_way: 0,
            told_of: HashSet::new(),
            has_joined: None,
            begin: Default::default(),
            half: Default::default(),
            deaths: [death(nodes - 1), death(nodes - 2)],
            started: Instant::now(),
            clock: clock_nanos(),
        };
        for at in 0..nodes as u32 {
            let arrival = cluster.network.arrival(Time(0), at, HEAD);
            cluster.queue.add(arrival, Event::Joins(at));
        }
        cluster
    }

    pub fn nodes(&self) -> usize {
        self.machines.len()
    }

    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Until every task has ended, those of the dead too.
    pub fn run(&mut self) {
        let mut said = Instant::now();
        while self.ended < self.tasks
            && let Some((at, event)) = self.queue.next()
        {
            self.now = at;
            self.happen(event);
            if self.has_joined.is_none() && self.told_of.len() == self.nodes() && self.joins_under_way == 0 {
                self.begin();
            }
            if said.elapsed() > Duration::from_secs(10) {
                said = Instant::now();
                eprintln!(
                    "{} nodes: {} of {} tasks, {} of virtual time, {:.0} s",
                    self.nodes(),
                    self.ended,
                    self.tasks,
                    self.now,
                    self.seconds()
                );
            }
        }
    }

    /// All have joined and know of one another: the owners begin.
    fn begin(&mut self) {
        self.has_joined = Some(self.now);
        self.begin = (self.now, self.costs, self.traffic);
        let slots = (self.nodes() - self.owners) as u64 * CPUS;
        self.queue.add(self.now + Duration::from_millis(200), Event::Census);
        // A quarter more than its share can run at once, so that there is always something in line.
        let window = (slots * 5 / 4 / self.owners as u64).max(1);
        for _ in 0..window {
            (0..self.owners as u32).for_each(|at| self.spawn(at));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet(at, packet) => self.packet(at, *packet),
            Event::GuestDone(at, instance, task) => self.guest_done(at, instance, task),
            Event::Turn(at) => self.turn(at),
            Event::Timer(at) => match self.machines[at as usize].alarm.has_come(self.now) {
                Ok(()) => {
                    let cost = self.event(at, |node, now, fx| node.timer(now, fx));
                    match (at as usize) < self.owners {
                        true => self.costs.timer_at_owner += cost,
                        false => self.costs.timer_at_runner += cost,
                    }
                }
                Err(again) => again.into_iter().for_each(|again| self.queue.add(again, Event::Timer(at))),
            },
            Event::Joins(at) => {
                let node = &self.machines[at as usize].node;
                let info = NodeInfo { id: node.id(), labels: Vec::new(), total: node.ledger().0.clone() };
                let cost =
                    self.at_head(|head, now, fx| head.node_joins(now, info, fx).expect("room for all"));
                self.costs.head_joins += cost;
                let turn = self.now.0 + self.random.below(100_000_000);
                self.queue.add(Time(turn), Event::Turn(at));
            }
            Event::Heard(at, load) => {
                let id = self.machines[at as usize].node.id();
                let cost = self.at_head(|head, now, fx| {
                    head.heard_of(now, id, load, fx);
                });
                self.costs.head_heard += cost;
            }
            Event::Wants(at, wants) => {
                let id = self.machines[at as usize].node.id();
                let cost = self.at_head(|head, _, fx| head.wants_loads(id, wants, fx));
                self.costs.head_heard += cost;
            }
            Event::Broke(at) => {
                let id = self.machines[at as usize].node.id();
                self.at_head(|head, now, fx| head.connection_broke(now, id, fx));
            }
            Event::HeadTimer => match self.head_alarm.has_come(self.now) {
                Ok(()) => {
                    let cost = self.at_head(|head, now, fx| head.timer(now, fx));
                    self.costs.head_timer += cost;
                }
                Err(again) => again.into_iter().for_each(|again| self.queue.add(again, Event::HeadTimer)),
            },
            Event::Told(at, notice) => self.told(at, notice),
            Event::Census => {
                self.count();
                self.queue.add(self.now + CENSUS_EVERY, Event::Census);
            }
        }
    }

    /// Looks where tasks and CPUs are, until nodes die.
    fn count(&mut self) {
        if self.deaths[0].at.is_some() {
            return;
        }
        let census = &mut self.census;
        census.looks += 1;
        for (at, machine) in self.machines.iter().enumerate() {
            let view = machine.node.node_view();
            let in_line = view.by_state[TaskState::PendingPlacement as usize];
            if at < self.owners {
                census.with_owners += in_line;
                continue;
            }
            let idle = view.free.cpus.0 / Quantity::units(1).0;
            census.idle += idle;
            census.idle_nodes += u64::from(idle > 0);
            census.idle_with_line += if in_line > 0 { idle } else { 0 };
            census.with_runners += in_line;
            census.longest = census.longest.max(in_line);
        }
    }

    // ---- nodes ----

    /// Brings an event to a node, which then says what it has to say; the CPU time of that.
    fn event(&mut self, at: u32, event: impl FnOnce(&mut Node, Time, &mut Effects)) -> u64 {
        let machine = &mut self.machines[at as usize];
        if !machine.is_alive {
            return 0;
        }
        let mut fx = Effects::new();
        let start = cpu_nanos();
        event(&mut machine.node, self.now, &mut fx);
        machine.node.flush(self.now, &mut fx);
        let cost = (cpu_nanos() - start).saturating_sub(self.clock);
        for effect in fx {
            match effect {
                Effect::Start(start) => self.start(at, start.instance, start.call.task),
                Effect::Send(packet) => self.send(at, packet),
                Effect::ArmTimer(when) => {
                    if let Some(when) = self.machines[at as usize].alarm.set(when) {
                        self.queue.add(when.max(self.now), Event::Timer(at));
                    }
                }
                Effect::AskForLoads(wants) => {
                    let arrival = self.network.arrival(self.now, at, HEAD);
                    self.queue.add(arrival, Event::Wants(at, wants));
                }
                _ => {}
            }
        }
        cost
    }

    fn start(&mut self, at: u32, instance: InstanceId, task: TaskId) {
        for death in &mut self.deaths {
            if death.at.is_some() && death.node != at && death.given.remove(&task) {
                death.lost += 1;
                death.recovered = Some(self.now);
            }
        }
        // A fifth more or less.
        let nanos = self.task_ms * (800_000 + self.random.below(400_000));
        self.queue.add(self.now + Duration::from_nanos(nanos), Event::GuestDone(at, instance, task));
    }

    fn send(&mut self, from: u32, packet: Box<Packet>) {
        self.traffic.packets += 1;
        let Some(to) = self.index.get(&packet.to).copied() else { return };
        if let Some(death) = self.deaths.iter_mut().find(|death| death.node == to) {
            for message in &packet.messages {
                if let Message::Run(task) = message {
                    death.given.insert(task.id);
                }
            }
        }
        let arrival = self.network.arrival(self.now, from, to);
        self.queue.add(arrival, Event::Packet(to, packet));
    }

    fn packet(&mut self, at: u32, packet: Packet) {
        if at as usize >= self.owners {
            let cost = self.event(at, |node, now, fx| node.packet(now, packet, fx));
            self.costs.packet_at_runner += cost;
            return;
        }
        let from = self.index.get(&packet.from).copied();
        let death = self.deaths.iter_mut().find(|death| Some(death.node) == from);
        let mut ended = Vec::new();
        let mut back = Vec::new();
        for message in &packet.messages {
            match message {
                Message::Ended { task, .. } => ended.push(*task),
                Message::Refused { task, .. } => back.push(*task),
                _ => {}
            }
        }
        if let Some(death) = death {
            death.given.retain(|task| !ended.contains(task) && !back.contains(task));
        }
        self.refused += back.len() as u64;
        let cost = self.event(at, |node, now, fx| node.packet(now, packet, fx));
        self.costs.packet_at_owner += cost;
        ended.into_iter().for_each(|task| self.read(at, task));
    }

    /// The guest reads what a task made, lets go of it, and spawns another.
    fn read(&mut self, at: u32, task: TaskId) {
        let Some(root) = self.machines[at as usize].owner.as_ref().map(|owner| owner.root) else { return };
        let object = task.output(0);
        let mut is_there = false;
        let cost = self.event(at, |node, now, fx| {
            is_there = node.outcome(root, object).is_some_and(|outcome| outcome.is_ok());
            if is_there {
                node.release(now, root.instance, Handle::Object(object), fx);
            }
        });
        self.costs.read += cost;
        if is_there {
            self.ended += 1;
            if self.ended == self.tasks / 2 {
                self.half = (self.now, self.costs, self.traffic);
                self.die();
            }
            self.spawn(at);
        }
    }

    fn spawn(&mut self, at: u32) {
        let Some(owner) = &mut self.machines[at as usize].owner else { return };
        if owner.left == 0 {
            return;
        }
        owner.left -= 1;
        let root = owner.root;
        let options = TaskOptions::default();
        let cost = self.event(at, |node, now, fx| {
            node.spawn(now, root, function(), Vec::new(), options, fx).expect("room in line");
        });
        self.costs.spawn += cost;
    }

    fn guest_done(&mut self, at: u32, instance: InstanceId, task: TaskId) {
        let report = CallReport { task, result: Ok(vec![Value::empty()]), usage: Usage::default() };
        let report = GoneReport { instance, calls: smallvec::smallvec![report], cause: None };
        let cost = self.event(at, |node, now, fx| node.gone(now, report, fx));
        self.costs.guest_done += cost;
    }

    /// As the agent does: what is free when that has changed, and every so often in any case.
    fn turn(&mut self, at: u32) {
        let machine = &mut self.machines[at as usize];
        if !machine.is_alive {
            return;
        }
        let load = machine.node.load();
        machine.silent_turns += 1;
        let is_news = machine.said.as_ref() != Some(&load.free);
        if is_news || machine.silent_turns >= TURNS_PER_SIGN_OF_LIFE {
            machine.silent_turns = 0;
            machine.said = Some(load.free.clone());
            self.traffic.beats += 1;
            let arrival = self.network.arrival(self.now, at, HEAD);
            self.queue.add(arrival, Event::Heard(at, load));
        }
        self.queue.add(self.now + self.head.load_interval(), Event::Turn(at));
    }

    /// One node falls silent, another's connections break.
    fn die(&mut self) {
        for at in 0..2 {
            let node = self.deaths[at].node;
            self.machines[node as usize].is_alive = false;
            self.deaths[at].at = Some(self.now);
        }
        let broken = self.deaths[1].node;
        let arrival = self.network.arrival(self.now, broken, HEAD);
        self.queue.add(arrival, Event::Broke(broken));
    }

    // ---- the head ----

    fn at_head(&mut self, event: impl FnOnce(&mut Head, Time, &mut Vec<head::Effect>)) -> u64 {
        let mut fx = Vec::new();
        let start = cpu_nanos();
        event(&mut self.head, self.now, &mut fx);
        let cost = (cpu_nanos() - start).saturating_sub(self.clock);
        for effect in fx {
            match effect {
                head::Effect::Tell(to, notice) => self.tell(to, notice),
                head::Effect::ArmTimer(when) => {
                    if let Some(when) = self.head_alarm.set(when) {
                        self.queue.add(when.max(self.now), Event::HeadTimer);
                    }
                }
                head::Effect::Died(id, _) => {
                    let (now, dead) = (self.now, self.index.get(&id).copied());
                    let death = self.deaths.iter_mut().find(|death| Some(death.node) == dead);
                    death.expect("only the two die").declared = Some(now);
                }
                head::Effect::JobForgotten(_) | head::Effect::StartRun(..) | head::Effect::Alert(_) => {}
            }
        }
        cost
    }

    fn tell(&mut self, to: NodeId, notice: Notice) {
        self.traffic.notices += 1;
        self.traffic.notice_bytes += crate::report::bytes_of(&notice);
        let Some(to) = self.index.get(&to).copied() else { return };
        let sample = self.machines[to as usize].sample.as_ref();
        let is_wanted = !matches!((&notice, sample), (Notice::Loads(_), Some(_)));
        if let (Notice::Joined(infos), 0) = (&notice, to) {
            // The first owner hears of all, in as many lists as there are.
            self.told_of.extend(infos.iter().filter_map(|info| self.index.get(&info.id)));
        }
        if let Notice::Loads(loads) = &notice {
            self.traffic.loads += loads.len() as u64;
        }
        if is_wanted {
            self.joins_under_way += u64::from(matches!(notice, Notice::Joined(_)));
            let arrival = self.network.arrival(self.now, HEAD, to);
            self.queue.add(arrival, Event::Told(to, notice));
        }
    }

    fn told(&mut self, at: u32, notice: Notice) {
        match notice {
            Notice::Joined(infos) => {
                self.joins_under_way -= 1;
                let sample = self.machines[at as usize].sample.as_ref();
                let is_known = |info: &&NodeInfo| {
                    sample.is_none_or(|sample| self.index.get(&info.id).is_some_and(|at| sample.contains(at)))
                };
                let known: Vec<NodeInfo> = infos.iter().filter(is_known).cloned().collect();
                let cost = self.event(at, |node, now, fx| {
                    known.into_iter().for_each(|info| node.node_joined(now, info, fx));
                });
                self.costs.membership += cost;
            }
            Notice::Dead(id, _) => {
                let cost = self.event(at, |node, now, fx| node.node_dead(now, id, fx));
                self.costs.membership += cost;
                let (now, dead) = (self.now, self.index.get(&id).copied());
                let is_owner = (at as usize) < self.owners;
                let death = self.deaths.iter_mut().find(|death| Some(death.node) == dead);
                death.filter(|_| is_owner).into_iter().for_each(|death| death.heard = Some(now));
            }
            Notice::Loads(loads) => {
                let cost = self.event(at, |node, now, fx| {
                    loads.iter().for_each(|(id, load)| node.node_load(now, *id, load.clone(), fx));
                });
                self.costs.loads += cost;
            }
            // Nothing of these happens here.
            Notice::Group(_)
            | Notice::Tenant(_)
            | Notice::EndRun(_)
            | Notice::Draining(..)
            | Notice::Left(..)
            | Notice::BreakDeadlock(_) => {}
        }
    }
}

/// A node that has so many CPUs.
pub fn machine(number: u64, cpus: u64) -> Node {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_le_bytes());
    Node::new(key, resources(cpus), Vec::new(), Limits::default())
}

pub fn resources(cpus: u64) -> Resources {
    let mut total = Resources::default();
    (total.cpus, total.memory) = (Quantity::units(cpus), 1 << 34);
    total
}

/// A job of this node's, whose root asks for everything.
pub fn owner_of(node: &mut Node) -> Caller {
    let (high, low) = node.id().bits();
    let spec = JobSpec {
        memory: Some(1 << 20),
        ..JobSpec::new(JobId::from_bits(high, low), ComponentId([1; 32]), RootEntry::Main(Vec::new()))
    };
    let mut fx = Effects::new();
    let task = node.submit_job(Time(0), spec, &mut fx).expect("the first job");
    let start = fx.into_iter().find_map(|effect| match effect {
        Effect::Start(start) => Some(start.instance),
        _ => None,
    });
    Caller { instance: start.expect("the root runs at once"), task }
}

pub fn function() -> Function {
    Function { component: ComponentId([1; 32]), name: "f".into() }
}
