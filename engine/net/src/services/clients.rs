use std::sync::Arc;

use engine_core::{Error, ErrorCode};
use engine_proto::error_from_status;
use engine_proto::v1::clients_server::Clients;
use engine_proto::v1::{ClientMessage, ClientReply, LocateClientRequest, LocateClientResponse};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{StatusStream, answer, stream};
use crate::backend::Backend;
use crate::check;

/// Programs outside that are roots of jobs.
pub(crate) struct ClientsService {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl Clients for ClientsService {
    type AttachStream = StatusStream<ClientReply>;

    async fn locate(
        &self,
        request: Request<LocateClientRequest>,
    ) -> Result<Response<LocateClientResponse>, Status> {
        let locate = async { self.backend.locate_client(check::id(&request.get_ref().job_id)?).await };
        answer(locate.await)
    }

    async fn attach(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let broken = |status: Status| {
            error_from_status(&status)
                .unwrap_or_else(|| Error::new(ErrorCode::NodeDied, status.message().to_owned()))
        };
        let messages = request.into_inner().map(move |message| message.map_err(broken)).boxed();
        let replies = self.backend.attach_client(messages).await;
        answer(replies.map(|replies| stream("Clients.Attach", replies, self.stopping.clone())))
    }
}
