//! What a node answers to clients.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use engine_access::{PolicyChange, Scope};
use engine_core::ids::PlacementGroupId;
use engine_core::tenant::TenantSpec;
use engine_core::{
    ActorId, ComponentId, Error, ErrorCode, EventId, JobId, NodeId, ObjectId, TaskId, TenantName, Time,
};
use engine_proto::filter::Filters;
use engine_proto::v1;
use futures::Stream;

/// A stream of answers; an error is the last one.
pub type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

/// What a client that is attached says, until its connection breaks; an error is the last one.
pub type ClientMessages = Pin<Box<dyn Stream<Item = Result<v1::ClientMessage, Error>> + Send>>;

/// How a client names a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JobKey {
    /// By its id.
    Id(JobId),
    /// By the id under which it was submitted.
    Submission(String),
}

/// How a client names a thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StateKey {
    /// A job.
    Job(JobKey),
    /// A task or actor call.
    Task(TaskId),
    /// An actor.
    Actor(ActorId),
    /// An object.
    Object(ObjectId),
    /// A node.
    Node(NodeId),
    /// A placement group.
    PlacementGroup(PlacementGroupId),
    /// An event.
    Event(EventId),
}

/// Which log lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogsQuery {
    /// Only those of this task; none: of all.
    pub task: Option<TaskId>,
    /// Whether to go on with new lines until the job ends.
    pub follow: bool,
    /// Only the last so many of those that are kept; none: all.
    pub tail: Option<u64>,
}

/// From where on a job is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchQuery {
    /// The first log line wanted.
    pub next_sequence: u64,
    /// Whether the client is one that the job is bound to, as long as the stream lives.
    pub attach: bool,
}

/// Which records of usage are wanted: at most `USAGE_READ_RECORDS_MAX`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRead {
    /// Of this tenant alone; none: of all.
    pub tenant: Option<TenantName>,
    /// Only those whose periods end after this; none: all that are kept.
    pub since: Option<SystemTime>,
    /// Only those behind the one of this tenant that begins then, by the clock of who answers.
    pub after: Option<(TenantName, Time)>,
}

