//! Where a task runs: by the owner's node, from what it knows of the others.
//!
//! By default where most of the bytes of its arguments are, if it fits there; else here until half of
//! this node is in use, then packed onto nodes that are less than half in use, the fullest first, then on
//! the one that is the least used (contract, "Tasks", `strategy`). What a node has free is what it said
//! last, less what it was given since. It may be wrong: the node then refuses, and says what it has.

use std::collections::VecDeque;
use std::ops::Bound;

use crate::ids::NodeId;
use crate::node::edges::State;
use crate::node::peers::Peers;
use crate::node::peers::ahead::Before;
use crate::node::task::Kind;
use crate::node::{ClassKey, Effects, Node, TaskKey};
use crate::options::{Placement, Strategy};
use crate::resources::Resources;
use crate::value::{Argument, Residence};

/// Where a task can start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Where {
    Here,
    There(NodeId),
    /// In line there.
    InLine(NodeId),
    Nowhere,
}

/// Nodes that have got room, the latest.
#[derive(Default)]
pub(super) struct News {
    /// How many times any has.
    count: u64,
    latest: VecDeque<NodeId>,
}

/// So many are remembered; who has not looked for longer looks at all.
const NEWS_MAX: usize = 1_024;

impl News {
    pub fn add(&mut self, node: NodeId) {
        self.count += 1;
        self.latest.push_back(node);
        if self.latest.len() > NEWS_MAX {
            self.latest.pop_front();
        }
    }

    /// The nodes that have got room since there were so many; none when that is too long ago.
    fn since(&self, count: u64) -> Option<Vec<NodeId>> {
        let more = usize::try_from(self.count - count).ok().filter(|more| *more <= self.latest.len())?;
        let mut nodes: Vec<NodeId> = self.latest.iter().rev().take(more).copied().collect();
        nodes.sort();
        nodes.dedup();
        Some(nodes)
    }
}

impl Peers {
    /// Nodes that are in the order of their ids, from where the next look begins. At first that is a node's
    /// own id: owners that see the same room begin to look at different places, or all of them would choose
    /// the same node.
    fn by_turn(&self, mut nodes: Vec<NodeId>, own: NodeId) -> Vec<NodeId> {
        let from = self.cursor.unwrap_or(own);
        let before = nodes.partition_point(|node| *node <= from);
        nodes.rotate_left(before);
        nodes
    }
}

/// A node that a task can start on.
struct Candidate {
    at: Where,
    /// How many soft labels it has.
    liked: usize,
    /// In use once the task is there: of the resource that is the scarcest, in thousandths.
    used: u64,
    /// Bytes of the task's arguments.
    bytes: u64,
}

/// In use up to here, a node is filled before the next.
const PACKED_UNTIL: u64 = 500;
/// With so many bytes of arguments on a node, a task is better off there.
const LOCALITY_BYTES_MIN: u64 = 1 << 20;

impl Node {
    /// Where the first task in line of a class can start now.
    /// `before`: those in line before it that found no room.
    pub(in crate::node) fn place(&mut self, class: ClassKey, before: &Before, fx: &mut Effects) -> Where {
        if self.classes[class].group.is_some() {
            return self.place_in_group(class, fx);
        }
        let leaves = !self.peers.is_empty() && self.head_of(class).is_some_and(|key| self.may_leave(key));
        let here = self.may_run_here(class) && !(leaves && self.is_sent_away(class));
        if !leaves {
            return if here && self.fits(class, fx) { Where::Here } else { Where::Nowhere };
        }
        self.peers.asking.looks(fx);
        let placement = self.classes[class].spec.options.placement.clone();
        if let Strategy::Node(node, soft) = placement.strategy
            && !(soft && self.is_leaving(node))
        {
            let wanted = match node == self.id {
                true => self.fits(class, fx).then_some(Where::Here),
                false => self.fits_there(class, node).then_some(Where::There(node)),
            };
            if wanted.is_some() || !soft || self.peers.is_known(node) || node == self.id {
                return wanted.unwrap_or_else(|| self.place_ahead(class, before));
            }
        }
        let mut candidates = Vec::new();
        if here && self.fits(class, fx) {
            candidates.push(self.candidate_here(class));
        }
        candidates.extend(self.candidates_elsewhere(class));
        if candidates.is_empty() {
            return self.place_ahead(class, before);
        }
        self.choose(&placement, candidates)
    }

