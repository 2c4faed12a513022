//! A head's way to one node: what clients ask of the head and the node knows.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;
use engine_access::Scope;
use engine_core::tenant::Tenancy;
use engine_core::{ComponentId, Error, JobId, NodeId};
use engine_proto::convert::{digest, isolation};
use engine_proto::limits::{MESSAGE_BYTES_MAX, UPLOAD_CHUNK_BYTES_MAX};
use engine_proto::v1;
use engine_proto::v1::components_client::ComponentsClient;
use engine_proto::v1::jobs_client::JobsClient;
use engine_proto::v1::peer_client::PeerClient;
use engine_proto::v1::state_client::StateClient;
use engine_proto::v1::upload_request::Part;
use engine_tls::{Expected, Identity};
use futures::StreamExt;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::backend::{Replies, WatchQuery};
use crate::cluster::{channel, error_of, request, request_for};

/// A head's way to one node. Every error is the node's own, or NODE_DIED when it is not reached.
#[derive(Clone)]
pub struct NodeClient {
    node: NodeId,
    channel: Channel,
}

impl NodeClient {
    /// A way to the node that serves there; with an identity by TLS. Nothing is said yet.
    pub fn new(node: NodeId, address: SocketAddr, identity: Option<Identity>) -> Self {
        Self { node, channel: channel(address, identity, Expected::Node(node)) }
    }

    fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn answer<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Error> {
        answer.map(Response::into_inner).map_err(|status| error_of(&status, &self.node.to_string()))
    }

    fn replies<T: Send + 'static>(
        &self,
        answer: Result<Response<Streaming<T>>, Status>,
    ) -> Result<Replies<T>, Error> {
        let who = self.node.to_string();
        let replies = self.answer(answer)?;
        Ok(replies.map(move |reply| reply.map_err(|status| error_of(&status, &who))).boxed())
    }

    /// Hands over a component. `policy`: what it has been found to be, with its signature.
    pub async fn upload(
        &self,
        id: ComponentId,
        bytes: Bytes,
        signature: &[u8],
        policy: Option<v1::ComponentPolicy>,
    ) -> Result<v1::ComponentInfo, Error> {
        let header = v1::UploadHeader {
            digest: digest(id),
            size_bytes: bytes.len() as u64,
            on_demand: false,
            signature: signature.to_vec(),
            policy,
        };
        let chunks = (0..bytes.len())
            .step_by(UPLOAD_CHUNK_BYTES_MAX)
            .map(move |at| Part::Chunk(bytes.slice(at..(at + UPLOAD_CHUNK_BYTES_MAX).min(bytes.len()))));
        let parts = std::iter::once(Part::Header(header))
            .chain(chunks)
            .map(|part| v1::UploadRequest { part: Some(part) });
        let parts = futures::stream::iter(parts.collect::<Vec<_>>());
        self.answer(ComponentsClient::new(self.channel.clone()).upload(request(parts)).await)
    }

    /// Starts a tenant's job there. `secrets`: the variables of the environment that it names secrets for; `policy`: what its
    /// components have been found to be.
    pub async fn start_job(
        &self,
        job: JobId,
        tenancy: &Tenancy,
        spec: v1::JobSpec,
        secrets: HashMap<String, String>,
        policy: Option<v1::ComponentPolicy>,
    ) -> Result<v1::JobView, Error> {
        let mut client = PeerClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let start = v1::StartJobRequest {
            job_id: job.to_string(),
            spec: Some(spec),
            tenant: tenancy.tenant.to_string(),
            secret_environment: secrets,
            isolation: isolation(tenancy.isolation).into(),
            policy,
        };
        self.answer(client.start(request(start)).await)
    }

    /// What the tasks of a job that this node owns are doing.
    pub async fn progress(&self, job: JobId) -> Result<v1::JobProgress, Error> {
        let mut client = PeerClient::new(self.channel.clone());
        self.answer(client.progress(request(v1::ProgressRequest { job_id: job.to_string() })).await)
    }

    /// One job.
    pub async fn job(&self, job: JobId) -> Result<v1::JobView, Error> {
        self.answer(self.jobs().get(request(v1::GetJobRequest { job_id: job.to_string() })).await)
    }

    /// Stops a job.
    pub async fn stop_job(&self, job: JobId) -> Result<v1::JobView, Error> {
        self.answer(self.jobs().stop(request(v1::StopJobRequest { job_id: job.to_string() })).await)
    }

    /// Forgets a job that has ended.
    pub async fn delete_job(&self, job: JobId) -> Result<(), Error> {
        let asked = self.jobs().delete(request(v1::DeleteJobRequest { job_id: job.to_string() })).await;
        self.answer(asked).map(|_| ())
    }

    /// Follows a job.
    pub async fn watch_job(&self, job: JobId, query: WatchQuery) -> Result<Replies<v1::JobEvent>, Error> {
        let WatchQuery { next_sequence, attach } = query;
        let watch = v1::WatchJobRequest { job_id: job.to_string(), next_sequence, attach };
        self.replies(self.jobs().watch(request(watch)).await)
    }

    /// The log lines of a job.
    pub async fn logs(&self, logs: v1::LogsRequest) -> Result<Replies<v1::LogBatch>, Error> {
        self.replies(self.jobs().logs(request(logs)).await)
    }

    /// What there is of a kind on this node.
    pub async fn list(&self, scope: &Scope, list: v1::ListRequest) -> Result<v1::ListResponse, Error> {
        self.answer(self.state().list(request_for(scope, list)).await)
    }

    /// One thing.
    pub async fn get(&self, scope: &Scope, kind: v1::Kind, id: String) -> Result<v1::View, Error> {
        self.answer(self.state().get(request_for(scope, v1::GetRequest { kind: kind.into(), id })).await)
    }

    /// The node at a glance.
    pub async fn status(&self, scope: &Scope) -> Result<v1::StatusResponse, Error> {
        self.answer(self.state().status(request_for(scope, v1::StatusRequest {})).await)
    }

    /// Why a task is not running, or what became of it.
    pub async fn explain(&self, scope: &Scope, task_id: String) -> Result<v1::Explanation, Error> {
        self.answer(self.state().explain(request_for(scope, v1::ExplainRequest { task_id })).await)
    }
}
