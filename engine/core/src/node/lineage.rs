//! Objects that were lost are made again by running their tasks again (contract O8).
//!
//! Of a task that ended well a record is kept as long as an object of it that can be lost lives, or
//! another record names one as an argument. A record holds no object: what a task was given may be
//! freed, and is then made again too.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{IdMap, IdSet, JobId, ObjectId, TaskId};
use crate::node::class::ClassSpec;
use crate::node::edges::{Object, State, Waiter};
use crate::node::finish::is_within;
use crate::node::spawn::NewTask;
use crate::node::task::{Kind, Task};
use crate::node::{Effects, Node, TaskKey, TaskState};
use crate::options::Returns;
use crate::time::Time;
use crate::value::{Argument, Handle, Residence, Value};
use crate::work::Entry;

/// What a record takes besides the values in it, in bytes, about.
const RECORD_BYTES: u64 = 256;
const ARGUMENT_BYTES: u64 = 64;

/// What is known of tasks whose objects may have to be made again.
#[derive(Default)]
pub(super) struct Lineage {
    records: IdMap<TaskId, Record>,
    /// By age, the oldest first.
    order: BTreeMap<u64, TaskId>,
    bytes: u64,
    next: u64,
    /// Objects that were lost so far.
    losses: u64,
}

struct Record {
    job: JobId,
    spec: Arc<ClassSpec>,
    memory: u64,
    entry: Entry,
    arguments: Box<[Argument]>,
    name: Option<String>,
    puts: u32,
    attempt: u32,
    system_failures: u32,
    /// Objects that it returned and that are in the table.
    objects: u32,
    /// Arguments of other records that are objects of this task.
    dependents: u32,
    age: u64,
    bytes: u64,
    /// Why it is being run again.
    rebuilding: Option<Arc<Error>>,
}

impl Lineage {
    pub fn len(&self) -> usize {
        self.records.len()
    }
}

impl Node {
    /// A task has ended well and its objects have their values.
    pub(super) fn keep_lineage(&mut self, task: &Task) {
        if let Some(record) = self.lineage.records.get_mut(&task.id) {
            record.rebuilding = None;
            (record.puts, record.attempt) = (task.puts, task.attempt);
            record.system_failures = task.system_failures;
            // What it was run for may have been freed meanwhile.
            return self.drop_records_nobody_needs(task.id);
        }
        let class = &self.classes[task.class];
        let (Kind::Function, Returns::Fixed(count)) = (&task.kind, class.returns()) else { return };
        if class.retries().system == 0 {
            return;
        }
        let (mut objects, mut can_be_lost) = (0, false);
        for index in 0..count {
            let Some(object) = self.objects.get(&task.id.output(index)) else { continue };
            objects += 1;
            can_be_lost |= object.state.value().is_some_and(|v| v.place.residence() != Residence::Inline);
        }
        if !can_be_lost {
            return;
        }
        let values = task.arguments.iter().map(|argument| match argument {
            Argument::Value(value) => value.inline_bytes(),
            Argument::Object(_) => 0,
        });
        let bytes = RECORD_BYTES + ARGUMENT_BYTES * task.arguments.len() as u64 + values.sum::<u64>();
        self.lineage.next += 1;
        let age = self.lineage.next;
        let record = Record {
            job: task.job,
            spec: class.spec.clone(),
            memory: class.needs.memory,
            entry: task.entry.clone(),
            arguments: task.arguments.clone(),
            name: task.extra.as_ref().and_then(|extra| extra.name.clone()),
            puts: task.puts,
            attempt: task.attempt,
            system_failures: task.system_failures,
            objects,
            dependents: 0,
            age,
            bytes,
            rebuilding: None,
        };
        for id in objects_of(&record.arguments) {
            if let Some(source) = self.lineage.records.get_mut(&id.task()) {
                source.dependents += 1;
            }
        }
        self.lineage.bytes += bytes;
        self.lineage.order.insert(age, task.id);
        self.lineage.records.insert(task.id, record);
        while self.lineage.bytes > self.limits.lineage_bytes_max {
            let Some((_, oldest)) = self.lineage.order.first_key_value() else { break };
            self.drop_record(*oldest);
        }
    }

    /// An object is gone from the table.
    pub(super) fn forget_lineage(&mut self, id: ObjectId) {
        if id.output_index().is_none() {
            return;
        }
        let task = id.task();
        if let Some(record) = self.lineage.records.get_mut(&task) {
            record.objects = record.objects.saturating_sub(1);
            self.drop_records_nobody_needs(task);
        }
    }

    /// Drops a record that has neither objects nor dependents, and whatever only it needed.
    fn drop_records_nobody_needs(&mut self, task: TaskId) {
        let mut unneeded = vec![task];
        while let Some(task) = unneeded.pop() {
            let needed = |r: &Record| r.objects > 0 || r.dependents > 0 || r.rebuilding.is_some();
            if self.lineage.records.get(&task).is_some_and(|record| !needed(record)) {
                unneeded.extend(self.drop_record(task));
            }
        }
    }

