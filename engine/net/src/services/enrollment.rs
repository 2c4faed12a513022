use std::sync::Arc;

use engine_proto::v1::enrollment_server::Enrollment;
use engine_proto::v1::{EnrollRequest, EnrollResponse};
use tonic::{Request, Response, Status};

use super::access::caller;
use super::answer;
use crate::cluster::EnrollmentBackend;

/// Gives nodes their certificates.
pub(crate) struct EnrollmentService<B> {
    pub(crate) backend: Arc<B>,
}

#[tonic::async_trait]
impl<B: EnrollmentBackend> Enrollment for EnrollmentService<B> {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let peer = caller(&request);
        answer(self.backend.enroll(peer, request.into_inner()))
    }
}
