//! Following a job: its log, its progress, its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use engine_core::head::JobRecord;
use engine_core::{Error, ErrorCode, JobId, TaskId};
use engine_net::{JobKey, LogsQuery, Replies, Scope, WatchQuery};
use engine_proto::v1::{self, job_event};
use futures::stream;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use crate::backend::jobs;
use crate::driver::Driver;
use crate::jobs::Entry;

/// A follower of one job's log.
struct Follower {
    driver: Arc<Driver>,
    entry: Arc<Entry>,
    node: String,
    task: Option<TaskId>,
    next: u64,
    news: watch::Receiver<u64>,
    ended: watch::Receiver<bool>,
}

impl Follower {
    fn new(driver: &Arc<Driver>, record: &JobRecord, task: Option<TaskId>, next: u64) -> Result<Self, Error> {
        let entry = driver.jobs.get(record.run_id()).ok_or_else(|| {
            Error::new(ErrorCode::NotFound, format!("nothing is kept of {} any more", record.id))
        })?;
        let node = driver.read(|node| node.id()).to_string();
        let (news, ended) = (entry.logs.follow(), entry.ended.subscribe());
        Ok(Self { driver: driver.clone(), entry, node, task, next, news, ended })
    }

    /// The lines that are there and were not given yet; none when there are none, and whether the
    /// job had ended before that was known.
    fn lines(&mut self) -> (Option<v1::LogBatch>, bool) {
        // In this order: what is written before the end is seen after it.
        let ended = *self.ended.borrow();
        self.news.mark_unchanged();
        loop {
            let (lines, next) = self.entry.logs.read(&self.node, self.next, self.task);
            let more = next > self.next;
            self.next = next;
            if !lines.is_empty() {
                return (Some(v1::LogBatch { lines }), ended);
            }
            if !more {
                return (None, ended);
            }
        }
    }
}

pub(crate) fn logs(
    driver: &Arc<Driver>,
    scope: &Scope,
    job: &JobKey,
    query: LogsQuery,
) -> Result<Replies<v1::LogBatch>, Error> {
    let record = driver.head.seen_job(scope, job)?;
    let mut follower = Follower::new(driver, &record, query.task, 0)?;
    if let Some(tail) = query.tail {
        follower.next = follower.entry.logs.tail(query.task, tail);
    }
    // Without follow, what is there now is all.
    let until = (!query.follow).then(|| *follower.news.borrow());
    Ok(Box::pin(stream::unfold(follower, move |mut follower| async move {
        loop {
            if until.is_some_and(|until| follower.next >= until) {
                return None;
            }
            match follower.lines() {
                (Some(batch), _) => return Some((Ok(batch), follower)),
                (None, ended) if ended || until.is_some() => return None,
                (None, _) => {}
            }
            tokio::select! {
                changed = follower.news.changed() => if changed.is_err() { return None },
                ended = follower.ended.changed() => if ended.is_err() { return None },
            }
        }
    })))
}

struct Watcher {
    follower: Follower,
    job: JobId,
    interval: Interval,
    last: Option<v1::JobProgress>,
    queue: VecDeque<job_event::Event>,
    done: bool,
}

impl Watcher {
    /// What is to be said next; none at the end.
    async fn next(&mut self) -> Option<Result<job_event::Event, Error>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(Ok(event));
            }
            if self.done {
                return None;
            }
            match self.follower.lines() {
                (Some(batch), _) => return Some(Ok(job_event::Event::Logs(batch))),
                (None, false) => {}
                (None, true) => {
                    self.done = true;
                    return Some(jobs::view(&self.follower.driver, self.job).map(job_event::Event::Job));
                }
            }
            tokio::select! {
                changed = self.follower.news.changed() => self.done = changed.is_err(),
                ended = self.follower.ended.changed() => self.done = ended.is_err(),
                _ = self.interval.tick() => self.progress(),
            }
        }
    }

    fn progress(&mut self) {
        let Ok(record) = self.follower.driver.head.job(self.job) else { return };
        let progress = jobs::progress(&self.follower.driver, &record);
        if self.last.as_ref() != Some(&progress) {
            self.last = Some(progress.clone());
            self.queue.push_back(job_event::Event::Progress(progress));
        }
    }
}

/// A client that is attached to a job, until this is dropped.
struct Attached {
    driver: Arc<Driver>,
    run: JobId,
}

impl Attached {
    fn new(driver: &Arc<Driver>, run: JobId) -> Self {
        driver.event(|node, _, _| node.client_attached(run));
        Self { driver: driver.clone(), run }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.driver.event(|node, now, fx| node.client_detached(now, self.run, fx));
    }
}

pub(super) fn job(
    driver: &Arc<Driver>,
    scope: &Scope,
    job: &JobKey,
    query: WatchQuery,
    progress_interval: Duration,
) -> Result<Replies<v1::JobEvent>, Error> {
    let record = driver.head.seen_job(scope, job)?;
    let follower = Follower::new(driver, &record, None, query.next_sequence)?;
    let attached = query.attach.then(|| Attached::new(driver, follower.entry.context.job));
    let mut interval = tokio::time::interval(progress_interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher =
        Watcher { follower, job: record.id, interval, last: None, queue: VecDeque::new(), done: false };
    let watcher = (watcher, attached);
    Ok(Box::pin(stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.0.next().await?;
        Some((event.map(|event| v1::JobEvent { event: Some(event) }), watcher))
    })))
}
