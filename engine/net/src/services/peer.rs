use std::sync::Arc;

use engine_core::Error;
use engine_proto::status_from_error;
use engine_proto::v1::peer_server::Peer;
use engine_proto::v1::{GrantsRequest, JobGrants, JobView, PeerFrame, SendResponse, StartJobRequest};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::answer;
use crate::check;
use crate::cluster::PeerBackend;

/// Takes what other nodes send.
pub(crate) struct PeerService<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl<B: PeerBackend> Peer for PeerService<B> {
    async fn send(&self, request: Request<Streaming<PeerFrame>>) -> Result<Response<SendResponse>, Status> {
        let mut frames = request.into_inner();
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame,
                () = self.stopping.cancelled() => None,
            };
            match frame {
                None => return Ok(Response::new(SendResponse {})),
                Some(Err(status)) => return Err(status),
                Some(Ok(frame)) => {
                    self.backend.frame(frame).map_err(|error| status_from_error(&error))?;
                }
            }
        }
    }

    async fn grants(&self, request: Request<GrantsRequest>) -> Result<Response<JobGrants>, Status> {
        answer(check::id(&request.get_ref().job_id).and_then(|job| self.backend.grants(job)))
    }

    async fn start(&self, request: Request<StartJobRequest>) -> Result<Response<JobView>, Status> {
        let start = async {
            let StartJobRequest { job_id, spec } = request.into_inner();
            let spec = spec.ok_or_else(|| Error::invalid_argument("the request has no specification"))?;
            check::job_spec(&spec)?;
            self.backend.start_job(check::id(&job_id)?, spec).await
        };
        answer(start.await)
    }
}
