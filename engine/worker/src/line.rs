//! The line to the node: what is asked goes out from any thread, and answers come back to whoever asked.

use std::collections::{HashMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};

use engine_core::resources::bytes as text;
use engine_core::{Error, ErrorCode};
use engine_proto::v1;
use engine_proto::v1::from_worker::Message;
use engine_proto::v1::worker_answer::Answer;
use engine_runtime::host::Caller;
use futures::task::AtomicWaker;
use parking_lot::{Condvar, Mutex};

use crate::wire;

/// An answer, and the bytes that came with it.
pub(crate) type Answered = (Answer, Vec<u8>);

/// What the node keeps for the worker, and need not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// A value.
    Kept(u64),
    /// An object on disk.
    Draft(u64),
}

/// The worker's end.
pub(crate) struct Line {
    writer: Mutex<UnixStream>,
    slots: Mutex<HashMap<u64, Arc<Slot>>>,
    next: AtomicU64,
    /// What is not needed any more: told of by a thread of its own, as it is dropped anywhere.
    pub(crate) drops: Sender<Dropped>,
}

/// Where the answers to one request come.
#[derive(Default)]
struct Slot {
    answers: Mutex<VecDeque<Answered>>,
    came: Condvar,
    waker: AtomicWaker,
}

/// A request that was made. Dropped before its last answer, it is given up.
pub(crate) struct Asked {
    line: Arc<Line>,
    number: u64,
    slot: Arc<Slot>,
    is_over: bool,
}

impl Line {
    pub(crate) fn new(writer: UnixStream, drops: Sender<Dropped>) -> Arc<Self> {
        Arc::new(Self { writer: Mutex::new(writer), slots: Mutex::default(), next: AtomicU64::new(1), drops })
    }

    /// Says something that wants no answer.
    pub(crate) fn tell(&self, from: Option<Caller>, message: Message) -> Result<(), Error> {
        self.send(0, from, message, &[])
    }

    /// Asks, with these bytes after the message.
    pub(crate) fn ask(
        self: &Arc<Self>,
        from: Option<Caller>,
        message: Message,
        payload: &[&[u8]],
    ) -> Result<Asked, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot::default());
        self.slots.lock().insert(number, slot.clone());
        let mut asked = Asked { line: self.clone(), number, slot, is_over: false };
        match self.send(number, from, message, payload) {
            Ok(()) => Ok(asked),
            Err(error) => {
                // The node has not heard of it.
                self.slots.lock().remove(&number);
                asked.is_over = true;
                Err(error)
            }
        }
    }

    fn send(
        &self,
        number: u64,
        from: Option<Caller>,
        message: Message,
        payload: &[&[u8]],
    ) -> Result<(), Error> {
        let length = payload.iter().map(|part| part.len() as u64).sum();
        let message = v1::FromWorker {
            number,
            instance: from.map_or(0, |from| from.instance.0),
            task: from.map(|from| engine_proto::convert::peer::id(from.task)),
            message: Some(message),
        };
        let Some(bytes) = wire::encoded(&message, length) else {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "what the guest asks for is larger than a message to the node may be ({}): put large values into objects, and pass those",
                    text(wire::MESSAGE_BYTES_MAX as u64)
                ),
            ));
        };
        if wire::write(&mut *self.writer.lock(), &bytes, payload).is_err() {
            node_is_gone();
        }
        Ok(())
    }

    /// An answer has come.
    pub(crate) fn answered(&self, to: u64, answer: Answer, payload: Vec<u8>) {
        let is_last = !matches!(answer, Answer::Blocked(_));
        let slot = {
            let mut slots = self.slots.lock();
            if is_last { slots.remove(&to) } else { slots.get(&to).cloned() }
        };
        // Of what was given up the node says nothing more, but for what was on its way.
        let Some(slot) = slot else { return self.let_go(&answer) };
        slot.answers.lock().push_back((answer, payload));
        slot.came.notify_one();
        slot.waker.wake();
    }

    fn let_go(&self, answer: &Answer) {
        let given = match answer {
            Answer::Outcome(outcome) => kept_in(outcome).map(Dropped::Kept),
            Answer::Kept(number) => Some(Dropped::Kept(*number)),
            Answer::Draft(number) => Some(Dropped::Draft(*number)),
            _ => None,
        };
        if let Some(given) = given {
            tell_dropped(&self.drops, given);
        }
    }
}

fn kept_in(outcome: &v1::worker_answer::Outcome) -> Option<u64> {
    use v1::worker_answer::outcome::Outcome;
    match outcome.outcome.as_ref()? {
        Outcome::Value(value) => match value.place.as_ref()? {
            v1::worker_value::Place::Kept(number) => Some(*number),
            v1::worker_value::Place::Inline(_) => None,
        },
        Outcome::Failed(_) => None,
    }
}

/// Has the node told that something is not needed any more.
pub(crate) fn tell_dropped(drops: &Sender<Dropped>, dropped: Dropped) {
    if drops.send(dropped).is_err() {
        tracing::error!("nobody tells the node any more of what is not needed");
    }
}

/// Without its node a worker is nothing.
pub(crate) fn node_is_gone() -> ! {
    std::process::exit(0)
}

impl Asked {
    /// Waits for the next answer, which comes at once: the node does not make a thread wait.
    pub(crate) fn wait(&mut self) -> Answered {
        let mut answers = self.slot.answers.lock();
        loop {
            if let Some(answered) = answers.pop_front() {
                self.is_over = !matches!(answered.0, Answer::Blocked(_));
                return answered;
            }
            self.slot.came.wait(&mut answers);
        }
    }
}

impl Future for Asked {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered> {
        self.slot.waker.register(context.waker());
        let next = self.slot.answers.lock().pop_front();
        match next {
            Some(answered) => {
                self.is_over = !matches!(answered.0, Answer::Blocked(_));
                Poll::Ready(answered)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.line.slots.lock().remove(&self.number);
        drop(self.line.tell(None, Message::GiveUp(self.number)));
        for (answer, _) in self.slot.answers.lock().drain(..) {
            self.line.let_go(&answer);
        }
    }
}