/// A node, as its clients see it: one method for each call of the services, whose semantics are
/// documented in `proto/engine/v1`. Requests were checked before: ids are well formed, sizes within
/// `engine_proto::limits`, a job's specification is complete, and whoever asks may. `scope`: what of the engine it
/// sees; of what is not in it the answer is that of what does not exist.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The node that answers.
    fn node_id(&self) -> NodeId;

    /// Whether jobs go on while this process is away.
    fn is_outlived_by_jobs(&self) -> bool {
        false
    }

    /// Which of these components are not here, in the order asked.
    async fn missing(&self, scope: &Scope, components: Vec<ComponentId>) -> Result<Vec<ComponentId>, Error>;

    /// Keeps a component, whose bytes are those of the id. INVALID_COMPONENT when it is none; PERMISSION_DENIED,
    /// before it is compiled, when whoever brings it may bring only what is signed or allowed. `signature`: empty
    /// when it has none.
    async fn upload(
        &self,
        scope: &Scope,
        component: ComponentId,
        bytes: Bytes,
        signature: &[u8],
    ) -> Result<v1::ComponentInfo, Error>;

    /// The same for one that jobs bring to be loaded on demand: it is kept without a look.
    async fn keep(
        &self,
        scope: &Scope,
        component: ComponentId,
        bytes: Bytes,
        signature: &[u8],
    ) -> Result<v1::ComponentInfo, Error> {
        self.upload(scope, component, bytes, signature).await
    }

    /// Starts a job, or gives the one that has this submission id. The name and the submission id
    /// may be empty. NOT_FOUND when a component was not uploaded.
    async fn submit(&self, scope: &Scope, spec: v1::JobSpec) -> Result<v1::JobView, Error>;

    /// One job.
    async fn get_job(&self, scope: &Scope, job: JobKey) -> Result<v1::JobView, Error>;

    /// The newest jobs, at most `limit`.
    async fn list_jobs(&self, scope: &Scope, limit: usize) -> Result<v1::ListJobsResponse, Error>;

    /// Stops a job.
    async fn stop_job(&self, scope: &Scope, job: JobKey) -> Result<v1::JobView, Error>;

    /// Forgets a job that has ended.
    async fn delete_job(&self, scope: &Scope, job: JobKey) -> Result<(), Error>;

    /// Follows a job. The last event is the view of the job in a final state, after all log lines.
    async fn watch_job(
        &self,
        scope: &Scope,
        job: JobKey,
        query: WatchQuery,
    ) -> Result<Replies<v1::JobEvent>, Error>;

    /// The log lines of a job.
    async fn logs(
        &self,
        scope: &Scope,
        job: JobKey,
        query: LogsQuery,
    ) -> Result<Replies<v1::LogBatch>, Error>;

    /// What there is of a kind, at most `limit`.
    async fn list(
        &self,
        scope: &Scope,
        kind: v1::Kind,
        filters: Filters,
        limit: usize,
    ) -> Result<v1::ListResponse, Error>;

    /// One thing.
    async fn get(&self, scope: &Scope, key: StateKey) -> Result<v1::View, Error>;

    /// The cluster at a glance.
    async fn status(&self, scope: &Scope) -> Result<v1::StatusResponse, Error>;

    /// Has a node of the cluster leave in order; how far it is. With `revoke` one that is dead counts as having
    /// left. Only the head of a cluster can.
    async fn drain(
        &self,
        node: NodeId,
        deadline: Option<Duration>,
        revoke: bool,
    ) -> Result<v1::DrainResponse, Error> {
        let _ = (node, deadline, revoke);
        let message = "there is no cluster here that a node could leave: ask its head (`engine head`, or `engine up --nodes N`)";
        Err(Error::new(ErrorCode::Unsupported, message))
    }

    /// Creates a tenant, or changes what it may have; `is_new`: ALREADY_EXISTS when it is there.
    async fn set_tenant(&self, spec: TenantSpec, is_new: bool) -> Result<v1::TenantView, Error> {
        let _ = (spec, is_new);
        Err(no_tenants())
    }

    /// Says which components a tenant's jobs may bring; what it is then.
    async fn set_policy(
        &self,
        tenant: TenantName,
        change: PolicyChange,
    ) -> Result<v1::ComponentPolicy, Error> {
        drop((tenant, change));
        Err(no_tenants())
    }

    /// Forgets what a tenant may have.
    async fn delete_tenant(&self, name: TenantName) -> Result<(), Error> {
        let _ = name;
        Err(no_tenants())
    }

    /// What tenants may have and use, by name.
    async fn tenants(&self) -> Result<Vec<v1::TenantView>, Error> {
        Err(no_tenants())
    }

    /// What tenants have consumed.
    async fn usage(&self, read: UsageRead) -> Result<v1::UsageResponse, Error> {
        let _ = read;
        Err(no_tenants())
    }

    /// Gives a tenant's secret a value.
    async fn set_secret(&self, tenant: TenantName, name: &str, value: String) -> Result<(), Error> {
        let _ = (tenant, name, value);
        Err(no_tenants())
    }

    /// Forgets a tenant's secret.
    async fn delete_secret(&self, tenant: TenantName, name: &str) -> Result<(), Error> {
        let _ = (tenant, name);
        Err(no_tenants())
    }

    /// The names of a tenant's secrets.
    async fn secrets(&self, tenant: TenantName) -> Result<Vec<v1::SecretView>, Error> {
        let _ = tenant;
        Err(no_tenants())
    }

    /// Which node the client of a job is to attach itself to. NOT_FOUND when the job has ended.
    async fn locate_client(&self, scope: &Scope, job: JobId) -> Result<v1::LocateClientResponse, Error>;

    /// Attaches a client, or brings one back, whose first message says which.
    async fn attach_client(
        &self,
        scope: &Scope,
        messages: ClientMessages,
    ) -> Result<Replies<v1::ClientReply>, Error> {
        drop((scope, messages));
        let message = "clients attach themselves to nodes: ask which one by Clients.Locate";
        Err(Error::new(ErrorCode::Unsupported, message))
    }

    /// Why a task is not running, or what became of it.
    async fn explain(&self, scope: &Scope, task: TaskId) -> Result<v1::Explanation, Error>;
}

/// Of what is none of tenants' business.
fn no_tenants() -> Error {
    Error::new(
        ErrorCode::Unsupported,
        "what tenants may have, and their secrets, is said to a head: ask that, or an engine of one node",
    )
}
