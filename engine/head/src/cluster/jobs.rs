//! Jobs of a cluster: accepted here, run where their root task is, and looked at there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine_core::head::{Effect, JobRecord, JobState, LostRun, Submission, Submitted};
use engine_core::node::{JobEnd, Progress};
use engine_core::{ComponentId, Error, ErrorCode, JobId, NodeId, TenantName, Time};
use engine_net::cluster::NodeClient;
use engine_net::{JobKey, LogsQuery, Replies, Scope, WatchQuery};
use engine_proto::convert::timestamp;
use engine_proto::limits::LIST_ITEMS_MAX;
use engine_proto::prost_types::Timestamp;
use engine_proto::v1;
use futures::future::join_all;
use tokio::sync::oneshot;

use crate::background::{self, Kind};
use crate::cluster::backend::list;
use crate::cluster::records::Starting;
use crate::cluster::{Clock, ClusterHead, merge};

mod follow;

impl ClusterHead {
    pub(super) async fn submit(&self, scope: &Scope, spec: v1::JobSpec) -> Result<v1::JobView, Error> {
        for component in &spec.components {
            let id: ComponentId = engine_proto::convert::component_id(&component.digest)?;
            if !self.head.components().is_there_for(scope, id) {
                return Err(Error::new(
                    ErrorCode::NotFound,
                    format!("the component {id} was not uploaded: upload it, then submit the job"),
                ));
            }
        }
        self.head.check_job(&scope.submitter(), &spec)?;
        // Before anything is promised; a run of it has those of the moment at which it begins.
        self.head.secrets().environment(&scope.submitter(), &spec.secrets)?;
        self.memory.check_room()?;
        let (run, home) = match self.when_nodes_are_back(|| self.accept(scope.submitter(), &spec)).await? {
            (run, Some(home)) => (run, home),
            (run, None) => return self.view(&self.head.job(run)?).await,
        };
        // Whoever submits may go away before it has begun.
        let (done, started) = oneshot::channel();
        let Some(head) = self.this.upgrade() else { return Err(Error::internal("the head is gone")) };
        let start = async move { drop(done.send(head.start_first(home, run, spec).await)) };
        drop(background::spawn(Kind::JobStart, start));
        started.await.map_err(|_| Error::internal("starting the job panicked"))?
    }

