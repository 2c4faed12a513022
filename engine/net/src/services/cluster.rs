use std::sync::Arc;

use bytes::Bytes;
use engine_core::{Error, ErrorCode};
use engine_proto::convert::component_id;
use engine_proto::error_from_status;
use engine_proto::limits::UPLOAD_CHUNK_BYTES_MAX;
use engine_proto::v1::cluster_server::Cluster;
use engine_proto::v1::{ComponentChunk, ComponentRequest, HeadMessage, NodeMessage};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{StatusStream, answer, stream};
use crate::backend::Replies;
use crate::cluster::ClusterBackend;

/// Takes nodes in.
pub(crate) struct ClusterService<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) stopping: CancellationToken,
}

impl<B: ClusterBackend> ClusterService<B> {
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

#[tonic::async_trait]
impl<B: ClusterBackend> Cluster for ClusterService<B> {
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
        let messages = request.into_inner().map(move |message| message.map_err(broken)).boxed();
        let replies = self.backend.connect(messages).await;
        answer(replies.map(|replies| stream(replies, self.stopping.clone())))
    }

    async fn component(
        &self,
        request: Request<ComponentRequest>,
    ) -> Result<Response<Self::ComponentStream>, Status> {
        let chunks = self.component(request.get_ref());
        answer(chunks.map(|chunks| stream(chunks, self.stopping.clone())))
    }
}
