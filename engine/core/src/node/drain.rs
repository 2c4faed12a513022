//! This node drains: it is to leave its cluster.
//!
//! It takes nothing new of others, and what of theirs waits here goes back. What runs may come to its end,
//! as long as there is time; then it is ended, and those whose it is hear so. Actors of other nodes are
//! moved by their owners, and so are objects that are kept here for others (`peers::drain`, `moves`). What
//! this node owns cannot go anywhere: jobs whose root tasks are here, actors that were created here, and
//! objects that others hold are waited for. When nothing is left, the node says that it may go.

use std::time::Duration;

use crate::ids::NodeId;
use crate::node::{Effect, Effects, Node};
use crate::time::Time;

/// When the head has not let the node go, it is asked again after so long.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How far this node is with leaving.
#[derive(Default)]
pub(super) struct Drain {
    is_on: bool,
    deadline: Option<Time>,
    /// The deadline has passed: when it goes, whatever is left.
    goes_at: Option<Time>,
    /// The head was told that it may go.
    was_asked: bool,
    ask_again_at: Option<Time>,
}

impl Drain {
    pub fn next_timer(&self) -> Option<Time> {
        let deadline = self.deadline.filter(|_| self.goes_at.is_none());
        let goes_at = self.goes_at.filter(|_| !self.was_asked);
        [deadline, goes_at, self.ask_again_at].into_iter().flatten().min()
    }
}

/// What is left on a node that drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainView {
    /// When what still runs is ended; none: it may take as long as it does.
    pub deadline: Option<Time>,
    /// Jobs whose root tasks are here.
    pub jobs: usize,
    /// Tasks and calls that have not ended, wherever they run if they are this node's own.
    pub tasks: usize,
    /// Actors that are alive: of this node, or that live here.
    pub actors: usize,
    /// Objects that are kept here, or are this node's own and held by somebody.
    pub objects: usize,
    /// Their bytes, of those above the inline bound.
    pub bytes: u64,
}

impl Node {
    /// The head has said that a node drains: this one, which has so long for that when there is a bound, or
    /// another.
    pub fn node_drains(&mut self, now: Time, id: NodeId, deadline: Option<Duration>, fx: &mut Effects) {
        match id == self.id {
            true => self.drain(now, deadline, fx),
            false => self.peer_drains(now, id, fx),
        }
    }

    /// This node is to leave. Said again, the shorter deadline counts.
    fn drain(&mut self, now: Time, deadline: Option<Duration>, fx: &mut Effects) {
        let asked = deadline.map(|by| now + by);
        let drain = &mut self.drain;
        drain.deadline = drain.deadline.into_iter().chain(asked).min();
        if !std::mem::replace(&mut drain.is_on, true) {
            while self.retire_oldest_warm(fx) {}
            self.give_back_what_waits(now, fx);
        }
        self.drain_timer(now, fx);
        self.arm_timer(fx);
        self.schedule(now, fx);
    }

    /// Whether this node drains.
    pub fn is_draining(&self) -> bool {
        self.drain.is_on
    }

    /// How long this node has to drain, when it does and there is a bound.
    pub fn drain_deadline(&self, now: Time) -> Option<Duration> {
        self.drain.deadline.map(|at| at.since(now))
    }

    /// The head has not let this node go: something is about to come.
    pub fn not_let_go(&mut self, now: Time, fx: &mut Effects) {
        self.drain.was_asked = false;
        self.drain.ask_again_at = Some(now + ASK_AGAIN_AFTER);
        self.arm_timer(fx);
    }

    pub(super) fn drain_timer(&mut self, now: Time, fx: &mut Effects) {
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if is_due(self.drain.ask_again_at) {
            self.drain.ask_again_at = None;
        }
        if is_due(self.drain.deadline) && self.drain.goes_at.is_none() {
            self.drain.goes_at = Some(now + self.limits.drain_grace_max);
            self.preempt(now, fx);
        }
    }

    /// Says that this node may go, once. Called after every event.
    pub(super) fn look_whether_drained(&mut self, now: Time, fx: &mut Effects) {
        let drain = &self.drain;
        if !drain.is_on || drain.was_asked || drain.ask_again_at.is_some() {
            return;
        }
        let in_order = self.is_vacant();
        let is_over = drain.goes_at.is_some_and(|at| at <= now || !self.owes_others());
        if in_order || is_over {
            self.drain.was_asked = true;
            fx.push(Effect::Leave { in_order });
        }
    }

    /// Whether nothing is on this node that anybody would miss.
    fn is_vacant(&self) -> bool {
        self.tasks.is_empty()
            && self.instances.is_empty()
            && self.objects.is_empty()
            && self.streams.is_empty()
            && self.jobs.values().all(|job| job.home.is_some())
            && self.actors.values().all(|actor| actor.is_dead() && !actor.has_incarnation())
            && self.has_no_bundles()
            && self.peers.are_told()
    }

    pub(super) fn drain_view(&self) -> Option<DrainView> {
        self.is_draining().then(|| DrainView {
            deadline: self.drain.deadline,
            jobs: self.jobs.values().filter(|job| job.home.is_none()).count(),
            tasks: self.tasks.len(),
            actors: self.actors.values().filter(|actor| !actor.is_dead()).count() + self.peers.hosted(),
            objects: self.objects.len(),
            bytes: self.storage.arena_bytes + self.storage.spilled_bytes,
        })
    }
}
