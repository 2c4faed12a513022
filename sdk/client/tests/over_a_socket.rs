//! The client and the server, with a small backend between them, over a real Unix socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use engine_client::messages as v1;
use engine_client::{Address, Client, ComponentId, ErrorCode, Event, LogOptions, spec};
use engine_core::ids::IdGenerator;
use engine_core::{Error, JobId, NodeId, TaskId};
use engine_net::{
    Backend, Gate, JobKey, LogsQuery, Replies, Scope, Server, Services, StateKey, UnixSocket, WatchQuery,
};
use engine_proto::filter::Filters;
use futures::{StreamExt, stream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Keeps what it is given; its jobs have ended as soon as they are submitted, except those named
/// "endless".
#[derive(Default)]
struct Small {
    components: Mutex<BTreeMap<ComponentId, Bytes>>,
    jobs: Mutex<Vec<v1::JobView>>,
}

impl Small {
    fn find(&self, key: &JobKey) -> Result<v1::JobView, Error> {
        let matches = |job: &v1::JobView| match key {
            JobKey::Id(id) => job.job_id == id.to_string(),
            JobKey::Submission(id) => job.submission_id == *id,
        };
        let found = self.jobs.lock().unwrap().iter().find(|job| matches(job)).cloned();
        found.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("there is no job {key:?}")))
    }
}

fn line(sequence: u64) -> v1::LogLine {
    v1::LogLine { sequence, text: format!("line {sequence}"), ..v1::LogLine::default() }
}

#[async_trait]
impl Backend for Small {
    fn node_id(&self) -> NodeId {
        IdGenerator::new([9; 16]).node()
    }

    async fn missing(&self, _: &Scope, components: Vec<ComponentId>) -> Result<Vec<ComponentId>, Error> {
        let kept = self.components.lock().unwrap();
        Ok(components.into_iter().filter(|id| !kept.contains_key(id)).collect())
    }

