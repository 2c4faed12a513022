//! What the head of a cluster answers to clients.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use engine_core::events::Event;
use engine_core::head::NodeStanding;
use engine_core::tenant::{Isolation, TenantSpec};
use engine_core::{ComponentId, Error, ErrorCode, JobId, NodeId, TaskId, TenantName, Time};
use engine_net::cluster::NodeClient;
use engine_net::{
    Backend, JobKey, LogsQuery, PolicyChange, Replies, Scope, StateKey, UsageRead, WatchQuery, policy,
};
use engine_proto::convert::event_view;
use engine_proto::filter::Filters;
use engine_proto::v1;
use futures::future::join_all;

use crate::cluster::{Clock, ClusterHead, merge};
use crate::node_for;

/// How often all nodes are asked to try a component, when none answers.
const UPLOAD_ROUNDS_MAX: u32 = 20;
const UPLOAD_PAUSE: Duration = Duration::from_millis(100);

/// The head of a cluster as clients see it.
pub struct ClusterBackend(pub Arc<ClusterHead>);

#[async_trait]
impl Backend for ClusterBackend {
    fn node_id(&self) -> NodeId {
        self.0.id
    }

    fn is_outlived_by_jobs(&self) -> bool {
        true
    }

    async fn missing(&self, scope: &Scope, components: Vec<ComponentId>) -> Result<Vec<ComponentId>, Error> {
        let registry = self.0.head.components();
        Ok(components.into_iter().filter(|id| !registry.is_there_for(scope, *id)).collect())
    }

