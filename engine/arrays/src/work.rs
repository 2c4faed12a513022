//! What an operation runs under: memory that it may take, and when others get their turn.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Bytes that may be taken, and those that are.
#[derive(Debug)]
pub struct Budget {
    max: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicU64::new(0) })
    }

    /// Bytes that may be taken.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.max.saturating_sub(self.used())
    }

    /// Takes bytes that [`Self::give_back`] has to return: how many are taken then.
    ///
    /// # Errors
    /// When so many are not left: how many would have been taken.
    pub fn try_add(&self, bytes: u64) -> std::result::Result<u64, u64> {
        let mut wanted = 0;
        let added = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            wanted = used.saturating_add(bytes);
            (wanted <= self.max).then_some(wanted)
        });
        added.map(|_| wanted).map_err(|_| wanted)
    }

    /// Returns bytes.
    pub fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes bytes until the grant is dropped. `what` they are for is for the error.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn take(self: &Arc<Self>, bytes: u64, what: &str) -> Result<Grant> {
        let mut grant = Grant { budget: self.clone(), bytes: 0 };
        grant.grow(bytes, what)?;
        Ok(grant)
    }
}

/// Bytes that were taken of a budget; dropping it returns them.
#[derive(Debug)]
pub struct Grant {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Grant {
    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: u64, what: &str) -> Result<()> {
        self.budget.try_add(bytes).map_err(|_| Error::Memory {
            what: what.to_owned(),
            needs: bytes,
            used: self.budget.used(),
            max: self.budget.max,
        })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Returns all but so many.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// One operation at work.
#[derive(Debug)]
pub struct Work {
    pub(crate) budget: Arc<Budget>,
    slice: Duration,
    since: Instant,
}

impl Work {
    /// An operation that takes of this budget, and yields when it has run for a slice.
    pub fn new(budget: Arc<Budget>, slice: Duration) -> Self {
        Self { budget, slice, since: Instant::now() }
    }

    /// After a piece of work, of a tenth of a millisecond or so: yields when the slice is over.
    pub async fn pause(&mut self) {
        if self.since.elapsed() >= self.slice {
            Yield(false).await;
            self.since = Instant::now();
        }
    }

    pub(crate) fn take(&self, bytes: u64, what: &str) -> Result<Grant> {
        self.budget.take(bytes, what)
    }
}

/// Pending once, and ready to go on at once.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
