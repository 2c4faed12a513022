use std::sync::Arc;

use engine_proto::v1::enrollment_server::Enrollment;
use engine_proto::v1::{EnrollRequest, EnrollResponse};
use tonic::{Request, Response, Status};

use super::access::caller;
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
        answer(self.backend.enroll(peer, request.into_inner()))
    }
}
