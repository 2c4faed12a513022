use std::sync::Arc;

use engine_access::Principal;
use engine_core::{Error, ErrorCode};
use engine_proto::v1::clients_server::Clients;
use engine_proto::v1::{ClientMessage, ClientReply, LocateClientRequest, LocateClientResponse};
use engine_proto::{error_from_status, status_from_error};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::access::{Asker, asker};
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
        let locate = async {
            let asks = asker(&request)?;
            let job = check::id(&request.get_ref().job_id)?;
            asks.about("job_id", job);
            let mut found = self.backend.locate_client(asks.scope(), job).await?;
            // Elsewhere a token is not known, and is not shown.
            if asks.principal.token.is_some() && !found.address.is_empty() {
                found.ticket = asks.gate.ticket(&asks.principal, job)?;
            }
            Ok(found)
        };
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
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        let messages = request.into_inner().map(move |message| message.map_err(broken)).boxed();
        let replies = self.backend.attach_client(asks.scope(), messages).await;
        // A ticket is for the moment of the connection; a token lasts as long as the line.
        let asks = match asks.scope().job {
            Some(_) => Asker::new(Principal::operator(), asks.gate),
            None => asks,
        };
        answer(replies.map(|replies| stream("Clients.Attach", asks, replies, self.stopping.clone())))
    }
}
