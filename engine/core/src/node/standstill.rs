//! Nodes on which nothing goes on by itself. When all nodes of a cluster are such and one of them has work
//! that waits, it waits for ever: a deadlock (contract T2).
//!
//! A node alone sees that at once (`break_deadlock`). In a cluster the head finds out: each node says
//! that it stands still, and how much has changed there until then. A node that says so has nothing on its
//! way to others, for what they have not acknowledged counts as going on. So once every node has said so, and
//! later the same again, there was a moment at which all of them stood still with nothing between them; and
//! from there only somebody outside could have anything go on. The head names a node, and that node fails
//! what waits first, if nothing has changed there meanwhile.

use crate::node::{Effects, Node};
use crate::time::Time;

/// How a node stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standstill {
    /// How often anything has changed there; the same number twice: nothing has in between.
    pub changes: u64,
    /// Whether work waits there for what others hold.
    pub waits: bool,
}

/// Whose standstill a deadlock is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Node,
    Cluster,
}

impl Node {
    /// How this node stands still; none: something goes on here, will at a certain time, or is on its way to
    /// another node.
    pub fn standstill(&self) -> Option<Standstill> {
        let goes_on = self.something_goes_on()
            || self.groups.wait_for_the_head()
            || self.peers.has_unacknowledged()
            || self.clients.attached_roots > 0
            || self.is_draining();
        (!goes_on).then(|| Standstill { changes: self.changes, waits: self.has_waiting_work() })
    }

    /// All nodes stand still, this one after so many changes: fails what waits first here. False when
    /// something has changed meanwhile, or nothing waits.
    pub fn break_standstill(&mut self, now: Time, changes: u64, fx: &mut Effects) -> bool {
        let is_so = self.standstill().is_some_and(|still| still.waits && still.changes == changes);
        let is_broken = is_so && self.fail_first_in_line(now, Extent::Cluster, fx);
        if is_broken {
            self.schedule(now, fx);
        }
        is_broken
    }

    /// What the first in line needs, when any node will do for it.
    #[cfg(test)]
    pub(super) fn first_that_fits_anywhere(&self) -> Option<std::sync::Arc<crate::resources::Resources>> {
        let class = &self.classes[self.first_in_line()?];
        let placement = &class.spec.options.placement;
        let is_anywhere = class.group.is_none()
            && placement.labels.is_empty()
            && !matches!(placement.strategy, crate::options::Strategy::Node(..))
            && self.may_leave(class.queue.front()?.1);
        is_anywhere.then(|| class.needs.clone())
    }

    pub(super) fn has_waiting_work(&self) -> bool {
        self.tenants.tasks_in_line > 0 || self.any_resuming()
    }

    /// Whether a call runs, a sandbox ends, bytes move or a deadline comes.
    pub(super) fn something_goes_on(&self) -> bool {
        self.active_calls > 0
            || self.stopping.sandboxes > 0
            || self.storage.is_moving()
            || self.timers.any_pending()
    }
}
