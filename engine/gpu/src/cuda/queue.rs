//! A stream with the count of what it was given, and how far the device is with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Waiter;
use crate::cuda::driver::{Context, CudaEvent, CudaStream};
use crate::error::Result;

/// Things between two events, above which one is recorded: an event costs as much as a launch.
const BATCH_THINGS_MAX: u64 = 128;

struct Batch {
    /// Things that have ended when it has.
    ticket: u64,
    begin: CudaEvent,
    end: Arc<CudaEvent>,
}

/// A stream of a session.
pub(super) struct Queue {
    context: Arc<Context>,
    pub(super) stream: CudaStream,
    issued: u64,
    sent: u64,
    completed: u64,
    /// The event before the first thing that is in no batch yet.
    begin: Option<CudaEvent>,
    batches: VecDeque<Batch>,
    worked: Duration,
    pub(super) submissions: u64,
}

impl Queue {
    /// The context has been entered.
    pub(super) fn create(context: &Arc<Context>) -> Result<Self> {
        Ok(Self {
            context: context.clone(),
            stream: CudaStream::create(context)?,
            issued: 0,
            sent: 0,
            completed: 0,
            begin: None,
            batches: VecDeque::new(),
            worked: Duration::ZERO,
            submissions: 0,
        })
    }

    /// Before something is given.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.issued - self.sent >= BATCH_THINGS_MAX {
            self.flush()?;
        }
        if self.begin.is_none() {
            self.begin = Some(CudaEvent::record(&self.context, &self.stream)?);
        }
        Ok(())
    }

    /// After it was given.
    pub(super) fn count(&mut self) {
        self.issued += 1;
    }

    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    pub(super) fn worked(&self) -> Duration {
        self.worked
    }

    /// Records an event behind what was given.
    pub(super) fn flush(&mut self) -> Result<()> {
        let Some(begin) = self.begin.take() else { return Ok(()) };
        let end = Arc::new(CudaEvent::record(&self.context, &self.stream)?);
        self.batches.push_back(Batch { ticket: self.issued, begin, end });
        self.sent = self.issued;
        self.submissions += 1;
        Ok(())
    }

    pub(super) fn completed(&mut self) -> Result<u64> {
        while let Some(first) = self.batches.front() {
            if !first.end.is_done()? {
                break;
            }
            let milliseconds = first.end.milliseconds_since(&first.begin).unwrap_or(0.0).max(0.0);
            self.worked += Duration::from_secs_f64(f64::from(milliseconds) / 1e3);
            self.completed = first.ticket;
            self.batches.pop_front();
        }
        Ok(self.completed)
    }

    /// The event that comes when so many things have ended; none when they have.
    pub(super) fn event_of(&mut self, ticket: u64) -> Result<Option<Arc<CudaEvent>>> {
        if self.completed >= ticket {
            return Ok(None);
        }
        if self.sent < ticket {
            self.flush()?;
        }
        Ok(self.batches.iter().find(|batch| batch.ticket >= ticket).map(|batch| batch.end.clone()))
    }

    pub(super) fn waiter(&mut self, ticket: u64) -> Result<Waiter> {
        Ok(match self.event_of(ticket)? {
            Some(event) => Box::new(move || event.wait()),
            None => Box::new(|| Ok(())),
        })
    }
}
