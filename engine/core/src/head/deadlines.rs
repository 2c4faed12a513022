//! When nodes are dead unless they are heard of, in order: a sign of life must not look at all of them.

use std::collections::BTreeSet;

use crate::head::nodes::{Alive, Nodes};
use crate::ids::NodeId;
use crate::time::Time;

/// Each node once, at a time at which it must be looked at: its deadline, or earlier when that was put off
/// since.
#[derive(Default)]
pub(super) struct Deadlines(BTreeSet<(Time, NodeId)>);

impl Deadlines {
    /// When somebody must be looked at.
    pub fn next(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// A node is to be looked at when its deadline comes.
    pub fn watch(&mut self, id: NodeId, node: &mut Alive) {
        if node.watched_at.is_some_and(|at| at <= node.deadline) {
            return;
        }
        self.forget(id, node);
        node.watched_at = Some(node.deadline);
        self.0.insert((node.deadline, id));
    }

    /// A node is watched no more.
    pub fn forget(&mut self, id: NodeId, node: &mut Alive) {
        if let Some(at) = node.watched_at.take() {
            self.0.remove(&(at, id));
        }
    }
}

impl Nodes {
    /// The nodes whose deadlines have passed, by id.
    pub fn overdue(&mut self, now: Time) -> Vec<NodeId> {
        let mut overdue = Vec::new();
        while let Some((at, id)) = self.deadlines.0.first().copied()
            && at <= now
        {
            self.deadlines.0.pop_first();
            let Some(node) = self.alive.get_mut(&id) else { continue };
            node.watched_at = None;
            if node.deadline <= now {
                overdue.push(id);
            } else {
                self.deadlines.watch(id, node);
            }
        }
        overdue.sort();
        overdue
    }
}
