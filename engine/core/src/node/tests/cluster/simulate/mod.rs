//! Random guests on several nodes, from a seed, over a network that loses, repeats, delays and reorders
//! packets, with nodes that die, that the head takes for dead and that go on until they hear it, and that
//! drain.
//!
//! Whatever happens, the books of every node agree with themselves, nobody is shown two values of one
//! attempt, and nothing that somebody can reach is freed. A node that leaves with nothing on it takes nothing
//! with it. Once the faults stop, everything ends and
//! nothing is left anywhere.
//!
//! `ENGINE_SIM_SEEDS=10000 cargo test -p engine-core random_nodes` runs more of them,
//! `ENGINE_SIM_SEED=17` that one alone.

mod calls;
mod drains;
mod groups;
mod guests;
mod memory;
mod runs;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Cluster;
use crate::error::ErrorCode;
use crate::group::GroupState;
use crate::head::{self, GroupLimits, Head, Notice, Watch};
use crate::ids::{ActorId, InstanceId, JobId, LaneId, NodeId, ObjectId, TaskId};
use crate::node::planted::Planted;
use crate::node::tests::harness::{World, error};
use crate::node::tests::simulate::{Random, Replay, number};
use crate::node::tests::trace::Trace;
use crate::node::{Caller, Limits, Load, Packet, RemotePlace, Standstill, Transfer};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::{Handle, Residence};
use crate::work::Entry;

const STEPS: usize = 600;
const NODES_MAX: usize = 40;

/// What the head hears.
enum Hears {
    Join(usize),
    /// What a node has free.
    Load(usize, Load, Option<Standstill>),
    Broken(NodeId),
    /// A node cannot reach another.
    Ask(usize, NodeId),
    /// A node that drains may go.
    Leave(usize),
    /// A node has taken a run of a job, or tells of its end.
    Started(usize, JobId),
    JobEnded(usize, JobId),
    /// Nothing of a lost run is left on a node.
    RunGone(usize, JobId),
}

/// A call of an actor.
#[derive(Clone, Copy)]
struct Made {
    /// The lane, as its caller knows it.
    lane: (usize, LaneId),
    /// Its place there.
    place: u64,
    is_retried: bool,
}

/// A node says what it has free so often.
const BEAT: Duration = Duration::from_millis(40);

struct Simulation {
    cluster: Cluster,
    random: Random,
    now: Time,
    limits: Limits,
    flying: Vec<(Time, Packet)>,
    head: Head,
    head_timer: Option<Time>,
    to_head: Vec<(Time, Hears)>,
    /// What the head has told nodes, in order.
    notices: BTreeMap<usize, VecDeque<(Time, Notice)>>,
    next_beat: Vec<Time>,
    fetches: Vec<(Time, usize, ObjectId, RemotePlace)>,
    /// Bytes that a node is giving another, and when that ends.
    transfers: Vec<(Time, usize, Transfer, u64)>,
    /// Nodes that drain and have asked to be let go: whether with nothing on them.
    leaving: BTreeMap<usize, bool>,
    /// Nodes that the head does not hear, and until when.
    cut_off: BTreeMap<usize, Time>,
    held: BTreeMap<(usize, InstanceId), Vec<Handle>>,
    seen_begun: Vec<usize>,
    lanes: BTreeMap<(usize, InstanceId, ActorId), LaneId>,
    /// Calls of actors that were accepted.
    calls: BTreeMap<TaskId, Made>,
    /// Actors whose calls may be tried again.
    retrying: BTreeSet<ActorId>,
    /// The last place in each lane that was begun, and how often each call was.
    begun_in_lane: BTreeMap<(usize, LaneId), u64>,
    begun_calls: BTreeMap<TaskId, u32>,
    /// What attempts returned, and guests put: by object, every token that was its value.
    made: BTreeMap<ObjectId, BTreeSet<u64>>,
    /// What was yielded.
    yielded: BTreeSet<u64>,
    /// How many objects of each stream were read.
    read_places: BTreeMap<TaskId, u32>,
    next_token: u64,
    faults: bool,
    deaths: u64,
    /// Who was told of whose death.
    told: BTreeSet<(usize, NodeId)>,
    planted: Option<Planted>,
    lines: groups::Lines,
    memory: memory::Memory,
    trace: Option<Trace>,
    runs: runs::Runs,
    summary: Summary,
}

