//! Changes which nodes a cluster has.

use std::time::Duration;

use engine_proto::convert::duration;
use engine_proto::v1::{DrainRequest, DrainResponse};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// Has a node leave in order, and says how far it is. Asked again, the shorter deadline counts, so that
    /// asking without one only looks. NOT_FOUND when there is no such node, INVALID_ARGUMENT when it is dead.
    pub async fn drain(&self, node: impl Into<String>, deadline: Option<Duration>) -> Result<DrainResponse> {
        let request = DrainRequest { node_id: node.into(), deadline: deadline.map(duration) };
        Ok(self.nodes().drain(request).await.map_err(self.failed())?.into_inner())
    }
}