    /// Drops a record; the tasks that it named, which may be unneeded now.
    fn drop_record(&mut self, task: TaskId) -> Vec<TaskId> {
        let Some(record) = self.lineage.records.remove(&task) else { return Vec::new() };
        self.lineage.order.remove(&record.age);
        self.lineage.bytes -= record.bytes;
        let mut named = Vec::new();
        for id in objects_of(&record.arguments) {
            if let Some(source) = self.lineage.records.get_mut(&id.task()) {
                source.dependents = source.dependents.saturating_sub(1);
                named.push(id.task());
            }
        }
        named
    }

    /// The bytes of an object are lost: it is made again, or fails.
    pub(super) fn lose(&mut self, now: Time, id: ObjectId, cause: &Error, fx: &mut Effects) {
        let holder = self.storage.remote_place(id).map_or(self.id, |remote| remote.holder);
        let is_own = self.objects.get(&id).is_some_and(|object| object.owner().is_none());
        if is_own {
            self.drop_remote_bytes(id);
        }
        let Some(object) = self.objects.get_mut(&id) else { return };
        let was = std::mem::replace(&mut object.state, State::Pending);
        let counted_for = object.counted_for();
        self.value_gone(id, counted_for, &was);
        self.hold_up_users(id);
        if !is_own {
            self.ask_owner_again(now, id, holder, cause, fx);
            for handle in was.handles() {
                self.remove_edge(now, *handle, fx);
            }
            return;
        }
        let plan = self.plan_rebuild(id);
        match plan {
            Ok(tasks) => self.rebuild(now, &tasks, cause, fx),
            Err(why) => {
                let code = why.code();
                let message = format!("{id} is lost ({}), and {}", cause.message(), why.message());
                let error = Arc::new(Error::new(code, message));
                if let Some(object) = self.objects.get_mut(&id) {
                    object.state = State::Failed(error.clone());
                }
                self.tell_waiters(now, id, Some(&error), fx);
            }
        }
        for handle in was.handles() {
            self.remove_edge(now, *handle, fx);
        }
    }

    /// An object that was there is not any more: tasks that were given it and have not begun wait for it.
    pub(super) fn hold_up_users(&mut self, id: ObjectId) {
        self.lineage.losses += 1;
        let users: Vec<TaskKey> =
            self.tasks.iter().filter(|(_, task)| names(task, id)).map(|(key, _)| key).collect();
        for user in users {
            self.hold_up(user, id);
        }
    }

    /// A task that has not begun had this object as an argument that was there: it waits for it again.
    fn hold_up(&mut self, key: TaskKey, id: ObjectId) {
        // On another node: what it lacks there it asks for.
        if self.tasks[key].away().is_some() {
            return;
        }
        match self.tasks[key].state {
            TaskState::PendingPlacement => self.take_out_of_line(key),
            TaskState::Submitted => self.take_out_of_lane(key),
            TaskState::PendingArgs | TaskState::PendingStoreMemory | TaskState::FetchingArgs => {}
            _ => return,
        }
        // When it is there again it may have to be fetched.
        self.unpin_arguments(key);
        self.set_state(key, TaskState::PendingArgs);
        if let Some(object) = self.objects.get_mut(&id)
            && !object.waiting.contains(&Waiter::Task(key))
        {
            object.waiting.push(Waiter::Task(key));
            self.tasks[key].unready_arguments += 1;
        }
    }

    /// Of a task that is tried again: whether an argument of it was lost meanwhile, so that it has to
    /// wait for that, or has failed with it.
    pub(super) fn waits_for_lost(&mut self, now: Time, key: TaskKey, fx: &mut Effects) -> bool {
        if self.lineage.losses == 0 {
            return false;
        }
        let mut failure = None;
        let ids: Vec<ObjectId> = objects_of(&self.tasks[key].arguments).collect();
        for id in ids {
            match self.objects.get(&id).map(|object| &object.state) {
                Some(State::Pending) => self.hold_up(key, id),
                Some(State::Failed(error)) => failure = Some(error.clone()),
                Some(State::Ready(_)) | None => {}
            }
        }
        if let Some(error) = failure {
            self.fail_with_argument(now, key, &error, fx);
            return true;
        }
        self.tasks[key].unready_arguments > 0
    }

