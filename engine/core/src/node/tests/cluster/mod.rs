//! Several nodes, and a network between them that a test works by hand.

mod actors;
mod ahead;
mod deadlock;
mod death;
mod drain;
mod groups;
mod headed;
mod hosted;
mod hosted_calls;
mod hosted_detached;
mod hosted_ends;
mod hosted_groups;
mod hosted_streams;
mod quotas;
mod references;
mod room;
mod runs;
mod simulate;
mod streams;
mod sweep;
mod tasks;

use std::time::Duration;

use crate::error::ErrorCode;
use crate::ids::{ActorId, InstanceId, NodeId, ObjectId, TaskId};
use crate::node::tests::harness::{World, cpus, error, failure, moved};
use crate::node::{Caller, Limits, Node, NodeInfo, Packet, RemotePlace, Serve, TaskState, Transfer};
use crate::options::TaskOptions;
use crate::resources::{Quantity, Resources};
use crate::transfer::{Route, Way};
use crate::value::{Place, Residence};
use crate::work::{Call, Entry, Life};

/// Nodes that one fetch may ask.
const ASKED_MAX: usize = 3;

pub struct Cluster {
    pub worlds: Vec<World>,
    pub alive: Vec<bool>,
    /// Packets on their way.
    pub flying: Vec<Packet>,
}

impl Cluster {
    /// Nodes that have so many CPUs, and all know one another.
    pub fn new(counts: &[u64]) -> Self {
        let nodes: Vec<Resources> = counts.iter().map(|count| cpus(*count)).collect();
        Self::of(&nodes, &Limits::default())
    }

    pub fn of(totals: &[Resources], limits: &Limits) -> Self {
        let world =
            |(key, total): (usize, &Resources)| World::with_key(key as u8 + 1, total.clone(), limits.clone());
        let worlds: Vec<World> = totals.iter().enumerate().map(world).collect();
        let alive = vec![true; worlds.len()];
        let mut cluster = Self { worlds, alive, flying: Vec::new() };
        for (from, total) in totals.iter().enumerate() {
            let id = cluster.id(from);
            let info = NodeInfo { id, labels: vec![("rack".into(), from.to_string())], total: total.clone() };
            for world in &mut cluster.worlds {
                world.event(|node, now, fx| node.node_joined(now, info.clone(), fx));
            }
        }
        cluster
    }

    pub fn id(&self, index: usize) -> NodeId {
        self.worlds[index].node.id()
    }

    pub fn index(&self, id: NodeId) -> usize {
        self.worlds.iter().position(|world| world.node.id() == id).expect("a node of this cluster")
    }

    /// Takes what the nodes have to say to the network.
    pub fn collect(&mut self) {
        for (index, world) in self.worlds.iter_mut().enumerate() {
            let packets = std::mem::take(&mut world.outbox);
            if self.alive[index] {
                self.flying.extend(packets);
            }
        }
    }

    pub fn deliver(&mut self, packet: Packet) {
        let to = self.index(packet.to);
        if self.alive[to] {
            self.worlds[to].event(|node, now, fx| node.packet(now, packet, fx));
        }
    }

    /// Answers a node's request for bytes.
    pub fn fetch(&mut self, to: usize, id: ObjectId, from: RemotePlace) {
        let transfers = &mut Vec::new();
        let result = self.bytes_for(to, from, transfers).ok_or_else(|| error(ErrorCode::ObjectLost));
        self.worlds[to].event(|node, now, fx| node.restored(now, id, result, fx));
        for (at, transfer, size) in transfers.drain(..) {
            self.worlds[at].event(|node, _, _| node.served(Some(transfer), size, true));
        }
    }

    /// Asks for bytes on behalf of a node, from one to the next, as it is told. The transfers that it took
    /// have not ended.
    pub fn bytes_for(
        &mut self,
        asker: usize,
        from: RemotePlace,
        transfers: &mut Vec<(usize, Transfer, u64)>,
    ) -> Option<Place> {
        let id = self.id(asker);
        let mut route = Route::new(from.holder);
        for _ in 0..ASKED_MAX {
            let (node, way) = route.next();
            let at = self.index(node);
            let answer = match self.alive[at] {
                true => self.worlds[at].event(|node, _, _| node.serve(from.object, id, way)),
                false => None,
            };
            let goes_on = match answer {
                Some(Serve::Here { place, size, transfer }) => {
                    transfers.push((at, transfer, size));
                    return Some(moved(&place, Residence::Arena));
                }
                Some(Serve::Several(_, nodes)) => {
                    let parts = nodes.into_iter().chain([from.holder]);
                    let parts: Vec<usize> = parts.map(|node| self.index(node)).collect();
                    for at in parts.into_iter().filter(|at| self.alive[*at]) {
                        let part = |node: &mut Node, _, _: &mut _| node.serve(from.object, id, Way::Part);
                        if let Some(Serve::Here { place, size, transfer }) = self.worlds[at].event(part) {
                            transfers.push((at, transfer, size));
                            return Some(moved(&place, Residence::Arena));
                        }
                    }
                    false
                }
                Some(Serve::Ask(other)) => route.sent_on(other),
                None => route.failed(&error(ErrorCode::ObjectLost)),
            };
            if !goes_on {
                return None;
            }
        }
        panic!("{id} is sent from one node to the next for {from:?}");
    }

