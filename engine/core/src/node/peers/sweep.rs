//! Objects of an ended job that hold one another across nodes.
//!
//! The node of the job's root asks all nodes that had something of it what they hold. When nobody who goes
//! on holds any, and what is lent is what is borrowed, so that nothing is on its way and nobody holds one
//! as another job's, they are all free. Else it asks again whenever a node says that less is held there.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{JobId, NodeId, ObjectId};
use crate::node::Node;
use crate::node::peers::message::Message;

/// So many ended jobs whose objects may be left on several nodes are remembered.
const SWEEPS_MAX: usize = 10_000;

/// The jobs whose roots this node had.
#[derive(Default)]
pub(super) struct Sweeps {
    of: BTreeMap<JobId, Sweep>,
    /// Jobs of any node that have ended, and of which something is held here.
    retained: BTreeSet<JobId>,
}

impl Sweeps {
    /// Whether somebody was asked who has yet to answer.
    pub fn is_asking(&self) -> bool {
        self.of.values().any(|sweep| !sweep.asked.is_empty())
    }
}

#[derive(Default)]
struct Sweep {
    /// Nodes that had something of it.
    nodes: BTreeSet<NodeId>,
    /// Those that have yet to answer.
    asked: BTreeSet<NodeId>,
    retained: bool,
    balance: u64,
    /// Less is held since they were asked.
    again: bool,
}

impl Node {
    /// Nothing of a job of this node runs anywhere: what is left of it may go.
    pub(in crate::node) fn plan_sweep(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let nodes: BTreeSet<NodeId> = job.nodes.iter().copied().filter(|node| *node != self.id).collect();
        if job.home.is_some() || nodes.is_empty() {
            return;
        }
        let sweeps = &mut self.peers.sweeps.of;
        if sweeps.len() >= SWEEPS_MAX {
            sweeps.pop_first();
        }
        sweeps.insert(id, Sweep { nodes, ..Sweep::default() });
        self.look_for_sweep(id);
    }

    /// Asks what is held of a job, unless that was asked and not answered yet.
    pub(super) fn look_for_sweep(&mut self, id: JobId) {
        let Some(sweep) = self.peers.sweeps.of.get_mut(&id) else { return };
        if !sweep.asked.is_empty() {
            sweep.again = true;
            return;
        }
        sweep.asked.clone_from(&sweep.nodes);
        (sweep.retained, sweep.balance, sweep.again) = (false, 0, false);
        for node in sweep.nodes.clone() {
            self.tell(node, Message::WhatIsHeld(id));
        }
        self.sweep_if_all_answered(id);
    }

    /// The node of a job's root asks what is held of it here.
    pub(super) fn say_what_is_held(&mut self, from: NodeId, id: JobId) {
        let (retains, balance) = self.what_is_held(id);
        self.tell(from, Message::Held { job: id, retains, balance });
    }

    fn what_is_held(&mut self, id: JobId) -> (bool, u64) {
        let is_of_job = |object: &ObjectId| self.objects.get(object).is_some_and(|object| object.job == id);
        let (balance, moves) = self.peers.references.balance(self.id, is_of_job);
        // An ended job is here as long as a detached actor of it goes on.
        let is_here = self.jobs.get(&id).is_some_and(|job| job.has_detached() || !job.is_reported());
        let retains = is_here || moves || self.retains_objects_of(id);
        if retains && self.peers.sweeps.retained.len() < SWEEPS_MAX {
            self.peers.sweeps.retained.insert(id);
        }
        (retains, balance)
    }

    /// What a node holds of a job.
    pub(super) fn held_at(&mut self, from: NodeId, id: JobId, retains: bool, balance: u64) {
        let Some(sweep) = self.peers.sweeps.of.get_mut(&id) else { return };
        if sweep.asked.remove(&from) {
            sweep.retained |= retains;
            sweep.balance = sweep.balance.wrapping_add(balance);
            self.sweep_if_all_answered(id);
        }
    }

    fn sweep_if_all_answered(&mut self, id: JobId) {
        let (retains, balance) = self.what_is_held(id);
        let Some(sweep) = self.peers.sweeps.of.get_mut(&id) else { return };
        if !sweep.asked.is_empty() {
            return;
        }
        if sweep.again {
            return self.look_for_sweep(id);
        }
        if retains || sweep.retained || sweep.balance.wrapping_add(balance) != 0 {
            return;
        }
        let nodes = std::mem::take(&mut sweep.nodes);
        self.peers.sweeps.of.remove(&id);
        self.peers.sweeps.retained.remove(&id);
        for node in nodes {
            self.tell(node, Message::SweepJob(id));
        }
        self.peers.sweeping.push(id);
    }

    /// Something of a job that has ended was let go here, and objects of it are left.
    pub(in crate::node) fn say_less_is_held(&mut self, id: JobId) {
        if self.peers.sweeps.of.contains_key(&id) {
            return self.look_for_sweep(id);
        }
        let Some(home) = self.peers.ended_jobs.home_of(id) else { return };
        if self.objects.values().any(|object| object.job == id) {
            self.tell(home, Message::LessIsHeld(id));
        }
    }

    /// A job has gone for good: what it held of others it holds no more.
    pub(in crate::node) fn look_at_retained(&mut self) {
        for id in std::mem::take(&mut self.peers.sweeps.retained) {
            if !self.ended_jobs.contains(&id) {
                self.ended_jobs.push(id);
            }
        }
    }

    /// A node is dead: it holds nothing, and answers nothing.
    pub(super) fn nothing_is_held_by(&mut self, dead: NodeId) {
        let sweeps = self.peers.sweeps.of.iter_mut();
        let had = |(id, sweep): (&JobId, &mut Sweep)| {
            sweep.asked.remove(&dead);
            // What it has answered counts no more.
            sweep.nodes.remove(&dead).then(|| {
                sweep.again = true;
                *id
            })
        };
        let jobs: Vec<JobId> = sweeps.filter_map(had).collect();
        for id in jobs {
            self.look_for_sweep(id);
        }
    }
}
