//! A client that a job is bound to (contract J3): it goes on where it was when its connection breaks.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use engine_core::{Error as EngineError, ErrorCode};
use engine_proto::address::Address;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use tokio::time::Instant;

use crate::client::Client;
use crate::error::{Error, Result};
use crate::job::{Event, Events, Job};

/// Between the first two attempts to come back; doubled with each, up to [`PAUSE_MAX`].
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);
/// An engine of this machine that jobs do not outlive is gone when it was away for so long.
const LOCAL_MAX: Duration = Duration::from_secs(2);
/// A head without its memory hears of its jobs from their nodes, within this.
pub(crate) const UNKNOWN_MAX: Duration = Duration::from_secs(5);

/// Something that a client sees that is attached to a job.
#[derive(Debug, Clone)]
pub enum Seen {
    /// Something happened in the job.
    Event(Box<Event>),
    /// The connection broke, and why: another one is tried.
    Away(Error),
    /// It was made anew, and nothing was missed that the engine still has.
    Back,
}

/// What happens in a job, through connections that break; ends after its view in a final state, or with an
/// error.
pub struct Attached(BoxStream<'static, Result<Seen>>);

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attached")
    }
}

impl Stream for Attached {
    type Item = Result<Seen>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl Job {
    /// What happens in the job, from its first log line that is kept, attached to it: a job that was
    /// submitted with `attached` goes on as long as somebody is. When the connection breaks others are tried
    /// for `reconnect_max`; an engine of this machine alone that was stopped is not waited for so long.
    pub fn attach(&self, reconnect_max: Duration) -> Attached {
        self.see_all(true, patience(self.client(), reconnect_max))
    }

    /// The same, not attached to it: the job does not go on because somebody looks. Others are tried for
    /// `away_max`.
    pub(crate) fn follow(&self, away_max: Duration) -> Attached {
        self.see_all(false, away_max)
    }

    fn see_all(&self, is_bound: bool, max: Duration) -> Attached {
        let attachment = Attachment {
            job: self.clone(),
            is_bound,
            next: 0,
            events: None,
            away: None,
            max,
            is_done: false,
        };
        Attached(stream::unfold(attachment, |mut a| async move { Some((a.next().await?, a)) }).boxed())
    }
}

/// How long an engine that is away is waited for: one of this machine alone that was stopped not for so long.
pub(crate) fn patience(client: &Client, reconnect_max: Duration) -> Duration {
    match client.is_outlived_by_jobs() || !is_local(client.address()) {
        true => reconnect_max,
        false => reconnect_max.min(LOCAL_MAX),
    }
}

fn is_local(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Tcp(at) | Address::Tls { at, .. } => at.ip().is_loopback(),
    }
}

struct Attachment {
    job: Job,
    /// Whether the job is bound to it.
    is_bound: bool,
    /// The first log line that was not seen yet.
    next: u64,
    events: Option<Events>,
    away: Option<Away>,
    max: Duration,
    is_done: bool,
}

/// The connection is broken.
struct Away {
    error: Error,
    since: Instant,
    pause: Duration,
    /// Since when an engine answers that does not know the job.
    unknown_since: Option<Instant>,
}

impl Attachment {
    async fn next(&mut self) -> Option<Result<Seen>> {
        if self.is_done {
            return None;
        }
        let seen = self.see().await;
        self.is_done = match &seen {
            Ok(Seen::Event(event)) => matches!(&**event, Event::Job(view) if view.state().is_final()),
            Ok(_) => false,
            Err(_) => true,
        };
        Some(seen)
    }

    async fn see(&mut self) -> Result<Seen> {
        if let Some(events) = &mut self.events {
            match events.next().await {
                Some(Ok(event)) => {
                    if let Event::Logs(batch) = &event {
                        self.next = batch.lines.last().map_or(self.next, |line| line.sequence + 1);
                    }
                    return Ok(Seen::Event(Box::new(event)));
                }
                Some(Err(error)) if !error.is_unreachable() => return Err(error),
                Some(Err(error)) => return Ok(self.broke(error)),
                None => {
                    let said = format!("the engine stopped telling about {} before its end", self.job.id());
                    return Ok(self.broke(EngineError::new(ErrorCode::NodeDied, said).into()));
                }
            }
        }
        loop {
            if let Some(away) = &mut self.away {
                let pause = away.pause;
                away.pause = (pause * 2).min(PAUSE_MAX);
                tokio::time::sleep(pause).await;
            }
            let events = match self.is_bound {
                true => self.job.attach_from(self.next).await,
                false => self.job.watch_from(self.next).await,
            };
            match events {
                Ok(events) => {
                    self.events = Some(events);
                    match self.away.take() {
                        Some(_) => return Ok(Seen::Back),
                        None => return Box::pin(self.see()).await,
                    }
                }
                Err(error) => {
                    let Some(away) = &mut self.away else {
                        return if error.is_unreachable() { Ok(self.broke(error)) } else { Err(error) };
                    };
                    if !away.may_go_on(&error, self.job.client(), self.max) {
                        // Why it broke says more than that nobody listens there now.
                        return Err(if error.is_unreachable() { away.error.clone() } else { error });
                    }
                }
            }
        }
    }

    fn broke(&mut self, error: Error) -> Seen {
        self.events = None;
        let (since, pause) = (Instant::now(), PAUSE);
        self.away = Some(Away { error: error.clone(), since, pause, unknown_since: None });
        Seen::Away(error)
    }
}

impl Away {
    /// Whether it is tried again after this error.
    fn may_go_on(&mut self, error: &Error, client: &Client, max: Duration) -> bool {
        if error.is_unreachable() {
            self.unknown_since = None;
            return self.since.elapsed() < max;
        }
        let is_unknown = error.code() == Some(ErrorCode::NotFound) && client.is_outlived_by_jobs();
        is_unknown && self.unknown_since.get_or_insert_with(Instant::now).elapsed() < UNKNOWN_MAX.min(max)
    }
}
