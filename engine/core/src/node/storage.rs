//! What lies in the arena, and what is moved to disk and back when memory is short (contract O7).
//!
//! The store itself says whether bytes fit. Here is decided what makes room for them, least recently
//! used first, and in which order those that wait get it. Nobody waits for ever: a value that nothing
//! can make room for goes straight to disk, and one that cannot come back is read from there.

mod spill;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{IdMap, ObjectId, TaskId, WaitId};
use crate::node::edges::{State, Waiter};
use crate::node::moves::Moves;
use crate::node::{Effect, Effects, Node, RemotePlace, TaskKey, TaskState};
use crate::resources::bytes;
use crate::time::Time;
use crate::value::{Argument, Place, Residence, Value};

/// How often a value that was promised room may find none (pieces too small, bytes that somebody still
/// reads) before it goes to disk.
const ROOM_ATTEMPTS_MAX: u32 = 4;
/// Objects that are on their way back from disk at once.
const RESTORES_MAX: usize = 16;
/// Fetches without room that are passed over, for one that a guest waits for.
const FETCH_LOOKAHEAD: usize = 64;

/// A value that looks for room: the same ticket for every attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoomTicket {
    /// Bytes.
    pub size: u64,
    attempts: u32,
    failures_seen: u64,
}

impl RoomTicket {
    /// For a value of `size` bytes that did not fit.
    pub fn new(size: u64) -> Self {
        Self { size, ..Self::default() }
    }
}

/// Where a value goes that did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// When this wait is over, there may be room: try again.
    Wait(WaitId),
    /// Straight to disk.
    OnDisk,
}

/// The books of what lies above the inline bound.
#[derive(Default)]
pub(super) struct Storage {
    records: IdMap<ObjectId, Record>,
    /// How many tasks were given an object as an argument, or are about to be.
    pins: IdMap<ObjectId, u32>,
    /// Objects in the arena that nobody pins and that do not move, least recently used first.
    idle: BTreeMap<u64, ObjectId>,
    uses: u64,
    /// Bytes of objects in the arena, those on their way into it and out of it among them.
    pub arena_bytes: u64,
    /// Of them, those on their way out.
    pub spilling_bytes: u64,
    /// Bytes of objects that lie on disk only.
    pub spilled_bytes: u64,
    /// Calls that wait for so much room, in the order in which they came.
    rooms: VecDeque<(WaitId, u64)>,
    /// Objects that are wanted back, in the order in which they were asked for.
    fetches: VecDeque<ObjectId>,
    restoring: usize,
    pub moves: Moves,
    /// Tasks whose arguments are on their way back.
    pub fetching_tasks: usize,
    failures: u64,
    last_failure: Option<Arc<Error>>,
}

struct Record {
    size: u64,
    whereabouts: Whereabouts,
    used: u64,
    /// Its copy on disk: objects do not change, so that it is written once.
    on_disk: Option<Place>,
    /// Times that it came back and found no room.
    returns_failed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    Arena,
    Spilling,
    Spilled,
    /// Wanted back, and waits for room.
    Wanted,
    Restoring,
}

enum Fits {
    Now,
    Soon,
    Never,
}

impl Storage {
    /// Whether whoever waits could be helped by something that has just ended.
    pub fn has_waiters(&self) -> bool {
        !self.rooms.is_empty() || !self.fetches.is_empty()
    }

    /// Whether something is under way that will change what fits.
    pub fn is_moving(&self) -> bool {
        self.spilling_bytes > 0 || self.restoring > 0
    }

    /// Where an object above the inline bound lies, for listings, and how many tasks pin it.
    pub fn view(&self, id: ObjectId) -> Option<(&'static str, u32)> {
        let record = self.records.get(&id)?;
        let place = match record.whereabouts {
            Whereabouts::Arena => "ARENA",
            Whereabouts::Spilling => "SPILLING",
            Whereabouts::Spilled | Whereabouts::Wanted if self.remote_place(id).is_some() => "REMOTE",
            Whereabouts::Spilled | Whereabouts::Wanted => "SPILLED",
            Whereabouts::Restoring => "RESTORING",
        };
        Some((place, self.pins.get(&id).copied().unwrap_or(0)))
    }

