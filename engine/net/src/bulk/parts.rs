//! The parts of one object, from several holders at once.

use std::ops::Range;
use std::thread;

use engine_core::transfer::{Parts, Turn};
use engine_core::{Error, ErrorCode};
use parking_lot::{Condvar, Mutex};

use super::background::Kind;
use super::{Asking, BulkClient, BulkSink, Fetched};

impl BulkClient {
    /// Fetches the parts of an object from these holders at once, as `parts` says; `take` gives the sink of
    /// each part. Blocks.
    ///
    /// # Errors
    /// The last of a holder's, as of [`Self::fetch`], or of `take`, when parts are missing and no holder is
    /// left.
    pub fn fetch_parts<S: BulkSink>(
        &self,
        parts: Parts,
        sources: &[Asking],
        take: impl Fn(Range<u64>) -> Result<S, Error> + Sync,
    ) -> Result<(), Error> {
        let Some((last, others)) = sources.split_last() else {
            return Err(Error::new(ErrorCode::ObjectLost, "no node is known that has its bytes"));
        };
        let work = Work { parts: Mutex::new(parts), changed: Condvar::new(), failure: Mutex::default() };
        let fetch = |from: &Asking| self.fetch_from(from, &work, &take);
        thread::scope(|scope| {
            for from in others {
                if let Err(error) = Kind::Part.start_scoped(scope, || fetch(from)) {
                    tracing::warn!(%error, "an object comes from fewer nodes: there is no thread for one");
                }
            }
            fetch(last);
        });
        if work.parts.into_inner().is_complete() {
            return Ok(());
        }
        Err(work.failure.into_inner().unwrap_or_else(|| Error::internal("no holder is left")))
    }

    /// One part after another, until there is none or the holder does not give one.
    fn fetch_from<S: BulkSink>(
        &self,
        from: &Asking,
        work: &Work,
        take: &impl Fn(Range<u64>) -> Result<S, Error>,
    ) {
        while let Some(mut taken) = work.take() {
            let part = taken.rest.clone();
            let result = take(part.clone()).and_then(|mut sink| {
                let fetched = self.fetch(from, Some(part), &mut sink);
                taken.rest.start += sink.written();
                fetched
            });
            let failure = match result {
                Ok(Fetched::All) => continue,
                Ok(_) => Error::new(ErrorCode::ObjectLost, "the holder sends on who wants a part"),
                Err(error) => error,
            };
            tracing::warn!(object = %from.object, holder = %from.holder, %failure, "others give the rest of a part");
            *work.failure.lock() = Some(failure);
            break;
        }
    }
}

/// What the threads share that each fetch from one holder.
struct Work {
    parts: Mutex<Parts>,
    changed: Condvar,
    /// The last.
    failure: Mutex<Option<Error>>,
}

/// A part that one of them fetches. When it is dropped the others hear how much of it is missing.
struct Taken<'a> {
    work: &'a Work,
    rest: Range<u64>,
}

impl Work {
    /// The next part; none when there is nothing more to do. Blocks while others may leave something.
    fn take(&self) -> Option<Taken<'_>> {
        let mut parts = self.parts.lock();
        loop {
            match parts.turn() {
                Turn::Take(rest) => return Some(Taken { work: self, rest }),
                Turn::Over => return None,
                Turn::Wait => self.changed.wait(&mut parts),
            }
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut parts = self.work.parts.lock();
        match self.rest.is_empty() {
            true => parts.given(),
            false => parts.broke(self.rest.clone()),
        }
        self.work.changed.notify_all();
    }
}
