//! Nodes that drain: they take no new work, move what they can, and are let go when nothing is on them, or
//! when their deadline has passed.
//!
//! When a node is empty it says itself; what becomes of its actors and objects their owners decide. The
//! head places nothing there any more, has the bundles of placement groups placed elsewhere, and keeps
//! account: a head that comes back goes on with the drain.

use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::head::nodes::Departure;
use crate::head::{Effect, Head, NodeStanding, Notice};
use crate::ids::NodeId;
use crate::time::Time;

/// How a node drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drain {
    /// When what still runs there is ended; none: it may take as long as it does.
    pub deadline: Option<Time>,
}

impl Drain {
    fn left(self, now: Time) -> Option<Duration> {
        self.deadline.map(|at| at.since(now))
    }
}

impl Head {
    /// Has a node leave. Asked again, the shorter deadline counts; of one that has left already nothing is
    /// done.
    ///
    /// # Errors
    /// NOT_FOUND when there is no such node, INVALID_ARGUMENT when it is dead.
    pub fn drain(
        &mut self,
        now: Time,
        id: NodeId,
        deadline: Option<Duration>,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        self.tell_of_joins(now, fx);
        let Some(drain) = self.nodes.drain_of(id) else { return self.check_may_drain(id) };
        let known = *drain;
        let asked = deadline.map(|by| now + by);
        let deadline = known.and_then(|known| known.deadline).into_iter().chain(asked).min();
        let new = Drain { deadline };
        if drain.replace(new) == Some(new) {
            return Ok(());
        }
        self.nodes.changed.note(id);
        self.note_drain(now, id, new.left(now));
        fx.push(Effect::Tell(id, Notice::Draining(id, new.left(now))));
        if known.is_none() {
            let others = self.nodes.ids().filter(|other| *other != id);
            fx.extend(others.map(|other| Effect::Tell(other, Notice::Draining(id, None))));
            self.groups.vacate(id, fx);
            self.groups_changed(now, fx);
            self.note_groups(now);
        }
        self.arm(fx);
        Ok(())
    }

    fn check_may_drain(&self, id: NodeId) -> Result<(), Error> {
        match self.standing(id) {
            Some(NodeStanding::Left) => Ok(()),
            Some(_) => Err(Error::invalid_argument(format!(
                "{id} is dead: nothing is left on it to drain, and what ran there runs elsewhere"
            ))),
            None => Err(Error::new(
                ErrorCode::NotFound,
                format!("there is no {id} in this cluster: `engine list nodes` shows those there are"),
            )),
        }
    }

    /// A node that drains says that nothing is on it any more (`in_order`), or that its deadline has passed:
    /// it is let go. False: not yet, as a job was given to it before, whose root task is about to come.
    pub fn let_go(&mut self, now: Time, id: NodeId, in_order: bool, fx: &mut Vec<Effect>) -> bool {
        match self.standing(id) {
            Some(NodeStanding::Draining(_)) => {}
            Some(NodeStanding::Alive) => return false,
            Some(NodeStanding::Left | NodeStanding::Dead) | None => return true,
        }
        if in_order && self.jobs.values().any(|job| job.home == Some(id) && !job.state.is_end()) {
            return false;
        }
        let why = match in_order {
            true => "it was drained, and has left",
            false => "it was drained, and its deadline has passed",
        };
        self.depart(now, id, why, Departure::Left { in_order }, fx);
        self.arm(fx);
        true
    }

    /// A node has joined, or come back: it is told who drains, and the others whether it does.
    pub(super) fn tell_of_drains(&self, now: Time, joined: NodeId, fx: &mut Vec<Effect>) {
        for id in self.nodes.draining() {
            let Some(NodeStanding::Draining(drain)) = self.standing(id) else { continue };
            if id != joined {
                fx.push(Effect::Tell(joined, Notice::Draining(id, None)));
                continue;
            }
            fx.push(Effect::Tell(id, Notice::Draining(id, drain.left(now))));
            let others = self.nodes.ids().filter(|other| *other != id);
            fx.extend(others.map(|other| Effect::Tell(other, Notice::Draining(id, None))));
        }
    }
}
