//! Streaming tasks: objects yielded one by one, read in order (contract T8).

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::Error;
use crate::ids::{ObjectId, TaskId, WaitId};
use crate::node::edges::{Object, State};
use crate::node::spawn::limit;
use crate::node::{Caller, Effects, Node, WaitState};
use crate::options::Returns;
use crate::quota::QuotaKind;
use crate::time::Time;
use crate::value::{Handle, Value};

/// The next object of a stream.
#[derive(Debug, Clone)]
pub enum Next {
    /// It is here, and the caller holds a handle to it.
    Object(ObjectId),
    /// The stream has ended.
    End,
    /// The stream has failed; it has ended.
    Failed(Arc<Error>),
    /// Not yet.
    Pending,
}

pub(super) struct Stream {
    bound: Option<u32>,
    /// Objects yielded, by the furthest attempt.
    pub yielded: u32,
    /// Yielded and not read, each held by the stream.
    pub unread: VecDeque<ObjectId>,
    end: Option<Result<(), Arc<Error>>>,
    /// The reader has seen its failure.
    failure_read: bool,
    /// Handles of its reader.
    pub edges: u32,
    pub waiting: SmallVec<[WaitId; 1]>,
    /// The wait of its task, when the reader is too far behind.
    emitter: Option<WaitId>,
}

impl Stream {
    pub fn new(bound: Option<u32>) -> Self {
        Self {
            bound,
            yielded: 0,
            unread: VecDeque::new(),
            end: None,
            failure_read: false,
            edges: 0,
            waiting: SmallVec::new(),
            emitter: None,
        }
    }

    /// Whether its task may be held up.
    pub fn is_bounded(&self) -> bool {
        self.bound.is_some()
    }

    /// Objects that were read.
    pub fn read(&self) -> u32 {
        self.yielded - self.unread.len() as u32
    }

    pub fn has_next(&self) -> bool {
        !self.unread.is_empty() || self.end.is_some()
    }

    /// The handles in what a failing guest attached.
    pub fn failure_handles(&self) -> &[Handle] {
        match &self.end {
            Some(Err(error)) => error.payload().map_or(&[], |payload| &payload.handles),
            _ => &[],
        }
    }

    fn is_full(&self) -> bool {
        self.bound.is_some_and(|bound| self.unread.len() as u64 >= u64::from(bound))
    }
}

impl Node {
    /// Yields one object of the streaming call that the caller serves. It blocks while as many are
    /// unread as may be.
    pub fn emit(
        &mut self,
        now: Time,
        from: Caller,
        value: Value,
        fx: &mut Effects,
    ) -> Result<WaitState, Error> {
        let key = self.serving(from)?;
        let task = &self.tasks[key];
        if !matches!(self.classes[task.class].returns(), Returns::Streaming(_)) {
            return Err(Error::invalid_argument(format!(
                "{} ({}) was not spawned as a streaming task: spawn it with streaming returns, or return the value",
                task.id,
                task.entry.name()
            )));
        }
        if task.emitted >= self.limits.stream_objects_max {
            return Err(limit(
                "stream_objects_max",
                self.limits.stream_objects_max,
                "end the stream and start another",
            ));
        }
        if let Some(owner) = task.owner() {
            return self.emit_to_owner(now, from, (key, owner), &value, fx);
        }
        let (task, index, job) = (task.id, task.emitted, task.job);
        // Without a reader nobody will ever see it; an attempt after the first one yields again what
        // is there already.
        let is_new = self.streams.get(&task).is_some_and(|stream| index >= stream.yielded);
        if is_new {
            let tenant = self.instances[&from.instance].tenant;
            self.check_quota(tenant, QuotaKind::ObjectBytes, value.counted_bytes())?;
            self.reserve_inline(value.inline_bytes(), "the yielded value")?;
        }
        // Only now: one that is refused can be yielded again.
        self.tasks[key].emitted += 1;
        if !is_new {
            return Ok(WaitState::Ready);
        }
        for handle in value.handles.iter() {
            self.add_edge(*handle);
        }
        let id = task.output(index);
        self.insert_object(id, Object { edges: 1, ..Object::new(job, State::Ready(value)) });
        self.note_stored(id, fx);
        let full = self.note_yielded(now, task, id, fx);
        let mut state = WaitState::Ready;
        if full {
            let id = self.new_wait(now, from.instance, key, Box::default(), 1, None, fx);
            if let Some(stream) = self.streams.get_mut(&task) {
                stream.emitter = Some(id);
            }
            state = WaitState::Blocked(id);
        }
        self.schedule(now, fx);
        Ok(state)
    }

    /// An object is there for the reader of a stream; whether the task is to wait for it now.
    pub(super) fn note_yielded(&mut self, now: Time, task: TaskId, id: ObjectId, fx: &mut Effects) -> bool {
        let Some(stream) = self.streams.get_mut(&task) else { return false };
        stream.yielded += 1;
        stream.unread.push_back(id);
        let full = stream.is_full();
        for wait in std::mem::take(&mut stream.waiting) {
            self.wait_progress(now, wait, false, fx);
        }
        full
    }

    /// Takes the next object of a stream that the caller reads.
    pub fn next(&mut self, now: Time, from: Caller, stream: TaskId, fx: &mut Effects) -> Next {
        if let Err(error) = self.check_holds(from, Handle::Stream(stream)) {
            return Next::Failed(Arc::new(error));
        }
        let Some(record) = self.streams.get_mut(&stream) else { return Next::End };
        let Some(object) = record.unread.pop_front() else {
            return match &record.end {
                None => Next::Pending,
                Some(Err(error)) if !record.failure_read => {
                    record.failure_read = true;
                    Next::Failed(error.clone())
                }
                Some(_) => Next::End,
            };
        };
        let emitter = if record.is_full() { None } else { record.emitter.take() };
        self.acquire(from.instance, Handle::Object(object));
        self.remove_edge(now, Handle::Object(object), fx);
        self.tell_read(stream);
        if let Some(emitter) = emitter {
            self.wait_over(emitter);
            self.schedule(now, fx);
        }
        Next::Object(object)
    }

    /// The reader is gone: nobody will read what is left, and its task is not held up any more.
    pub(super) fn drop_reader(&mut self, now: Time, id: TaskId, fx: &mut Effects) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.tell_read(id);
        for handle in stream.failure_handles() {
            self.remove_edge(now, *handle, fx);
        }
        for object in stream.unread {
            self.remove_edge(now, Handle::Object(object), fx);
        }
        for wait in stream.waiting.into_iter().chain(stream.emitter) {
            self.wait_over(wait);
        }
    }

    /// The task of a stream has ended.
    pub(super) fn end_stream(
        &mut self,
        now: Time,
        id: TaskId,
        end: Result<(), Arc<Error>>,
        fx: &mut Effects,
    ) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.end = Some(end);
        let (handles, waiting) = (stream.failure_handles().to_vec(), std::mem::take(&mut stream.waiting));
        for handle in handles {
            self.add_edge(handle);
        }
        for wait in waiting {
            self.wait_progress(now, wait, false, fx);
        }
    }
}