    /// Whether an object lies on disk only.
    pub fn is_away(&self, id: ObjectId) -> bool {
        let here = |record: &Record| matches!(record.whereabouts, Whereabouts::Arena | Whereabouts::Spilling);
        self.records.get(&id).is_some_and(|record| !here(record))
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The other node that keeps an object's bytes, whether or not a copy is here.
    pub fn remote_place(&self, id: ObjectId) -> Option<RemotePlace> {
        RemotePlace::of(self.records.get(&id)?.on_disk.as_ref()?)
    }

    /// An object whose bytes are elsewhere is wanted here, though nobody waits for it. Whether a copy is here
    /// already; none: there is no such object.
    pub fn want(&mut self, id: ObjectId) -> Option<bool> {
        let record = self.records.get_mut(&id)?;
        Some(match record.whereabouts {
            Whereabouts::Arena | Whereabouts::Spilling => true,
            Whereabouts::Wanted | Whereabouts::Restoring => false,
            Whereabouts::Spilled => {
                record.whereabouts = Whereabouts::Wanted;
                self.fetches.push_back(id);
                false
            }
        })
    }

    /// The node that kept an object's bytes is gone: a copy that is here is what is kept from now on.
    /// False when there is none.
    pub fn adopt(&mut self, id: ObjectId) -> bool {
        let Some(record) = self.records.get_mut(&id) else { return false };
        let is_here = matches!(record.whereabouts, Whereabouts::Arena | Whereabouts::Spilling);
        if is_here {
            record.on_disk = None;
        }
        is_here
    }

    fn set_idle(&mut self, id: ObjectId) {
        if let Some(record) = self.records.get(&id)
            && record.whereabouts == Whereabouts::Arena
            && !self.pins.contains_key(&id)
        {
            self.idle.insert(record.used, id);
        }
    }

    /// It was used just now.
    pub fn touch(&mut self, id: ObjectId) {
        let Some(record) = self.records.get_mut(&id) else { return };
        self.uses += 1;
        let was_idle = self.idle.remove(&record.used).is_some();
        record.used = self.uses;
        if was_idle {
            self.idle.insert(record.used, id);
        }
    }

    /// Says what is wrong with the books; none when nothing is.
    pub fn broken_invariant(&self, pinned: &IdMap<ObjectId, u32>) -> Option<String> {
        let (mut arena, mut spilling, mut spilled, mut idle) = (0, 0, 0, 0);
        for (id, record) in &self.records {
            match record.whereabouts {
                Whereabouts::Arena | Whereabouts::Restoring => arena += record.size,
                Whereabouts::Spilling => {
                    arena += record.size;
                    spilling += record.size;
                }
                Whereabouts::Spilled | Whereabouts::Wanted => spilled += record.size,
            }
            let is_idle = record.whereabouts == Whereabouts::Arena && !self.pins.contains_key(id);
            idle += usize::from(is_idle);
            if is_idle != (self.idle.get(&record.used) == Some(id)) {
                return Some(format!("{id} is idle in its record and not in the order, or the other way"));
            }
            if pinned.get(id) != self.pins.get(id) {
                let (tasks, books) = (pinned.get(id), self.pins.get(id));
                return Some(format!("{tasks:?} tasks pin {id} and the books say {books:?}"));
            }
        }
        if (arena, spilling, spilled) != (self.arena_bytes, self.spilling_bytes, self.spilled_bytes) {
            return Some(format!(
                "{arena} bytes lie in the arena, {spilling} of them on their way out, and {spilled} on disk; the books say {}, {} and {}",
                self.arena_bytes, self.spilling_bytes, self.spilled_bytes
            ));
        }
        (idle != self.idle.len()).then(|| format!("{} objects are idle of {idle}", self.idle.len()))
    }
}

impl Node {
    // ---- objects come, are used, and go ----

