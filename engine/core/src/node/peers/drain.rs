//! Nodes that drain: what others have there goes elsewhere, and what is here of others, if it is this one.
//!
//! Of another node its owner decides: tasks go there no more, actors that may restart leave when nothing is
//! inside, objects come here. Of this one: what others gave it and has not begun goes back, and once its
//! deadline has passed what runs is ended, which is no fault of its own and costs no retry.

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, InstanceId, NodeId, TaskId};
use crate::node::actor::Actor;
use crate::node::class::Class;
use crate::node::peers::Peers;
use crate::node::peers::message::{Message, PreemptedBy};
use crate::node::task::{Kind, Task};
use crate::node::{ClassKey, Effects, Node, TaskKey};
use crate::time::Time;
use crate::work::StopReason;

impl Peers {
    /// How many incarnations of other nodes' actors are here.
    pub fn hosted(&self) -> usize {
        self.hosting.incarnations.len()
    }

    /// Whether the others have heard all that this node had to say, and hold nothing by its word.
    pub fn are_told(&self) -> bool {
        self.hosting.incarnations.is_empty()
            && self.references.is_settled()
            && !self.sweeps.is_asking()
            && self.nodes.values().all(|peer| peer.session.unacknowledged() == 0)
    }
}

impl Node {
    // ---- another node drains ----

    pub(in crate::node) fn peer_drains(&mut self, now: Time, id: NodeId, fx: &mut Effects) {
        if self.peers.nodes.contains_key(&id) && self.peers.draining.insert(id) {
            self.plan_moves(id);
            self.move_actors(now, fx);
            self.schedule(now, fx);
        }
    }

    /// Whether a node, this one or another, is to leave.
    pub(in crate::node) fn is_leaving(&self, node: NodeId) -> bool {
        if node == self.id { self.is_draining() } else { self.peers.draining.contains(&node) }
    }

    /// Actors on nodes that drain leave as soon as nothing is inside, if they may restart and can elsewhere.
    pub(in crate::node) fn move_actors(&mut self, now: Time, fx: &mut Effects) {
        if self.peers.draining.is_empty() {
            return;
        }
        let goes = |actor: &Actor| {
            let host = actor.host.as_ref().filter(|host| !host.leaving && !host.ending);
            let drains = host.is_some_and(|host| self.peers.draining.contains(&host.node));
            drains && actor.may_restart() && self.could_run_on_one_that_stays(actor.class)
        };
        let mut ids: Vec<ActorId> =
            self.actors.iter().filter(|(_, actor)| goes(actor)).map(|(id, _)| *id).collect();
        // The order must be the same in every run.
        ids.sort();
        for id in ids {
            if let Some(host) = self.actors.get_mut(&id).and_then(|actor| actor.host.as_mut()) {
                host.leaving = true;
            }
            self.dispatch(now, id, fx);
        }
    }

    /// Whether a node that does not drain could run what is of a class, now or later.
    fn could_run_on_one_that_stays(&self, key: ClassKey) -> bool {
        let class = &self.classes[key];
        if class.group.is_some() {
            return self.has_bundle_that_stays(key);
        }
        let placement = &class.spec.options.placement;
        let is_here = !self.is_draining()
            && placement.strategy.allows(self.id)
            && self.total.covers(&class.needs)
            && placement.accepts(&self.labels);
        is_here || self.could_run_on_a_peer_that_stays(class)
    }

    fn could_run_on_a_peer_that_stays(&self, class: &Class) -> bool {
        let placement = &class.spec.options.placement;
        self.peers.nodes.iter().any(|(id, peer)| {
            placement.strategy.allows(*id)
                && !self.peers.draining.contains(id)
                && peer.total.covers(&class.needs)
                && placement.accepts(&peer.labels)
        })
    }

    /// Whether tasks of a class go elsewhere as this node drains: only if they can.
    pub(super) fn is_sent_away(&self, class: ClassKey) -> bool {
        self.is_draining() && self.could_run_on_a_peer_that_stays(&self.classes[class])
    }

