//! The head's memory: nothing that the head says leaves before what it follows from is durable.
//!
//! Changes gather in the state machine. One thread takes all that there are, writes them as one
//! transaction, and meanwhile the next ones gather: the slower the disk, the more each transaction has.
//! Nobody holds the state machine's lock while it is written, and signs of life never wait.
//!
//! Each transaction has a number. What is said to a node waits in order until the transaction is
//! committed that has everything which led to it, and so does every answer to a client. When a commit
//! fails nobody knows what was written, so nothing more leaves: the head is to end, and the one that is
//! started next goes on from what is there. Its nodes go on meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use engine_core::{Error, ErrorCode};
use engine_proto::v1::{self, head_message};
use futures::channel::mpsc::UnboundedSender;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::meta::{MetaError, MetaStore, Revision, Write};

/// What bounds that which waits for the store.
#[derive(Debug, Clone)]
pub struct MemoryLimits {
    /// Records that have changed and are not in a transaction yet, beyond which nothing new is accepted.
    pub meta_changes_queued_max: usize,
    /// Messages to nodes that wait for a commit, beyond which the store is taken for broken.
    pub messages_held_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { meta_changes_queued_max: 100_000, messages_held_max: 1_000_000 }
    }
}

/// The way to a node, while there is a line.
pub(super) type Sender = UnboundedSender<v1::HeadMessage>;

/// What waits for the store.
pub(super) struct Memory {
    limits: MemoryLimits,
    state: Mutex<State>,
    /// Something is to be written, or nothing any more.
    work: Condvar,
    done: watch::Sender<Done>,
}

/// How far the store is.
#[derive(Debug, Clone, Default)]
struct Done {
    /// The last transaction that is committed.
    number: u64,
    failed: Option<Error>,
}

#[derive(Default)]
struct State {
    /// Transactions that were begun.
    begun: u64,
    committed: u64,
    /// There are changes that no transaction has yet.
    is_wanted: bool,
    /// How many.
    queued: usize,
    /// The transaction with the last node that was admitted.
    admission: u64,
    held: VecDeque<Held>,
    has_failed: bool,
    is_closed: bool,
}

/// Something that is said once a transaction is committed. No message: the line ends.
struct Held {
    after: u64,
    line: Sender,
    message: Option<v1::HeadMessage>,
}

impl Held {
    fn leave(self) {
        if let Some(message) = self.message {
            // A line that has just broken is noticed by whoever reads it.
            drop(self.line.unbounded_send(message));
        }
    }
}

impl Memory {
    pub fn new(limits: MemoryLimits) -> Self {
        Self { limits, state: Mutex::default(), work: Condvar::new(), done: watch::Sender::default() }
    }

    /// An event has left so many changes. Says after which transaction its outcome may leave. Called
    /// under the lock of the state machine.
    pub fn note(&self, changes: usize) -> u64 {
        let mut state = self.state.lock();
        state.queued = changes;
        if changes > 0 && !state.is_wanted {
            state.is_wanted = true;
            self.work.notify_one();
        }
        state.latest()
    }

    /// After which transaction that may leave which follows from anything so far.
    pub fn latest(&self) -> u64 {
        self.state.lock().latest()
    }

    /// A node is admitted in this transaction: what others have free it is not told before.
    pub fn note_admission(&self, number: u64) {
        self.state.lock().admission = number;
    }

    /// After which transaction nodes may be told what others have free: that is no change, and waits for
    /// none but that the others are known.
    pub fn after_admissions(&self) -> u64 {
        self.state.lock().admission
    }

    /// Says something to a node once the transaction is committed, in order; no message ends its line.
    pub fn say(&self, after: u64, line: Sender, message: Option<head_message::Message>) {
        let mut state = self.state.lock();
        if state.has_failed {
            return;
        }
        let message = message.map(|message| v1::HeadMessage { message: Some(message) });
        let held = Held { after, line, message };
        if after <= state.committed {
            // What is held is of later transactions.
            return held.leave();
        }
        state.held.push_back(held);
        if state.held.len() > self.limits.messages_held_max {
            let what = format!("messages_held_max of {} is reached", self.limits.messages_held_max);
            let why = Error::new(
                ErrorCode::NodeDied,
                format!(
                    "the head's store does not keep up, and the head stops: {what}; is its disk in order?"
                ),
            );
            self.fail(&mut state, why);
        }
    }

