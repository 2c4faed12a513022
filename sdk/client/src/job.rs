//! Jobs: submit, follow, stop.

use std::pin::Pin;
use std::task::{Context, Poll};

use engine_core::Error as EngineError;
use engine_proto::v1::{
    DeleteJobRequest, GetJobRequest, JobEvent, JobSpec, JobView, ListJobsRequest, ListJobsResponse, LogBatch,
    LogLine, LogsRequest, StopJobRequest, SubmitRequest, WatchJobRequest,
};
use futures::{Stream, StreamExt};
use tonic::Streaming;

pub use engine_proto::v1::job_event::Event;

use crate::client::Client;
use crate::error::{Error, Result};

impl Client {
    /// Starts a job whose components were uploaded. With the submission id of a job that is there
    /// already, gives that job.
    pub async fn submit(&self, spec: JobSpec) -> Result<Job> {
        let request = SubmitRequest { spec: Some(spec) };
        let view = self.jobs().submit(request).await.map_err(self.failed())?.into_inner();
        Ok(Job { client: self.clone(), view })
    }

    /// One job, by its id or its submission id.
    pub async fn job(&self, job: impl Into<String>) -> Result<Job> {
        let request = GetJobRequest { job_id: job.into() };
        let view = self.jobs().get(request).await.map_err(self.failed())?.into_inner();
        Ok(Job { client: self.clone(), view })
    }

    /// The newest jobs, at most `limit`; 0 for the engine's default.
    pub async fn jobs_listed(&self, limit: u32) -> Result<ListJobsResponse> {
        Ok(self.jobs().list(ListJobsRequest { limit }).await.map_err(self.failed())?.into_inner())
    }
}

/// A job that was submitted.
#[derive(Debug, Clone)]
pub struct Job {
    client: Client,
    view: JobView,
}

/// Which log lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Go on with new lines until the job ends.
    pub follow: bool,
    /// Only the lines of this task.
    pub task: Option<String>,
    /// Only the last so many of those that are kept.
    pub tail: Option<u64>,
}

impl Job {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.view.job_id
    }

    /// The job as the engine last described it here.
    pub fn view(&self) -> &JobView {
        &self.view
    }

    /// Asks how the job is now.
    pub async fn refresh(&mut self) -> Result<&JobView> {
        let request = GetJobRequest { job_id: self.view.job_id.clone() };
        self.view = self.client.jobs().get(request).await.map_err(self.client.failed())?.into_inner();
        Ok(&self.view)
    }

    /// What happens in the job, from its first log line that is kept. The last event is its view in a
    /// final state.
    pub async fn watch(&self) -> Result<Events> {
        self.watch_from(0).await
    }

    /// The same, from this log line on: to go on where a broken connection ended.
    pub async fn watch_from(&self, next_sequence: u64) -> Result<Events> {
        self.events(next_sequence, false).await
    }

    /// The same, attached to the job as long as this connection lives.
    pub(crate) async fn attach_from(&self, next_sequence: u64) -> Result<Events> {
        self.events(next_sequence, true).await
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    async fn events(&self, next_sequence: u64, attach: bool) -> Result<Events> {
        let request = WatchJobRequest { job_id: self.view.job_id.clone(), next_sequence, attach };
        let events = self.client.jobs().watch(request).await.map_err(self.client.failed())?.into_inner();
        Ok(Events { events, client: self.client.clone() })
    }

    /// Waits for the end of the job and gives its view then, whether it succeeded or not.
    pub async fn wait(&self) -> Result<JobView> {
        let mut events = self.watch_from(u64::MAX).await?;
        while let Some(event) = events.next().await {
            if let Event::Job(view) = event?
                && view.state().is_final()
            {
                return Ok(view);
            }
        }
        Err(EngineError::internal(format!("the engine stopped telling about {} before its end", self.id()))
            .into())
    }

    /// Stops the job: cancels its tasks and ends its actors.
    pub async fn stop(&self) -> Result<JobView> {
        let request = StopJobRequest { job_id: self.view.job_id.clone() };
        Ok(self.client.jobs().stop(request).await.map_err(self.client.failed())?.into_inner())
    }

    /// Forgets the job, which has ended, and its logs.
    pub async fn delete(self) -> Result<()> {
        let request = DeleteJobRequest { job_id: self.view.job_id };
        self.client.jobs().delete(request).await.map_err(self.client.failed())?;
        Ok(())
    }

    /// The log lines that are kept, oldest first.
    pub async fn logs(&self, options: LogOptions) -> Result<Logs> {
        let request = LogsRequest {
            job_id: self.view.job_id.clone(),
            task_id: options.task.unwrap_or_default(),
            follow: options.follow,
            tail: options.tail,
        };
        let batches = self.client.jobs().logs(request).await.map_err(self.client.failed())?.into_inner();
        Ok(Logs { batches, client: self.client.clone() })
    }
}

/// What happens in a job; ends after its view in a final state, or with an error.
#[derive(Debug)]
pub struct Events {
    events: Streaming<JobEvent>,
    client: Client,
}

impl Stream for Events {
    type Item = Result<Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            return Poll::Ready(match std::task::ready!(this.events.poll_next_unpin(cx)) {
                None => None,
                // An event of a newer engine, which this client does not know.
                Some(Ok(JobEvent { event: None })) => continue,
                Some(Ok(JobEvent { event: Some(event) })) => Some(Ok(event)),
                Some(Err(status)) => Some(Err(Error::from_status(&status, this.client.address()))),
            });
        }
    }
}

/// Log lines, in the batches in which they come.
#[derive(Debug)]
pub struct Logs {
    batches: Streaming<LogBatch>,
    client: Client,
}

impl Stream for Logs {
    type Item = Result<Vec<LogLine>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = std::task::ready!(this.batches.poll_next_unpin(cx));
        Poll::Ready(item.map(|batch| match batch {
            Ok(batch) => Ok(batch.lines),
            Err(status) => Err(Error::from_status(&status, this.client.address())),
        }))
    }
}