    async fn upload(
        &self,
        _: &Scope,
        component: ComponentId,
        bytes: Bytes,
        _: &[u8],
    ) -> Result<v1::ComponentInfo, Error> {
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::new(ErrorCode::InvalidComponent, "this is not Wasm"));
        }
        self.components.lock().unwrap().insert(component, bytes);
        Ok(v1::ComponentInfo::default())
    }

    async fn submit(&self, _: &Scope, spec: v1::JobSpec) -> Result<v1::JobView, Error> {
        let mut jobs = self.jobs.lock().unwrap();
        if let Some(job) = jobs.iter().find(|job| job.submission_id == spec.submission_id) {
            return Ok(job.clone());
        }
        let mut ids = IdGenerator::new([jobs.len() as u8; 16]);
        let state = match spec.name.as_str() {
            "endless" => v1::JobState::Running,
            _ => v1::JobState::Succeeded,
        };
        let job = v1::JobView {
            job_id: ids.job().to_string(),
            submission_id: spec.submission_id,
            name: spec.name,
            state: state.into(),
            ..v1::JobView::default()
        };
        jobs.push(job.clone());
        Ok(job)
    }

    async fn get_job(&self, _: &Scope, job: JobKey) -> Result<v1::JobView, Error> {
        self.find(&job)
    }

    async fn list_jobs(&self, _: &Scope, limit: usize) -> Result<v1::ListJobsResponse, Error> {
        let jobs = self.jobs.lock().unwrap();
        let listed = jobs.iter().rev().take(limit).cloned().collect();
        Ok(v1::ListJobsResponse { jobs: listed, total: jobs.len() as u64 })
    }

    async fn stop_job(&self, _: &Scope, job: JobKey) -> Result<v1::JobView, Error> {
        let id = self.find(&job)?.job_id;
        let mut jobs = self.jobs.lock().unwrap();
        let job = jobs.iter_mut().find(|job| job.job_id == id).unwrap();
        job.set_state(v1::JobState::Stopped);
        Ok(job.clone())
    }

    async fn delete_job(&self, _: &Scope, job: JobKey) -> Result<(), Error> {
        let id = self.find(&job)?.job_id;
        self.jobs.lock().unwrap().retain(|job| job.job_id != id);
        Ok(())
    }

    async fn watch_job(
        &self,
        _: &Scope,
        job: JobKey,
        query: WatchQuery,
    ) -> Result<Replies<v1::JobEvent>, Error> {
        let next_sequence = query.next_sequence;
        let view = self.find(&job)?;
        let lines: Vec<_> = (0..3).filter(|n| *n >= next_sequence).map(line).collect();
        let logs = Event::Logs(v1::LogBatch { lines });
        let endless = view.name == "endless";
        let events = [logs, Event::Job(view)].map(|event| Ok(v1::JobEvent { event: Some(event) }));
        Ok(match endless {
            false => stream::iter(events).boxed(),
            true => stream::iter(events).chain(stream::pending()).boxed(),
        })
    }

    async fn logs(&self, _: &Scope, job: JobKey, query: LogsQuery) -> Result<Replies<v1::LogBatch>, Error> {
        self.find(&job)?;
        let lines = (3 - query.tail.unwrap_or(3)..3).map(line).collect();
        Ok(stream::iter([Ok(v1::LogBatch { lines })]).boxed())
    }

    async fn list(
        &self,
        _: &Scope,
        kind: v1::Kind,
        filters: Filters,
        limit: usize,
    ) -> Result<v1::ListResponse, Error> {
        assert_eq!(kind, v1::Kind::Job);
        let jobs = self.jobs.lock().unwrap();
        let found: Vec<_> = jobs.iter().filter(|job| filters.matches(*job)).cloned().collect();
        let total = found.len() as u64;
        let views = found.into_iter().take(limit).map(v1::view::View::Job);
        Ok(v1::ListResponse {
            items: views.map(|view| v1::View { view: Some(view) }).collect(),
            total,
            forgotten: 0,
        })
    }

    async fn get(&self, _: &Scope, key: StateKey) -> Result<v1::View, Error> {
        match key {
            StateKey::Job(key) => Ok(v1::View { view: Some(v1::view::View::Job(self.find(&key)?)) }),
            other => Err(Error::new(ErrorCode::NotFound, format!("there is no {other:?}"))),
        }
    }

    async fn status(&self, _: &Scope) -> Result<v1::StatusResponse, Error> {
        Ok(v1::StatusResponse { nodes_total: 1, ..v1::StatusResponse::default() })
    }

    async fn locate_client(&self, _: &Scope, job: JobId) -> Result<v1::LocateClientResponse, Error> {
        Err(Error::new(ErrorCode::NotFound, format!("{job} has no client")))
    }

    async fn explain(&self, _: &Scope, task: TaskId) -> Result<v1::Explanation, Error> {
        Ok(v1::Explanation { summary: format!("{task} waits for 2 cpus"), ..v1::Explanation::default() })
    }
}

struct Running {
    client: Client,
    backend: Arc<Small>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    _temp: tempfile::TempDir,
}

async fn running() -> Running {
    let temp = tempfile::tempdir().unwrap();
    let path: PathBuf = temp.path().join("run/engine.sock");
    let socket = UnixSocket::bind(&path).unwrap();
    let backend = Arc::new(Small::default());
    let (stop, stopped) = oneshot::channel();
    let serve = Server::new()
        .unix(socket)
        .run(Services::new(backend.clone(), Arc::new(Gate::in_memory())), async { drop(stopped.await) });
    let server = tokio::spawn(async { serve.await.unwrap() });
    let client = Client::connect(Address::Unix(path)).await.unwrap();
    Running { client, backend, stop, server, _temp: temp }
}

fn component() -> Bytes {
    let mut bytes = b"\0asm".to_vec();
    bytes.resize(3 << 20, 7);
    bytes.into()
}

#[tokio::test]
async fn a_component_is_sent_once() {
    let engine = running().await;
    let first = engine.client.upload(component()).await.unwrap();
    assert_eq!(engine.backend.components.lock().unwrap().get(&first), Some(&component()));
    engine.backend.components.lock().unwrap().insert(first, Bytes::from_static(b"as it was"));
    assert_eq!(engine.client.upload(component()).await.unwrap(), first);
    assert_eq!(engine.backend.components.lock().unwrap()[&first], "as it was");
    let error = engine.client.upload("rubbish").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidComponent));
    assert_eq!(error.to_string(), "INVALID_COMPONENT: this is not Wasm");
}

