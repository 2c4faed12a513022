use std::sync::Arc;

use bytes::Bytes;
use engine_core::{Error, ErrorCode};
use engine_proto::convert::component_id;
use engine_proto::limits::UPLOAD_CHUNK_BYTES_MAX;
use engine_proto::v1::cluster_server::Cluster;
use engine_proto::v1::{ComponentChunk, ComponentRequest, HeadMessage, NodeMessage, node_message};
use engine_proto::{error_from_status, status_from_error};
use engine_tls::{Name, Peer};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::access::{Asker, asker, caller};
use super::{StatusStream, answer, stream};
use crate::backend::Replies;
use crate::cluster::ClusterBackend;
use crate::faults::{self, Unanswered};

/// Takes nodes in.
pub(crate) struct ClusterService {
    pub(crate) backend: Arc<dyn ClusterBackend>,
    pub(crate) stopping: CancellationToken,
}

impl ClusterService {
    fn component(&self, request: &ComponentRequest) -> Result<Replies<ComponentChunk>, Error> {
        let bytes = self.backend.component(component_id(&request.digest)?)?;
        let chunk = move |at: usize| {
            let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
            let chunk = &rest[..rest.len().min(UPLOAD_CHUNK_BYTES_MAX)];
            Some((Ok(ComponentChunk { chunk: Bytes::copy_from_slice(chunk) }), at + chunk.len()))
        };
        Ok(futures::stream::unfold(0, move |at| std::future::ready(chunk(at))).boxed())
    }
}

type Messages = BoxStream<'static, Result<NodeMessage, Error>>;

/// What a node says, once it is clear that it says so of itself: its certificate names who joins.
async fn said_by(peer: Peer, asks: &Asker, mut messages: Messages) -> Result<Messages, Error> {
    let Some(first) = messages.next().await.transpose()? else { return Ok(messages) };
    if let Some(node_message::Message::Join(join)) = &first.message {
        let said = join.node.as_ref().map(|node| node.node_id.as_str()).unwrap_or_default();
        asks.about("node_id", said);
        if let Peer::Proven(Name::Node(proven)) = peer
            && said != proven.to_string()
        {
            return Err(Error::new(
                ErrorCode::PermissionDenied,
                format!(
                    "{proven} wants to join as {said:?}: a node joins as the one that its certificate names"
                ),
            ));
        }
    }
    Ok(futures::stream::once(std::future::ready(Ok(first))).chain(messages).boxed())
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    type JoinStream = StatusStream<HeadMessage>;
    type ComponentStream = StatusStream<ComponentChunk>;

    async fn join(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::JoinStream>, Status> {
        let broken = |status: Status| {
            error_from_status(&status)
                .unwrap_or_else(|| Error::new(ErrorCode::NodeDied, status.message().to_owned()))
        };
        let peer = caller(&request);
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        let mut messages = request.into_inner().map(move |message| message.map_err(broken)).boxed();
        let unanswered = Unanswered::default();
        if let Some(faults) = faults::installed() {
            messages = faults::to_head(faults, messages, unanswered.clone());
        }
        let mut replies = match said_by(peer, &asks, messages).await {
            Ok(messages) => self.backend.connect(messages).await,
            Err(error) => Err(error),
        };
        if let Some(faults) = faults::installed() {
            replies = replies.map(|replies| faults::from_head(faults, replies, unanswered));
        }
        answer(replies.map(|replies| stream("Cluster.Join", asks, replies, self.stopping.clone())))
    }

    async fn component(
        &self,
        request: Request<ComponentRequest>,
    ) -> Result<Response<Self::ComponentStream>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        let chunks = self.component(request.get_ref());
        answer(chunks.map(|chunks| stream("Cluster.Component", asks, chunks, self.stopping.clone())))
    }
}

#[cfg(test)]
mod tests {
    use engine_access::{Gate, Principal};
    use engine_core::NodeId;
    use engine_proto::v1::{Join, Member};

    use super::*;

    fn joins(node: NodeId) -> Messages {
        let member = Member { node_id: node.to_string(), ..Member::default() };
        let join = Join { node: Some(member), ..Join::default() };
        let message = NodeMessage { message: Some(node_message::Message::Join(join)) };
        futures::stream::iter([Ok(message), Ok(NodeMessage::default())]).boxed()
    }

    #[tokio::test]
    async fn a_node_joins_as_the_one_that_its_certificate_names() {
        let asks = Asker::new(Principal::operator(), Arc::new(Gate::in_memory()));
        let (one, other) = (NodeId::from_bits(1, 0), NodeId::from_bits(2, 0));
        for peer in [Peer::Local, Peer::Proven(Name::Node(one))] {
            let said = said_by(peer, &asks, joins(one)).await.expect("it is itself");
            assert_eq!(said.count().await, 2, "nothing is lost");
        }
        let Err(error) = said_by(Peer::Proven(Name::Node(other)), &asks, joins(one)).await else {
            panic!("it was let in")
        };
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
        assert!(error.message().contains(&other.to_string()), "{error}");
    }
}