    /// A node has ended an attempt that was in somebody's way: another follows, and costs nothing, unless
    /// the task is to be tried once only.
    pub(super) fn preempted(
        &mut self,
        now: Time,
        from: NodeId,
        (id, attempt): (TaskId, u32),
        by: PreemptedBy,
        fx: &mut Effects,
    ) {
        let Some(key) = self.away_at(from, id, attempt) else { return };
        self.come_back(key);
        match by {
            PreemptedBy::Share => {
                self.tasks[key].extra().was_preempted = true;
                let error = Error::new(ErrorCode::WorkerDied, "it was preempted");
                self.attempt_failed(now, key, error, fx);
            }
            PreemptedBy::Drain => {
                let message =
                    format!("{from}, the node that it ran on, was drained, and the deadline has passed");
                let error = Error::new(ErrorCode::NodeDied, message);
                if self.classes[self.tasks[key].class].retries().system == 0 {
                    return self.attempt_failed(now, key, error, fx);
                }
                self.counters.tasks_drained += 1;
                self.ended_for_others(now, key, error, fx);
            }
        }
    }

    /// The head has said that a node has left with nothing on it: what it was given since then it has never
    /// begun.
    pub fn node_left(&mut self, now: Time, left: NodeId, fx: &mut Effects) {
        let was_given =
            |task: &Task| task.away() == Some(left) && matches!(task.kind, Kind::Function | Kind::Create(_));
        let tasks = self.tasks.values().filter(|task| was_given(task));
        let tasks: Vec<(TaskId, u32)> = tasks.map(|task| (task.id, task.attempt)).collect();
        for (id, attempt) in tasks {
            self.refused(now, left, id, attempt, fx);
        }
        self.node_dead(now, left, fx);
    }

    // ---- this node drains ----

    /// What other nodes gave this one, and has not begun, goes back.
    pub(in crate::node) fn give_back_what_waits(&mut self, now: Time, fx: &mut Effects) {
        let waiting = self.tasks.iter().filter(|(_, task)| task.is_unbegun_of_another());
        let keys: Vec<TaskKey> = waiting.map(|(key, _)| key).collect();
        for key in keys {
            self.give_unbegun_back(now, key, fx);
        }
    }

    /// The deadline has passed: what runs here of other nodes ends, and they hear so.
    pub(in crate::node) fn preempt(&mut self, now: Time, fx: &mut Effects) {
        let runs = |task: &Task| task.owner().is_some() && matches!(task.kind, Kind::Function);
        let keys: Vec<TaskKey> =
            self.tasks.iter().filter(|(_, task)| runs(task)).map(|(key, _)| key).collect();
        for key in keys {
            if !self.tasks.contains_key(key) {
                continue;
            }
            self.cancel_descendants(now, key, false, fx);
            let Some(task) = self.tasks.get_mut(key) else { continue };
            let (id, attempt, owner) = (task.id, task.attempt, task.owner());
            task.extra().untold = true;
            if let Some(owner) = owner {
                self.tell(owner, Message::Preempted { task: id, attempt, by: PreemptedBy::Drain });
            }
            let error = Error::new(ErrorCode::TaskCancelled, "its node was drained");
            self.end_now(now, key, error, StopReason::Cancelled, fx);
        }
        let message =
            format!("{}, the node that it lived on, was drained, and the deadline has passed", self.id);
        let why = Error::new(ErrorCode::NodeDied, message);
        let incarnations = self.peers.hosting.incarnations.iter();
        let hosted: Vec<(ActorId, InstanceId)> = incarnations
            .filter_map(|(incarnation, hosted)| Some((incarnation.actor, hosted.instance?)))
            .collect();
        for (actor, sandbox) in hosted {
            self.lose_hosted(actor, sandbox, &why, fx);
        }
    }

    /// Whether something is here of other nodes that they have yet to hear of.
    pub(in crate::node) fn owes_others(&self) -> bool {
        let is_theirs = |task: &Task| {
            task.owner().is_some() && (task.behalf().is_some() || !matches!(task.kind, Kind::Call(_)))
        };
        self.peers.hosted() > 0
            || self.tasks.values().any(is_theirs)
            || self.peers.nodes.values().any(|peer| peer.session.unacknowledged() > 0)
    }
}