#[derive(Default, Debug)]
struct Summary {
    foreign: u64,
    calls: u64,
    /// Of them, those inside an actor that lived elsewhere.
    hosted: u64,
    restarted: u64,
    read: u64,
    finished: u64,
    retried: u64,
    rebuilt: u64,
    refused: u64,
    ahead: u64,
    fetched: u64,
    /// Nodes that were sent on to another that got the bytes before.
    sent_on: u64,
    deaths: u64,
    /// Nodes that were taken for dead and came back.
    fenced: u64,
    /// Deadlocks of the whole cluster that were broken.
    deadlocks: u64,
    /// Groups that were committed, placed again, and in use.
    groups: u64,
    placed_again: u64,
    in_bundles: u64,
    /// Actors of other nodes among what was in bundles.
    hosted_in_bundles: u64,
    agreed: u64,
    /// Nodes that were drained and let go with nothing on them, and those that were let go at their deadline.
    left: u64,
    expired: u64,
    moved: u64,
    drained: u64,
    preempted: u64,
    paused: u64,
    /// Runs of jobs that were lost and run again, and jobs that failed as they could not be.
    runs: [u64; 2],
    /// The head's crashes, those that lost changes, those that did not, and what was looked up after.
    memory: [u64; 4],
    codes: BTreeSet<ErrorCode>,
}

