//! Ends of calls and of sandboxes; whether a failed attempt is followed by another (contract T7).

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::InstanceId;
use crate::node::instance::Role;
use crate::node::task::Kind;
use crate::node::view::AttemptView;
use crate::node::{Effects, Node, TaskKey, TaskState};
use crate::options::{Retries, Returns};
use crate::time::Time;
use crate::value::Value;
use crate::work::{CallReport, GoneReport, StopReason};

impl Node {
    /// A call has ended and its sandbox serves on.
    pub fn finished(&mut self, now: Time, instance: InstanceId, report: CallReport, fx: &mut Effects) {
        if !self.call_ended(now, instance, report, fx) {
            return;
        }
        if let Some(record) = self.instances.get(&instance)
            && record.calls.is_empty()
            && record.stopping.is_none()
            && matches!(record.role, Role::Warm(_))
        {
            self.idle_instance(now, instance, fx);
        }
        self.schedule(now, fx);
    }

    /// A sandbox has ended, and what the ledger took for it comes back.
    pub fn gone(&mut self, now: Time, report: GoneReport, fx: &mut Effects) {
        let id = report.instance;
        self.note_gone(id);
        let Some(instance) = self.instances.get(&id) else { return };
        let retired =
            instance.stopping == Some(StopReason::Retired) && matches!(instance.role, Role::Warm(_));
        for wait in self.instances.get_mut(&id).map(|i| std::mem::take(&mut i.waits)).unwrap_or_default() {
            self.forget_wait(wait);
        }
        let actor = match self.instances.get(&id).map(|i| &i.role) {
            Some(Role::Actor(actor)) => Some(*actor),
            _ => None,
        };
        if let Some(actor) = actor {
            self.incarnation_ended(now, actor, report, fx);
        } else {
            for call in report.calls {
                self.call_ended(now, id, call, fx);
            }
            let cause = report.cause;
            for key in self.instances.get(&id).map(|i| i.calls.clone()).unwrap_or_default() {
                if retired && cause.is_none() && self.tasks[key].doom.is_none() {
                    // It was handed over as the sandbox was about to retire, and never begun.
                    self.detach_from_instance(key);
                    self.tasks[key].instance = None;
                    if !self.waits_for_lost(now, key, fx) {
                        self.enqueue(key, true);
                    }
                    continue;
                }
                let error = self.lost_with_sandbox(cause.as_ref());
                self.attempt_failed(now, key, error, fx);
            }
        }
        let Some(instance) = self.instances.remove(&id) else { return };
        match instance.role {
            Role::Client => self.clients.attached_roots -= 1,
            _ => self.tenants.get_mut(instance.tenant).sandboxes -= 1,
        }
        self.return_resources(&instance);
        for handle in instance.handles.keys() {
            self.remove_edge(now, *handle, fx);
        }
        self.remove_member(instance.job, instance.scope, fx);
        self.schedule(now, fx);
    }

    pub(super) fn lost_with_sandbox(&self, cause: Option<&Error>) -> Error {
        match cause {
            Some(cause) => cause.clone(),
            None => Error::new(
                ErrorCode::WorkerDied,
                "its sandbox ended before the call did, and the call was not at fault: it is retried as max_retries allows",
            ),
        }
    }

    /// Takes a call's result; false when the sandbox is not serving that call. What was given back
    /// is not looked at when the call was doomed before.
    pub(super) fn call_ended(
        &mut self,
        now: Time,
        instance: InstanceId,
        report: CallReport,
        fx: &mut Effects,
    ) -> bool {
        let Some(key) = self.task_index.get(&report.task).copied() else { return false };
        if self.tasks[key].instance != Some(instance) {
            return false;
        }
        self.note_usage(key, &report);
        let task = &self.tasks[key];
        if !self.peers.is_empty() && matches!(task.kind, Kind::Function) && task.owner().is_none() {
            self.note_ran(task.class, None, now.since(task.started));
        }
        match report.result {
            Ok(values) => self.attempt_succeeded(now, key, values, fx),
            Err(error) => self.attempt_failed(now, key, error, fx),
        }
        true
    }

    fn note_usage(&mut self, key: TaskKey, report: &CallReport) {
        self.counters.cpu_time += report.usage.cpu;
        let tenant = self.classes[self.tasks[key].class].tenant;
        self.tenants.get_mut(tenant).cpu_time += report.usage.cpu;
    }

    pub(super) fn attempt_succeeded(
        &mut self,
        now: Time,
        key: TaskKey,
        values: Vec<Value>,
        fx: &mut Effects,
    ) {
        if let Some(doom) = self.tasks[key].doom.take() {
            return self.end_task(now, key, Err(doom), fx);
        }
        let expected = match self.classes[self.tasks[key].class].returns() {
            Returns::Fixed(count) => count as usize,
            Returns::Streaming(_) => 0,
        };
        if values.len() != expected {
            let message = format!(
                "{} returned {} values where {expected} were declared: return as many as num_returns says",
                self.tasks[key].entry.name(),
                values.len()
            );
            return self.attempt_failed(now, key, Error::new(ErrorCode::TaskFailed, message), fx);
        }
        self.end_task(now, key, Ok(values), fx);
    }