    async fn upload(
        &self,
        scope: &Scope,
        component: ComponentId,
        bytes: Bytes,
        signature: &[u8],
    ) -> Result<v1::ComponentInfo, Error> {
        self.0.head.check_upload(scope, component, &bytes, signature)?;
        // What is wrong with it is heard when a job begins: it is compiled in processes of the tenant's alone.
        if self.0.head.tenancy(&scope.submitter()).isolation == Isolation::Process {
            return self.keep(scope, component, bytes, signature).await;
        }
        let (tenant, own) = (scope.submitter(), self.0.head.policies().of(&scope.submitter()));
        let own = own.is_required.then(|| policy(&tenant, &own.for_components(&[component])));
        // What cannot be run is not kept: a node tries, and another one when that dies or does not answer.
        let (mut silent, mut died, mut rounds) = (Vec::new(), None, 0);
        loop {
            let other = self.0.when_nodes_are_back(|| self.0.head.lock().least_busy_node_but(&silent)).await;
            let node = match other {
                Ok(node) => node,
                // None has answered, and some live as far as is known.
                Err(_) if rounds < UPLOAD_ROUNDS_MAX && silent.iter().any(|node| self.0.is_member(*node)) => {
                    (silent, rounds) = (Vec::new(), rounds + 1);
                    tokio::time::sleep(UPLOAD_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(died.unwrap_or(error)),
            };
            let uploaded = match self.0.client(node) {
                Ok(client) => client.upload(component, bytes.clone(), signature, own.clone()).await,
                Err(error) => Err(error),
            };
            match uploaded {
                Ok(info) => {
                    self.0.head.components().insert(component, &bytes)?;
                    self.0.head.components().is_brought_by(scope, component);
                    return Ok(info);
                }
                Err(error) if error.code() == ErrorCode::NodeDied => {
                    silent.push(node);
                    died = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn keep(
        &self,
        scope: &Scope,
        component: ComponentId,
        bytes: Bytes,
        signature: &[u8],
    ) -> Result<v1::ComponentInfo, Error> {
        self.0.head.check_upload(scope, component, &bytes, signature)?;
        self.0.head.components().insert(component, &bytes)?;
        self.0.head.components().is_brought_by(scope, component);
        Ok(engine_proto::convert::kept(component, bytes.len() as u64))
    }

    async fn submit(&self, scope: &Scope, spec: v1::JobSpec) -> Result<v1::JobView, Error> {
        self.answer(self.0.submit(scope, spec).await).await
    }

    async fn get_job(&self, scope: &Scope, job: JobKey) -> Result<v1::JobView, Error> {
        let record = self.answer(self.0.head.seen_job(scope, &job)).await?;
        self.answer(self.0.view(&record).await).await
    }

    async fn list_jobs(&self, scope: &Scope, limit: usize) -> Result<v1::ListJobsResponse, Error> {
        self.answer(Ok(self.0.list_jobs(scope, limit).await)).await
    }

    async fn stop_job(&self, scope: &Scope, job: JobKey) -> Result<v1::JobView, Error> {
        self.answer(self.0.stop_job(scope, &job).await).await
    }

    async fn delete_job(&self, scope: &Scope, job: JobKey) -> Result<(), Error> {
        self.answer(self.0.delete_job(scope, &job).await).await
    }

    async fn watch_job(
        &self,
        scope: &Scope,
        job: JobKey,
        query: WatchQuery,
    ) -> Result<Replies<v1::JobEvent>, Error> {
        self.answer(self.0.watch_job(scope, &job, query)).await
    }

    async fn logs(
        &self,
        scope: &Scope,
        job: JobKey,
        query: LogsQuery,
    ) -> Result<Replies<v1::LogBatch>, Error> {
        self.0.logs(scope, &job, query).await
    }

    async fn list(
        &self,
        scope: &Scope,
        kind: v1::Kind,
        filters: Filters,
        limit: usize,
    ) -> Result<v1::ListResponse, Error> {
        if kind == v1::Kind::Job {
            return self.answer(Ok(self.jobs(scope, &filters, limit).await)).await;
        }
        if kind == v1::Kind::PlacementGroup {
            return self.answer(Ok(self.groups(scope, &filters, limit))).await;
        }
        let request = v1::ListRequest {
            kind: kind.into(),
            filters: filters.to_messages(),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        if kind == v1::Kind::Event {
            let mut logs = vec![self.0.events(scope, &filters, limit)];
            logs.extend(self.0.ask_all(|client| list(client, scope, request.clone())).await);
            return self.answer(Ok(merge::events(logs, limit))).await;
        }
        let mut listings = self.0.ask_all(|client| list(client, scope, request.clone())).await;
        if kind == v1::Kind::Node {
            listings.push(self.0.dead_nodes(scope, &filters));
        }
        self.answer(Ok(merge::listings(listings, limit))).await
    }

    async fn get(&self, scope: &Scope, key: StateKey) -> Result<v1::View, Error> {
        let (kind, id) = match key {
            StateKey::Job(job) => {
                let view = self.get_job(scope, job).await?;
                return Ok(v1::View { view: Some(v1::view::View::Job(view)) });
            }
            StateKey::Task(id) => (v1::Kind::Task, id.to_string()),
            StateKey::Actor(id) => (v1::Kind::Actor, id.to_string()),
            StateKey::Object(id) => (v1::Kind::Object, id.to_string()),
            StateKey::Node(id) => (v1::Kind::Node, id.to_string()),
            StateKey::Event(id) => {
                let event = self.0.head.lock().events().get(id).cloned();
                let event = event.filter(|event| self.0.sees_event(scope, event)).as_ref().map(view_of);
                if let Some(event) = event {
                    return self.answer(Ok(event)).await;
                }
                (v1::Kind::Event, id.to_string())
            }
            StateKey::PlacementGroup(id) => {
                let group = self.0.head.lock().group(id);
                let group = group.filter(|group| self.0.head.sees(scope, group.spec.job));
                let group = group.ok_or_else(|| not_found(&id.to_string()));
                let group = self.answer(group).await?;
                return Ok(v1::View { view: Some(v1::view::View::PlacementGroup((&group).into())) });
            }
        };
        let mut found = self.0.ask_all(|client| get(client, scope, kind, id.clone())).await;
        if kind == v1::Kind::Node {
            let by_id = v1::Filter { key: "id".to_owned(), value: id.clone(), negated: false };
            found.extend(self.0.dead_nodes(scope, &Filters::new(kind, vec![by_id])?).items);
        }
        let items =
            found.into_iter().map(|view| v1::ListResponse { items: vec![view], total: 1, forgotten: 0 });
        merge::listings(items.collect(), 1).items.into_iter().next().ok_or_else(|| not_found(&id))
    }

    async fn status(&self, scope: &Scope) -> Result<v1::StatusResponse, Error> {
        let mut status = merge::status(self.0.ask_all(|client| status_of(client, scope)).await);
        if !scope.is_all() {
            (status.available, status.counters) = (None, None);
        }
        status.jobs.clear();
        for job in self.0.head.seen_jobs(scope) {
            *status.jobs.entry(job.state.to_string()).or_default() += 1;
        }
        status.uptime = Some(engine_proto::convert::duration(self.0.clock.start.elapsed()));
        self.answer(Ok(status)).await
    }

    async fn drain(
        &self,
        node: NodeId,
        deadline: Option<Duration>,
        revoke: bool,
    ) -> Result<v1::DrainResponse, Error> {
        self.answer(self.0.drain(node, deadline, revoke).await).await
    }

    async fn set_tenant(&self, spec: TenantSpec, is_new: bool) -> Result<v1::TenantView, Error> {
        self.0.memory.check_room()?;
        let set = self.0.event(|core, _, fx| core.set_tenant(spec, is_new, fx));
        self.answer(set.map(|view| engine_proto::convert::tenant_view(&view))).await
    }

    async fn delete_tenant(&self, name: TenantName) -> Result<(), Error> {
        let deleted = self.answer(self.0.event(|core, _, fx| core.delete_tenant(&name, fx))).await;
        self.0.head.policies().deleted(&name, deleted)
    }

    async fn set_policy(
        &self,
        tenant: TenantName,
        change: PolicyChange,
    ) -> Result<v1::ComponentPolicy, Error> {
        self.0.head.policies().change(&tenant, change).map(|own| policy(&tenant, &own))
    }

    async fn tenants(&self) -> Result<Vec<v1::TenantView>, Error> {
        Ok(self.0.head.tenant_views())
    }

    async fn usage(&self, read: UsageRead) -> Result<v1::UsageResponse, Error> {
        let since = |at: SystemTime| {
            let passed = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Time(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
        };
        Ok(self.0.head.usage_read(self.0.clock.now(), read, since, Clock::wall))
    }

    async fn set_secret(&self, tenant: TenantName, name: &str, value: String) -> Result<(), Error> {
        self.0.head.secrets().set(&tenant, name, value.into())
    }

    async fn delete_secret(&self, tenant: TenantName, name: &str) -> Result<(), Error> {
        self.0.head.secrets().delete(&tenant, name)
    }

    async fn secrets(&self, tenant: TenantName) -> Result<Vec<v1::SecretView>, Error> {
        Ok(self.0.head.secret_views(&tenant))
    }

    async fn locate_client(&self, scope: &Scope, job: JobId) -> Result<v1::LocateClientResponse, Error> {
        self.answer(self.0.locate_client(scope, job)).await
    }

    async fn explain(&self, scope: &Scope, task: TaskId) -> Result<v1::Explanation, Error> {
        let id = task.to_string();
        let found = self.0.ask_all(|client| explain(client, scope, id.clone())).await;
        // The owner knows who spawned it, and why it waits; a node that runs it, what it does there.
        let is_owner = |explanation: &v1::Explanation| {
            explanation.task.as_ref().is_some_and(|task| !task.parent_task_id.is_empty())
        };
        let is_elsewhere = |explanation: &v1::Explanation| {
            explanation.task.as_ref().is_some_and(|task| task.state() == v1::TaskState::Submitted)
        };
        let owner = found.iter().position(|explanation| is_owner(explanation) && !is_elsewhere(explanation));
        let at = owner.unwrap_or_else(|| found.iter().position(|found| !is_elsewhere(found)).unwrap_or(0));
        found.into_iter().nth(at).ok_or_else(|| not_found(&id))
    }
}

impl ClusterBackend {
    /// An answer, good or bad, once all that it may follow from is durable.
    async fn answer<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        self.0.settled().await?;
        answer
    }

    fn groups(&self, scope: &Scope, filters: &Filters, limit: usize) -> v1::ListResponse {
        let mut all = self.0.head.lock().groups();
        all.retain(|group| self.0.head.sees(scope, group.spec.job));
        let views = all.iter().map(v1::PlacementGroupView::from);
        let matching: Vec<_> = views.filter(|group| filters.matches(group)).collect();
        let total = matching.len() as u64;
        let view = |group| v1::View { view: Some(v1::view::View::PlacementGroup(group)) };
        v1::ListResponse { items: matching.into_iter().take(limit).map(view).collect(), total, forgotten: 0 }
    }

    async fn jobs(&self, scope: &Scope, filters: &Filters, limit: usize) -> v1::ListResponse {
        let all = self.0.list_jobs(scope, usize::MAX).await.jobs;
        let matching: Vec<v1::JobView> = all.into_iter().filter(|job| filters.matches(job)).collect();
        let total = matching.len() as u64;
        let view = |job| v1::View { view: Some(v1::view::View::Job(job)) };
        v1::ListResponse { items: matching.into_iter().take(limit).map(view).collect(), total, forgotten: 0 }
    }
}

impl ClusterHead {
    /// The answers of all nodes that have one, in the order of their ids.
    pub(super) async fn ask_all<T, F>(&self, ask: impl Fn(NodeClient) -> F) -> Vec<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (ids, asked): (Vec<NodeId>, Vec<F>) =
            self.clients().into_iter().map(|(id, client)| (id, ask(client))).unzip();
        let mut found = Vec::new();
        for (id, answer) in ids.into_iter().zip(join_all(asked).await) {
            match answer {
                Ok(answer) => found.push(answer),
                Err(error) if error.code() == ErrorCode::NotFound => {}
                Err(error) => tracing::warn!(node = %id, %error, "a node does not answer"),
            }
        }
        found
    }

    /// What the head itself has noted.
    fn events(&self, scope: &Scope, filters: &Filters, limit: usize) -> v1::ListResponse {
        let (mut events, forgotten) = {
            let core = self.head.lock();
            (core.events().newest_first().cloned().collect::<Vec<_>>(), core.events().forgotten())
        };
        events.retain(|event| self.sees_event(scope, event));
        // How much others have caused is nobody's to know.
        let forgotten = if scope.is_all() { forgotten } else { 0 };
        let views = events.iter().map(|event| event_view(event, Clock::wall(event.time)));
        let matching: Vec<_> = views.filter(|event| filters.matches(event)).collect();
        let total = matching.len() as u64;
        let view = |event| v1::View { view: Some(v1::view::View::Event(event)) };
        let items = matching.into_iter().take(limit).map(view).collect();
        v1::ListResponse { items, total, forgotten }
    }

    /// Whether an event is of something that somebody sees. What is of no job is of the machines.
    fn sees_event(&self, scope: &Scope, event: &Event) -> bool {
        scope.is_all() || event.about.job.is_some_and(|job| self.head.sees(scope, job))
    }

    fn dead_nodes(&self, scope: &Scope, filters: &Filters) -> v1::ListResponse {
        let core = self.head.lock();
        let nodes = self.nodes.lock();
        let state = |id: &str| match id.parse().ok().and_then(|id| core.standing(id)) {
            Some(NodeStanding::Left) => v1::NodeState::Left,
            _ => v1::NodeState::Dead,
        };
        let view = |member: &v1::Member| v1::NodeView {
            node_id: member.node_id.clone(),
            state: state(&member.node_id).into(),
            hostname: member.hostname.clone(),
            total: member.total.clone(),
            // Nothing runs there.
            available: member.total.clone(),
            labels: member.labels.clone(),
            version: member.version.clone(),
            process_id: member.process_id,
            ..Default::default()
        };
        let dead: Vec<v1::NodeView> = nodes
            .dead
            .iter()
            .rev()
            .map(view)
            .map(|node| node_for(scope, node))
            .filter(|node| filters.matches(node))
            .collect();
        let total = dead.len() as u64;
        let view = |node| v1::View { view: Some(v1::view::View::Node(node)) };
        v1::ListResponse { items: dead.into_iter().map(view).collect(), total, forgotten: 0 }
    }
}

fn view_of(event: &Event) -> v1::View {
    v1::View { view: Some(v1::view::View::Event(event_view(event, Clock::wall(event.time)))) }
}

pub(super) async fn list(
    client: NodeClient,
    scope: &Scope,
    request: v1::ListRequest,
) -> Result<v1::ListResponse, Error> {
    client.list(scope, request).await
}

async fn get(client: NodeClient, scope: &Scope, kind: v1::Kind, id: String) -> Result<v1::View, Error> {
    client.get(scope, kind, id).await
}

async fn status_of(client: NodeClient, scope: &Scope) -> Result<v1::StatusResponse, Error> {
    client.status(scope).await
}

async fn explain(client: NodeClient, scope: &Scope, task: String) -> Result<v1::Explanation, Error> {
    client.explain(scope, task).await
}

fn not_found(what: &str) -> Error {
    Error::new(ErrorCode::NotFound, format!("there is no {what}, or it is not kept any more"))
}
