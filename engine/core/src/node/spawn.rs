//! Spawning tasks.

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{JobId, ObjectId, TaskId};
use crate::node::class::ClassSpec;
use crate::node::edges::{Object, State, Waiter};
use crate::node::stream::Stream;
use crate::node::task::{Kind, Task};
use crate::node::{Caller, ClassKey, Effects, Limits, Node, Spawned, TaskKey, TaskState, TenantKey};
use crate::options::{Function, Returns, TaskOptions};
use crate::quota::QuotaKind;
use crate::time::Time;
use crate::value::{Argument, Handle, Value};
use crate::work::Entry;

/// A task that is about to be registered.
pub(super) struct NewTask {
    pub id: TaskId,
    pub job: JobId,
    pub class: ClassKey,
    pub kind: Kind,
    pub entry: Entry,
    pub arguments: Vec<Argument>,
    pub parent: Option<TaskKey>,
    pub deadline: Option<std::time::Duration>,
    pub name: Option<String>,
}

impl Node {
    /// Spawns a task on behalf of a running call. The caller holds a handle to each output, or to
    /// the stream.
    pub fn spawn(
        &mut self,
        now: Time,
        from: Caller,
        function: Function,
        mut arguments: Vec<Argument>,
        mut options: TaskOptions,
        fx: &mut Effects,
    ) -> Result<Spawned, Error> {
        let parent = self.check_may_spawn(from)?;
        let argument_bytes = self.check_arguments(from, &arguments)?;
        self.check_returns(options.returns)?;
        self.check_large_arguments(parent, &arguments)?;
        self.settle_strategy(from, &mut options.placement)?;
        let instance = &self.instances[&from.instance];
        let (job, scope) = (instance.job, instance.scope);
        let (name, deadline) = (options.name.take(), options.deadline.take());
        let returns = options.returns;
        let entry = Entry::Run(function.name.clone());
        let memory = self.task_memory_default(job);
        let class = self.class_of(ClassSpec { job, scope, function, options }, memory);
        self.reserve_inline(argument_bytes, "the arguments")?;
        self.promote_arguments(parent, &mut arguments, fx);
        let id = self.ids.task();
        let key = self.register(
            now,
            NewTask {
                id,
                job,
                class,
                kind: Kind::Function,
                entry,
                arguments,
                parent: Some(parent),
                deadline,
                name,
            },
            argument_bytes,
            fx,
        );
        let spawned = self.give_outputs(from, key, returns);
        self.admit(now, key, fx);
        self.schedule(now, fx);
        Ok(spawned)
    }

    /// Makes an object of a value; the caller holds a handle to it.
    pub fn put(
        &mut self,
        now: Time,
        from: Caller,
        value: Value,
        fx: &mut Effects,
    ) -> Result<ObjectId, Error> {
        let key = self.serving(from)?;
        self.check_value(from, &value, &"the value")?;
        self.check_puts(key, 1)?;
        let tenant = self.instances[&from.instance].tenant;
        self.check_quota(tenant, QuotaKind::ObjectBytes, value.counted_bytes())?;
        self.reserve_inline(value.inline_bytes(), "the value")?;
        let id = self.new_put(key, value, fx);
        self.acquire(from.instance, Handle::Object(id));
        if self.storage.has_waiters() {
            self.schedule(now, fx);
        }
        Ok(id)
    }

    /// LIMIT_EXCEEDED when a call may not put so many objects more.
    pub(super) fn check_puts(&self, key: TaskKey, more: u32) -> Result<(), Error> {
        let max = self.limits.puts_per_task_max;
        if more > 0 && self.tasks[key].puts.saturating_add(more) > max {
            return Err(limit("puts_per_task_max", max, "put fewer objects in one call"));
        }
        Ok(())
    }

    /// Makes an object that a call puts and whose bytes were reserved. Nobody holds it yet.
    pub(super) fn new_put(&mut self, key: TaskKey, value: Value, fx: &mut Effects) -> ObjectId {
        let task = &mut self.tasks[key];
        let base = task.extra.as_ref().and_then(|extra| extra.puts_as).unwrap_or(task.id);
        let (id, job) = (base.put(task.puts), task.job);
        task.puts += 1;
        for handle in value.handles.iter() {
            self.add_edge(*handle);
        }
        self.insert_object(id, Object::new(job, State::Ready(value)));
        self.note_stored(id, fx);
        id
    }

    /// The call that the caller is serving, when it may still ask for things.
    pub(super) fn serving(&self, from: Caller) -> Result<TaskKey, Error> {
        let stopping = match self.instances.get(&from.instance) {
            None => true,
            Some(instance) => instance.stopping.is_some(),
        };
        let key = self.task_index.get(&from.task).copied();
        match key {
            Some(key) if !stopping && self.tasks[key].instance == Some(from.instance) => Ok(key),
            _ => Err(not_served(from.task)),
        }
    }