#[tokio::test]
async fn a_job_is_submitted_watched_and_forgotten() {
    let engine = running().await;
    let component = engine.client.upload(component()).await.unwrap();
    let mut wanted = spec::run(component, ["a", "b"]);
    wanted.submission_id = "mine".to_owned();
    let job = engine.client.submit(wanted.clone()).await.unwrap();
    assert_eq!(engine.client.submit(wanted).await.unwrap().id(), job.id());

    let events: Vec<_> = job.watch().await.unwrap().map(Result::unwrap).collect().await;
    let [Event::Logs(logs), Event::Job(last)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(logs.lines.iter().map(|line| line.sequence).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(last.state(), v1::JobState::Succeeded);
    assert_eq!(job.wait().await.unwrap().state(), v1::JobState::Succeeded);

    let tail = LogOptions { tail: Some(1), ..LogOptions::default() };
    let lines: Vec<_> = job.logs(tail).await.unwrap().map(Result::unwrap).collect().await;
    assert_eq!(lines.concat(), [line(2)]);

    let again = engine.client.job("mine").await.unwrap();
    assert_eq!(again.id(), job.id());
    again.delete().await.unwrap();
    let error = engine.client.job(job.id()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn a_bad_specification_is_refused_before_the_backend_sees_it() {
    let engine = running().await;
    let component = engine.client.upload(component()).await.unwrap();
    let mut wanted = spec::invoke(component, "add(1, 2)");
    wanted.main = "other".to_owned();
    let error = engine.client.submit(wanted).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidArgument));
    assert!(engine.backend.jobs.lock().unwrap().is_empty());
}

#[tokio::test]
async fn state_is_listed_under_conditions() {
    let engine = running().await;
    let component = engine.client.upload(component()).await.unwrap();
    for name in ["a", "endless"] {
        let mut wanted = spec::run(component, [""; 0]);
        (wanted.name, wanted.submission_id) = (name.to_owned(), name.to_owned());
        engine.client.submit(wanted).await.unwrap();
    }
    let running = v1::Filter { key: "state".into(), value: "running".into(), negated: false };
    let list = engine.client.list(v1::Kind::Job, vec![running], 0).await.unwrap();
    assert_eq!(list.total, 1);
    let wrong = v1::Filter { key: "colour".into(), ..v1::Filter::default() };
    let error = engine.client.list(v1::Kind::Job, vec![wrong], 0).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidArgument));
    assert_eq!(engine.client.jobs_listed(1).await.unwrap().jobs[0].name, "endless");
    assert_eq!(engine.client.status().await.unwrap().nodes_total, 1);
    let task = IdGenerator::new([1; 16]).task().to_string();
    assert!(engine.client.explain(&task).await.unwrap().summary.starts_with(&task));
    let error = engine.client.get(v1::Kind::Task, "nonsense").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidArgument));
    assert!(engine.client.get(v1::Kind::Job, "a").await.unwrap().view.is_some());
}

#[tokio::test]
async fn who_waits_is_told_when_the_engine_stops() {
    let engine = running().await;
    let component = engine.client.upload(component()).await.unwrap();
    let mut wanted = spec::run(component, [""; 0]);
    wanted.name = "endless".to_owned();
    let job = engine.client.submit(wanted).await.unwrap();
    let mut events = job.watch().await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(Event::Logs(_)))));
    assert!(matches!(events.next().await, Some(Ok(Event::Job(_)))));
    engine.stop.send(()).unwrap();
    let error = events.next().await.unwrap().unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    engine.server.await.unwrap();
    assert!(engine.client.status().await.unwrap_err().is_unreachable());
}

#[tokio::test]
async fn where_nobody_listens_is_unreachable() {
    let temp = tempfile::tempdir().unwrap();
    let address = Address::Unix(temp.path().join("engine.sock"));
    let error = Client::connect(address.clone()).await.unwrap_err();
    assert!(error.is_unreachable());
    assert_eq!(
        error.to_string(),
        format!("no engine was reached at {address}: there is no socket, start one with `engine up`")
    );
    let error = Client::connect("127.0.0.1:1".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("nobody listens there"), "{error}");
}
