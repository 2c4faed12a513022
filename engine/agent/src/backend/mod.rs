//! What a node answers to clients.

mod components;
mod jobs;
mod state;
mod submit;
mod views;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine_core::{ComponentId, Error, ErrorCode, JobId, NodeId, TaskId, TenantName};
use engine_net::{Backend, ClientMessages, JobKey, LogsQuery, Replies, StateKey, WatchQuery};
use engine_proto::filter::Filters;
use engine_proto::v1;

use crate::client;
use crate::driver::Driver;

pub(crate) use components::{load as load_component, load_on_demand};
pub(crate) use jobs::{known as known_jobs, live as job_progress};
pub(crate) use submit::{start_job, submit as submit_job};
pub(crate) use watch::logs as follow_logs;

/// A node as its clients see it.
pub struct NodeBackend {
    driver: Arc<Driver>,
    progress_interval: Duration,
}

impl NodeBackend {
    pub(crate) fn new(driver: Arc<Driver>, progress_interval: Duration) -> Self {
        Self { driver, progress_interval }
    }
}

#[async_trait]
impl Backend for NodeBackend {
    fn node_id(&self) -> NodeId {
        self.driver.read(|node| node.id())
    }

    async fn missing(&self, components: Vec<ComponentId>) -> Result<Vec<ComponentId>, Error> {
        Ok(components::missing(&self.driver, components))
    }

    async fn upload(&self, component: ComponentId, bytes: Bytes) -> Result<v1::ComponentInfo, Error> {
        components::upload(&self.driver, component, bytes).await
    }

    async fn keep(&self, component: ComponentId, bytes: Bytes) -> Result<v1::ComponentInfo, Error> {
        self.driver.head.components().insert(component, &bytes)?;
        Ok(engine_proto::convert::kept(component, bytes.len() as u64))
    }

    async fn submit(&self, spec: v1::JobSpec) -> Result<v1::JobView, Error> {
        if let Ok(network) = self.driver.network() {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "this is a node of a cluster: submit jobs to its head, --address {}",
                    network.options.head
                ),
            ));
        }
        submit::submit(&self.driver, TenantName::default(), spec).await
    }

    async fn get_job(&self, job: JobKey) -> Result<v1::JobView, Error> {
        jobs::get(&self.driver, &job)
    }

    async fn list_jobs(&self, limit: usize) -> Result<v1::ListJobsResponse, Error> {
        Ok(jobs::list(&self.driver, limit))
    }

    async fn stop_job(&self, job: JobKey) -> Result<v1::JobView, Error> {
        jobs::stop(&self.driver, &job).await
    }

    async fn delete_job(&self, job: JobKey) -> Result<(), Error> {
        jobs::delete(&self.driver, &job)
    }

    async fn watch_job(&self, job: JobKey, query: WatchQuery) -> Result<Replies<v1::JobEvent>, Error> {
        watch::job(&self.driver, &job, query, self.progress_interval)
    }

    async fn logs(&self, job: JobKey, query: LogsQuery) -> Result<Replies<v1::LogBatch>, Error> {
        watch::logs(&self.driver, &job, query)
    }

    async fn list(&self, kind: v1::Kind, filters: Filters, limit: usize) -> Result<v1::ListResponse, Error> {
        Ok(state::list(&self.driver, kind, &filters, limit))
    }

    async fn get(&self, key: StateKey) -> Result<v1::View, Error> {
        state::get(&self.driver, &key)
    }

    async fn status(&self) -> Result<v1::StatusResponse, Error> {
        state::status(&self.driver)
    }

    async fn locate_client(&self, job: JobId) -> Result<v1::LocateClientResponse, Error> {
        client::locate(&self.driver, job)
    }

    async fn attach_client(&self, messages: ClientMessages) -> Result<Replies<v1::ClientReply>, Error> {
        self.driver.lines.attach(&self.driver, messages).await
    }

    async fn explain(&self, task: TaskId) -> Result<v1::Explanation, Error> {
        state::explain(&self.driver, task)
    }
}
