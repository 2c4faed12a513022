//! What other nodes are thought to have free, and whom this node tells that it has room.
//!
//! Owners choose by what they have heard, which may be old, and several may choose the same room. A node takes
//! few tasks that it has no room for and refuses the others, so that their owners find other nodes; when it
//! has room it tells them, but not all of them at once: most would come in vain.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{NodeId, TaskId};
use crate::node::peers::message::{Load, Message};
use crate::node::{Effect, Effects, Node};
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

/// A node that has not looked for room on others for so long need not hear what they have free.
const ASK_FOR: Duration = Duration::from_secs(1);

/// Whether this node hears from the head what others have free: as long as it looks for room on them.
pub(in crate::node) struct Asking {
    is_told: bool,
    /// The line to the head was made anew, and nothing of this was said on it.
    is_unsaid: bool,
    /// It has looked for room since it was last asked whether it does.
    has_looked: bool,
    /// When it is asked.
    pub at: Option<Time>,
}

impl Default for Asking {
    fn default() -> Self {
        Self { is_told: true, is_unsaid: false, has_looked: false, at: None }
    }
}

impl Asking {
    /// The node looks for room on others.
    pub fn looks(&mut self, fx: &mut Effects) {
        self.has_looked = true;
        if !std::mem::replace(&mut self.is_told, true) {
            fx.push(Effect::AskForLoads(true));
        }
    }

    /// The head has forgotten what was said on the line before.
    pub fn line_anew(&mut self) {
        self.is_unsaid = true;
    }

    fn turn(&mut self, now: Time, fx: &mut Effects) {
        if std::mem::take(&mut self.is_unsaid) {
            fx.push(Effect::AskForLoads(self.is_told));
        }
        if !self.is_told || self.at.is_some_and(|at| at > now) {
            return;
        }
        if self.at.is_none() || std::mem::take(&mut self.has_looked) {
            self.at = Some(now + ASK_FOR);
        } else {
            (self.is_told, self.at) = (false, None);
            fx.push(Effect::AskForLoads(false));
        }
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

    /// Has the head tell this node no more what others have free, when it has not looked for room for long.
    pub(super) fn look_whether_asking(&mut self, now: Time, fx: &mut Effects) {
        if self.peers.is_empty() {
            self.peers.asking.at = None;
        } else {
            self.peers.asking.turn(now, fx);
        }
    }

    /// Refuses a task of another node's.
    pub(super) fn refuse(&mut self, to: NodeId, task: TaskId, attempt: u32) {
        self.tell(to, Message::Refused { task, attempt });
        self.peers.refused.add(to, &self.free);
    }
}