    /// The nodes that have room for the first task in line of a class; in a large cluster some of them.
    ///
    /// Looked at are those that have its arguments and so many others, each time the next ones; when none
    /// of them will do, all. When no node will do, only those are looked at again that have got room since.
    fn candidates_elsewhere(&mut self, class: ClassKey) -> Vec<Candidate> {
        let max = self.limits.nodes_looked_at_max.max(1);
        let news = self.peers.news.count;
        let since = self.classes[class].no_room_at;
        let latest = since.and_then(|since| self.peers.news.since(since));
        let knows_the_rest = latest.is_some();
        let nodes = match latest {
            Some(nodes) => self.peers.by_turn(nodes, self.id),
            None if self.peers.nodes.len() <= max => self.all_peers(),
            None => self.next_peers(class, max),
        };
        let mut found = Vec::new();
        for some in nodes.chunks(max) {
            found.extend(some.iter().filter_map(|node| self.candidate_there(class, *node)));
            if !found.is_empty() {
                break;
            }
        }
        if found.is_empty() && !knows_the_rest && nodes.len() < self.peers.len() {
            let all = self.all_peers();
            found.extend(all.into_iter().find_map(|node| self.candidate_there(class, node)));
        }
        if found.is_empty() {
            self.classes[class].no_room_at = Some(news);
        }
        found
    }

    fn all_peers(&self) -> Vec<NodeId> {
        self.peers.by_turn(self.peers.nodes.keys().copied().collect(), self.id)
    }

    fn next_peers(&mut self, class: ClassKey, max: usize) -> Vec<NodeId> {
        let mut nodes = self.argument_holders(class);
        let from = Bound::Excluded(self.peers.cursor.unwrap_or(self.id));
        let after = self.peers.nodes.range((from, Bound::Unbounded));
        let next = after.chain(self.peers.nodes.iter()).map(|(node, _)| *node).take(max);
        let next: Vec<NodeId> = next.collect();
        self.peers.cursor = next.last().copied();
        let known = nodes.clone();
        nodes.extend(next.into_iter().filter(|node| !known.contains(node)));
        nodes
    }

    fn argument_holders(&self, class: ClassKey) -> Vec<NodeId> {
        let Some(task) = self.head_of(class).and_then(|key| self.tasks.get(key)) else { return Vec::new() };
        let holder = |id| self.storage.remote_place(id).map(|remote| remote.holder);
        let mut holders: Vec<NodeId> =
            task.arguments.iter().filter_map(Argument::object).filter_map(holder).collect();
        holders.sort();
        holders.dedup();
        holders
    }

    fn choose(&mut self, placement: &Placement, mut candidates: Vec<Candidate>) -> Where {
        let liked = candidates.iter().map(|candidate| candidate.liked).max().unwrap_or(0);
        candidates.retain(|candidate| candidate.liked == liked);
        if placement.strategy == Strategy::Spread {
            let least = candidates.iter().map(|candidate| candidate.used).min().unwrap_or(0);
            candidates.retain(|candidate| candidate.used == least);
            self.peers.spread += 1;
            let turn = (self.peers.spread % candidates.len().max(1) as u64) as usize;
            return candidates.get(turn).map_or(Where::Nowhere, |candidate| candidate.at);
        }
        let most = candidates.iter().max_by_key(|candidate| (candidate.bytes, candidate.at == Where::Here));
        if let Some(most) = most.filter(|candidate| candidate.bytes >= LOCALITY_BYTES_MIN) {
            return most.at;
        }
        let is_packed = |candidate: &&Candidate| candidate.used <= PACKED_UNTIL;
        if let Some(here) = candidates.iter().filter(is_packed).find(|c| c.at == Where::Here) {
            return here.at;
        }
        if let Some(fullest) = candidates.iter().filter(is_packed).max_by_key(|candidate| candidate.used) {
            return fullest.at;
        }
        let least = candidates.iter().min_by_key(|candidate| (candidate.used, candidate.at != Where::Here));
        least.map_or(Where::Nowhere, |candidate| candidate.at)
    }

    /// Whether a task may run on another node: it is its owner's to say. A job's root stays, and what
    /// descends from a detached actor stays where that one was then.
    pub(in crate::node) fn may_leave(&self, key: TaskKey) -> bool {
        let Some(task) = self.tasks.get(key) else { return false };
        let scope = self.classes[task.class].spec.scope;
        let leaves = match &task.kind {
            Kind::Function => scope.is_none(),
            Kind::Create(actor) => scope.is_none_or(|scope| scope == *actor),
            _ => false,
        };
        leaves && task.owner().is_none()
    }

