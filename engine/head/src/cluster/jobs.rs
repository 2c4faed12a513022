//! Jobs of a cluster: accepted here, run where their root task is, and looked at there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine_core::head::{Effect, JobRecord, Submission, Submitted};
use engine_core::node::{JobEnd, Progress};
use engine_core::{ComponentId, Error, ErrorCode, JobId, NodeId, Time};
use engine_net::cluster::NodeClient;
use engine_net::{JobKey, LogsQuery, Replies};
use engine_proto::convert::timestamp;
use engine_proto::limits::LIST_ITEMS_MAX;
use engine_proto::v1::{self, job_event};
use futures::future::join_all;
use futures::{StreamExt, stream};

use crate::background::{self, Kind};
use crate::cluster::backend::list;
use crate::cluster::records::Starting;
use crate::cluster::{ClusterHead, merge};

/// The tenant of every job until there are others.
const TENANT: &str = "default";

impl ClusterHead {
    pub(super) fn record(&self, job: &JobKey) -> Result<JobRecord, Error> {
        match job {
            JobKey::Id(id) => self.head.job(*id),
            JobKey::Submission(text) => self.head.job_by_submission(text),
        }
    }

    pub(super) async fn submit(&self, spec: v1::JobSpec) -> Result<v1::JobView, Error> {
        for component in &spec.components {
            let id: ComponentId = engine_proto::convert::component_id(&component.digest)?;
            if self.head.components().get(id).is_none() {
                return Err(Error::new(
                    ErrorCode::NotFound,
                    format!("the component {id} was not uploaded: upload it, then submit the job"),
                ));
            }
        }
        self.memory.check_room()?;
        let (job, home) = match self.when_nodes_are_back(|| self.accept(&spec)).await? {
            (job, Some(home)) => (job, home),
            (job, None) => return self.view(&self.head.job(job)?).await,
        };
        // A head that comes back must know of it, else the same submission would start another.
        self.settled().await?;
        let started = self.start_at(home, job, spec).await;
        if started.is_err() {
            self.event(|core, _, _| core.withdraw_job(job));
        }
        self.starting.lock().remove(&job);
        started
    }

    /// Accepts a job and says where it is to start; nowhere when it is known.
    fn accept(&self, spec: &v1::JobSpec) -> Result<(JobId, Option<NodeId>), Error> {
        let submission = Submission {
            submission_id: spec.submission_id.clone(),
            digest: crate::spec_digest(spec),
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            tenant: TENANT.to_owned(),
        };
        self.event(|core, now, _| {
            let job = match core.submit(now, submission)? {
                Submitted::Known(job) => return Ok((job, None)),
                Submitted::New(job) => job,
            };
            let home = core.place_job(job).inspect_err(|_| core.withdraw_job(job))?;
            self.starting.lock().insert(job, Starting { spec: spec.clone(), is_orphaned: false });
            Ok((job, Some(home)))
        })
    }

