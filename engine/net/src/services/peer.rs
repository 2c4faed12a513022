use std::sync::Arc;

use engine_core::Error;
use engine_core::tenant::Tenancy;
use engine_proto::v1::peer_server::Peer;
use engine_proto::v1::{GrantsRequest, JobGrants, JobProgress, JobView, ProgressRequest, StartJobRequest};
use tonic::{Request, Response, Status};

use super::answer;
use crate::check;
use crate::cluster::PeerBackend;

/// Answers what other nodes and the head ask.
pub(crate) struct PeerService {
    pub(crate) backend: Arc<dyn PeerBackend>,
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn grants(&self, request: Request<GrantsRequest>) -> Result<Response<JobGrants>, Status> {
        answer(check::id(&request.get_ref().job_id).and_then(|job| self.backend.grants(job)))
    }

    async fn progress(&self, request: Request<ProgressRequest>) -> Result<Response<JobProgress>, Status> {
        answer(check::id(&request.get_ref().job_id).map(|job| self.backend.progress(job)))
    }

    async fn start(&self, request: Request<StartJobRequest>) -> Result<Response<JobView>, Status> {
        let start = async {
            let StartJobRequest { job_id, spec, tenant, secret_environment, policy, isolation } =
                request.into_inner();
            let spec = spec.ok_or_else(|| Error::invalid_argument("the request has no specification"))?;
            check::job_spec(&spec)?;
            let tenant = engine_proto::convert::tenant(&tenant, "StartJobRequest.tenant")?;
            let isolation = engine_proto::convert::isolation_from(isolation, "StartJobRequest.isolation")?;
            let tenancy = Tenancy { tenant, isolation };
            self.backend.start_job(check::id(&job_id)?, tenancy, spec, secret_environment, policy).await
        };
        answer(start.await)
    }
}
