//! A node that does only what the head asks of it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use engine_core::{ComponentId, Error, ErrorCode, JobId, NodeId, TaskId};
use engine_net::cluster::{ClusterBackend as _, PeerBackend};
use engine_net::{
    Backend, Gate, JobKey, LogsQuery, Replies, Scope, Server, Services, StateKey, TcpSocket, WatchQuery,
};
use engine_proto::filter::Filters;
use engine_proto::v1::{self, head_message, node_message, node_reply, node_request};
use engine_proto::version;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::cluster::{ClusterHead, ClusterService};

#[derive(Default)]
struct Jobs {
    started: Vec<JobId>,
    views: Vec<v1::JobView>,
    /// What a start is answered with.
    refusal: Option<Error>,
    refusals: usize,
}

struct Served(NodeId, Mutex<Jobs>);

fn not_here<T>() -> Result<T, Error> {
    Err(Error::new(ErrorCode::NotFound, "this node has nothing of the kind"))
}

#[async_trait]
impl PeerBackend for Served {
    fn frame(&self, _: v1::PeerFrame) -> Result<(), Error> {
        Ok(())
    }

    fn grants(&self, _: JobId) -> Result<v1::JobGrants, Error> {
        not_here()
    }

    fn progress(&self, _: JobId) -> v1::JobProgress {
        v1::JobProgress::default()
    }

    async fn start_job(
        &self,
        job: JobId,
        _tenancy: engine_core::tenant::Tenancy,
        spec: v1::JobSpec,
        _secrets: std::collections::HashMap<String, String>,
        _policy: Option<v1::ComponentPolicy>,
    ) -> Result<v1::JobView, Error> {
        let mut jobs = self.1.lock();
        if let Some(error) = jobs.refusal.clone() {
            jobs.refusals += 1;
            return Err(error);
        }
        jobs.started.push(job);
        let view = v1::JobView {
            job_id: job.job().to_string(),
            run: job.run(),
            submission_id: spec.submission_id,
            name: spec.name,
            state: v1::JobState::Running.into(),
            ..v1::JobView::default()
        };
        jobs.views.push(view.clone());
        Ok(view)
    }
}

#[async_trait]
impl Backend for Served {
    fn node_id(&self) -> NodeId {
        self.0
    }

    async fn missing(&self, _: &Scope, _: Vec<ComponentId>) -> Result<Vec<ComponentId>, Error> {
        not_here()
    }

    async fn upload(
        &self,
        _: &Scope,
        _: ComponentId,
        _: Bytes,
        _: &[u8],
    ) -> Result<v1::ComponentInfo, Error> {
        not_here()
    }

    async fn submit(&self, _: &Scope, _: v1::JobSpec) -> Result<v1::JobView, Error> {
        not_here()
    }

    async fn get_job(&self, _: &Scope, job: JobKey) -> Result<v1::JobView, Error> {
        let JobKey::Id(id) = job else { return not_here() };
        let jobs = self.1.lock();
        let is_it = |view: &&v1::JobView| view.job_id == id.job().to_string() && view.run == id.run();
        jobs.views.iter().find(is_it).cloned().map_or_else(not_here, Ok)
    }

    async fn list_jobs(&self, _: &Scope, _: usize) -> Result<v1::ListJobsResponse, Error> {
        not_here()
    }

    async fn stop_job(&self, _: &Scope, _: JobKey) -> Result<v1::JobView, Error> {
        not_here()
    }

    async fn delete_job(&self, _: &Scope, _: JobKey) -> Result<(), Error> {
        Ok(())
    }

    async fn watch_job(&self, _: &Scope, _: JobKey, _: WatchQuery) -> Result<Replies<v1::JobEvent>, Error> {
        not_here()
    }

    async fn logs(&self, _: &Scope, _: JobKey, _: LogsQuery) -> Result<Replies<v1::LogBatch>, Error> {
        not_here()
    }

    async fn list(&self, _: &Scope, _: v1::Kind, _: Filters, _: usize) -> Result<v1::ListResponse, Error> {
        not_here()
    }

    async fn get(&self, _: &Scope, _: StateKey) -> Result<v1::View, Error> {
        not_here()
    }

    async fn status(&self, _: &Scope) -> Result<v1::StatusResponse, Error> {
        not_here()
    }

    async fn locate_client(&self, _: &Scope, _: JobId) -> Result<v1::LocateClientResponse, Error> {
        not_here()
    }

    async fn explain(&self, _: &Scope, _: TaskId) -> Result<v1::Explanation, Error> {
        not_here()
    }
}

