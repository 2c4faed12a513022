//! Following a job of a cluster from run to run: its events, and its log.

use std::sync::Arc;

use engine_core::JobId;
use engine_core::head::JobRecord;
use engine_net::{LogsQuery, Replies, WatchQuery};
use engine_proto::v1::{self, job_event};
use futures::{StreamExt, stream};

use super::{LOOK_AGAIN, logs_request};
use crate::cluster::ClusterHead;

/// What happens in a job. A client that is attached is attached on the node of the root task.
pub(super) fn job(head: Arc<ClusterHead>, job: JobId, query: WatchQuery) -> Replies<v1::JobEvent> {
    let follower = Follower { head, job, query, run: 0, events: None, done: false };
    Box::pin(stream::unfold(
        follower,
        |mut follower| async move { Some((Ok(follower.next().await?), follower)) },
    ))
}

/// Follows one job.
struct Follower {
    head: Arc<ClusterHead>,
    job: JobId,
    /// From where on.
    query: WatchQuery,
    /// The run that was told of.
    run: u32,
    /// What the node of that run says.
    events: Option<(JobId, Replies<v1::JobEvent>)>,
    done: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<v1::JobEvent> {
        let mut news = self.head.news.subscribe();
        while !self.done {
            if let Some((run, events)) = &mut self.events {
                let run = *run;
                match events.next().await {
                    Some(Ok(event)) => return self.heard(run, event).await,
                    Some(Err(error)) => tracing::debug!(%run, %error, "a watch broke"),
                    None => {}
                }
                self.events = None;
            }
            let Ok(record) = self.head.head.job(self.job) else { return None };
            if record.run > self.run {
                self.run = record.run;
                return self.view(&record).await;
            }
            let run = record.run_id();
            let watched = match self.head.home(&record) {
                Ok(home) => home.watch_job(run, self.query).await,
                Err(gone) => Err(gone),
            };
            let may_answer = watched.as_ref().is_err_and(|error| self.head.may_answer(&record, error));
            if let Ok(events) = watched {
                self.events = Some((run, events));
                continue;
            }
            // What is left of the log is with its node, as long as that lives.
            if record.state.is_end() && !may_answer {
                self.done = true;
                return self.view(&record).await;
            }
            // The node does not answer: it comes back, or is declared dead. Or there is none yet.
            drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
        }
        None
    }

    /// The job as the head knows it.
    async fn view(&mut self, record: &JobRecord) -> Option<v1::JobEvent> {
        let view = self.head.own_view(record);
        self.head.settled().await.ok()?;
        Some(v1::JobEvent { event: Some(job_event::Event::Job(view)) })
    }

    async fn heard(&mut self, run: JobId, mut event: v1::JobEvent) -> Option<v1::JobEvent> {
        match &mut event.event {
            Some(job_event::Event::Logs(batch)) => {
                let next = batch.lines.last().map(|line| line.sequence + 1);
                self.query.next_sequence = next.unwrap_or(self.query.next_sequence);
            }
            Some(job_event::Event::Job(view)) => {
                *view = self.head.confirmed(run, std::mem::take(view)).await.ok()?;
                // It may be run again: its node has died after all.
                self.done = view.state().is_final();
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

/// The log of a job that has not ended, until it does.
pub(super) fn logs(head: Arc<ClusterHead>, job: JobId, query: LogsQuery) -> Replies<v1::LogBatch> {
    let follower = LogFollower { head, job, query, next: 0, batches: None };
    Box::pin(stream::unfold(
        follower,
        |mut follower| async move { Some((Ok(follower.next().await?), follower)) },
    ))
}

/// Follows the log of one job.
struct LogFollower {
    head: Arc<ClusterHead>,
    job: JobId,
    query: LogsQuery,
    /// The first line that was not given yet.
    next: u64,
    batches: Option<Replies<v1::LogBatch>>,
}

impl LogFollower {
    async fn next(&mut self) -> Option<v1::LogBatch> {
        let mut news = self.head.news.subscribe();
        loop {
            if let Some(batches) = &mut self.batches {
                let next = batches.next().await;
                let broke = matches!(next, Some(Err(_)));
                if let Some(Ok(mut batch)) = next {
                    batch.lines.retain(|line| line.sequence >= self.next);
                    let Some(last) = batch.lines.last() else { continue };
                    self.next = last.sequence + 1;
                    self.query.tail = None;
                    return Some(batch);
                }
                // The run has ended, or its node does not answer any more.
                self.batches = None;
                let record = self.head.head.job(self.job).ok()?;
                if record.state.is_end() && !broke {
                    return None;
                }
                drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
            }
            let record = self.head.head.job(self.job).ok()?;
            let request = logs_request(record.run_id(), &self.query);
            let asked = match self.head.home(&record) {
                Ok(home) => home.logs(request).await,
                Err(gone) => Err(gone),
            };
            let may_answer = asked.as_ref().is_err_and(|error| self.head.may_answer(&record, error));
            if let Ok(batches) = asked {
                self.batches = Some(batches);
                continue;
            }
            if record.state.is_end() && !may_answer {
                return None;
            }
            drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
        }
    }
}
