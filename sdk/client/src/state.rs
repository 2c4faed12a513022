//! Reads what there is in the engine.

use engine_proto::v1::{
    ExplainRequest, Explanation, Filter, GetRequest, Kind, ListRequest, ListResponse, StatusRequest,
    StatusResponse, View,
};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// What there is of a kind, at most `limit` of it (0: the engine's default), under conditions
    /// that all have to hold.
    pub async fn list(&self, kind: Kind, filters: Vec<Filter>, limit: u32) -> Result<ListResponse> {
        let request = ListRequest { kind: kind.into(), filters, limit };
        Ok(self.state().list(request).await.map_err(self.failed())?.into_inner())
    }

    /// One thing in full. NOT_FOUND when there is none.
    pub async fn get(&self, kind: Kind, id: impl Into<String>) -> Result<View> {
        let request = GetRequest { kind: kind.into(), id: id.into() };
        Ok(self.state().get(request).await.map_err(self.failed())?.into_inner())
    }

    /// The cluster at a glance.
    pub async fn status(&self) -> Result<StatusResponse> {
        Ok(self.state().status(StatusRequest {}).await.map_err(self.failed())?.into_inner())
    }

    /// Why a task is not running, or what became of it.
    pub async fn explain(&self, task: impl Into<String>) -> Result<Explanation> {
        let request = ExplainRequest { task_id: task.into() };
        Ok(self.state().explain(request).await.map_err(self.failed())?.into_inner())
    }
}