    /// The tasks to be run again so that an object exists again, those that need others first.
    fn plan_rebuild(&self, id: ObjectId) -> Result<Vec<TaskId>, Error> {
        let lost = |why: String| Err(Error::new(ErrorCode::ObjectLost, why));
        let failed = |why: String| Err(Error::new(ErrorCode::ReconstructionFailed, why));
        let mut wanted = vec![id];
        let (mut tasks, mut seen) = (Vec::new(), IdSet::default());
        while let Some(wants) = wanted.pop() {
            let chain = if wants == id { String::new() } else { format!("it needs {wants}, and ") };
            if wants.output_index().is_none() {
                return lost(format!(
                    "{chain}what was put cannot be made again: keep a copy, or put it again"
                ));
            }
            let Some(record) = self.lineage.records.get(&wants.task()) else {
                return lost(format!(
                    "{chain}it cannot be made again: it came from an actor or a stream, its task has max_retries = 0, or the record of its task was dropped (lineage_bytes_max)"
                ));
            };
            if record.rebuilding.is_some() || !seen.insert(wants.task()) {
                continue;
            }
            let function = record.entry.name();
            if self.jobs.get(&record.job).is_none_or(|job| job.is_ending()) {
                return lost(format!("{chain}the job of `{function}`, which made it, has ended"));
            }
            if !is_within(record.spec.options.retries.system, record.system_failures) {
                return failed(format!(
                    "{chain}`{function}`, which made it, has been run again as often as max_retries allows"
                ));
            }
            tasks.push(wants.task());
            for needs in handles_of(&record.arguments) {
                let Handle::Object(needs) = needs else { continue };
                match self.objects.get(&needs).map(|object| &object.state) {
                    None => wanted.push(needs),
                    Some(State::Failed(error)) => {
                        return failed(format!(
                            "{chain}{needs}, an argument of `{function}`, which made it, has failed: {error}"
                        ));
                    }
                    Some(State::Pending | State::Ready(_)) => {}
                }
            }
        }
        Ok(tasks)
    }

    fn rebuild(&mut self, now: Time, tasks: &[TaskId], cause: &Error, fx: &mut Effects) {
        let cause = Arc::new(cause.clone());
        // What is missing is in the table before anything is registered that waits for it.
        for task in tasks {
            let Some(record) = self.lineage.records.get_mut(task) else { continue };
            record.rebuilding = Some(cause.clone());
            let needs: Vec<Handle> = handles_of(&record.arguments).collect();
            for handle in needs {
                let Handle::Object(needs) = handle else { continue };
                if self.objects.contains_key(&needs) {
                    continue;
                }
                let Some(source) = self.lineage.records.get_mut(&needs.task()) else { continue };
                source.objects += 1;
                let job = source.job;
                self.insert_object(needs, Object::new(job, State::Pending));
            }
        }
        let mut keys = Vec::with_capacity(tasks.len());
        for task in tasks {
            let Some(record) = self.lineage.records.get(task) else { continue };
            let (spec, memory) = (ClassSpec::clone(&record.spec), record.memory);
            let (puts, attempt, failures) = (record.puts, record.attempt + 1, record.system_failures + 1);
            let values = record.arguments.iter().filter_map(|argument| match argument {
                Argument::Value(value) => Some(Value::inline_bytes(value)),
                Argument::Object(_) => None,
            });
            let argument_bytes: u64 = values.sum();
            let mut new = NewTask {
                id: *task,
                job: record.job,
                class: Default::default(),
                kind: Kind::Function,
                entry: record.entry.clone(),
                arguments: record.arguments.to_vec(),
                parent: None,
                deadline: None,
                name: record.name.clone(),
            };
            new.class = self.class_of(spec, memory);
            // They were accepted once: what they take is not refused now.
            self.inline_bytes += argument_bytes;
            let key = self.register(now, new, argument_bytes, fx);
            let task = &mut self.tasks[key];
            (task.puts, task.attempt, task.system_failures) = (puts, attempt, failures);
            self.counters.tasks_rebuilt += 1;
            keys.push(key);
        }
        for key in keys {
            self.admit(now, key, fx);
        }
    }

    /// The error of a task that was run again to make a lost object again, and failed.
    pub(super) fn rebuild_failed(&mut self, task: TaskId, error: Arc<Error>) -> Arc<Error> {
        let Some(record) = self.lineage.records.get_mut(&task) else { return error };
        let Some(cause) = record.rebuilding.take() else { return error };
        let message = format!(
            "an object of `{}` was lost ({}), and running it again failed: {}",
            record.entry.name(),
            cause.message(),
            error.message()
        );
        self.drop_records_nobody_needs(task);
        Arc::new(Error::new(ErrorCode::ReconstructionFailed, message).with_path(error.path().to_vec()))
    }
}

fn names(task: &Task, id: ObjectId) -> bool {
    objects_of(&task.arguments).any(|argument| argument == id)
}

fn objects_of(arguments: &[Argument]) -> impl Iterator<Item = ObjectId> {
    arguments.iter().filter_map(Argument::object)
}

/// Everything that the arguments name: objects, and the handles inside values.
fn handles_of(arguments: &[Argument]) -> impl Iterator<Item = Handle> {
    arguments.iter().flat_map(|argument| match argument {
        Argument::Object(id) => vec![Handle::Object(*id)],
        Argument::Value(value) => value.handles.to_vec(),
    })
}
