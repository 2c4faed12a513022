//! A node that drains, and the head.

use std::sync::Arc;

use engine_core::{Error, NodeId};
use engine_proto::convert::duration;
use engine_proto::v1::{self, node_request};

use crate::cluster::{Membership, Network};
use crate::driver::Driver;

/// Tells the head that this node drains, if it does: it may not know, or not any more.
pub(crate) fn say_that_it_drains(driver: &Driver) {
    let Ok(network) = driver.network() else { return };
    let drains = driver.read(|node| node.is_draining());
    if drains {
        let left = driver.event(|node, now, _| node.drain_deadline(now));
        let drain = v1::DrainSelf { deadline: left.map(duration) };
        network.requests.tell(node_request::Request::Drain(drain));
    }
}

/// Asks the head to let this node go.
pub(crate) async fn leave(driver: Arc<Driver>, network: Arc<Network>, in_order: bool) {
    network.note_asked_to_leave();
    let leave = v1::LeaveCluster { in_order };
    if let Err(error) = network.requests.ask(node_request::Request::Leave(leave)).await {
        tracing::debug!(%error, "the head does not let this node go yet");
        driver.event(|node, now, fx| node.not_let_go(now, fx));
    }
}

impl Network {
    /// A node that has left is believed no more.
    pub(super) fn revoke(&self, node: NodeId) {
        if let Some(identity) = &self.options.identity {
            identity.revoke(node);
        }
    }

    /// The head was asked to let this node go: that it knows the node no more is its answer.
    fn note_asked_to_leave(&self) {
        *self.asked_to_leave.lock() = true;
    }

    /// Whether the head was asked, and there is no line on which it could answer.
    pub(crate) fn is_unheard(&self) -> bool {
        *self.asked_to_leave.lock() && !self.requests.has_line()
    }

    /// How this node stands when the head does not want it any more.
    pub(super) fn unwanted(&self, error: Error) -> Membership {
        match *self.asked_to_leave.lock() {
            true => Membership::Left,
            false => Membership::Refused(error),
        }
    }
}