    /// An object has its value.
    pub(super) fn note_stored(&mut self, id: ObjectId, fx: &mut Effects) {
        let Some(object) = self.objects.get(&id) else { return };
        let State::Ready(value) = &object.state else { return };
        let (counted_for, counted, size) = (object.counted_for(), value.counted_bytes(), value.size);
        let place = match value.place.residence() {
            Residence::Inline => None,
            Residence::Arena => Some((Whereabouts::Arena, None)),
            Residence::Spilled | Residence::Remote => Some((Whereabouts::Spilled, Some(value.place.clone()))),
        };
        self.count_object_bytes(counted_for, counted, true);
        let Some((whereabouts, on_disk)) = place else { return };
        let storage = &mut self.storage;
        match whereabouts {
            Whereabouts::Arena => storage.arena_bytes += size,
            _ => storage.spilled_bytes += size,
        }
        if let Some(remote) = on_disk.as_ref().and_then(RemotePlace::of)
            && self.peers.draining.contains(&remote.holder)
            && self.objects.get(&id).is_some_and(|object| object.owner().is_none())
        {
            storage.moves.add(id);
        }
        storage.uses += 1;
        let used = storage.uses;
        let record = Record { size, whereabouts, used, on_disk, returns_failed: 0 };
        storage.records.insert(id, record);
        storage.set_idle(id);
        self.spill_above_mark(fx);
    }

    /// An object's value is gone.
    pub(super) fn forget_stored(&mut self, id: ObjectId) {
        self.peers.spread_bytes.forget(id);
        let storage = &mut self.storage;
        let Some(record) = storage.records.remove(&id) else { return };
        storage.moves.remove(id);
        match record.whereabouts {
            Whereabouts::Arena => {
                storage.arena_bytes -= record.size;
                storage.idle.remove(&record.used);
            }
            Whereabouts::Restoring => storage.arena_bytes -= record.size,
            Whereabouts::Spilling => {
                storage.arena_bytes -= record.size;
                storage.spilling_bytes -= record.size;
            }
            Whereabouts::Spilled | Whereabouts::Wanted => storage.spilled_bytes -= record.size,
        }
    }

    /// Keeps the objects among a task's arguments where they are until its attempt ends.
    pub(super) fn pin_arguments(&mut self, key: TaskKey) {
        if self.storage.records.is_empty() || self.tasks[key].pinned {
            return;
        }
        let Self { storage, tasks, .. } = self;
        let task = &mut tasks[key];
        for argument in &task.arguments {
            let Argument::Object(id) = argument else { continue };
            storage.touch(*id);
            if let Some(record) = storage.records.get(id) {
                storage.idle.remove(&record.used);
                *storage.pins.entry(*id).or_insert(0) += 1;
                task.pinned = true;
            }
        }
    }

    /// An attempt has ended: what it pinned may move again.
    pub(super) fn unpin_arguments(&mut self, key: TaskKey) {
        let Self { storage, tasks, .. } = self;
        let task = &mut tasks[key];
        if !std::mem::take(&mut task.pinned) {
            return;
        }
        for argument in &task.arguments {
            let Argument::Object(id) = argument else { continue };
            if let Some(pins) = storage.pins.get_mut(id) {
                *pins -= 1;
                if *pins == 0 {
                    storage.pins.remove(id);
                    storage.set_idle(*id);
                }
            }
        }
    }

    // ---- back ----

    /// Says of an object that is wanted in memory whether it has to be fetched; if so, `waiter` is told
    /// when it is there, or when it is not going to be and has to be read from disk.
    pub(super) fn fetch(&mut self, id: ObjectId, waiter: Waiter) -> bool {
        self.storage.touch(id);
        let Some(record) = self.storage.records.get_mut(&id) else { return false };
        match record.whereabouts {
            Whereabouts::Arena | Whereabouts::Spilling => return false,
            Whereabouts::Spilled => {
                record.whereabouts = Whereabouts::Wanted;
                self.storage.fetches.push_back(id);
            }
            Whereabouts::Wanted | Whereabouts::Restoring => {}
        }
        if let Some(object) = self.objects.get_mut(&id) {
            object.waiting.push(waiter);
        }
        true
    }

    /// Whether a task in line has arguments that are on disk and that nothing was done about yet.
    pub(super) fn lacks_arguments(&self, key: TaskKey) -> bool {
        let task = &self.tasks[key];
        if task.pinned || self.storage.records.is_empty() {
            return false;
        }
        task.arguments.iter().filter_map(Argument::object).any(|id| self.storage.is_away(id))
    }