    /// Delivers everything, until nobody has anything to say.
    pub fn settle(&mut self) {
        loop {
            self.collect();
            let fetch = (0..self.worlds.len())
                .find_map(|to| self.worlds[to].fetches.pop().map(|(id, place)| (to, id, place)));
            if let Some((to, id, place)) = fetch {
                self.fetch(to, id, place);
            } else if self.flying.is_empty() {
                return;
            } else {
                let packet = self.flying.remove(0);
                self.deliver(packet);
            }
        }
    }

    /// Lets time pass everywhere, with all that comes of it.
    pub fn advance(&mut self, by: Duration) {
        for world in &mut self.worlds {
            world.advance(by);
        }
        self.settle();
    }

    /// A node is gone, and the others are told.
    pub fn kill(&mut self, index: usize) {
        self.alive[index] = false;
        let id = self.id(index);
        self.flying.retain(|packet| packet.from != id && packet.to != id);
        for other in 0..self.worlds.len() {
            if self.alive[other] {
                self.worlds[other].event(|node, now, fx| node.node_dead(now, id, fx));
            }
        }
        self.settle();
    }

    /// A job whose root runs on this node.
    pub fn job(&mut self, index: usize) -> Caller {
        let root = self.worlds[index].submit(Quantity::ZERO, None);
        self.worlds[index].caller(root)
    }

    /// Spawns a task on the first node; it and where it runs.
    #[track_caller]
    pub fn start(&mut self, from: Caller, arguments: &[ObjectId], options: TaskOptions) -> (TaskId, usize) {
        let task = self.worlds[0].spawn(from, arguments, options);
        self.settle();
        (task, self.runs_on(task).expect("it runs"))
    }

    /// Where a task runs.
    pub fn runs_on(&self, task: TaskId) -> Option<usize> {
        (0..self.worlds.len())
            .find(|index| self.alive[*index] && self.worlds[*index].running.contains_key(&task))
    }

    /// Where an actor's constructor runs, and as what.
    #[track_caller]
    pub fn constructor(&self, actor: ActorId) -> (usize, TaskId) {
        let found = (0..self.worlds.len()).filter(|index| self.alive[*index]).find_map(|index| {
            let world = &self.worlds[index];
            let makes = |life: &Life| matches!(life, Life::Actor { actor: made, .. } if *made == actor);
            let is_constructor = |(instance, call): &(InstanceId, Call)| {
                matches!(call.entry, Entry::Create(_)) && makes(&world.sandboxes[instance].life)
            };
            let task = world.running.iter().find(|(_, running)| is_constructor(running));
            task.map(|(task, _)| (index, *task))
        });
        found.unwrap_or_else(|| panic!("no constructor of {actor} runs"))
    }

    /// Ends an actor's constructor well, wherever it runs; where.
    #[track_caller]
    pub fn construct(&mut self, actor: ActorId) -> usize {
        let (index, task) = self.constructor(actor);
        self.worlds[index].finish(task);
        self.settle();
        index
    }

    /// Ends a task well wherever it runs.
    #[track_caller]
    pub fn finish(&mut self, task: TaskId) {
        let index = self.runs_on(task).unwrap_or_else(|| panic!("{task} does not run"));
        self.worlds[index].finish(task);
        self.settle();
    }

    #[track_caller]
    pub fn assert_state(&self, index: usize, task: TaskId, state: TaskState) {
        assert_eq!(self.worlds[index].state(task), state);
    }

    /// Ends every job, and checks that nothing of them is left anywhere.
    pub fn end(mut self) {
        for index in 0..self.worlds.len() {
            if !self.alive[index] {
                continue;
            }
            for job in self.worlds[index].roots.clone().into_keys() {
                self.worlds[index].event(|node, now, fx| node.stop_job(now, job, "the test ends", fx));
                self.settle();
                assert!(self.worlds[index].ended.contains_key(&job), "{job} has not ended");
            }
        }
        self.settle();
        self.advance(Duration::from_secs(1));
        for (world, _) in self.worlds.iter().zip(&self.alive).filter(|(_, alive)| **alive) {
            assert_eq!(world.node.leftover(), None, "on {}", world.node.id());
        }
    }
}

/// The place of a large value in a test.
pub fn token(place: &Place) -> u64 {
    *place.downcast::<u64>().expect("a token")
}