    fn may_run_here(&self, class: ClassKey) -> bool {
        if self.peers.is_empty() {
            return true;
        }
        let class = &self.classes[class];
        let placement = &class.spec.options.placement;
        placement.strategy.allows(self.id)
            && self.total.covers(&class.needs)
            && placement.accepts(&self.labels)
    }

    pub(super) fn head_of(&self, class: ClassKey) -> Option<TaskKey> {
        self.classes[class].queue.front().map(|(_, key)| *key)
    }

    fn fits_there(&self, class: ClassKey, node: NodeId) -> bool {
        let Some(peer) = self.peers.nodes.get(&node) else { return false };
        let class = &self.classes[class];
        !self.peers.draining.contains(&node)
            && peer.room.free.covers(&class.needs)
            && peer.session.unacknowledged() < self.limits.unacknowledged_messages_max
            && class.spec.options.placement.accepts(&peer.labels)
    }

    fn candidate_here(&self, class: ClassKey) -> Candidate {
        Candidate {
            at: Where::Here,
            liked: self.classes[class].spec.options.placement.likes(&self.labels),
            used: self.total.used_with(&self.free, &self.classes[class].needs),
            bytes: self.argument_bytes_at(class, self.id),
        }
    }

    fn candidate_there(&self, class: ClassKey, node: NodeId) -> Option<Candidate> {
        if !self.fits_there(class, node) {
            return None;
        }
        let peer = self.peers.nodes.get(&node)?;
        Some(Candidate {
            at: Where::There(node),
            liked: self.classes[class].spec.options.placement.likes(&peer.labels),
            used: peer.total.used_with(&peer.room.free, &self.classes[class].needs),
            bytes: self.argument_bytes_at(class, node),
        })
    }

    /// Bytes of the large arguments of the first task in line that are on a node.
    fn argument_bytes_at(&self, class: ClassKey, node: NodeId) -> u64 {
        let Some(task) = self.head_of(class).and_then(|key| self.tasks.get(key)) else { return 0 };
        let bytes = |id| {
            let State::Ready(value) = &self.objects.get(&id)?.state else { return None };
            let remote = self.storage.remote_place(id).map(|remote| remote.holder);
            let is_there = match value.place.residence() {
                Residence::Inline => false,
                // A copy may be here while the bytes are kept elsewhere.
                Residence::Arena | Residence::Spilled => node == self.id || remote == Some(node),
                Residence::Remote => remote == Some(node),
            };
            is_there.then_some(value.size)
        };
        task.arguments.iter().filter_map(Argument::object).filter_map(bytes).sum()
    }

    /// Whether a node may be given tasks whose room there is reserved.
    pub(in crate::node) fn takes_more(&self, node: NodeId) -> bool {
        self.peers.nodes.get(&node).is_some_and(|peer| {
            !peer.room.is_closed
                && !self.peers.draining.contains(&node)
                && peer.session.unacknowledged() < self.limits.unacknowledged_messages_max
        })
    }

    /// For people: what the other nodes lack for tasks of a class; empty when there are none.
    pub(in crate::node) fn explain_elsewhere(&self, class: ClassKey) -> String {
        if self.peers.is_empty() {
            return String::new();
        }
        let needs = &self.classes[class].needs;
        let could = self.peers.nodes.values().filter(|peer| peer.total.covers(needs)).count();
        let mut most = Resources::default();
        self.peers.nodes.values().for_each(|peer| most.raise_to(&peer.room.free));
        let lacks: Vec<String> = most
            .lacking(needs)
            .iter()
            .map(|lack| format!("at most {} of {} is free on one of them", lack.had, lack.resource))
            .collect();
        let why =
            if lacks.is_empty() { "none of them has all of it free".to_owned() } else { lacks.join(" and ") };
        format!(", and {could} of {} other nodes are large enough: {why}", self.peers.len())
    }

    /// The most that any node has of each resource.
    pub(in crate::node) fn largest_total(&self) -> Resources {
        let mut largest = self.total.clone();
        for peer in self.peers.nodes.values() {
            largest.raise_to(&peer.total);
        }
        largest
    }

    /// Whether another node could run a task, now or later.
    pub(in crate::node) fn any_peer_could_run(&self, key: TaskKey) -> bool {
        if self.peers.is_empty() || !self.may_leave(key) {
            return false;
        }
        let class = &self.classes[self.tasks[key].class];
        let placement = &class.spec.options.placement;
        self.peers.nodes.iter().any(|(id, peer)| {
            let is_wanted = match &placement.strategy {
                Strategy::Node(wanted, false) => wanted == id,
                _ => true,
            };
            is_wanted && peer.total.covers(&class.needs) && placement.accepts(&peer.labels)
        })
    }
}