    /// Fetches the arguments of a task that was taken out of the line; it comes back when they are there.
    pub(super) fn fetch_arguments(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let ids: Vec<ObjectId> = self.tasks[key].arguments.iter().filter_map(Argument::object).collect();
        let sizes = ids.iter().filter_map(|id| self.storage.records.get(id)).map(|record| record.size);
        let sum = sizes.fold(0, u64::saturating_add);
        let max = self.limits.store_bytes_max;
        if sum > max {
            let error = Error::new(
                ErrorCode::StoreFull,
                format!(
                    "its arguments take {} together, and the object store of this node has {}: pass references inside a list and read them one by one, or start the node with a larger --store-memory",
                    bytes(sum),
                    bytes(max),
                ),
            );
            return self.fail_task(now, key, Arc::new(error), fx);
        }
        self.set_state(key, TaskState::PendingStoreMemory);
        self.pin_arguments(key);
        let mut unready = 0;
        for id in ids {
            unready += u32::from(self.fetch(id, Waiter::Task(key)));
        }
        self.tasks[key].unready_arguments = unready;
    }

    /// Gives room to whoever waits for it. Called at the end of every event.
    pub(super) fn serve_storage(&mut self, now: Time, fx: &mut Effects) {
        while let Some((wait, size)) = self.storage.rooms.front().copied() {
            if self.waits.contains_key(&wait)
                && let Fits::Soon = self.fits_in_arena(size, fx)
            {
                break;
            }
            // There is room, or there is never going to be: it is told which when it asks again.
            self.storage.rooms.pop_front();
            self.wait_over(wait);
        }
        // Those before have no room and are for tasks alone.
        let mut at = 0;
        while let Some(id) = self.storage.fetches.get(at).copied() {
            let Some(record) = self.storage.records.get(&id).filter(|r| r.whereabouts == Whereabouts::Wanted)
            else {
                self.storage.fetches.remove(at);
                continue;
            };
            if self.storage.restoring >= RESTORES_MAX {
                break;
            }
            let (size, failed) = (record.size, record.returns_failed);
            let fits = match failed {
                ROOM_ATTEMPTS_MAX.. => Fits::Never,
                _ => self.fits_in_arena(size, fx),
            };
            match fits {
                Fits::Now => {
                    self.storage.fetches.remove(at);
                    self.restore(id, fx);
                }
                Fits::Soon => break,
                // Tasks wait for room as long as something runs that may give some up, and guests that can
                // read from disk do not wait behind them.
                Fits::Never if self.active_calls > 0 && self.only_tasks_wait_for(id) => {
                    at += 1;
                    if at > FETCH_LOOKAHEAD {
                        break;
                    }
                }
                Fits::Never => {
                    self.storage.fetches.remove(at);
                    if let Some(record) = self.storage.records.get_mut(&id) {
                        record.whereabouts = Whereabouts::Spilled;
                        record.returns_failed = 0;
                    }
                    self.storage.moves.put_off(id);
                    self.tell_waiters(now, id, None, fx);
                }
            }
        }
    }

    fn only_tasks_wait_for(&self, id: ObjectId) -> bool {
        let Some(object) = self.objects.get(&id) else { return false };
        let is_task = |waiter: &Waiter| matches!(waiter, Waiter::Task(_));
        !object.waiting.is_empty() && object.waiting.iter().all(is_task)
    }

    fn restore(&mut self, id: ObjectId, fx: &mut Effects) {
        let Some(record) = self.storage.records.get_mut(&id) else { return };
        let Some(place) = record.on_disk.clone() else { return };
        record.whereabouts = Whereabouts::Restoring;
        self.storage.spilled_bytes -= record.size;
        self.storage.arena_bytes += record.size;
        self.storage.restoring += 1;
        fx.push(Effect::Restore(id, place));
        self.turn_waiting_tasks(id, TaskState::PendingStoreMemory, TaskState::FetchingArgs);
    }

    fn turn_waiting_tasks(&mut self, id: ObjectId, from: TaskState, to: TaskState) {
        let waiting = self.objects.get(&id).map(|object| object.waiting.clone()).unwrap_or_default();
        for waiter in waiting {
            if let Waiter::Task(key) = waiter
                && self.tasks.get(key).is_some_and(|task| task.state == from)
            {
                self.set_state(key, to);
            }
        }
    }

