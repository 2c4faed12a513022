//! Nodes of the simulated cluster that drain.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Hears, NODES_MAX, Simulation};
use crate::error::ErrorCode;
use crate::head::{self, NodeStanding};
use crate::ids::{NodeId, ObjectId};
use crate::node::{Counters, ObjectView};
use crate::value::{Argument, Handle};

impl Simulation {
    /// Somebody has a node drained, with a deadline or without.
    pub(super) fn drain_node(&mut self) {
        let stays = |index: &usize| self.head.standing(self.cluster.id(*index)) == Some(NodeStanding::Alive);
        let nodes: Vec<usize> = self.alive().into_iter().filter(stays).collect();
        if nodes.len() < 2 || self.cluster.worlds.len() >= NODES_MAX {
            return;
        }
        let Some(index) = self.random.pick(&nodes) else { return };
        let deadline = self.random.of([None, None, Some(0), Some(50), Some(400)]).map(Duration::from_millis);
        // At its deadline it takes with it what it owns.
        self.deaths += u64::from(deadline.is_some());
        let (id, now) = (self.cluster.id(index), self.now);
        let mut fx = Vec::new();
        self.head.drain(now, id, deadline, &mut fx).expect("it is a member");
        self.let_out(fx.into_iter().map(super::memory::Output::Effect).collect());
        self.start_node();
    }

    /// Nodes that drain ask to be let go.
    pub(super) fn look_who_leaves(&mut self) {
        for index in self.alive() {
            if let Some(in_order) = self.cluster.worlds[index].leaves.take() {
                self.leaving.insert(index, in_order);
                let at = self.after(20);
                self.to_head.push((at, Hears::Leave(index)));
            }
        }
    }

    /// The head hears that a node may go.
    pub(super) fn hear_who_leaves(&mut self, index: usize, fx: &mut Vec<head::Effect>) {
        let Some(in_order) = self.leaving.get(&index).copied() else { return };
        let (id, now) = (self.cluster.id(index), self.now);
        let is_member = matches!(self.head.standing(id), Some(NodeStanding::Draining(_)));
        match self.head.let_go(now, id, in_order, fx) {
            true if is_member && in_order => self.summary.left += 1,
            true => self.summary.expired += u64::from(is_member),
            false => {
                self.leaving.remove(&index);
                self.cluster.worlds[index].event(|node, now, fx| node.not_let_go(now, fx));
            }
        }
    }

    /// A node hears that another has left with nothing on it: that costs nobody anything.
    pub(super) fn node_left(&mut self, index: usize, left: NodeId) {
        let before = self.costs(index);
        self.cluster.worlds[index].event(|node, now, fx| node.node_left(now, left, fx));
        assert_eq!(before, self.costs(index), "{left} has left, and took something with it");
    }

    /// What was made again, and what has failed that somebody holds.
    fn costs(&self, index: usize) -> (u64, u64, BTreeSet<(ObjectId, String)>) {
        let node = &self.cluster.worlds[index].node;
        let Counters { tasks_rebuilt, actors_restarted, .. } = node.node_view().counters;
        // What an ended job has left is about to be freed, wherever it is.
        let mut held: BTreeSet<Handle> =
            node.instances.values().flat_map(|instance| instance.handles.keys().copied()).collect();
        let arguments = node.tasks.values().flat_map(|task| task.arguments.iter());
        held.extend(arguments.filter_map(Argument::object).map(Handle::Object));
        let objects = node.objects(None, usize::MAX);
        let is_held = |object: &&ObjectView| held.contains(&Handle::Object(object.id));
        let error = |object: &ObjectView| object.error.as_ref().map(|error| (object.id, error.to_string()));
        // Not those that only that node could have made, or that were about to fail anyway.
        let lost = [
            ErrorCode::ObjectLost,
            ErrorCode::OwnerDied,
            ErrorCode::NodeDied,
            ErrorCode::ReconstructionFailed,
        ];
        let is_lost =
            |object: &&ObjectView| object.error.as_ref().is_some_and(|error| lost.contains(&error.code()));
        let failed = objects.iter().filter(is_held).filter(is_lost).filter_map(error).collect();
        (tasks_rebuilt, actors_restarted, failed)
    }
}
