//! Short tasks in line at other nodes: their owner gives a node more of them than it has room for, so that
//! its CPUs need not wait for the next one to come over the network.
//!
//! What is given ahead holds nothing there while it waits, and does not wait for long: what has not begun
//! soon comes back, and the owner finds another place for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use smallvec::SmallVec;

use crate::ids::NodeId;
use crate::node::edges::State;
use crate::node::finish::is_within;
use crate::node::peers::choose::Where;
use crate::node::peers::session::HOLD_MAX;
use crate::node::task::Kind;
use crate::node::{ClassKey, Effects, Node, TaskKey, TaskState};
use crate::options::Strategy;
use crate::time::Time;
use crate::value::{Argument, Residence};

/// Of a class, at its owner's node: how long its tasks run, and what was given ahead where.
#[derive(Default)]
pub(in crate::node) struct Ahead {
    /// How long an attempt runs; none as long as none has ended.
    mean: Option<Duration>,
    nodes: BTreeMap<NodeId, There>,
    /// The nodes that may be given more, by how much they have.
    open: BTreeSet<(u64, NodeId)>,
}

/// Tasks of a class that were given to a node ahead of its room.
#[derive(Default)]
struct There {
    /// How many have not ended.
    given: usize,
    /// How many there may be: one more for each that ends there, none once one was refused.
    window: usize,
    /// How many can run there at once.
    slots: u64,
}

impl There {
    /// For each that can run there at once, in thousandths.
    fn load(&self) -> u64 {
        (self.given as u64).saturating_mul(1000) / self.slots.max(1)
    }
}

/// A mean moves by this part of the difference with each attempt.
const MOVES_BY: u32 = 8;
/// An attempt counts as at most so many times the mean. So one in ten that is far longer (the system gave
/// its CPU to others meanwhile, say) hardly matters; of one in five the mean doubles until it is their own.
const TIMES_MAX: u32 = 8;
/// A mean counts as at least so much there.
const SHORTEST: Duration = Duration::from_micros(10);
/// With more classes in line before it, a class is not given ahead.
pub(in crate::node) const BEFORE_MAX: usize = 16;

/// Whether so short a task's messages may wait for others.
pub(super) fn is_very_short(ran: Duration) -> bool {
    ran <= HOLD_MAX / 4
}

/// Classes that are in line before one and found no room.
pub(in crate::node) type Before = SmallVec<[ClassKey; BEFORE_MAX]>;

impl Ahead {
    /// An attempt has run for so long.
    fn note_ran(&mut self, ran: Duration) {
        self.mean = Some(match self.mean {
            None => ran,
            Some(mean) => mean - mean / MOVES_BY + ran.min(mean.max(SHORTEST) * TIMES_MAX) / MOVES_BY,
        });
    }

    /// How many may be given ahead for each that can run there at once, so that the last of them waits for
    /// so long.
    fn for_each_slot(&self, longest: Duration) -> u64 {
        let Some(mean) = self.mean.filter(|mean| *mean <= longest && !longest.is_zero()) else { return 0 };
        let times = longest.as_nanos() / mean.as_nanos().max(1);
        1 + u64::try_from(times).unwrap_or(u64::MAX / 2)
    }

    fn change(&mut self, node: NodeId, change: impl FnOnce(&mut There)) {
        let there = self.nodes.entry(node).or_default();
        self.open.remove(&(there.load(), node));
        change(there);
        if there.given < there.window {
            self.open.insert((there.load(), node));
        } else if there.given == 0 {
            self.nodes.remove(&node);
        }
    }

    fn forget(&mut self, node: NodeId) {
        if let Some(there) = self.nodes.remove(&node) {
            self.open.remove(&(there.load(), node));
        }
    }

    /// How many were given to each node, for the books.
    pub fn given(&self) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        self.nodes.iter().map(|(node, there)| (*node, there.given))
    }
}

impl Node {
    // ---- at the owner ----

    /// The node whose line the first task in line of a class may join. `before`: classes that want room
    /// more than this one.
    pub(in crate::node) fn place_ahead(&self, class_key: ClassKey, before: &Before) -> Where {
        let class = &self.classes[class_key];
        let max = class.ahead.for_each_slot(self.limits.ahead_time_max).saturating_mul(1000);
        if max == 0 || class.ahead.open.is_empty() || before.len() >= BEFORE_MAX {
            return Where::Nowhere;
        }
        if !self.head_of(class_key).is_some_and(|key| self.may_wait_there(key)) {
            return Where::Nowhere;
        }
        let placement = &class.spec.options.placement;
        let only = match placement.strategy {
            Strategy::Node(node, true) if self.is_leaving(node) => None,
            Strategy::Node(node, soft) if !soft || node == self.id || self.peers.is_known(node) => Some(node),
            _ => None,
        };
        let takes = |node: NodeId| {
            let peer = self.peers.nodes.get(&node)?;
            let is_meant = only.is_none_or(|only| only == node)
                && self.takes_more(node)
                && peer.total.covers(&class.needs)
                && placement.accepts(&peer.labels)
                && !before.iter().any(|other| self.could_run_at(*other, node));
            is_meant.then(|| placement.likes(&peer.labels))
        };
        let open = class.ahead.open.iter().take_while(|(load, _)| *load < max);
        let looked_at = if only.is_some() { usize::MAX } else { self.limits.nodes_looked_at_max };
        let mut best: Option<(usize, NodeId)> = None;
        for (_, node) in open.take(looked_at) {
            let Some(liked) = takes(*node) else { continue };
            if best.is_none_or(|(most, _)| liked > most) {
                best = Some((liked, *node));
            }
            if !placement.has_likes() {
                break;
            }
        }
        best.map_or(Where::Nowhere, |(_, node)| Where::InLine(node))
    }