    /// The object of an `Effect::Restore` is back in memory, or is not and why.
    pub fn restored(&mut self, now: Time, id: ObjectId, result: Result<Place, Error>, fx: &mut Effects) {
        self.storage.restoring = self.storage.restoring.saturating_sub(1);
        if let Some(record) = self.storage.records.get_mut(&id)
            && record.whereabouts == Whereabouts::Restoring
        {
            match result {
                Ok(place) => {
                    record.whereabouts = Whereabouts::Arena;
                    record.returns_failed = 0;
                    self.counters.objects_restored += 1;
                    self.counters.bytes_restored += record.size;
                    if record.on_disk.as_ref().and_then(RemotePlace::of).is_some() {
                        self.counters.bytes_received += record.size;
                    }
                    self.set_place(id, place);
                    self.storage.set_idle(id);
                    self.has_come(id);
                    self.tell_waiters(now, id, None, fx);
                }
                Err(error) => {
                    record.whereabouts = Whereabouts::Wanted;
                    self.storage.arena_bytes -= record.size;
                    self.storage.spilled_bytes += record.size;
                    if error.code() == ErrorCode::StoreFull {
                        record.returns_failed += 1;
                        let size = record.size;
                        self.storage.fetches.push_front(id);
                        self.turn_waiting_tasks(id, TaskState::FetchingArgs, TaskState::PendingStoreMemory);
                        self.spill(size, fx);
                    } else {
                        self.lose(now, id, &error, fx);
                    }
                }
            }
        }
        self.schedule(now, fx);
    }

    /// Whoever read an object's bytes found that they are not what was written.
    pub fn lost(&mut self, now: Time, id: ObjectId, cause: &Error, fx: &mut Effects) {
        let on_disk = self.storage.records.get(&id).is_some_and(|record| record.on_disk.is_some());
        if on_disk {
            self.lose(now, id, cause, fx);
            self.schedule(now, fx);
        }
    }

    /// Whoever read an argument of a task that it was given found that its bytes are not what was written.
    pub fn argument_lost(&mut self, now: Time, task: TaskId, index: usize, cause: &Error, fx: &mut Effects) {
        let argument = self.task_index.get(&task).and_then(|key| self.tasks[*key].arguments.get(index));
        if let Some(Argument::Object(id)) = argument {
            self.lost(now, *id, cause, fx);
        }
    }

    /// Those that wait for an object go on.
    pub(super) fn tell_waiters(
        &mut self,
        now: Time,
        id: ObjectId,
        failure: Option<&Arc<Error>>,
        fx: &mut Effects,
    ) {
        let Some(object) = self.objects.get_mut(&id) else { return };
        let afar = object.afar.as_mut().map(|afar| std::mem::take(&mut afar.waiting));
        for waiter in std::mem::take(&mut object.waiting) {
            match waiter {
                Waiter::Task(task) => self.argument_ready(now, task, failure, fx),
                Waiter::Wait(wait) => self.wait_progress(now, wait, failure.is_some(), fx),
            }
        }
        for node in afar.into_iter().flatten() {
            self.send_outcome(node, id);
        }
    }

    // ---- arguments ----

    /// LIMIT_EXCEEDED when the values above the inline bound among a caller's arguments are more than it
    /// may put.
    pub(super) fn check_large_arguments(&self, parent: TaskKey, arguments: &[Argument]) -> Result<(), Error> {
        let count = arguments.iter().filter(|argument| is_large(argument)).count();
        self.check_puts(parent, u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Values above the inline bound among a caller's arguments, which were checked, become objects of
    /// its own, so that they can be written out while they wait. The task that is about to be
    /// registered is the first to hold them.
    pub(super) fn promote_arguments(
        &mut self,
        parent: TaskKey,
        arguments: &mut [Argument],
        fx: &mut Effects,
    ) {
        for argument in arguments {
            if is_large(argument)
                && let Argument::Value(value) = argument
            {
                let value: Value = value.clone();
                *argument = Argument::Object(self.new_put(parent, value, fx));
            }
        }
    }
}

fn is_large(argument: &Argument) -> bool {
    matches!(argument, Argument::Value(value) if value.place.residence() != Residence::Inline)
}

/// So much is written out at a time, in hundredths of the arena.
const SPILL_STEP_PERCENT: u64 = 10;
