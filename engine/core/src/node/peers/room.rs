//! What other nodes are thought to have free, and whom this node tells that it has room.
//!
//! Owners choose by what they have heard, which may be old, and several may choose the same room. A node takes
//! few tasks that it has no room for and refuses the others, so that their owners find other nodes; when it
//! has room it tells them, but not all of them at once: most would come in vain.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{NodeId, TaskId};
use crate::node::Node;
use crate::node::peers::message::{Load, Message};
use crate::resources::Resources;
use crate::time::Time;

/// How long room is there before the next ones are told: as long as whoever is told, or has heard of it by a
/// task's end, takes to fill it.
const TELL_EVERY: Duration = Duration::from_millis(1);

/// What a node is thought to have free.
#[derive(Default)]
pub(super) struct Room {
    /// What it said last.
    said: Load,
    /// Less what it was given since.
    pub free: Resources,
    /// What it was given, by the number of the message, which it has not acknowledged.
    given: VecDeque<(u64, Arc<Resources>)>,
    /// All of that together.
    given_sum: Resources,
    /// It has refused a task and said nothing since.
    pub is_closed: bool,
}

impl Room {
    /// The node has said what it has free, having received everything until this number. Whether that is
    /// more of anything than was thought.
    pub fn is_said(&mut self, load: Load, acknowledged: u64) -> bool {
        if load.version < self.said.version {
            return false;
        }
        let before = self.free.clone();
        while let Some((_, needs)) = self.given.pop_front_if(|(number, _)| *number <= acknowledged) {
            self.given_sum.take(&needs);
        }
        self.free = load.free.clone();
        self.free.take_what_is_there(&self.given_sum);
        self.said = load;
        self.is_closed = false;
        !before.covers(&self.free)
    }

    /// The node has refused what it seemed to have room for: it gets nothing until it says something new,
    /// as it does once it has room.
    pub fn is_refused(&mut self, version: u64) {
        if self.said.version <= version {
            self.free = Resources::default();
            self.is_closed = true;
        }
    }

    /// The node was given a task.
    pub fn give(&mut self, number: u64, needs: Arc<Resources>) {
        self.free.take_what_is_there(&needs);
        self.given_sum.give(&needs);
        self.given.push_back((number, needs));
    }

    /// Whether it has never said anything.
    pub fn is_unknown(&self) -> bool {
        self.said == Load::default()
    }
}

/// Nodes whose tasks were refused here and that are to hear of room.
#[derive(Default)]
pub(super) struct RefusedHere {
    /// Who was refused first is told first.
    line: VecDeque<NodeId>,
    nodes: BTreeSet<NodeId>,
    /// What was free when the first of them was refused.
    free_then: Resources,
    /// How many are told next.
    count: usize,
    /// When they are told, if there is room then.
    pub at: Option<Time>,
}

impl RefusedHere {
    fn add(&mut self, node: NodeId, free: &Resources) {
        if self.nodes.is_empty() {
            self.free_then = free.clone();
        }
        if self.nodes.insert(node) {
            self.line.push_back(node);
        }
    }

    pub fn forget(&mut self, node: NodeId) {
        if self.nodes.remove(&node) {
            self.line.retain(|other| *other != node);
        }
    }

    /// Those to be told now that so much is free: one, and when there still is room a little later twice as
    /// many.
    fn due(&mut self, now: Time, free: &Resources) -> Vec<NodeId> {
        if self.nodes.is_empty() || self.free_then.covers(free) {
            (self.count, self.at) = (0, None);
            return Vec::new();
        }
        if self.at.is_none_or(|at| at > now) {
            self.at.get_or_insert(now + TELL_EVERY);
            return Vec::new();
        }
        self.count = (2 * self.count).clamp(1, self.line.len());
        let due: Vec<NodeId> = self.line.drain(..self.count).collect();
        for node in &due {
            self.nodes.remove(node);
        }
        self.at = (!self.line.is_empty()).then_some(now + TELL_EVERY);
        due
    }
}

impl Node {
    /// A node was given a task that needs so much, with the message of this number.
    pub(super) fn note_given(&mut self, node: NodeId, number: u64, needs: Arc<Resources>) {
        if let Some(peer) = self.peers.nodes.get_mut(&node) {
            peer.room.give(number, needs);
        }
    }

    pub(super) fn close_room(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.nodes.get_mut(&node) {
            peer.room.is_refused(peer.load_version);
        }
    }

    /// Those whose tasks were refused hear when there is more room than there was then.
    pub(super) fn tell_of_room(&mut self, now: Time) {
        if self.is_draining() {
            self.peers.refused.at = None;
            return;
        }
        for node in self.peers.refused.due(now, &self.free) {
            self.tell(node, Message::HasRoom);
        }
    }

    /// Refuses a task of another node's.
    pub(super) fn refuse(&mut self, to: NodeId, task: TaskId, attempt: u32) {
        self.tell(to, Message::Refused { task, attempt });
        self.peers.refused.add(to, &self.free);
    }
}
