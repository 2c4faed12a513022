//! Streams whose task runs on another node than its reader's.
//!
//! The owner of the task has the stream, as ever: each object that is yielded is told to it, and it tells
//! how many were read, so that the task is never further ahead than it may be (contract T8).

use crate::error::Error;
use crate::ids::{NodeId, TaskId};
use crate::node::edges::{Object, State};
use crate::node::peers::message::{Held, Message, Parcel, RemotePlace};
use crate::node::{Caller, Effects, Node, TaskKey, WaitState};
use crate::options::Returns;
use crate::time::Time;
use crate::value::Value;

/// Read so many: nobody reads any more, and nothing is held up.
const ALL: u32 = u32::MAX;

impl Node {
    // ---- where the task runs ----

    /// Yields an object of a task of another node's.
    pub(in crate::node) fn emit_to_owner(
        &mut self,
        now: Time,
        from: Caller,
        (key, owner): (TaskKey, NodeId),
        value: &Value,
        fx: &mut Effects,
    ) -> Result<WaitState, Error> {
        let task = &mut self.tasks[key];
        let index = task.emitted;
        task.emitted += 1;
        let (results, attempt) = (task.results(owner), task.attempt_for_owner());
        let id = results.id;
        let parcel = self.pack_result(now, owner, results, (id.output(index), value), fx);
        self.tell(owner, Message::Emitted { task: id, attempt, index, parcel });
        let mut state = WaitState::Ready;
        if self.is_too_far_ahead(key) {
            let wait = self.new_wait(now, from.instance, key, Box::default(), 1, None, fx);
            self.tasks[key].extra().emitter = Some(wait);
            state = WaitState::Blocked(wait);
        }
        self.schedule(now, fx);
        Ok(state)
    }

    fn is_too_far_ahead(&self, key: TaskKey) -> bool {
        let task = &self.tasks[key];
        let read = task.extra.as_ref().map_or(0, |extra| extra.read);
        match self.classes[task.class].returns() {
            Returns::Streaming(Some(bound)) => task.emitted.saturating_sub(read) >= bound,
            _ => false,
        }
    }

    /// The reader has read so many objects.
    pub(super) fn read_by_owner(&mut self, from: NodeId, id: TaskId, read: u32) {
        let Some(key) = self.foreign(from, id) else { return };
        let away = self.tasks[key].away();
        let extra = self.tasks[key].extra();
        extra.read = extra.read.max(read);
        if let Some(host) = away {
            self.tell(host, Message::Read { task: id, read });
        }
        if !self.is_too_far_ahead(key)
            && let Some(wait) = self.tasks[key].extra().emitter.take()
        {
            self.wait_over(wait);
        }
    }

    // ---- at the reader ----

    pub(super) fn emitted_elsewhere(
        &mut self,
        now: Time,
        from: NodeId,
        (id, attempt, index): (TaskId, u32, u32),
        parcel: Parcel,
        fx: &mut Effects,
    ) {
        let key = self.away_at(from, id, attempt);
        let job = key.map_or(crate::ids::JobId::from_bits(0, 0), |key| self.tasks[key].job);
        let mut held = Held::new();
        let object = id.output(index);
        let value = self.unpack_result(from, job, (object, parcel), &mut held);
        if let Some(key) = key
            && let Some(owner) = self.tasks[key].owner()
        {
            self.pass_on(now, owner, key, index, &value, fx);
            return self.let_go(now, held, fx);
        }
        let holder = RemotePlace::of(&value.place).map(|remote| remote.holder);
        // An attempt after the first one yields again what is there already.
        let is_new = key.is_some() && self.streams.get(&id).is_some_and(|stream| index == stream.yielded);
        if is_new {
            for handle in value.handles.iter() {
                self.add_edge(*handle);
            }
            // It was accepted where it was made.
            self.inline_bytes += value.inline_bytes();
            self.insert_object(object, Object { edges: 1, ..Object::new(job, State::Ready(value)) });
            self.note_stored(object, fx);
            self.note_yielded(now, id, object, fx);
        }
        if let Some(holder) = holder {
            self.drop_unless_stored(holder, object);
        }
        self.let_go(now, held, fx);
    }

    /// A call from another node, inside an actor of this one that lives on a third, has yielded an object.
    fn pass_on(
        &mut self,
        now: Time,
        owner: NodeId,
        key: TaskKey,
        index: u32,
        value: &Value,
        fx: &mut Effects,
    ) {
        let task = &self.tasks[key];
        let (results, attempt) = (task.results(owner), task.attempt_for_owner());
        let parcel = self.pack_result(now, owner, results, (results.id.output(index), value), fx);
        self.tell(owner, Message::Emitted { task: results.id, attempt, index, parcel });
    }

    /// The reader of a stream has read on, or is gone: the task hears it when it is elsewhere.
    pub(in crate::node) fn tell_read(&mut self, id: TaskId) {
        let Some(key) = self.task_index.get(&id).copied() else { return };
        let Some(node) = self.tasks[key].away() else { return };
        let read = self.read_of(id);
        if let Some(read) = read {
            self.tell(node, Message::Read { task: id, read });
        }
    }

    /// How many objects of a stream were read; none when its task is not to be held up by it.
    pub(super) fn read_of(&self, id: TaskId) -> Option<u32> {
        match self.streams.get(&id) {
            None => Some(ALL),
            Some(stream) => stream.is_bounded().then(|| stream.read()),
        }
    }
}
