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
        self.ask_to_drain(node.into(), deadline, false).await
    }

    /// The same, and one that is dead counts as having left: it does not come back by the certificate that it has.
    pub async fn drain_or_revoke(
        &self,
        node: impl Into<String>,
        deadline: Option<Duration>,
    ) -> Result<DrainResponse> {
        self.ask_to_drain(node.into(), deadline, true).await
    }

    async fn ask_to_drain(
        &self,
        node_id: String,
        deadline: Option<Duration>,
        revoke: bool,
    ) -> Result<DrainResponse> {
        let request = DrainRequest { node_id, deadline: deadline.map(duration), revoke };
        Ok(self.nodes().drain(request).await.map_err(self.failed())?.into_inner())
    }
}