    /// Accepts a job and says where it is to start; nowhere when it is known.
    pub(super) fn accept(
        &self,
        tenant: TenantName,
        spec: &v1::JobSpec,
    ) -> Result<(JobId, Option<NodeId>), Error> {
        let submission = Submission {
            submission_id: spec.submission_id.clone(),
            digest: crate::spec_digest(spec),
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            tenant,
            retries: spec.job_retries,
        };
        self.event(|core, now, _| {
            let job = match core.submit(now, submission)? {
                Submitted::Known(job) => return Ok((job, None)),
                Submitted::New(job) => job,
            };
            let home = core.place_job(job).inspect_err(|error| core.withdraw_job(now, job, error))?;
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

    /// Starts a job's first run, for whoever has submitted it.
    async fn start_first(
        self: Arc<Self>,
        home: NodeId,
        run: JobId,
        spec: v1::JobSpec,
    ) -> Result<v1::JobView, Error> {
        // A head that comes back must know of it, else the same submission would start another.
        self.settled().await?;
        let started = self.start_at(home, run, spec).await;
        match &started {
            // Whether it has begun is not known. Its node comes back, or dies with it (contract J2).
            Err(error) if error.code() == ErrorCode::NodeDied => {
                self.start_run(run, home);
                return Ok(self.own_view(&self.head.job(run)?));
            }
            Err(error) => self.event(|core, now, _| core.withdraw_job(now, run, error)),
            Ok(_) => {}
        }
        self.forget_spec(run);
        started
    }

    async fn start_at(&self, home: NodeId, run: JobId, spec: v1::JobSpec) -> Result<v1::JobView, Error> {
        let client = self.client(home)?;
        let tenant = self.head.job(run)?.submission.tenant;
        let secrets = self.head.secrets().environment(&tenant, &spec.secrets)?;
        let tenancy = self.head.tenancy(&tenant);
        // A run is held to what is said when it begins.
        let policy = self.head.check_job(&tenant, &spec)?;
        let view = client.start_job(run, &tenancy, spec, secrets, policy).await?;
        self.event(|core, now, _| core.job_started(now, run));
        self.news.send_modify(|news| *news += 1);
        let record = self.head.job(run)?;
        if record.is_to_stop && record.run_id() == run {
            return client.stop_job(run).await;
        }
        Ok(self.dressed(view, &record))
    }

    /// Starts the jobs that this node was to have when the head was killed. One that it has already it only
    /// answers for.
    pub(super) fn start_orphaned(&self, home: NodeId) {
        let core = self.head.lock();
        let not_started = core.jobs_not_started().into_iter().filter(|job| job.home == Some(home));
        let runs: Vec<JobId> = not_started.map(JobRecord::run_id).collect();
        drop(core);
        for run in runs {
            let mut starting = self.starting.lock();
            let orphaned = starting.get_mut(&run.job()).filter(|starting| starting.is_orphaned);
            if let Some(orphaned) = orphaned {
                orphaned.is_orphaned = false;
                drop(starting);
                self.start_run(run, home);
            }
        }
    }

    /// A node is back: jobs whose root tasks it has, and that were told to stop, may not have heard so, as the
    /// head was killed meanwhile.
    pub(super) fn stop_again(&self, home: NodeId) {
        let is_told =
            |job: &&JobRecord| job.is_to_stop && job.state == JobState::Running && job.home == Some(home);
        let core = self.head.lock();
        let runs: Vec<JobId> = core.jobs().into_iter().filter(is_told).map(JobRecord::run_id).collect();
        drop(core);
        for run in runs {
            let Some(head) = self.this.upgrade() else { return };
            drop(background::spawn(Kind::JobStop, async move { drop(head.stop_until_it_is(run).await) }));
        }
    }

    /// Starts a run that nobody waits for.
    pub(super) fn start_run(&self, run: JobId, home: NodeId) {
        if let Some(head) = self.this.upgrade() {
            drop(background::spawn(Kind::JobStart, head.start_until_it_is(run, home)));
        }
    }

    /// Starts a run, again while its node does not answer: that comes back, or is declared dead.
    async fn start_until_it_is(self: Arc<Self>, run: JobId, home: NodeId) {
        let mut news = self.news.subscribe();
        loop {
            // What follows from it must not be known to anybody before this head knows it for good.
            if self.settled().await.is_err() {
                return;
            }
            let Ok(record) = self.head.job(run) else { return };
            let is_wanted = record.run_id() == run && record.state == JobState::Pending;
            if !is_wanted || record.home != Some(home) {
                return;
            }
            let started = match self.spec_of(&record) {
                Ok(spec) => self.start_at(home, run, spec).await,
                Err(error) => Err(error),
            };
            match started {
                Ok(_) => {
                    self.forget_spec(run);
                    return tracing::info!(%run, node = %home, "a run of a job was started");
                }
                Err(error) if error.code() == ErrorCode::NodeDied => {
                    drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
                }
                Err(error) => {
                    let result = Err(Arc::new(error));
                    let end = JobEnd { result, stopped: false, progress: Progress::default() };
                    self.event(|core, now, fx| {
                        fx.extend(core.job_ended(now, run, end).map(Effect::JobForgotten));
                    });
                    self.forget_spec(run);
                    self.news.send_modify(|news| *news += 1);
                    return;
                }
            }
        }
    }

    /// What a job is to run, with what is left of its time.
    fn spec_of(&self, record: &JobRecord) -> Result<v1::JobSpec, Error> {
        let spec = self.starting.lock().get(&record.id).map(|starting| starting.spec.clone());
        let mut spec = spec.ok_or_else(|| Error::internal(format!("what {} runs is lost", record.id)))?;
        let limits = spec.limits.as_mut();
        if let Some(deadline) = limits.and_then(|limits| limits.deadline.as_mut()) {
            let whole = engine_proto::convert::std_duration(deadline).unwrap_or_default();
            let left = whole.saturating_sub(self.clock.now().since(record.submitted));
            if left.is_zero() {
                let message = format!("it had not ended {whole:?} after it was submitted, its deadline");
                return Err(Error::new(ErrorCode::DeadlineExceeded, message));
            }
            *deadline = engine_proto::convert::duration(left);
        }
        Ok(spec)
    }

    /// Lets go of what a job is to run when no run of it will be started any more.
    pub(super) fn forget_spec(&self, run: JobId) {
        if !self.head.lock().job(run).is_ok_and(JobRecord::may_start) {
            self.starting.lock().remove(&run.job());
        }
    }

    /// A job's view as the node of this run gives it. That it has ended is said only once this head has it for
    /// good: else the node's death could end the job another way, or have it run again.
    async fn confirmed(&self, run: JobId, view: v1::JobView) -> Result<v1::JobView, Error> {
        let mut news = self.news.subscribe();
        while view.state().is_final() && self.writer.lock().is_some() {
            match self.head.job(run) {
                Ok(record) if record.run_id() == run && !record.state.is_end() => {
                    drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
                }
                Ok(record) if record.run_id() != run || v1::JobState::from(record.state) != view.state() => {
                    self.settled().await?;
                    return Ok(self.own_view(&record));
                }
                // Deleted meanwhile, or as the node says.
                _ => break,
            }
        }
        self.settled().await?;
        Ok(match self.head.job(run) {
            Ok(record) => self.dressed(view, &record),
            Err(_) => view,
        })
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

    /// Where the client of a job is to attach itself: the node of the job's root task.
    pub(super) fn locate_client(&self, scope: &Scope, job: JobId) -> Result<v1::LocateClientResponse, Error> {
        let record = self.head.seen_job(scope, &JobKey::Id(job))?;
        let over = || {
            let state = v1::JobState::from(record.state).as_str_name();
            let state = state.trim_start_matches("JOB_STATE_");
            Error::new(ErrorCode::NotFound, format!("{job} has no client to attach any more: it is {state}"))
        };
        let home = record.home.filter(|_| !record.state.is_end()).ok_or_else(over)?;
        let (node_id, address) = (home.to_string(), self.address_of(home)?);
        Ok(v1::LocateClientResponse { node_id, address, ticket: String::new() })
    }

    /// Whether the node of a job's root task, which has not answered, may do so yet: it lives, as far as is
    /// known.
    fn may_answer(&self, record: &JobRecord, error: &Error) -> bool {
        error.code() == ErrorCode::NodeDied && record.home.is_some_and(|home| self.is_member(home))
    }

    /// A job as it is now: asked of the node of its root task while that runs.
    pub(super) async fn view(&self, record: &JobRecord) -> Result<v1::JobView, Error> {
        let kept = self.ended.lock().get(&record.id).cloned();
        // Of one that has ended all is known here, but a large result.
        let is_known = kept.is_some_and(|view| view.result.is_some() || view.error.is_some());
        if !is_known && let Ok(home) = self.home(record) {
            match home.job(record.run_id()).await {
                Ok(mut view) => {
                    if !view.state().is_final() {
                        view.progress = Some(self.progress(record, view.progress.unwrap_or_default()).await);
                    }
                    return self.confirmed(record.run_id(), view).await;
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
        let asked = others.map(|(_, client)| progress_at(client, record.run_id()));
        // What a node does not say is missing for a moment.
        merge::progress(home, join_all(asked).await.into_iter().filter_map(Result::ok))
    }

    /// A job as this head knows it.
    pub(super) fn own_view(&self, record: &JobRecord) -> v1::JobView {
        if let Some(view) = self.ended.lock().get(&record.id) {
            return self.dressed(view.clone(), record);
        }
        let view = v1::JobView {
            job_id: record.id.to_string(),
            submission_id: record.submission.submission_id.clone(),
            name: record.submission.name.clone(),
            namespace: record.submission.namespace.clone(),
            tenant: record.submission.tenant.to_string(),
            state: v1::JobState::from(record.state).into(),
            error: record.error.as_deref().map(Into::into),
            start_time: record.started.map(wall),
            end_time: record.ended.map(wall),
            ..Default::default()
        };
        self.dressed(view, record)
    }

    /// A view with what only this head knows of the job.
    fn dressed(&self, view: v1::JobView, record: &JobRecord) -> v1::JobView {
        let lost = |run: &LostRun| v1::LostRun {
            node_id: run.home.to_string(),
            start_time: run.started.map(wall),
            end_time: Some(wall(run.ended)),
            error: Some((&*run.error).into()),
        };
        v1::JobView {
            submit_time: Some(wall(record.submitted)),
            run: record.run,
            job_retries: record.submission.retries,
            lost_runs: record.lost.iter().map(lost).collect(),
            ..view
        }
    }

    /// The newest jobs: those that run as the nodes of their roots list them.
    pub(super) async fn list_jobs(&self, scope: &Scope, limit: usize) -> v1::ListJobsResponse {
        let records = self.head.seen_jobs(scope);
        let listed =
            v1::ListRequest { kind: v1::Kind::Job.into(), filters: Vec::new(), limit: LIST_ITEMS_MAX };
        let mut running: HashMap<String, v1::JobView> = HashMap::new();
        for listing in self.ask_all(|client| list(client, scope, listed.clone())).await {
            for item in listing.items {
                if let Some(v1::view::View::Job(job)) = item.view {
                    running.insert(job.job_id.clone(), job);
                }
            }
        }
        let view = |record: &JobRecord| match running.remove(&record.id.to_string()) {
            Some(view) if !record.state.is_end() => self.dressed(view, record),
            _ => v1::JobView { result: None, ..self.own_view(record) },
        };
        let total = records.len() as u64;
        v1::ListJobsResponse { jobs: records.iter().take(limit).map(view).collect(), total }
    }

    pub(super) async fn stop_job(&self, scope: &Scope, job: &JobKey) -> Result<v1::JobView, Error> {
        let record = self.head.seen_job(scope, job)?;
        if record.state.is_end() {
            return Ok(self.own_view(&record));
        }
        // Whatever becomes of its node, it is not run again.
        self.event(|core, now, fx| core.stop_job(now, record.id, fx));
        self.settled().await?;
        self.forget_spec(record.id);
        let record = self.head.job(record.id)?;
        if record.state.is_end() {
            self.news.send_modify(|news| *news += 1);
            return Ok(self.own_view(&record));
        }
        // Whoever asks may go away before the node has heard of it.
        let (done, stopped) = oneshot::channel();
        let Some(head) = self.this.upgrade() else { return Err(Error::internal("the head is gone")) };
        let stop = async move { drop(done.send(head.stop_until_it_is(record.run_id()).await)) };
        drop(background::spawn(Kind::JobStop, stop));
        stopped.await.map_err(|_| Error::internal("stopping the job panicked"))?
    }

    /// Stops a run at its node, again while that does not answer: it comes back, or is declared dead.
    async fn stop_until_it_is(&self, run: JobId) -> Result<v1::JobView, Error> {
        let mut news = self.news.subscribe();
        loop {
            let record = self.head.job(run)?;
            // Its node may have died meanwhile, and the job with it; or it is stopped as soon as it is there.
            if record.state.is_end() || record.state == JobState::Pending {
                return Ok(self.own_view(&record));
            }
            let stopped = match self.home(&record) {
                Ok(home) => home.stop_job(run).await,
                Err(error) => Err(error),
            };
            match stopped {
                Ok(view) => return self.confirmed(run, view).await,
                Err(error) if error.code() == ErrorCode::NodeDied => {
                    drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
                }
                Err(error) => match self.head.job(run)? {
                    record if record.state.is_end() => return Ok(self.own_view(&record)),
                    _ => return Err(error),
                },
            }
        }
    }

    pub(super) async fn delete_job(&self, scope: &Scope, job: &JobKey) -> Result<(), Error> {
        let record = self.head.seen_job(scope, job)?;
        self.event(|core, _, _| core.delete_job(record.id))?;
        self.ended.lock().remove(&record.id);
        self.settled().await?;
        if let Ok(home) = self.home(&record)
            && let Err(error) = home.delete_job(record.run_id()).await
        {
            tracing::debug!(job = %record.id, %error, "the node of a job has forgotten it");
        }
        Ok(())
    }

    pub(super) async fn logs(
        &self,
        scope: &Scope,
        job: &JobKey,
        query: LogsQuery,
    ) -> Result<Replies<v1::LogBatch>, Error> {
        let record = self.head.seen_job(scope, job)?;
        let head = self.this.upgrade();
        if let Some(head) = head.filter(|_| query.follow && !record.state.is_end()) {
            return Ok(follow::logs(head, record.id, query));
        }
        self.home(&record)?.logs(logs_request(record.run_id(), &query)).await
    }

    /// Follows a job on the nodes of its root task, from run to run, and says how it ended.
    pub(super) fn watch_job(
        &self,
        scope: &Scope,
        job: &JobKey,
        query: WatchQuery,
    ) -> Result<Replies<v1::JobEvent>, Error> {
        let record = self.head.seen_job(scope, job)?;
        let head = self.this.upgrade().ok_or_else(|| Error::internal("the head is gone"))?;
        Ok(follow::job(head, record.id, query))
    }
}

fn wall(time: Time) -> Timestamp {
    timestamp(Clock::wall(time))
}

fn logs_request(run: JobId, query: &LogsQuery) -> v1::LogsRequest {
    v1::LogsRequest {
        job_id: run.to_string(),
        task_id: query.task.map(|task| task.to_string()).unwrap_or_default(),
        follow: query.follow,
        tail: query.tail,
    }
}

async fn progress_at(client: NodeClient, job: JobId) -> Result<v1::JobProgress, Error> {
    client.progress(job).await
}

/// Between two looks for a node that does not answer.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
