use std::sync::Arc;

use engine_core::{Error, NodeId};
use engine_proto::convert::std_duration;
use engine_proto::v1::nodes_server::Nodes;
use engine_proto::v1::{DrainRequest, DrainResponse};
use tonic::{Request, Response, Status};

use super::access::asker;
use super::answer;
use crate::backend::Backend;
use crate::check;

/// Changes which nodes there are.
pub(crate) struct NodesService {
    pub(crate) backend: Arc<dyn Backend>,
}

impl NodesService {
    async fn drain(&self, request: Request<DrainRequest>) -> Result<DrainResponse, Error> {
        let (asks, request) = (asker(&request)?, request.into_inner());
        let negative = || Error::invalid_argument("the deadline is negative");
        let deadline = request.deadline.as_ref().map(|span| std_duration(span).ok_or_else(negative));
        let node: NodeId = check::id(&request.node_id)?;
        asks.about("node_id", node);
        asks.about("revoke", if request.revoke { "yes" } else { "" });
        self.backend.drain(node, deadline.transpose()?, request.revoke).await
    }
}

#[tonic::async_trait]
impl Nodes for NodesService {
    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        answer(self.drain(request).await)
    }
}