    /// LIMIT_EXCEEDED when a tenant that has many tasks would take what is kept for those which have few.
    fn check_leaves_others_room(&self, tenant: TenantKey) -> Result<(), Error> {
        let Limits { queued_tasks_max: max, queued_tasks_of_small_tenant_max: small, .. } = self.limits;
        let is_nearly_full = self.tasks.len() >= max - max / 4;
        if !is_nearly_full || self.tenants.are_alone() || self.tenants.get(tenant).queued < small {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::LimitExceeded,
            format!(
                "the node has {} tasks that have not ended, and the last quarter of its queued_tasks_max of {max} is for tenants with fewer than {small}: wait for some of the tasks before spawning more",
                self.tasks.len()
            ),
        ))
    }

    pub(super) fn check_may_spawn(&mut self, from: Caller) -> Result<TaskKey, Error> {
        let parent = self.serving(from)?;
        if self.tasks.len() >= self.limits.queued_tasks_max {
            return Err(limit(
                "queued_tasks_max",
                self.limits.queued_tasks_max,
                "wait for some of the tasks before spawning more",
            ));
        }
        let job = self.jobs.get(&self.instances[&from.instance].job);
        if let Some(job) = job
            && let Some(max) = job.spec.unfinished_tasks_max
            && job.unfinished() >= max
        {
            return Err(Error::new(
                ErrorCode::QuotaExceeded,
                format!(
                    "the job has {max} unfinished tasks, as many as it may have (unfinished_tasks_max): wait for some of them before spawning more"
                ),
            ));
        }
        let tenant = self.instances[&from.instance].tenant;
        self.check_leaves_others_room(tenant)?;
        self.check_quota(tenant, QuotaKind::QueuedTasks, 1)?;
        self.check_quota(tenant, QuotaKind::ObjectBytes, 1)?;
        if self.tasks[parent].children_spawned >= self.limits.children_per_task_max {
            return Err(limit(
                "children_per_task_max",
                self.limits.children_per_task_max,
                "spawn the rest from another task",
            ));
        }
        Ok(parent)
    }

    /// The bytes on the heap of the values among the arguments, all of which the caller may pass.
    pub(super) fn check_arguments(&self, from: Caller, arguments: &[Argument]) -> Result<u64, Error> {
        if arguments.len() > self.limits.arguments_max {
            return Err(limit(
                "arguments_max",
                self.limits.arguments_max,
                "put the values into one object with references inside",
            ));
        }
        let mut bytes = 0;
        for (index, argument) in arguments.iter().enumerate() {
            match argument {
                Argument::Object(id) => self.check_holds(from, Handle::Object(*id))?,
                Argument::Value(value) => {
                    self.check_value(from, value, &format_args!("argument {index}"))?;
                    bytes = u64::saturating_add(bytes, value.inline_bytes());
                }
            }
        }
        Ok(bytes)
    }

    fn check_value(&self, from: Caller, value: &Value, what: &dyn std::fmt::Display) -> Result<(), Error> {
        if value.handles.len() > self.limits.handles_per_value_max {
            return Err(limit(
                "handles_per_value_max",
                self.limits.handles_per_value_max,
                &format!("{what} has {} handles: split it", value.handles.len()),
            ));
        }
        value.handles.iter().try_for_each(|handle| match handle {
            Handle::Stream(_) => {
                Err(Error::invalid_argument(format!("{what}: a stream cannot travel in a value")))
            }
            handle => self.check_holds(from, *handle),
        })
    }

    pub(super) fn check_returns(&self, returns: Returns) -> Result<(), Error> {
        match returns {
            Returns::Fixed(count) if count > self.limits.returns_max => Err(limit(
                "returns_max",
                self.limits.returns_max,
                "return one value with references inside, or stream",
            )),
            Returns::Streaming(Some(0)) => Err(Error::invalid_argument(
                "a stream with a bound of 0 unread objects could never yield one: give 1 or more",
            )),
            _ => Ok(()),
        }
    }

    /// Puts a task into the tables. Its argument bytes are reserved already.
    pub(super) fn register(
        &mut self,
        now: Time,
        new: NewTask,
        argument_bytes: u64,
        fx: &mut Effects,
    ) -> TaskKey {
        let NewTask { id, job, class, kind, entry, arguments, parent, deadline, name } = new;
        self.hold_arguments(&arguments);
        let deadline = deadline.map(|after| now + after);
        let key = self.tasks.insert(Task {
            id,
            job,
            class,
            kind,
            entry,
            state: TaskState::PendingArgs,
            attempt: 0,
            system_failures: 0,
            application_failures: 0,
            unready_arguments: 0,
            puts: 0,
            children_spawned: 0,
            emitted: 0,
            arguments: arguments.into_boxed_slice(),
            argument_bytes,
            instance: None,
            pinned: false,
            cancelled: false,
            doom: None,
            submitted: now,
            started: now,
            deadline,
            extra: None,
            parent: None,
            first_child: None,
            next_sibling: None,
            previous_sibling: None,
        });
        if name.is_some() {
            self.tasks[key].extra().name = name;
        }
        self.task_index.insert(id, key);
        let tenant = self.classes[class].tenant;
        self.tenants.get_mut(tenant).queued += 1;
        self.classes[class].tasks += 1;
        self.counters.tasks_spawned += 1;
        let scope = self.classes[class].spec.scope;
        self.add_member(job, scope);
        if let Some(job) = self.jobs.get_mut(&job) {
            job.by_state[TaskState::PendingArgs as usize] += 1;
        }
        if let Some(parent) = parent {
            self.tasks[parent].children_spawned += 1;
            self.link_child(parent, key);
        }
        if let Some(at) = deadline {
            self.timers.add_deadline(at, key);
            self.arm_timer(fx);
        }
        key
    }

    /// Makes the objects that a task will give, held by the caller.
    pub(super) fn give_outputs(&mut self, from: Caller, key: TaskKey, returns: Returns) -> Spawned {
        let (task, job) = (self.tasks[key].id, self.tasks[key].job);
        match returns {
            Returns::Fixed(count) => {
                for index in 0..count {
                    let id = task.output(index);
                    self.insert_object(id, Object::new(job, State::Pending));
                    self.acquire(from.instance, Handle::Object(id));
                }
                Spawned { task, outputs: Some(count) }
            }
            Returns::Streaming(bound) => {
                self.streams.insert(task, Stream::new(bound));
                self.acquire(from.instance, Handle::Stream(task));
                Spawned { task, outputs: None }
            }
        }
    }

    /// Starts a registered task on its way: it waits for its arguments, or goes in line.
    pub(super) fn admit(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let is_call = matches!(self.tasks[key].kind, Kind::Call(_));
        if !is_call && let Some(error) = self.never_fits(key) {
            return self.fail_task(now, key, error, fx);
        }
        let mut unready = 0;
        let mut failed = None;
        let ids: smallvec::SmallVec<[ObjectId; 4]> =
            self.tasks[key].arguments.iter().filter_map(Argument::object).collect();
        for id in ids {
            let Some(object) = self.objects.get_mut(&id) else {
                failed = failed.or_else(|| Some(Arc::new(freed(id))));
                continue;
            };
            match &object.state {
                State::Pending => {
                    object.waiting.push(Waiter::Task(key));
                    unready += 1;
                    if object.owner().is_some() {
                        self.want(id);
                    }
                }
                State::Failed(error) => failed = failed.or_else(|| Some(error.clone())),
                State::Ready(_) => {}
            }
        }
        self.tasks[key].unready_arguments = unready;
        if let Some(error) = failed {
            return self.fail_with_argument(now, key, &error, fx);
        }
        if unready == 0 {
            self.arguments_ready(now, key, fx);
        }
    }

    /// One argument of a waiting task is there, or has failed.
    pub(super) fn argument_ready(
        &mut self,
        now: Time,
        key: TaskKey,
        failure: Option<&Arc<Error>>,
        fx: &mut Effects,
    ) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.unready_arguments = task.unready_arguments.saturating_sub(1);
        let unready = task.unready_arguments;
        match failure {
            Some(error) => self.fail_with_argument(now, key, error, fx),
            None if unready == 0 => self.arguments_ready(now, key, fx),
            None => {}
        }
    }

    fn arguments_ready(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        if let Kind::Call(call) = &self.tasks[key].kind {
            let actor = call.actor;
            self.set_state(key, TaskState::Submitted);
            return self.call_ready(now, actor, key, fx);
        }
        self.enqueue(key, false);
    }

    /// A task whose argument failed fails with the same error, one step further (contract T6).
    pub(super) fn fail_with_argument(
        &mut self,
        now: Time,
        key: TaskKey,
        error: &Arc<Error>,
        fx: &mut Effects,
    ) {
        self.failing.push((key, error.clone()));
        if self.failing.len() > 1 {
            return;
        }
        // Its entry stays on the list while it is worked on, so that the failures that this one leads
        // to only append.
        let mut at = 0;
        while let Some((key, error)) = self.failing.get(at).cloned() {
            if let Some(task) = self.tasks.get(key) {
                let error = Error::clone(&error).with_frame(self.frame(task));
                self.end_task(now, key, Err(Arc::new(error)), fx);
            }
            at += 1;
        }
        self.failing.clear();
        self.failing.shrink_to(1024);
    }
}

/// Of a call that asks for something after it was stopped.
pub(super) fn not_served(task: TaskId) -> Error {
    Error::new(ErrorCode::TaskCancelled, format!("{task} is not being served any more: it was stopped"))
}

/// Of a handle to an object that was gone before the handle was made.
pub(super) fn freed(id: ObjectId) -> Error {
    Error::new(ErrorCode::ObjectFreed, format!("{id} was freed before this handle to it was made"))
}

pub(super) fn limit(name: &str, max: impl std::fmt::Display, what_to_do: &str) -> Error {
    Error::new(ErrorCode::LimitExceeded, format!("{name} of {max} is reached: {what_to_do}"))
}
