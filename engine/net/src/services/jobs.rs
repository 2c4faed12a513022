use std::sync::Arc;

use engine_access::{Scope, Verb};
use engine_core::{Error, ErrorCode};
use engine_proto::status_from_error;
use engine_proto::v1::jobs_server::Jobs;
use engine_proto::v1::{
    DeleteJobRequest, DeleteJobResponse, GetJobRequest, JobEvent, JobSpec, JobView, ListJobsRequest,
    ListJobsResponse, LogBatch, LogsRequest, StopJobRequest, SubmitRequest, WatchJobRequest,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::access::{Asker, asker};
use super::{StatusStream, answer, stream};
use crate::backend::{Backend, LogsQuery, Replies, WatchQuery};
use crate::check;

/// Starts jobs and follows them.
pub(crate) struct JobsService {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) stopping: CancellationToken,
}

impl JobsService {
    async fn submit(&self, request: Request<SubmitRequest>) -> Result<JobView, Error> {
        let asks = asker(&request)?;
        let spec = request
            .into_inner()
            .spec
            .ok_or_else(|| Error::invalid_argument("the request has no specification"))?;
        check::job_spec(&spec)?;
        asks.about("submission_id", &spec.submission_id);
        asks.about("namespace", &spec.namespace);
        asks.about("name", &spec.name);
        let main = spec.components.iter().find(|component| component.name == spec.main);
        asks.about("component", main.map_or("", |main| &main.digest));
        let spec = in_scope(&asks, spec)?;
        let view = self.backend.submit(asks.scope(), spec).await?;
        asks.about("job_id", &view.job_id);
        asks.about("tenant", &view.tenant);
        Ok(view)
    }

    async fn watch(&self, asks: &Asker, request: WatchJobRequest) -> Result<Replies<JobEvent>, Error> {
        if request.attach {
            // The job ends when who is attached to it goes away.
            asks.about("job_id", &request.job_id);
            asks.check(Verb::Submit)?;
        }
        let query = WatchQuery { next_sequence: request.next_sequence, attach: request.attach };
        self.backend.watch_job(asks.scope(), check::job_key(request.job_id)?, query).await
    }

    async fn logs(&self, scope: &Scope, request: LogsRequest) -> Result<Replies<LogBatch>, Error> {
        let task = match request.task_id.as_str() {
            "" => None,
            text => Some(check::id(text)?),
        };
        let query = LogsQuery { task, follow: request.follow, tail: request.tail };
        self.backend.logs(scope, check::job_key(request.job_id)?, query).await
    }
}

/// A specification as who asks may give it.
fn in_scope(asks: &Asker, mut spec: JobSpec) -> Result<JobSpec, Error> {
    let denied = |what: String| Err(Error::new(ErrorCode::PermissionDenied, what));
    if !spec.directories.is_empty() && asks.check(Verb::Operate).is_err() {
        return denied(
            "a job with a token cannot be granted directories of the engine's machines: only operators can do that, \
             without a token or with one of their own"
                .to_owned(),
        );
    }
    match &asks.scope().namespace {
        Some(own) if spec.namespace.is_empty() => spec.namespace.clone_from(own),
        Some(own) if spec.namespace != *own => {
            return denied(format!(
                "the token is for the namespace {own:?}, and the job is for {:?}: leave its namespace away",
                spec.namespace
            ));
        }
        _ => {}
    }
    Ok(spec)
}

#[tonic::async_trait]
impl Jobs for JobsService {
    type WatchStream = StatusStream<JobEvent>;
    type LogsStream = StatusStream<LogBatch>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<JobView>, Status> {
        answer(self.submit(request).await)
    }

    async fn get(&self, request: Request<GetJobRequest>) -> Result<Response<JobView>, Status> {
        let get = async {
            let asks = asker(&request)?;
            self.backend.get_job(asks.scope(), check::job_key(request.into_inner().job_id)?).await
        };
        answer(get.await)
    }

    async fn list(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let list = async {
            let asks = asker(&request)?;
            self.backend.list_jobs(asks.scope(), check::limit(request.get_ref().limit)?).await
        };
        answer(list.await)
    }

    async fn stop(&self, request: Request<StopJobRequest>) -> Result<Response<JobView>, Status> {
        let stop = async {
            let asks = asker(&request)?;
            let key = check::job_key(request.into_inner().job_id)?;
            asks.about_job(&key);
            let view = self.backend.stop_job(asks.scope(), key).await?;
            asks.about("job_id", &view.job_id);
            asks.about("tenant", &view.tenant);
            Ok(view)
        };
        answer(stop.await)
    }

    async fn delete(
        &self,
        request: Request<DeleteJobRequest>,
    ) -> Result<Response<DeleteJobResponse>, Status> {
        let delete = async {
            let asks = asker(&request)?;
            let key = check::job_key(request.into_inner().job_id)?;
            asks.about_job(&key);
            self.backend.delete_job(asks.scope(), key).await
        };
        answer(delete.await.map(|()| DeleteJobResponse {}))
    }

    async fn watch(&self, request: Request<WatchJobRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        let replies = self.watch(&asks, request.into_inner()).await;
        answer(replies.map(|replies| stream("Jobs.Watch", asks, replies, self.stopping.clone())))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        let replies = self.logs(asks.scope(), request.into_inner()).await;
        answer(replies.map(|replies| stream("Jobs.Logs", asks, replies, self.stopping.clone())))
    }
}