    /// Whether there is room for something new.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when `meta_changes_queued_max` wait; why the store has failed.
    pub fn check_room(&self) -> Result<(), Error> {
        if let Some(failed) = &self.done.borrow().failed {
            return Err(failed.clone());
        }
        let max = self.limits.meta_changes_queued_max;
        if self.state.lock().queued >= max {
            let message = format!(
                "meta_changes_queued_max of {max} is reached: the head's disk is slow; ask again in a moment"
            );
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        Ok(())
    }

    /// Resolves once the transaction is committed.
    ///
    /// # Errors
    /// Why it never will be.
    pub async fn committed(&self, number: u64) -> Result<(), Error> {
        let mut done = self.done.subscribe();
        let reached = done.wait_for(|done| done.failed.is_some() || done.number >= number).await;
        match reached {
            Ok(done) => done.failed.clone().map_or(Ok(()), Err),
            Err(_) => Err(closed()),
        }
    }

    /// Resolves when the store has failed, with why.
    pub async fn failed(&self) -> Error {
        let mut done = self.done.subscribe();
        let failed = done.wait_for(|done| done.failed.is_some()).await;
        failed.ok().and_then(|done| done.failed.clone()).unwrap_or_else(closed)
    }

    /// Nothing is written any more, and nothing leaves.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        self.fail(&mut state, closed());
        self.work.notify_one();
    }

    fn fail(&self, state: &mut State, why: Error) {
        state.has_failed = true;
        state.held.clear();
        self.done.send_if_modified(|done| {
            let is_first = done.failed.is_none();
            done.failed.get_or_insert(why);
            is_first
        });
    }

    /// Writes what `take` gives until the memory is closed, or writing fails. `take` is asked for all
    /// changes so far; `begin` is to be called once nothing can be added to them.
    pub fn write(
        &self,
        store: &mut dyn MetaStore,
        mut revision: Revision,
        mut take: impl FnMut(&dyn Fn() -> u64) -> Option<(u64, Vec<Write>)>,
    ) {
        let begin = || {
            let mut state = self.state.lock();
            (state.is_wanted, state.queued) = (false, 0);
            state.begun += 1;
            state.begun
        };
        while self.is_wanted() {
            let Some((number, writes)) = take(&begin) else { return };
            match store.commit(revision, &writes) {
                Ok(next) => revision = next,
                Err(error) => return self.store_failed(&error),
            }
            let mut state = self.state.lock();
            if state.has_failed {
                return;
            }
            state.committed = number;
            while state.held.front().is_some_and(|held| held.after <= number) {
                if let Some(held) = state.held.pop_front() {
                    held.leave();
                }
            }
            drop(state);
            self.done.send_modify(|done| done.number = number);
        }
    }

    fn store_failed(&self, error: &MetaError) {
        tracing::error!(%error, "the head cannot remember anything more, and stops");
        self.fail(&mut self.state.lock(), error.to_error());
    }

    /// Waits until there is something to write; false when nothing is to be written any more.
    fn is_wanted(&self) -> bool {
        let mut state = self.state.lock();
        while !state.is_wanted && !state.is_closed && !state.has_failed {
            self.work.wait(&mut state);
        }
        !state.is_closed && !state.has_failed
    }
}

impl State {
    fn latest(&self) -> u64 {
        self.begun + u64::from(self.is_wanted)
    }
}

fn closed() -> Error {
    Error::new(ErrorCode::NodeDied, "the head is shutting down")
}

/// The thread that writes. It ends, and lets go of the store, when the memory is closed.
pub(super) struct Writer {
    memory: Arc<Memory>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub fn start(
        memory: &Arc<Memory>,
        mut store: Box<dyn MetaStore>,
        revision: Revision,
        take: impl FnMut(&dyn Fn() -> u64) -> Option<(u64, Vec<Write>)> + Send + 'static,
    ) -> std::io::Result<Self> {
        let writing = memory.clone();
        let work = move || {
            // Without it nothing leaves any more, and whoever waits must know.
            let guard = FailsOnPanic(&writing);
            writing.write(&mut *store, revision, take);
            drop(guard);
        };
        let thread = std::thread::Builder::new().name("engine-meta".to_owned()).spawn(work)?;
        Ok(Self { memory: memory.clone(), thread: Some(thread) })
    }

    /// Ends it, and waits until the store is free.
    pub fn stop(&mut self) {
        self.memory.close();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by its own thread.
            drop(thread.join());
        }
    }
}

struct FailsOnPanic<'a>(&'a Memory);

impl Drop for FailsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = Error::internal("the thread that writes the head's memory panicked");
            self.0.fail(&mut self.0.state.lock(), why);
        }
    }
}
