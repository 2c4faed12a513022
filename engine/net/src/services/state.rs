use std::sync::Arc;

use engine_access::Scope;
use engine_core::Error;
use engine_proto::filter::Filters;
use engine_proto::status_from_error;
use engine_proto::v1::state_server::State;
use engine_proto::v1::{
    ExplainRequest, Explanation, GetRequest, Kind, ListRequest, ListResponse, StatusRequest, StatusResponse,
    View,
};
use tonic::{Request, Response, Status};

use super::access::asker;
use super::answer;
use crate::backend::Backend;
use crate::check;

/// Reads the state.
pub(crate) struct StateService {
    pub(crate) backend: Arc<dyn Backend>,
}

impl StateService {
    async fn list(&self, scope: &Scope, request: ListRequest) -> Result<ListResponse, Error> {
        let kind = request.kind();
        if kind == Kind::Unspecified {
            return Err(check::unspecified_kind());
        }
        let filters = Filters::new(kind, request.filters)?;
        self.backend.list(scope, kind, filters, check::limit(request.limit)?).await
    }
}

#[tonic::async_trait]
impl State for StateService {
    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        answer(self.list(asks.scope(), request.into_inner()).await)
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<View>, Status> {
        let get = async {
            let asks = asker(&request)?;
            let request = request.into_inner();
            self.backend.get(asks.scope(), check::state_key(request.kind(), request.id)?).await
        };
        answer(get.await)
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = async { self.backend.status(asker(&request)?.scope()).await };
        answer(status.await)
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<Explanation>, Status> {
        let explain = async {
            self.backend.explain(asker(&request)?.scope(), check::id(&request.get_ref().task_id)?).await
        };
        answer(explain.await)
    }
}
