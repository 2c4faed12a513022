use std::sync::Arc;

use engine_proto::status_from_error;
use engine_proto::v1::enrollment_server::Enrollment;
use engine_proto::v1::{EnrollRequest, EnrollResponse};
use engine_tls::JoinToken;
use tonic::{Request, Response, Status};

use super::access::{asker, caller};
use super::answer;
use crate::cluster::EnrollmentBackend;

/// Gives nodes their certificates.
pub(crate) struct EnrollmentService {
    pub(crate) backend: Arc<dyn EnrollmentBackend>,
}

#[tonic::async_trait]
impl Enrollment for EnrollmentService {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let peer = caller(&request);
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        asks.about("node_id", &request.get_ref().node_id);
        let token: Option<JoinToken> = request.get_ref().join_token.parse().ok();
        asks.about("join_token_id", token.map(|token| token.id()).unwrap_or_default());
        answer(self.backend.enroll(peer, request.into_inner()))
    }
}