/// A node: what it serves, whichever head it has.
pub(super) struct TestNode {
    pub id: NodeId,
    served: Arc<Served>,
    address: String,
    welcomed_by: Mutex<String>,
    _stop: oneshot::Sender<()>,
}

/// Its line to a head.
pub(super) struct TestLine {
    say: UnboundedSender<Result<v1::NodeMessage, Error>>,
    replies: Replies<v1::HeadMessage>,
    /// Who was no member any more when it joined.
    pub departed: Vec<String>,
}

impl TestNode {
    pub async fn start(n: u64) -> Self {
        let socket = TcpSocket::bind("127.0.0.1:0".parse().expect("an address"), None).await.expect("a port");
        let address = socket.address().to_string();
        let id = NodeId::from_bits(n, n << 32);
        let served = Arc::new(Served(id, Mutex::default()));
        let services = Services::new(served.clone(), Arc::new(Gate::for_tickets())).peer(served.clone());
        let (_stop, stopped) = oneshot::channel::<()>();
        let serve = Server::new().tcp(socket).run(services, async { drop(stopped.await) });
        tokio::spawn(serve);
        Self { id, served, address, welcomed_by: Mutex::default(), _stop }
    }

    pub fn member(&self) -> v1::Member {
        v1::Member {
            node_id: self.id.to_string(),
            total: Some(v1::Resources { cpus: 40_000, memory_bytes: 1 << 30, ..v1::Resources::default() }),
            address: self.address.clone(),
            ..v1::Member::default()
        }
    }

    /// Jobs that it was told to start, in order.
    pub fn started(&self) -> Vec<JobId> {
        self.served.1.lock().started.clone()
    }

    /// Starts are refused from now on, or not any more. Says how many were so far.
    pub fn refuse(&self, error: Option<Error>) -> usize {
        let mut jobs = self.served.1.lock();
        jobs.refusal = error;
        jobs.refusals
    }

    pub fn refusals(&self) -> usize {
        self.served.1.lock().refusals
    }

    /// Makes a line, and hears that it is welcome.
    pub async fn join(&self, head: &Arc<ClusterHead>) -> Result<TestLine, Error> {
        self.join_with(head, Vec::new()).await
    }

    pub async fn join_with(
        &self,
        head: &Arc<ClusterHead>,
        jobs: Vec<v1::KnownJob>,
    ) -> Result<TestLine, Error> {
        let (say, messages) = unbounded();
        let join = v1::Join {
            protocol: version::PROTOCOL,
            node: Some(self.member()),
            jobs,
            welcomed_by: self.welcomed_by.lock().clone(),
            ..v1::Join::default()
        };
        let message = v1::NodeMessage { message: Some(node_message::Message::Join(join)) };
        say.unbounded_send(Ok(message)).expect("it is heard");
        let replies = ClusterService(head.clone()).connect(messages.boxed()).await?;
        let mut line = TestLine { say, replies, departed: Vec::new() };
        let head_message::Message::Welcome(welcome) = line.next().await else { panic!("it is first") };
        *self.welcomed_by.lock() = welcome.head_id;
        line.departed = welcome.departed_node_ids;
        Ok(line)
    }
}

impl TestLine {
    /// What the head says next.
    pub async fn next(&mut self) -> head_message::Message {
        let message = self.replies.next().await.expect("the line goes on").expect("it is whole");
        message.message.expect("it says something")
    }

    /// The run that the head wants to be ended next.
    pub async fn end_run(&mut self) -> JobId {
        loop {
            if let head_message::Message::EndRun(run) = self.next().await {
                return run.run_id.parse().expect("an id");
            }
        }
    }

    pub fn say(&self, message: node_message::Message) {
        self.say.unbounded_send(Ok(v1::NodeMessage { message: Some(message) })).expect("it is heard");
    }

    /// A sign of life.
    pub fn beat(&self, version: u64) {
        let free = v1::Resources { cpus: 40_000 - version, ..v1::Resources::default() };
        self.say(node_message::Message::Load(v1::Load { free: Some(free), version }));
    }

    pub fn request(&self, id: u64, request: node_request::Request) {
        self.say(node_message::Message::Request(v1::NodeRequest { id, request: Some(request) }));
    }

    /// The answer to a request.
    pub async fn reply(&mut self, id: u64) -> node_reply::Reply {
        loop {
            if let head_message::Message::Reply(reply) = self.next().await
                && reply.id == id
            {
                return reply.reply.expect("it says something");
            }
        }
    }

    pub async fn ask(&mut self, id: u64, request: node_request::Request) -> node_reply::Reply {
        self.request(id, request);
        self.reply(id).await
    }
}