    /// Tries something that needs a node, again when the head has come back and its nodes have not yet.
    pub(super) async fn when_nodes_are_back<T>(
        &self,
        work: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut news = self.news.subscribe();
        loop {
            match work() {
                Err(error)
                    if error.code() == ErrorCode::Unschedulable && self.head.lock().nodes_expected() > 0 =>
                {
                    // Each of them comes back, or is declared dead.
                    if news.changed().await.is_err() {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    async fn start_at(&self, home: NodeId, job: JobId, spec: v1::JobSpec) -> Result<v1::JobView, Error> {
        let view = self.client(home)?.start_job(job, spec).await?;
        self.event(|core, now, _| core.job_started(now, job));
        Ok(view)
    }

    /// Starts the jobs that this node was to have when the head was killed. One that it has already it only
    /// answers for.
    pub(super) fn start_orphaned(self: &Arc<Self>, home: NodeId) {
        let core = self.head.lock();
        let not_started = core.jobs_not_started().into_iter().filter(|job| job.home == Some(home));
        let jobs: Vec<JobId> = not_started.map(|job| job.id).collect();
        drop(core);
        for job in jobs {
            let starting = self.starting.lock();
            let orphaned = starting.get(&job).filter(|starting| starting.is_orphaned);
            if let Some(spec) = orphaned.map(|starting| starting.spec.clone()) {
                drop(background::spawn(Kind::JobStart, self.clone().start_again(home, job, spec)));
            }
        }
    }

    async fn start_again(self: Arc<Self>, home: NodeId, job: JobId, spec: v1::JobSpec) {
        match self.start_at(home, job, spec).await {
            Ok(_) => {
                tracing::info!(%job, node = %home, "a job was started that the head had accepted before")
            }
            // It is tried again when the node has made another line.
            Err(error) if error.code() == ErrorCode::NodeDied => {}
            Err(error) => {
                let end =
                    JobEnd { result: Err(Arc::new(error)), stopped: false, progress: Progress::default() };
                self.event(|core, now, fx| {
                    fx.extend(core.job_ended(now, job, end).map(Effect::JobForgotten))
                });
                self.news.send_modify(|news| *news += 1);
            }
        }
    }

    /// A job's view as its node gives it. That it has ended is said only once this head has it for good: else
    /// the node's death could end the job another way.
    async fn confirmed(&self, job: JobId, view: v1::JobView) -> Result<v1::JobView, Error> {
        let mut news = self.news.subscribe();
        while view.state().is_final() && self.writer.lock().is_some() {
            match self.head.job(job) {
                Ok(record) if !record.state.is_end() => {
                    drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
                }
                Ok(record) if v1::JobState::from(record.state) != view.state() => {
                    self.settled().await?;
                    return Ok(self.own_view(&record));
                }
                // Deleted meanwhile, or as the node says.
                _ => break,
            }
        }
        self.settled().await?;
        Ok(view)
    }

    /// The way to the node of a job's root task, while the job has not ended.
    fn home(&self, record: &JobRecord) -> Result<NodeClient, Error> {
        let gone = || {
            Error::new(
                ErrorCode::NodeDied,
                format!(
                    "the node of the root task of {} is not there any more, and its logs went with it",
                    record.id
                ),
            )
        };
        self.client(record.home.ok_or_else(gone)?).map_err(|_| gone())
    }

    /// A job as it is now: asked of the node of its root task while that runs.
    pub(super) async fn view(&self, record: &JobRecord) -> Result<v1::JobView, Error> {
        let kept = self.ended.lock().get(&record.id).cloned();
        // Of one that has ended all is known here, but a large result.
        let is_known = kept.is_some_and(|view| view.result.is_some() || view.error.is_some());
        if !is_known && let Ok(home) = self.home(record) {
            match home.job(record.id).await {
                Ok(mut view) => {
                    if !view.state().is_final() {
                        view.progress = Some(self.progress(record, view.progress.unwrap_or_default()).await);
                    }
                    return self.confirmed(record.id, view).await;
                }
                // It has died, and the head will know, or it has ended meanwhile.
                Err(error) => tracing::debug!(job = %record.id, %error, "the node of a job does not answer"),
            }
        }
        Ok(self.own_view(&self.head.job(record.id)?))
    }

    /// How far a job is on all nodes, of how far it is on that of its root task.
    async fn progress(&self, record: &JobRecord, home: v1::JobProgress) -> v1::JobProgress {
        let others = self.clients().into_iter().filter(|(id, _)| Some(*id) != record.home);
        let asked = others.map(|(_, client)| progress_at(client, record.id));
        // What a node does not say is missing for a moment.
        merge::progress(home, join_all(asked).await.into_iter().filter_map(Result::ok))
    }

    /// A job as this head knows it.
    fn own_view(&self, record: &JobRecord) -> v1::JobView {
        if let Some(view) = self.ended.lock().get(&record.id) {
            return view.clone();
        }
        let time = |time: Time| timestamp(SystemTime::UNIX_EPOCH + Duration::from_nanos(time.0));
        v1::JobView {
            job_id: record.id.to_string(),
            submission_id: record.submission.submission_id.clone(),
            name: record.submission.name.clone(),
            namespace: record.submission.namespace.clone(),
            tenant: record.submission.tenant.clone(),
            state: v1::JobState::from(record.state).into(),
            error: record.error.as_deref().map(Into::into),
            submit_time: Some(time(record.submitted)),
            start_time: record.started.map(time),
            end_time: record.ended.map(time),
            ..Default::default()
        }
    }

    /// The newest jobs: those that run as the nodes of their roots list them.
    pub(super) async fn list_jobs(&self, limit: usize) -> v1::ListJobsResponse {
        let records = self.head.jobs();
        let listed =
            v1::ListRequest { kind: v1::Kind::Job.into(), filters: Vec::new(), limit: LIST_ITEMS_MAX };
        let mut running: HashMap<String, v1::JobView> = HashMap::new();
        for listing in self.ask_all(|client| list(client, listed.clone())).await {
            for item in listing.items {
                if let Some(v1::view::View::Job(job)) = item.view {
                    running.insert(job.job_id.clone(), job);
                }
            }
        }
        let view = |record: &JobRecord| match running.remove(&record.id.to_string()) {
            Some(view) if !record.state.is_end() => view,
            _ => v1::JobView { result: None, ..self.own_view(record) },
        };
        let total = records.len() as u64;
        v1::ListJobsResponse { jobs: records.iter().take(limit).map(view).collect(), total }
    }

    pub(super) async fn stop_job(&self, job: &JobKey) -> Result<v1::JobView, Error> {
        let record = self.record(job)?;
        if record.state.is_end() {
            return Ok(self.own_view(&record));
        }
        let stopped = match self.home(&record) {
            Ok(home) => home.stop_job(record.id).await,
            Err(error) => Err(error),
        };
        match stopped {
            Ok(view) => self.confirmed(record.id, view).await,
            // Its node may have died meanwhile, and the job with it.
            Err(error) => match self.head.job(record.id)? {
                record if record.state.is_end() => Ok(self.own_view(&record)),
                _ => Err(error),
            },
        }
    }

    pub(super) async fn delete_job(&self, job: &JobKey) -> Result<(), Error> {
        let record = self.record(job)?;
        self.event(|core, _, _| core.delete_job(record.id))?;
        self.ended.lock().remove(&record.id);
        self.settled().await?;
        if let Ok(home) = self.home(&record)
            && let Err(error) = home.delete_job(record.id).await
        {
            tracing::debug!(job = %record.id, %error, "the node of a job has forgotten it");
        }
        Ok(())
    }

    pub(super) async fn logs(&self, job: &JobKey, query: LogsQuery) -> Result<Replies<v1::LogBatch>, Error> {
        let record = self.record(job)?;
        let request = v1::LogsRequest {
            job_id: record.id.to_string(),
            task_id: query.task.map(|task| task.to_string()).unwrap_or_default(),
            follow: query.follow,
            tail: query.tail,
        };
        self.home(&record)?.logs(request).await
    }

    /// Follows a job on the node of its root task, and says how it ended when that node dies.
    pub(super) async fn watch_job(
        self: &Arc<Self>,
        job: &JobKey,
        next_sequence: u64,
    ) -> Result<Replies<v1::JobEvent>, Error> {
        let record = self.record(job)?;
        let follower =
            Follower { head: self.clone(), job: record.id, next: next_sequence, events: None, done: false };
        Ok(Box::pin(stream::unfold(follower, |mut follower| async move {
            Some((Ok(follower.next().await?), follower))
        })))
    }
}

async fn progress_at(client: NodeClient, job: JobId) -> Result<v1::JobProgress, Error> {
    client.progress(job).await
}

/// Follows one job.
struct Follower {
    head: Arc<ClusterHead>,
    job: JobId,
    next: u64,
    events: Option<Replies<v1::JobEvent>>,
    done: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<v1::JobEvent> {
        let mut news = self.head.news.subscribe();
        while !self.done {
            if let Some(events) = &mut self.events {
                match events.next().await {
                    Some(Ok(event)) => return self.heard(event).await,
                    Some(Err(error)) => tracing::debug!(job = %self.job, %error, "a watch broke"),
                    None => {}
                }
                self.events = None;
            }
            let Ok(record) = self.head.head.job(self.job) else { return None };
            let home = self.head.home(&record);
            if let Ok(home) = &home
                && let Ok(events) = home.watch_job(self.job, self.next).await
            {
                self.events = Some(events);
                continue;
            }
            if record.state.is_end() {
                self.done = true;
                let view = self.head.own_view(&record);
                self.head.settled().await.ok()?;
                return Some(v1::JobEvent { event: Some(job_event::Event::Job(view)) });
            }
            // The node does not answer: it comes back, or is declared dead.
            drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
        }
        None
    }

    async fn heard(&mut self, mut event: v1::JobEvent) -> Option<v1::JobEvent> {
        match &mut event.event {
            Some(job_event::Event::Logs(batch)) => {
                self.next = batch.lines.last().map_or(self.next, |line| line.sequence + 1);
            }
            Some(job_event::Event::Job(view)) => {
                self.done = view.state().is_final();
                *view = self.head.confirmed(self.job, std::mem::take(view)).await.ok()?;
            }
            Some(job_event::Event::Progress(progress)) => {
                if let Ok(record) = self.head.head.job(self.job) {
                    *progress = self.head.progress(&record, std::mem::take(progress)).await;
                }
            }
            None => {}
        }
        Some(event)
    }
}

/// Between two looks for a node that does not answer.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