    /// Whether a task may be given ahead: nothing of it must be fetched, and it is tried again if the node
    /// dies, as nobody knows then whether it had begun.
    fn may_wait_there(&self, key: TaskKey) -> bool {
        let task = &self.tasks[key];
        let is_inline = |argument: &Argument| match argument {
            Argument::Value(_) => true,
            Argument::Object(id) => self.objects.get(id).is_some_and(|object| match &object.state {
                State::Ready(value) => value.place.residence() == Residence::Inline,
                _ => false,
            }),
        };
        matches!(task.kind, Kind::Function)
            && !task.cancelled
            && is_within(self.classes[task.class].retries().system, task.system_failures)
            && task.arguments.iter().all(is_inline)
    }

    /// Whether the first task in line of a class may leave this node.
    pub(in crate::node) fn wants_others(&self, class: ClassKey) -> bool {
        !self.peers.is_empty() && self.head_of(class).is_some_and(|key| self.may_leave(key))
    }

    /// Whether a class that waits could run on a node.
    fn could_run_at(&self, class: ClassKey, node: NodeId) -> bool {
        let class = &self.classes[class];
        let placement = &class.spec.options.placement;
        let is_wanted = match &placement.strategy {
            Strategy::Node(wanted, false) => *wanted == node,
            _ => class.group.is_none(),
        };
        is_wanted
            && self
                .peers
                .nodes
                .get(&node)
                .is_some_and(|peer| peer.total.covers(&class.needs) && placement.accepts(&peer.labels))
    }

    /// An attempt of this node's own task has ended, on another node or here.
    pub(in crate::node) fn note_ran(&mut self, class: ClassKey, on: Option<NodeId>, ran: Duration) {
        let max = self.limits.ahead_tasks_max;
        let class = &mut self.classes[class];
        if class.group.is_some() || self.limits.ahead_time_max.is_zero() {
            return;
        }
        class.ahead.note_ran(ran);
        let Some(peer) = on.and_then(|node| self.peers.nodes.get(&node)) else { return };
        let slots = peer.total.times(&class.needs);
        if let Some(node) = on {
            class.ahead.change(node, |there| {
                there.window = (there.window + 1).min(max);
                there.slots = slots;
            });
        }
    }

    /// A task is given to a node ahead of its room. How many may wait here to go with it: of very short
    /// ones a third of what is given, so that twice as many are in line there.
    pub(super) fn goes_ahead(&mut self, key: TaskKey, to: NodeId) -> usize {
        let task = &mut self.tasks[key];
        task.extra().ahead = true;
        self.counters.tasks_ahead += 1;
        let ahead = &mut self.classes[task.class].ahead;
        ahead.change(to, |there| there.given += 1);
        match ahead.mean.is_some_and(is_very_short) {
            true => ahead.nodes.get(&to).map_or(0, |there| there.given / 3),
            false => 0,
        }
    }

    /// A task that may have been given ahead is not at that node any more.
    pub(super) fn is_back(&mut self, key: TaskKey, from: NodeId) {
        let task = &mut self.tasks[key];
        if let Some(extra) = task.extra.as_mut().filter(|extra| extra.ahead) {
            extra.ahead = false;
            self.classes[task.class].ahead.change(from, |there| there.given -= 1);
        }
    }

    /// A node had no room for a task that it was given ahead: it gets no more of them until others end.
    pub(super) fn was_refused_ahead(&mut self, key: TaskKey, by: NodeId) {
        let class = self.tasks[key].class;
        self.classes[class].ahead.change(by, |there| there.window = 0);
    }

    /// A node is dead, and nothing is there any more.
    pub(super) fn forget_ahead(&mut self, dead: NodeId) {
        self.classes.values_mut().for_each(|class| class.ahead.forget(dead));
    }

    // ---- where it waits ----

    /// A task of another node's that may wait here has been taken; it is in line.
    pub(super) fn waits_ahead(&mut self, now: Time, key: TaskKey) {
        self.forget_begun();
        self.peers.waiting.push_back((now + self.limits.ahead_wait_max, key));
    }

    /// What is in line no more needs no timer.
    pub(in crate::node) fn forget_begun(&mut self) {
        while self.peers.waiting.front().is_some_and(|(_, key)| !self.is_waiting_ahead(*key)) {
            self.peers.waiting.pop_front();
        }
    }

    fn is_waiting_ahead(&self, key: TaskKey) -> bool {
        self.tasks.get(key).is_some_and(|task| task.state == TaskState::PendingPlacement)
    }

    /// Gives back what was given ahead and has waited for too long.
    pub(in crate::node) fn give_back_late(&mut self, now: Time, fx: &mut Effects) {
        while let Some((at, key)) = self.peers.waiting.front().copied()
            && at <= now
        {
            self.peers.waiting.pop_front();
            let owner = self.tasks.get(key).and_then(|task| task.owner());
            let Some(owner) = owner.filter(|_| self.is_waiting_ahead(key)) else { continue };
            self.remove_from_line(key);
            self.hand_back(now, key, owner, fx);
        }
    }
}
