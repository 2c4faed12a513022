//! Nodes that leave in order, as operators or they themselves ask for.

use std::time::Duration;

use engine_core::head::NodeStanding;
use engine_core::{Error, ErrorCode, NodeId};
use engine_net::Scope;
use engine_proto::convert::std_duration;
use engine_proto::v1::{self, view};

use crate::cluster::ClusterHead;

impl ClusterHead {
    /// Has a node leave; how far it is. With `revoke` one that is dead counts as having left.
    pub(super) async fn drain(
        &self,
        id: NodeId,
        deadline: Option<Duration>,
        revoke: bool,
    ) -> Result<v1::DrainResponse, Error> {
        let (standing, nodes_that_stay) = self.event(|core, now, fx| {
            if revoke {
                core.revoke(id, fx);
            }
            core.drain(now, id, deadline, fx)?;
            Ok::<_, Error>((core.standing(id), core.nodes_that_stay().count() as u64))
        })?;
        let left = match standing {
            Some(NodeStanding::Draining(_)) => self.left_on(id).await,
            _ => None,
        };
        let state = match standing {
            Some(NodeStanding::Draining(_) | NodeStanding::Alive) => v1::NodeState::Draining,
            Some(NodeStanding::Left) => v1::NodeState::Left,
            Some(NodeStanding::Dead) | None => v1::NodeState::Dead,
        };
        Ok(v1::DrainResponse { state: state.into(), left, nodes_that_stay })
    }

    /// What is left on a node that drains, as it says; none when it does not answer.
    async fn left_on(&self, id: NodeId) -> Option<v1::NodeDrain> {
        let client = self.client(id).ok()?;
        match client.get(&Scope::ALL, v1::Kind::Node, id.to_string()).await.ok()?.view? {
            view::View::Node(node) => node.drain,
            _ => None,
        }
    }

    /// A node wants to leave.
    pub(super) fn drain_self(&self, from: NodeId, drain: &v1::DrainSelf) -> Result<(), Error> {
        let negative = || Error::invalid_argument("DrainSelf.deadline is negative");
        let deadline = drain.deadline.as_ref().map(|span| std_duration(span).ok_or_else(negative));
        let deadline = deadline.transpose()?;
        self.event(|core, now, fx| core.drain(now, from, deadline, fx))
    }

    /// A node that drains may go.
    pub(super) fn let_go(&self, from: NodeId, in_order: bool) -> Result<(), Error> {
        match self.event(|core, now, fx| core.let_go(now, from, in_order, fx)) {
            true => Ok(()),
            false => Err(Error::new(
                ErrorCode::Unschedulable,
                format!("{from} cannot go yet: a job was given to it before it drained"),
            )),
        }
    }
}
