use std::sync::Arc;

use engine_proto::v1::handshake_server::Handshake;
use engine_proto::v1::{HelloRequest, HelloResponse};
use engine_proto::version;
use tonic::{Request, Response, Status};

use super::answer;
use crate::backend::Backend;

/// Says who we are, to those we understand.
pub(crate) struct HandshakeService {
    pub(crate) backend: Arc<dyn Backend>,
}

#[tonic::async_trait]
impl Handshake for HandshakeService {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        answer(version::check(request.get_ref().protocol).map(|()| HelloResponse {
            protocol: version::PROTOCOL,
            version: version::VERSION.to_owned(),
            node_id: self.backend.node_id().to_string(),
            outlived_by_jobs: self.backend.is_outlived_by_jobs(),
        }))
    }
}