    /// An attempt ended with an error: another follows, or the task ends with it.
    pub(super) fn attempt_failed(&mut self, now: Time, key: TaskKey, error: Error, fx: &mut Effects) {
        if let Some(doom) = self.tasks[key].doom.take() {
            return self.end_task(now, key, Err(doom), fx);
        }
        if let Some(preempted) = self.was_preempted(key)
            && !error.code().is_application()
        {
            self.counters.tasks_preempted += 1;
            return self.ended_for_others(now, key, preempted, fx);
        }
        let job_ending = self.jobs.get(&self.tasks[key].job).is_none_or(|job| job.is_ending());
        let scoped = self.classes[self.tasks[key].class].spec.scope.is_some();
        let retry = (!job_ending || scoped) && self.take_retry(key, &error);
        let error = error.with_frame(self.frame(&self.tasks[key]));
        if !retry {
            return self.end_task(now, key, Err(Arc::new(error)), fx);
        }
        self.try_again(now, key, &error, fx);
    }

    /// An attempt was ended for somebody else: another follows, unless its job ends or it was cancelled.
    pub(super) fn ended_for_others(&mut self, now: Time, key: TaskKey, error: Error, fx: &mut Effects) {
        if let Some(doom) = self.tasks[key].doom.take() {
            return self.end_task(now, key, Err(doom), fx);
        }
        let task = &self.tasks[key];
        let job_ends = self.jobs.get(&task.job).is_none_or(|job| job.is_ending());
        let scoped = self.classes[task.class].spec.scope.is_some();
        let (ends, error) = (task.cancelled || (job_ends && !scoped), error.with_frame(self.frame(task)));
        if ends {
            return self.end_task(now, key, Err(Arc::new(error)), fx);
        }
        self.try_again(now, key, &error, fx);
    }

    fn try_again(&mut self, now: Time, key: TaskKey, error: &Error, fx: &mut Effects) {
        self.prepare_retry(now, key, error);
        if let Kind::Call(_) = self.tasks[key].kind {
            self.requeue_call(now, key, fx);
        } else if !self.waits_for_lost(now, key, fx) {
            self.enqueue(key, true);
        }
    }

    /// Whether another attempt follows this failure; counts it when so.
    pub(super) fn take_retry(&mut self, key: TaskKey, error: &Error) -> bool {
        // What came through another task is, here, a failure of the guest's own code.
        let passed_on = !error.path().is_empty();
        if error.code().is_system() && !passed_on {
            self.take_system_retry(key)
        } else if error.code().is_application() || passed_on {
            self.take_application_retry(key, error)
        } else {
            false
        }
    }

    pub(super) fn take_system_retry(&mut self, key: TaskKey) -> bool {
        let task = &mut self.tasks[key];
        let budget = match &task.kind {
            // The restart budget of the actor is what binds here.
            Kind::Create(_) => 0,
            Kind::Call(call) => call.system_retries,
            _ => self.classes[task.class].retries().system,
        };
        let retry = !task.cancelled && is_within(budget, task.system_failures);
        task.system_failures += u32::from(retry);
        retry
    }

    fn take_application_retry(&mut self, key: TaskKey, error: &Error) -> bool {
        let task = &mut self.tasks[key];
        let retries = self.classes[task.class].retries();
        let retry = !task.cancelled
            && names_kind(retries, error)
            && is_within(retries.application, task.application_failures);
        task.application_failures += u32::from(retry);
        retry
    }

    /// Closes the attempt that failed; the next one starts from the same arguments.
    pub(super) fn prepare_retry(&mut self, now: Time, key: TaskKey, error: &Error) {
        self.detach_from_instance(key);
        let attempt = self.attempt_view(now, key, Some(error));
        let kept = self.limits.attempts_kept_max;
        let task = &mut self.tasks[key];
        task.attempt += 1;
        task.instance = None;
        task.extra().ran_on = None;
        let attempts = &mut task.extra().attempts;
        attempts.push(attempt);
        if attempts.len() > kept {
            attempts.remove(0);
        }
        self.counters.attempts_retried += 1;
    }

    /// The call is no longer one of its sandbox's.
    pub(super) fn detach_from_instance(&mut self, key: TaskKey) {
        self.unpin_arguments(key);
        let Some(id) = self.tasks[key].instance else { return };
        let Some(instance) = self.instances.get_mut(&id) else { return };
        instance.calls.retain(|call| *call != key);
        instance.blocked -= usize::from(self.tasks[key].state == TaskState::Blocked);
        // A call that ends while one of its waits is open leaves no wait behind.
        let waits: smallvec::SmallVec<[_; 1]> = instance.waits.clone();
        for wait in waits {
            if self.waits.get(&wait).is_some_and(|record| record.is_of(key)) {
                self.forget_wait(wait);
            }
        }
        self.lend_cpus(id);
    }

