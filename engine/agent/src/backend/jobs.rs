//! Jobs, as clients see them.

use std::sync::Arc;

use engine_core::head::JobRecord;
use engine_core::node::{Progress, TaskState};
use engine_core::{Error, JobId};
use engine_net::{JobKey, Scope};
use engine_proto::convert::timestamp;
use engine_proto::v1::{self, node_request};

use crate::driver::Driver;

impl Driver {
    /// Tells the cluster's head of a job's end, when there is one.
    pub(crate) fn report_end(&self, job: JobId) {
        if let (Ok(network), Ok(view)) = (self.network(), view(self, job)) {
            network.requests.tell(node_request::Request::JobEnded(for_head(view)));
        }
    }
}

/// Bytes of a result that the head keeps too; larger ones it asks for here.
const RESULT_BYTES_AT_HEAD_MAX: usize = 64 << 10;

fn for_head(mut view: v1::JobView) -> v1::JobView {
    let bytes =
        view.result.as_ref().and_then(|result| result.value.as_ref()).map_or(0, |value| value.bytes.len());
    if bytes > RESULT_BYTES_AT_HEAD_MAX {
        view.result = None;
    }
    view
}

/// The jobs whose root tasks this node has or had.
pub(crate) fn known(driver: &Driver) -> Vec<v1::KnownJob> {
    let job = |record: &JobRecord| v1::KnownJob {
        // All of them go in one message: the head asks for what they gave when somebody wants it.
        job: Some(v1::JobView { result: None, ..view_of(driver, record) }),
        digest: record.submission.digest.to_vec(),
        spec: driver.jobs.get(record.run_id()).and_then(|entry| entry.spec.clone()),
    };
    driver.head.jobs().iter().map(job).collect()
}

pub(super) fn get(driver: &Driver, scope: &Scope, job: &JobKey) -> Result<v1::JobView, Error> {
    Ok(view_of(driver, &driver.head.seen_job(scope, job)?))
}

pub(super) fn view(driver: &Driver, job: JobId) -> Result<v1::JobView, Error> {
    Ok(view_of(driver, &driver.head.job(job)?))
}

pub(super) fn list(driver: &Driver, scope: &Scope, limit: usize) -> v1::ListJobsResponse {
    let records = driver.head.seen_jobs(scope);
    let jobs = records.iter().take(limit).map(|record| view_of(driver, record)).collect();
    v1::ListJobsResponse { jobs, total: records.len() as u64 }
}

/// Stops a job and waits until nothing of it is left.
pub(super) async fn stop(driver: &Arc<Driver>, scope: &Scope, job: &JobKey) -> Result<v1::JobView, Error> {
    let record = driver.head.seen_job(scope, job)?;
    let run = record.run_id();
    driver.event(|node, now, fx| node.stop_job(now, run, "a client asked for it", fx));
    if let Some(entry) = driver.jobs.get(run) {
        let mut ended = entry.ended.subscribe();
        if !record.state.is_end() && ended.wait_for(|ended| *ended).await.is_err() {
            tracing::debug!(job = %run, "the job was forgotten while it was stopped");
        }
    }
    view(driver, record.id)
}

pub(super) fn delete(driver: &Driver, scope: &Scope, job: &JobKey) -> Result<(), Error> {
    let run = driver.head.seen_job(scope, job)?.run_id();
    driver.head.delete_job(run)?;
    driver.jobs.forget(run);
    Ok(())
}

/// How far a job is: from the node while it runs, from the head when it has ended.
pub(super) fn progress(driver: &Driver, record: &JobRecord) -> v1::JobProgress {
    match live(driver, record.run_id()) {
        Some(live) if !record.state.is_end() => live,
        _ => v1::JobProgress {
            tasks: Some(counts(&record.progress)),
            actors_alive: 0,
            instantiations: record.progress.instances,
            root_state: String::new(),
        },
    }
}

/// How far what this node owns of a job is; none when it knows nothing of it.
pub(crate) fn live(driver: &Driver, job: JobId) -> Option<v1::JobProgress> {
    let root = driver.jobs.get(job).and_then(|entry| entry.root());
    driver.read(|node| {
        let progress = node.job_progress(job)?;
        let root_state = root.and_then(|root| node.task(root)).map(|task| task.state.as_str().to_owned());
        let (actors_alive, instantiations) = node.job_counts(job)?;
        Some(v1::JobProgress {
            tasks: Some(counts(&progress)),
            actors_alive,
            instantiations,
            root_state: root_state.unwrap_or_default(),
        })
    })
}

pub(super) fn counts(progress: &Progress) -> v1::TaskCounts {
    v1::TaskCounts {
        pending_args: progress.of(TaskState::PendingArgs),
        pending_placement: progress.of(TaskState::PendingPlacement),
        pending_store_memory: progress.of(TaskState::PendingStoreMemory),
        fetching_args: progress.of(TaskState::FetchingArgs),
        submitted: progress.of(TaskState::Submitted),
        running: progress.of(TaskState::Running),
        blocked: progress.of(TaskState::Blocked),
        finished: progress.of(TaskState::Finished),
        failed: progress.of(TaskState::Failed),
        cancelled: progress.of(TaskState::Cancelled),
    }
}

pub(super) fn view_of(driver: &Driver, record: &JobRecord) -> v1::JobView {
    let entry = driver.jobs.get(record.run_id());
    let invoked = entry.as_ref().is_some_and(|entry| entry.invoked);
    let time = |time| Some(timestamp(driver.clock().wall(time)));
    let result = record.result.as_ref().map(|value| {
        let bytes = engine_objects::bytes(value);
        let wave = invoked.then(|| String::from_utf8_lossy(bytes).into_owned());
        let codec: v1::Codec = value.codec.into();
        let value =
            v1::Value { codec: codec.into(), bytes: bytes.to_vec(), handles: value.handles.len() as u32 };
        v1::JobResult { value: Some(value), wave }
    });
    v1::JobView {
        job_id: record.id.to_string(),
        submission_id: record.submission.submission_id.clone(),
        name: record.submission.name.clone(),
        namespace: entry.as_ref().map(|entry| entry.context.namespace.clone()).unwrap_or_default(),
        tenant: record.submission.tenant.to_string(),
        state: v1::JobState::from(record.state).into(),
        error: record.error.as_deref().map(Into::into),
        result,
        root_task_id: entry.as_ref().and_then(|e| e.root()).map(|root| root.to_string()).unwrap_or_default(),
        entry: entry.as_ref().map(|entry| entry.entry.clone()).unwrap_or_default(),
        components: entry.map(|entry| entry.components.clone()).unwrap_or_default(),
        submit_time: time(record.submitted),
        start_time: record.started.and_then(time),
        end_time: record.ended.and_then(time),
        progress: Some(progress(driver, record)),
        run: record.run,
        job_retries: record.submission.retries,
        lost_runs: Vec::new(),
    }
}
