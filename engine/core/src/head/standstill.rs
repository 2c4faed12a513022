//! Deadlocks of the whole cluster: every node stands still, and work waits
//! ([`crate::node::Standstill`]).

use std::time::Duration;

use crate::head::{Effect, Head, Notice};
use crate::ids::{IdMap, NodeId};
use crate::node::Standstill;
use crate::time::Time;

/// What the nodes have said of standing still.
#[derive(Default)]
pub(super) struct Standstills {
    nodes: IdMap<NodeId, Still>,
    /// How many of them have work that waits.
    waiting: usize,
    /// When it is looked whether all stand still, at the earliest.
    look_at: Option<Time>,
    /// The node that was told last to break a deadlock.
    told: Option<NodeId>,
}

struct Still {
    said: Standstill,
    /// When it was heard first and last.
    since: Time,
    heard: Time,
}

impl Standstills {
    pub fn forget(&mut self, id: NodeId) {
        if let Some(still) = self.nodes.remove(&id) {
            self.waiting -= usize::from(still.said.waits);
        }
    }

    fn hear(&mut self, now: Time, id: NodeId, said: Standstill) {
        match self.nodes.get_mut(&id) {
            Some(still) if still.said == said => still.heard = now,
            _ => {
                self.forget(id);
                self.waiting += usize::from(said.waits);
                self.nodes.insert(id, Still { said, since: now, heard: now });
            }
        }
    }

    /// Whether each of so many nodes has said that it stands still, and the same again when all of them had
    /// for so long, and lately: one on which something goes on says nothing.
    fn are_all(&mut self, now: Time, nodes: usize, after: Duration) -> bool {
        if self.waiting == 0 || self.nodes.len() < nodes || self.look_at.is_some_and(|at| at > now) {
            return false;
        }
        let Some(since) = self.nodes.values().map(|still| still.since).max() else { return false };
        let long_enough = since + after;
        self.look_at = Some(long_enough.max(now + after / 10));
        self.nodes.values().all(|still| still.heard >= long_enough && still.heard + after / 2 >= now)
    }

    /// The next node with work that waits, and what it said; it has to say so again to count any more.
    fn next(&mut self) -> Option<(NodeId, u64)> {
        let waiting = || self.nodes.iter().filter(|(_, still)| still.said.waits).map(|(id, _)| *id);
        let after = waiting().filter(|id| self.told.is_some_and(|told| *id > told)).min();
        let next = after.or_else(|| waiting().min())?;
        self.told = Some(next);
        let changes = self.nodes.get(&next)?.said.changes;
        self.forget(next);
        Some((next, changes))
    }
}

impl Head {
    /// A node stands still, as it says now and then as long as it does.
    pub fn stands_still(&mut self, now: Time, id: NodeId, said: Standstill, fx: &mut Vec<Effect>) {
        if !self.is_alive(id) {
            return;
        }
        self.standstills.hear(now, id, said);
        let (nodes, after) = (self.nodes.alive.len(), self.limits.watch.deadlock_after);
        // A run that is to begin will have something go on.
        if !self.standstills.are_all(now, nodes, after) || !self.jobs_not_started().is_empty() {
            return;
        }
        if let Some((node, changes)) = self.standstills.next() {
            fx.push(Effect::Tell(node, Notice::BreakDeadlock(changes)));
        }
    }
}
