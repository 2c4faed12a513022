use std::sync::Arc;

use engine_proto::v1::handshake_server::Handshake;
use engine_proto::v1::{HelloRequest, HelloResponse};
use engine_proto::version;
use tonic::{Request, Response, Status};

use super::answer;
use crate::backend::Backend;

/// Says who we are, to those we understand.
pub(crate) struct HandshakeService<B> {
    pub(crate) backend: Arc<B>,
}

#[tonic::async_trait]
impl<B: Backend> Handshake for HandshakeService<B> {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        answer(version::check(request.get_ref().protocol).map(|()| HelloResponse {
            protocol: version::PROTOCOL,
            version: version::VERSION.to_owned(),
            node_id: self.backend.node_id().to_string(),
            outlived_by_jobs: self.backend.is_outlived_by_jobs(),
        }))
    }
}