    pub(super) fn attempt_view(&self, now: Time, key: TaskKey, error: Option<&Error>) -> AttemptView {
        let task = &self.tasks[key];
        AttemptView {
            attempt: task.attempt,
            node: task.ran_on().unwrap_or(self.id),
            instance: task.instance,
            started: task.started,
            ended: Some(now),
            cause: error.cloned().map(Arc::new),
        }
    }

    /// Ends a task that has not begun, or whose end does not depend on its sandbox, with this error.
    pub(super) fn fail_task(&mut self, now: Time, key: TaskKey, error: Arc<Error>, fx: &mut Effects) {
        let error = Error::clone(&error).with_frame(self.frame(&self.tasks[key]));
        self.end_task(now, key, Err(Arc::new(error)), fx);
    }

    /// Ends a task for good. It must not be in line any more.
    pub(super) fn end_task(
        &mut self,
        now: Time,
        key: TaskKey,
        result: Result<Vec<Value>, Arc<Error>>,
        fx: &mut Effects,
    ) {
        let state = match &result {
            Ok(_) => TaskState::Finished,
            Err(error) if error.code() == ErrorCode::TaskCancelled => TaskState::Cancelled,
            Err(_) => TaskState::Failed,
        };
        self.detach_from_instance(key);
        self.set_state(key, state);
        let parent = self.tasks[key].parent.and_then(|key| self.tasks.get(key)).map(|parent| parent.id);
        self.unlink(key);
        let Some(mut task) = self.tasks.remove(key) else { return };
        let (is_foreign, telling) = (task.owner().is_some(), task.telling());
        let was_here = task.instance.is_some();
        let was_inside = was_here || task.ran_on().is_some();
        self.forget_alias(&task);
        self.keep_in_history(now, &mut task, parent, result.as_ref().err());
        self.task_index.remove(&task.id);
        if let Some(at) = task.deadline {
            self.timers.remove_deadline(at, key);
        }
        let counted = match state {
            TaskState::Finished => [&mut self.counters.tasks_finished, &mut self.counters.foreign_finished],
            TaskState::Cancelled => {
                [&mut self.counters.tasks_cancelled, &mut self.counters.foreign_cancelled]
            }
            _ => [&mut self.counters.tasks_failed, &mut self.counters.foreign_failed],
        };
        let [all, foreign] = counted;
        *all += 1;
        *foreign += u64::from(is_foreign);
        let returns = self.classes[task.class].returns();
        let result = result.map_err(|error| self.rebuild_failed(task.id, error));
        let error = result.as_ref().err().cloned();
        let root_result = match (&task.kind, &result) {
            (Kind::Root, Ok(values)) => Some(Ok(values.first().cloned().unwrap_or_else(Value::empty))),
            (Kind::Root, Err(error)) => Some(Err(error.clone())),
            _ => None,
        };
        match (returns, result) {
            (_, result) if let Some(telling) = telling => self.tell_end(now, telling, result, fx),
            _ if is_foreign => {}
            (Returns::Fixed(_), Ok(values)) => {
                for (index, value) in values.into_iter().enumerate() {
                    self.set_outcome(now, task.id.output(index as u32), Ok(value), fx);
                }
                self.keep_lineage(&task);
            }
            (Returns::Fixed(count), Err(error)) => {
                for index in 0..count {
                    self.set_outcome(now, task.id.output(index), Err(error.clone()), fx);
                }
            }
            (Returns::Streaming(_), result) => self.end_stream(now, task.id, result.map(drop), fx),
        }
        self.inline_bytes -= task.argument_bytes;
        self.release_arguments(now, &task.arguments, fx);
        let class = &mut self.classes[task.class];
        class.tasks -= 1;
        let tenant = self.tenants.get_mut(class.tenant);
        tenant.queued -= u64::from(!is_foreign);
        tenant.tasks_ended += u64::from(was_here);
        if !is_foreign {
            let ended = match state {
                TaskState::Finished => &mut tenant.meter.tasks_finished,
                _ => &mut tenant.meter.tasks_failed,
            };
            *ended += 1;
        }
        let scope = class.spec.scope;
        self.forget_class_if_unused(task.class);
        match &task.kind {
            Kind::Function | Kind::Sent(_) => {}
            Kind::Root => {
                if let Some(result) = root_result {
                    self.root_ended(now, task.job, result, fx);
                }
            }
            Kind::Create(actor) if is_foreign => self.hosted_constructor_ended(*actor, task.id, error),
            Kind::Create(actor) => self.constructor_ended(now, *actor, error, fx),
            Kind::Call(call) => self.actor_call_ended(now, key, call, was_inside, fx),
        }
        self.remove_member(task.job, scope, fx);
    }
}

/// Whether a budget, of which -1 is without end, has room for one more.
pub(super) fn is_within(budget: i32, used: u32) -> bool {
    u32::try_from(budget).map_or(true, |budget| used < budget)
}

/// Whether a failure of the guest's own code is of a kind that is retried.
fn names_kind(retries: &Retries, error: &Error) -> bool {
    retries.kinds.is_empty() || error.kind().is_some_and(|kind| retries.kinds.iter().any(|k| k == kind))
}