fn resources(random: &mut Random) -> Resources {
    Resources {
        cpus: Quantity::units(random.of([0, 1, 2, 4])),
        memory: random.of([256, 4096]) << 20,
        ..Resources::default()
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = random.of([2, 3, 5]);
        let limits = Limits {
            foreign_tasks_in_line_max: random.of([0, 2, 64]),
            ahead_time_max: random.of([Duration::ZERO, Duration::from_millis(5), Duration::from_secs(10)]),
            ahead_tasks_max: random.of([1, 3, 100]),
            ahead_wait_max: Duration::from_millis(random.of([5, 50])),
            ahead_in_line_max: random.of([1, 100]),
            nodes_looked_at_max: random.of([1, 2, 64]),
            store_bytes_max: random.of([1_000, 1 << 30]),
            spill: random.of([true, false]),
            spread_bytes_min: random.of([0, 1 << 20]),
            transfers_per_object_max: random.of([0, 1]),
            copies_known_max: random.of([1, 100]),
            several_bytes_min: random.of([0, 1 << 20]),
            lineage_bytes_max: random.of([0, 1 << 20]),
            preempt_after: random.of([Duration::from_nanos(1), Duration::from_millis(20)]),
            ..Limits::default()
        };
        let mut totals: Vec<Resources> = (0..count).map(|_| resources(&mut random)).collect();
        totals[0].cpus = Quantity::units(1);
        let mut cluster = Cluster::of(&totals, &limits);
        let slow_stops = random.once_in(3);
        let guaranteed = random.of([0, 50]);
        for world in &mut cluster.worlds {
            (world.slow_stops, world.tenants) = (slow_stops, 3);
            world.guarantee("t0", guaranteed);
        }
        let watch = Watch {
            silence_max: Duration::from_millis(200),
            reconnect_max: Duration::from_millis(60),
            loads_every: Duration::from_millis(30),
            deadlock_after: Duration::from_millis(500),
            return_max: Self::RETURN_MAX,
            ..Watch::default()
        };
        let groups = GroupLimits {
            tried_every: Duration::from_millis(random.of([1, 20])),
            retried_every: Duration::from_millis(100),
            held_up_max: Duration::from_millis(100),
            passed_over_max: random.of([1, 100]),
            removed_groups_max: random.of([1, 100]),
            ..GroupLimits::default()
        };
        let limits_of_head = head::Limits { watch, groups, ..head::Limits::default() };
        let memory = memory::Memory::new(limits_of_head, random.of([15, 15, 15, 400]));
        let head = memory.head(Time(0), &mut Vec::new());
        Self {
            seen_begun: vec![0; count],
            cluster,
            random,
            now: Time(0),
            limits,
            flying: Vec::new(),
            head,
            head_timer: None,
            to_head: (0..count).map(|index| (Time(0), Hears::Join(index))).collect(),
            notices: BTreeMap::new(),
            next_beat: vec![Time(0); count],
            fetches: Vec::new(),
            transfers: Vec::new(),
            leaving: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            held: BTreeMap::new(),
            lanes: BTreeMap::new(),
            calls: BTreeMap::new(),
            retrying: BTreeSet::new(),
            begun_in_lane: BTreeMap::new(),
            begun_calls: BTreeMap::new(),
            made: BTreeMap::new(),
            yielded: BTreeSet::new(),
            read_places: BTreeMap::new(),
            next_token: 0,
            faults: true,
            deaths: 0,
            told: BTreeSet::new(),
            planted: None,
            lines: groups::Lines::default(),
            memory,
            trace: None,
            runs: runs::Runs::default(),
            summary: Summary::default(),
        }
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.cluster.worlds.len()).filter(|index| self.cluster.alive[*index]).collect()
    }

    fn after(&mut self, millis: usize) -> Time {
        let by = self.random.below(millis.max(1)) as u64;
        self.now + Duration::from_millis(by)
    }

    /// Has all nodes, also those to come, write down what happens.
    fn trace(&mut self, trace: Option<Trace>) {
        for world in &mut self.cluster.worlds {
            world.trace.clone_from(&trace);
        }
        self.trace = trace;
    }

    // ---- the outside ----

    fn step(&mut self) {
        match self.random.below(100) {
            0..=1 => self.submit(),
            2 if self.faults && self.random.once_in(3) => self.lose_node(),
            2 if self.faults && self.random.once_in(4) => self.crash_head(),
            2 if self.faults && self.random.once_in(3) => self.drain_node(),
            3 if self.faults && self.random.once_in(2) => self.reconnect(),
            3 if self.faults && self.random.once_in(2) => self.lose_line(),
            3 if self.faults => self.lose_sandbox(),
            4..=30 => self.pass_time(),
            _ => self.guest_acts(),
        }
        self.look_around();
    }

    fn submit(&mut self) {
        let running: usize = self.alive().iter().map(|index| self.cluster.worlds[*index].roots.len()).sum();
        let Some(index) = self.random.pick(&self.alive()) else { return };
        if running < 6 {
            match self.random.once_in(4) {
                true => drop(self.cluster.worlds[index].client()),
                false => drop(self.cluster.worlds[index].submit(Quantity::ZERO, None)),
            }
        }
    }

    /// The connection between two nodes breaks and is made anew.
    fn reconnect(&mut self) {
        let alive = self.alive();
        let (a, b) = (self.random.pick(&alive), self.random.pick(&alive));
        let (Some(a), Some(b)) = (a, b) else { return };
        let (first, second) = (self.cluster.id(a), self.cluster.id(b));
        let between = |packet: &Packet| {
            (packet.from, packet.to) == (first, second) || (packet.from, packet.to) == (second, first)
        };
        self.flying.retain(|(_, packet)| !between(packet));
        self.cluster.worlds[a].event(|node, now, fx| node.reconnected(now, second, fx));
        self.cluster.worlds[b].event(|node, now, fx| node.reconnected(now, first, fx));
    }

    /// The line of a node to the head breaks and is made anew.
    fn lose_line(&mut self) {
        if let Some(index) = self.random.pick(&self.alive()) {
            self.break_line(index);
        }
    }

    fn lose_sandbox(&mut self) {
        let Some(index) = self.random.pick(&self.alive()) else { return };
        let world = &mut self.cluster.worlds[index];
        let sandboxes: Vec<InstanceId> = world.sandboxes.keys().copied().collect();
        let Some(instance) = self.random.pick(&sandboxes) else { return };
        let is_root = world.roots.values().any(|root| world.sandboxes[&instance].calls.contains(root));
        if !is_root {
            world.die(instance);
        }
    }

    /// A node dies, or is cut off from the head and taken for dead.
    fn lose_node(&mut self) {
        let alive = self.alive();
        if alive.len() < 2 || self.cluster.worlds.len() >= NODES_MAX {
            return;
        }
        let Some(index) = self.random.pick(&alive) else { return };
        self.deaths += 1;
        self.cluster.worlds[index].note(|| "is lost".to_owned());
        if self.random.once_in(2) {
            let until = self.now + Duration::from_millis(self.random.of([100, 500]));
            self.cut_off.insert(index, until);
        } else {
            self.stop_node(index);
            if self.random.once_in(2) {
                let at = self.after(20);
                self.to_head.push((at, Hears::Broken(self.cluster.id(index))));
            }
        }
        self.start_node();
    }

    /// Nothing happens on a node any more.
    fn stop_node(&mut self, index: usize) {
        self.cluster.alive[index] = false;
        self.cut_off.remove(&index);
        self.leaving.remove(&index);
        self.held.retain(|(at, ..), _| *at != index);
        self.lines.forget(index);
    }

    fn start_node(&mut self) {
        let total = resources(&mut self.random);
        let index = self.cluster.worlds.len();
        let mut world = World::with_key(index as u8 + 1, total, self.limits.clone());
        world.now = self.now;
        (world.slow_stops, world.tenants) = (self.cluster.worlds[0].slow_stops, 3);
        world.trace.clone_from(&self.trace);
        if let Some(bug) = self.planted {
            world.plant(bug);
        }
        self.cluster.worlds.push(world);
        self.cluster.alive.push(true);
        self.seen_begun.push(0);
        self.next_beat.push(self.now);
        let at = self.after(20);
        self.to_head.push((at, Hears::Join(index)));
    }

    /// Sandboxes that were told to end are gone after a while.
    fn end_sandboxes(&mut self, index: usize) {
        for (instance, reason) in std::mem::take(&mut self.cluster.worlds[index].stops) {
            let world = &mut self.cluster.worlds[index];
            if !world.slow_stops || !world.sandboxes.contains_key(&instance) {
                continue;
            }
            match self.random.once_in(2) {
                true => world.gone(instance),
                false => world.stops.push((instance, reason)),
            }
        }
    }

    fn pass_time(&mut self) {
        let by = Duration::from_millis(self.random.of([1, 5, 20, 60]));
        self.now = self.now + by;
        for index in self.alive() {
            self.cluster.worlds[index].advance(by);
            self.end_sandboxes(index);
        }
        self.beat();
        self.head_works();
        self.tell_nodes();
        self.start_runs();
        self.deliver();
    }

    /// Delivers what is due, in any order.
    fn deliver(&mut self) {
        let now = self.now;
        let mut due: Vec<Packet> = Vec::new();
        let mut later = Vec::new();
        for (at, packet) in std::mem::take(&mut self.flying) {
            match at <= now {
                true => due.push(packet),
                false => later.push((at, packet)),
            }
        }
        self.flying = later;
        while !due.is_empty() {
            let at = self.random.below(due.len());
            let packet = due.swap_remove(at);
            if self.faults && self.random.once_in(20) {
                continue;
            }
            if self.faults && self.random.once_in(20) {
                let again = self.after(40);
                self.flying.push((again, packet.clone()));
            }
            let (from, to) = (self.cluster.index(packet.from), self.cluster.index(packet.to));
            self.cluster.worlds[to].note(|| format!("gets {packet:?}"));
            if !self.cluster.alive[to] && self.cluster.alive[from] {
                // Who cannot reach a node asks the head.
                let at = self.after(20);
                self.to_head.push((at, Hears::Ask(from, packet.to)));
            }
            let is_late = self.told.contains(&(to, packet.from));
            let before = self.cluster.worlds[to].node.node_view();
            self.cluster.deliver(packet);
            let after = self.cluster.worlds[to].node.node_view();
            let effect = (before.counters, before.by_state, before.objects);
            assert!(
                !is_late || effect == (after.counters, after.by_state, after.objects),
                "a packet of a node that was declared dead had an effect"
            );
        }
        for (at, holder, transfer, size) in std::mem::take(&mut self.transfers) {
            if at > now {
                self.transfers.push((at, holder, transfer, size));
            } else if self.cluster.alive[holder] {
                let is_whole = !self.random.once_in(10);
                self.cluster.worlds[holder].event(|node, _, _| node.served(Some(transfer), size, is_whole));
            }
        }
        for (at, to, id, place) in std::mem::take(&mut self.fetches) {
            if at > now {
                self.fetches.push((at, to, id, place));
            } else if self.cluster.alive[to] {
                let fails = self.faults && self.random.once_in(15);
                self.fetch(to, id, place, fails);
            }
        }
    }

    fn fetch(&mut self, to: usize, id: ObjectId, from: RemotePlace, fails: bool) {
        let mut transfers = Vec::new();
        let place = if fails { None } else { self.cluster.bytes_for(to, from, &mut transfers) };
        let result = place.ok_or_else(|| error(ErrorCode::ObjectLost));
        for (holder, transfer, size) in transfers {
            // Longer than a fetch takes, so that others ask meanwhile.
            let at = self.after(400);
            self.transfers.push((at, holder, transfer, size));
        }
        self.summary.fetched += u64::from(result.is_ok());
        self.cluster.worlds[to].event(|node, now, fx| node.restored(now, id, result, fx));
    }

    /// Takes note of what the nodes did.
    fn look_around(&mut self) {
        self.look_at_groups();
        self.look_who_leaves();
        self.look_at_runs();
        self.cluster.collect();
        for packet in std::mem::take(&mut self.cluster.flying) {
            let at = self.after(30);
            self.flying.push((at, packet));
        }
        for index in self.alive() {
            for (id, place) in std::mem::take(&mut self.cluster.worlds[index].fetches) {
                let at = self.after(50);
                self.fetches.push((at, index, id, place));
            }
            while let Some((task, _)) = self.cluster.worlds[index].begun.get(self.seen_begun[index]).copied()
            {
                self.seen_begun[index] += 1;
                self.check_call(index, task);
                self.take_arguments(index, task);
            }
        }
        let worlds = &self.cluster.worlds;
        self.held.retain(|(index, instance), _| worlds[*index].sandboxes.contains_key(instance));
    }

    fn take_arguments(&mut self, index: usize, task: TaskId) {
        let Some((instance, call)) = self.cluster.worlds[index].running.get(&task) else { return };
        let guest = Caller { instance: *instance, task };
        let handles: Vec<Handle> = call.arguments.iter().flat_map(|v| v.handles.iter().copied()).collect();
        let node = &self.cluster.worlds[index].node;
        // Of an argument whose bytes were lost meanwhile the guest gets nothing.
        let is_lost = |handle: &Handle| match handle {
            Handle::Object(id) => node.object(*id).is_none(),
            Handle::Actor(id) => !node.knows_actor(*id),
            _ => false,
        };
        let handles: Vec<Handle> = handles.into_iter().filter(|handle| !is_lost(handle)).collect();
        for value in &call.arguments {
            // Where memory is short it is read where it is, and so are the arguments of calls.
            let is_call = matches!(call.entry, Entry::Method(_));
            let is_here = is_call || value.place.residence() != Residence::Remote;
            assert!(is_here || self.limits.store_bytes_max < 10_000, "an argument that is not here");
        }
        for handle in handles {
            self.take(index, guest, handle);
        }
    }

    fn take(&mut self, index: usize, guest: Caller, handle: Handle) {
        self.cluster.worlds[index].acquire(guest, handle);
        self.held.entry((index, guest.instance)).or_default().push(handle);
    }

    // ---- the end ----

    fn drain(mut self) -> Summary {
        self.faults = false;
        for round in 0..4_000 {
            self.pass_time();
            self.look_around();
            for index in self.alive() {
                let world = &self.cluster.worlds[index];
                let roots: BTreeSet<TaskId> = world.roots.values().copied().collect();
                let next = world.running.keys().copied().find(|task| round > 200 || !roots.contains(task));
                if let Some(task) = next {
                    self.finish(index, task);
                }
            }
            if round > 250 {
                self.kill_detached();
            }
            self.look_around();
            self.check_agreement(round);
            if round > 300 && self.is_empty() {
                self.check_jobs();
                return self.summary();
            }
        }
        for index in self.alive() {
            let world = &self.cluster.worlds[index];
            eprintln!("{}: {:?}", world.node.id(), world.node.leftover());
            for task in world.node.tasks(None, 20).into_iter().filter(|task| task.ended.is_none()) {
                eprintln!("  {:?}", world.node.explain(task.id));
            }
            for object in world.node.objects(None, 10) {
                eprintln!("  {object:?}");
            }
        }
        for group in self.head.groups().iter().filter(|group| group.state != GroupState::Removed) {
            eprintln!("{:?} of {}", self.head.explain_group(group.spec.id), group.spec.owner);
        }
        panic!("it does not come to an end");
    }

    /// Detached actors end when somebody ends them.
    fn kill_detached(&mut self) {
        for index in self.alive() {
            let world = &mut self.cluster.worlds[index];
            for view in world.node.actors(None, usize::MAX) {
                if view.detached && view.state != "DEAD" {
                    world.event(|node, now, fx| {
                        node.kill(now, view.id, false, fx);
                        node.schedule(now, fx);
                    });
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        let idle = |index: &usize| self.cluster.worlds[*index].node.leftover().is_none();
        let is_gone = |group: &head::GroupView| group.state == GroupState::Removed;
        self.flying.is_empty()
            && self.fetches.is_empty()
            && self.lines.is_empty()
            && self.is_settled()
            && self.jobs_have_ended()
            && self.alive().iter().all(idle)
            && self.head.groups().iter().all(is_gone)
    }

    fn summary(mut self) -> Summary {
        for world in &self.cluster.worlds {
            let counters = world.node.node_view().counters;
            self.summary.foreign += counters.foreign_tasks;
            self.summary.restarted += counters.actors_restarted;
            self.summary.finished += counters.tasks_finished;
            self.summary.retried += counters.attempts_retried;
            self.summary.rebuilt += counters.tasks_rebuilt;
            self.summary.refused += counters.tasks_refused;
            self.summary.ahead += counters.tasks_ahead;
            self.summary.moved += counters.objects_moved;
            self.summary.sent_on += counters.nodes_sent_on;
            self.summary.drained += counters.tasks_drained;
            self.summary.preempted += counters.tasks_preempted;
            self.summary.paused += counters.sandboxes_paused;
        }
        self.summary.deaths = self.deaths;
        self.summary.groups = self.lines.created;
        self.summary.placed_again = self.lines.placed_again;
        self.summary.hosted_in_bundles = self.lines.hosted_in_bundles;
        self.summary.in_bundles = self.lines.in_bundles;
        self.summary.agreed = self.lines.agreed;
        self.summary.runs = [self.runs.again, self.runs.lost_for_good];
        let memory = &self.memory;
        self.summary.memory = [memory.crashes, memory.lost, memory.kept, memory.counted_on];
        self.summary
    }
}

fn run(seed: u64, planted: Option<Planted>) -> Summary {
    let replay = Replay::new(seed, "random_nodes");
    let mut simulation = Simulation::new(seed);
    simulation.trace(replay.trace.clone());
    simulation.planted = planted;
    for world in &mut simulation.cluster.worlds {
        if let Some(bug) = planted {
            world.plant(bug);
        }
    }
    for _ in 0..STEPS {
        simulation.step();
    }
    simulation.drain()
}

// contract: T4, T7, T8, O1, O3, O5, O6, O8, O9, A1, A2, A3, A5, A7, A8, A9, P1, P2, P3, J2, H2, H3
#[test]
fn random_nodes() {
    if let Some(seed) = number("ENGINE_SIM_SEED") {
        println!("{:?}", run(seed, None));
        return;
    }
    let mut sum = Summary::default();
    for seed in 0..number("ENGINE_SIM_SEEDS").unwrap_or(500).max(300) {
        let summary = run(seed, None);
        sum.foreign += summary.foreign;
        sum.calls += summary.calls;
        sum.hosted += summary.hosted;
        sum.restarted += summary.restarted;
        sum.read += summary.read;
        sum.finished += summary.finished;
        sum.retried += summary.retried;
        sum.rebuilt += summary.rebuilt;
        sum.refused += summary.refused;
        sum.ahead += summary.ahead;
        sum.fetched += summary.fetched;
        sum.sent_on += summary.sent_on;
        sum.deaths += summary.deaths;
        sum.fenced += summary.fenced;
        sum.deadlocks += summary.deadlocks;
        sum.groups += summary.groups;
        sum.placed_again += summary.placed_again;
        sum.hosted_in_bundles += summary.hosted_in_bundles;
        sum.in_bundles += summary.in_bundles;
        sum.agreed += summary.agreed;
        sum.left += summary.left;
        sum.expired += summary.expired;
        sum.moved += summary.moved;
        sum.drained += summary.drained;
        sum.preempted += summary.preempted;
        sum.paused += summary.paused;
        sum.memory = std::array::from_fn(|at| sum.memory[at] + summary.memory[at]);
        sum.runs = std::array::from_fn(|at| sum.runs[at] + summary.runs[at]);
        sum.codes.extend(summary.codes);
    }
    println!("{sum:?}");
    let counts = [sum.foreign, sum.calls, sum.finished, sum.retried, sum.rebuilt, sum.refused];
    let counts = counts.into_iter().chain([sum.hosted, sum.restarted, sum.read, sum.fetched]);
    let counts = counts.chain([sum.deaths, sum.fenced, sum.ahead, sum.sent_on]);
    let counts = counts.chain([sum.left, sum.expired, sum.moved, sum.drained, sum.preempted, sum.paused]);
    let counts = counts.chain([sum.groups, sum.placed_again, sum.in_bundles, sum.agreed]);
    let counts: Vec<u64> = counts.chain([sum.hosted_in_bundles]).chain(sum.memory).chain(sum.runs).collect();
    assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
    for code in [
        ErrorCode::ActorDied,
        ErrorCode::OwnerDied,
        ErrorCode::NodeDied,
        ErrorCode::ObjectLost,
        ErrorCode::PlacementGroupRemoved,
        ErrorCode::TaskCancelled,
    ] {
        assert!(sum.codes.contains(&code), "{code} was never seen");
    }
}

/// A simulation that finds nothing shows nothing: each of these is found, and soon.
#[test]
fn planted_bugs_are_found() {
    let bugs = [
        Planted::ReleaseTwice,
        Planted::FencedFinish,
        Planted::SequenceReset,
        Planted::PinsLeft,
        Planted::CommitAfterRemoval,
    ];
    for bug in bugs {
        let found = (0..1_000).find(|seed| {
            let seed = *seed;
            std::panic::catch_unwind(move || run(seed, Some(bug))).is_err()
        });
        println!("{bug:?} is found by seed {found:?}");
        assert!(found.is_some(), "{bug:?} was not found in 1 000 runs");
    }
}
