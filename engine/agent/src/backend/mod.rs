//! What a node answers to clients.

mod components;
mod jobs;
mod state;
mod submit;
mod tenants;
mod views;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine_core::tenant::TenantSpec;
use engine_core::{ComponentId, Error, ErrorCode, JobId, NodeId, TaskId, TenantName};
use engine_net::{
    Backend, ClientMessages, JobKey, LogsQuery, PolicyChange, Replies, Scope, StateKey, UsageRead,
    WatchQuery, policy,
};
use engine_proto::filter::Filters;
use engine_proto::v1;

use crate::client;
use crate::driver::Driver;

pub(crate) use components::{
    bytes as component_bytes, check_again, load as load_component, load_on_demand, world_for,
};
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

impl NodeBackend {
    /// UNSUPPORTED on a node of a cluster, whose head is elsewhere.
    fn head_here(&self) -> Result<(), Error> {
        match self.driver.network() {
            Err(_) => Ok(()),
            Ok(_) => Err(Error::new(
                ErrorCode::Unsupported,
                "this is a node of a cluster: what tenants may have, and their secrets, is said to its head",
            )),
        }
    }
}

#[async_trait]
impl Backend for NodeBackend {
    fn node_id(&self) -> NodeId {
        self.driver.read(|node| node.id())
    }

    async fn missing(&self, scope: &Scope, components: Vec<ComponentId>) -> Result<Vec<ComponentId>, Error> {
        Ok(components::missing(&self.driver, scope, components))
    }

    async fn upload(
        &self,
        scope: &Scope,
        component: ComponentId,
        bytes: Bytes,
        signature: &[u8],
    ) -> Result<v1::ComponentInfo, Error> {
        self.driver.head.check_upload(scope, component, &bytes, signature)?;
        components::upload(&self.driver, scope, component, bytes).await
    }

    async fn keep(
        &self,
        scope: &Scope,
        component: ComponentId,
        bytes: Bytes,
        signature: &[u8],
    ) -> Result<v1::ComponentInfo, Error> {
        self.driver.head.check_upload(scope, component, &bytes, signature)?;
        self.driver.head.components().insert(component, &bytes)?;
        self.driver.head.components().is_brought_by(scope, component);
        Ok(engine_proto::convert::kept(component, bytes.len() as u64))
    }

    async fn submit(&self, scope: &Scope, spec: v1::JobSpec) -> Result<v1::JobView, Error> {
        if let Ok(network) = self.driver.network() {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!(
                    "this is a node of a cluster: submit jobs to its head, --address {}",
                    network.options.head
                ),
            ));
        }
        submit::submit(&self.driver, scope, spec).await
    }

    async fn get_job(&self, scope: &Scope, job: JobKey) -> Result<v1::JobView, Error> {
        jobs::get(&self.driver, scope, &job)
    }

    async fn list_jobs(&self, scope: &Scope, limit: usize) -> Result<v1::ListJobsResponse, Error> {
        Ok(jobs::list(&self.driver, scope, limit))
    }

    async fn stop_job(&self, scope: &Scope, job: JobKey) -> Result<v1::JobView, Error> {
        jobs::stop(&self.driver, scope, &job).await
    }

    async fn delete_job(&self, scope: &Scope, job: JobKey) -> Result<(), Error> {
        jobs::delete(&self.driver, scope, &job)
    }

    async fn watch_job(
        &self,
        scope: &Scope,
        job: JobKey,
        query: WatchQuery,
    ) -> Result<Replies<v1::JobEvent>, Error> {
        watch::job(&self.driver, scope, &job, query, self.progress_interval)
    }

    async fn logs(
        &self,
        scope: &Scope,
        job: JobKey,
        query: LogsQuery,
    ) -> Result<Replies<v1::LogBatch>, Error> {
        watch::logs(&self.driver, scope, &job, query)
    }

    async fn list(
        &self,
        scope: &Scope,
        kind: v1::Kind,
        filters: Filters,
        limit: usize,
    ) -> Result<v1::ListResponse, Error> {
        Ok(state::list(&self.driver, scope, kind, &filters, limit))
    }

    async fn get(&self, scope: &Scope, key: StateKey) -> Result<v1::View, Error> {
        state::get(&self.driver, scope, &key)
    }

    async fn status(&self, scope: &Scope) -> Result<v1::StatusResponse, Error> {
        state::status(&self.driver, scope)
    }

    async fn set_tenant(&self, spec: TenantSpec, is_new: bool) -> Result<v1::TenantView, Error> {
        self.head_here()?;
        tenants::set(&self.driver, spec, is_new)
    }

    async fn delete_tenant(&self, name: TenantName) -> Result<(), Error> {
        self.head_here()?;
        self.driver.head.policies().deleted(&name, tenants::delete(&self.driver, &name))
    }

    async fn set_policy(
        &self,
        tenant: TenantName,
        change: PolicyChange,
    ) -> Result<v1::ComponentPolicy, Error> {
        self.head_here()?;
        self.driver.head.policies().change(&tenant, change).map(|own| policy(&tenant, &own))
    }

    async fn tenants(&self) -> Result<Vec<v1::TenantView>, Error> {
        self.head_here()?;
        Ok(self.driver.head.tenant_views())
    }

    async fn usage(&self, read: UsageRead) -> Result<v1::UsageResponse, Error> {
        self.head_here()?;
        Ok(tenants::usage(&self.driver, read))
    }

    async fn set_secret(&self, tenant: TenantName, name: &str, value: String) -> Result<(), Error> {
        self.head_here()?;
        self.driver.head.secrets().set(&tenant, name, value.into())
    }

    async fn delete_secret(&self, tenant: TenantName, name: &str) -> Result<(), Error> {
        self.head_here()?;
        self.driver.head.secrets().delete(&tenant, name)
    }

    async fn secrets(&self, tenant: TenantName) -> Result<Vec<v1::SecretView>, Error> {
        self.head_here()?;
        Ok(self.driver.head.secret_views(&tenant))
    }

    async fn locate_client(&self, scope: &Scope, job: JobId) -> Result<v1::LocateClientResponse, Error> {
        client::locate(&self.driver, scope, job)
    }

    async fn attach_client(
        &self,
        scope: &Scope,
        messages: ClientMessages,
    ) -> Result<Replies<v1::ClientReply>, Error> {
        self.driver.lines.attach(&self.driver, scope, messages).await
    }

    async fn explain(&self, scope: &Scope, task: TaskId) -> Result<v1::Explanation, Error> {
        state::explain(&self.driver, scope, task)
    }
}
