use std::sync::Arc;

use engine_core::Error;
use engine_proto::v1::jobs_server::Jobs;
use engine_proto::v1::{
    DeleteJobRequest, DeleteJobResponse, GetJobRequest, JobEvent, JobView, ListJobsRequest, ListJobsResponse,
    LogBatch, LogsRequest, StopJobRequest, SubmitRequest, WatchJobRequest,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{StatusStream, answer, stream};
use crate::backend::{Backend, LogsQuery, Replies, WatchQuery};
use crate::check;

/// Starts jobs and follows them.
pub(crate) struct JobsService {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) stopping: CancellationToken,
}

impl JobsService {
    async fn submit(&self, request: SubmitRequest) -> Result<JobView, Error> {
        let spec = request.spec.ok_or_else(|| Error::invalid_argument("the request has no specification"))?;
        check::job_spec(&spec)?;
        self.backend.submit(spec).await
    }

    async fn watch(&self, request: WatchJobRequest) -> Result<Replies<JobEvent>, Error> {
        let query = WatchQuery { next_sequence: request.next_sequence, attach: request.attach };
        self.backend.watch_job(check::job_key(request.job_id)?, query).await
    }

    async fn logs(&self, request: LogsRequest) -> Result<Replies<LogBatch>, Error> {
        let task = match request.task_id.as_str() {
            "" => None,
            text => Some(check::id(text)?),
        };
        let query = LogsQuery { task, follow: request.follow, tail: request.tail };
        self.backend.logs(check::job_key(request.job_id)?, query).await
    }
}

#[tonic::async_trait]
impl Jobs for JobsService {
    type WatchStream = StatusStream<JobEvent>;
    type LogsStream = StatusStream<LogBatch>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<JobView>, Status> {
        answer(self.submit(request.into_inner()).await)
    }

    async fn get(&self, request: Request<GetJobRequest>) -> Result<Response<JobView>, Status> {
        let get = async { self.backend.get_job(check::job_key(request.into_inner().job_id)?).await };
        answer(get.await)
    }

    async fn list(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let list = async { self.backend.list_jobs(check::limit(request.get_ref().limit)?).await };
        answer(list.await)
    }

    async fn stop(&self, request: Request<StopJobRequest>) -> Result<Response<JobView>, Status> {
        let stop = async { self.backend.stop_job(check::job_key(request.into_inner().job_id)?).await };
        answer(stop.await)
    }

    async fn delete(
        &self,
        request: Request<DeleteJobRequest>,
    ) -> Result<Response<DeleteJobResponse>, Status> {
        let delete = async { self.backend.delete_job(check::job_key(request.into_inner().job_id)?).await };
        answer(delete.await.map(|()| DeleteJobResponse {}))
    }

    async fn watch(&self, request: Request<WatchJobRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let replies = self.watch(request.into_inner()).await;
        answer(replies.map(|replies| stream("Jobs.Watch", replies, self.stopping.clone())))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let replies = self.logs(request.into_inner()).await;
        answer(replies.map(|replies| stream("Jobs.Logs", replies, self.stopping.clone())))
    }
}
