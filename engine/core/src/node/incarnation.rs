//! Ends of an actor's incarnations, and of the actor (contract A3: the restart budget binds first).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, ErrorCode};
use crate::ids::ActorId;
use crate::node::actor::ActorState;
use crate::node::task::Kind;
use crate::node::{ClassKey, Effect, Effects, Node, TaskKey, TaskState};
use crate::options::Lifetime;
use crate::time::Time;
use crate::value::{Handle, Value};
use crate::work::{GoneReport, StopReason};

/// What became of a call that was inside an incarnation that has ended.
pub(super) enum Fate {
    /// It had ended.
    Ended(Result<Vec<Value>, Error>),
    /// It was cut short.
    CutShort,
    /// It was on its way there, and was never begun.
    NotBegun,
}

/// The calls of an incarnation that has ended, its constructor among them.
pub(super) type Fates = SmallVec<[(TaskKey, Fate); 1]>;

impl Node {
    /// The sandbox of an actor is gone.
    pub(super) fn incarnation_ended(&mut self, now: Time, id: ActorId, report: GoneReport, fx: &mut Effects) {
        let sandbox = report.instance;
        let Some(actor) = self.actors.get_mut(&id) else {
            return self.hosted_sandbox_gone(now, id, report, fx);
        };
        if actor.instance == Some(sandbox) {
            actor.instance = None;
        }
        let calls = self.instances.get(&sandbox).map(|instance| instance.calls.clone()).unwrap_or_default();
        let fate = |key: TaskKey| {
            let task = self.tasks.get(key)?.id;
            let reported = report.calls.iter().find(|call| call.task == task);
            Some((key, reported.map_or(Fate::CutShort, |call| Fate::Ended(call.result.clone()))))
        };
        let fates: Fates = calls.into_iter().filter_map(fate).collect();
        self.incarnation_over(now, id, fates, report.cause.as_ref(), fx);
    }

    /// An incarnation has ended, wherever it was: calls inside are retried or fail, and the actor restarts
    /// or dies.
    pub(super) fn incarnation_over(
        &mut self,
        now: Time,
        id: ActorId,
        fates: Fates,
        cause: Option<&Error>,
        fx: &mut Effects,
    ) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let creating = actor.creating.take();
        // A constructor that failed by itself would fail again.
        let failed = fates.iter().any(|(key, fate)| {
            let error = match fate {
                Fate::Ended(Err(error)) if Some(*key) == creating => error,
                _ => return false,
            };
            !error.code().is_system()
        });
        // The node that it was on may hear that its placement group is gone before its owner does.
        let is_in_group = self.classes.get(actor.class).is_some_and(|class| class.group.is_some());
        let removed = cause.filter(|cause| is_in_group && cause.code() == ErrorCode::PlacementGroupRemoved);
        let restart = actor.may_restart() && !failed && removed.is_none();
        let died = match (&actor.state, cause) {
            (ActorState::Dead(cause), _) => cause.clone(),
            (_, Some(cause)) if removed.is_some() => Arc::new(cause.clone()),
            (_, Some(cause)) => died(cause),
            (_, None) => died(&"its sandbox was stopped"),
        };
        let why = cause.map_or_else(|| "its sandbox was stopped".to_owned(), ToString::to_string);
        if restart {
            actor.state = ActorState::Restarting;
            actor.restarts += 1;
            self.note_restart(now, id, &why);
        } else if !actor.is_dead() {
            actor.state = ActorState::Dead(died.clone());
            self.note_death(now, id, &why);
        }
        for (key, fate) in fates {
            if Some(key) == creating {
                // A constructor that was cut short by the system is run again by the restart.
                self.end_constructor(now, key, fate, cause, restart, fx);
            } else {
                self.leave_incarnation(now, key, fate, (restart, &died), fx);
            }
        }
        if restart {
            self.counters.actors_restarted += 1;
            self.construct(now, id, fx);
        } else {
            self.actor_dies(now, id, died, fx);
        }
    }

    /// A call was inside when its actor's incarnation ended.
    fn leave_incarnation(
        &mut self,
        now: Time,
        key: TaskKey,
        fate: Fate,
        (restart, died): (bool, &Arc<Error>),
        fx: &mut Effects,
    ) {
        match fate {
            Fate::Ended(Ok(values)) => self.attempt_succeeded(now, key, values, fx),
            Fate::Ended(Err(error)) => {
                let retry = restart && self.take_retry(key, &error);
                self.call_cut_short(now, key, retry, error, fx);
            }
            Fate::NotBegun if restart => self.put_back(now, key, fx),
            Fate::NotBegun => self.call_cut_short(now, key, false, Error::clone(died), fx),
            Fate::CutShort => {
                let retry = restart && self.take_system_retry(key);
                self.call_cut_short(now, key, retry, Error::clone(died), fx);
            }
        }
    }

    fn end_constructor(
        &mut self,
        now: Time,
        key: TaskKey,
        fate: Fate,
        cause: Option<&Error>,
        restart: bool,
        fx: &mut Effects,
    ) {
        let error = match fate {
            Fate::Ended(Err(error)) => error,
            _ => self.lost_with_sandbox(cause),
        };
        let error = match self.tasks[key].doom.take() {
            Some(doom) => doom,
            None => Arc::new(error.with_frame(self.frame(&self.tasks[key]))),
        };
        let actor = match self.tasks[key].kind {
            Kind::Create(actor) => actor,
            _ => return,
        };
        if !restart && let Some(record) = self.actors.get_mut(&actor) {
            // The constructor's own error is the better cause.
            let message = format!("its constructor failed: {error}");
            let died = Error::new(ErrorCode::ActorDied, message)
                .with_path(error.path().to_vec())
                .with_backtrace(error.backtrace().map(str::to_owned));
            if !matches!(&record.state, ActorState::Dead(cause) if cause.code() != ErrorCode::ActorDied) {
                record.state = ActorState::Dead(Arc::new(died));
            }
        }
        // From here on nobody is told of its end.
        self.detach_from_instance(key);
        self.set_state(key, TaskState::Failed);
        self.tasks[key].kind = Kind::Function;
        self.end_task(now, key, Err(error), fx);
    }

    /// A call was inside when its actor's incarnation ended.
    fn call_cut_short(&mut self, now: Time, key: TaskKey, retry: bool, error: Error, fx: &mut Effects) {
        if let Some(doom) = self.tasks[key].doom.take() {
            return self.end_task(now, key, Err(doom), fx);
        }
        if retry {
            self.prepare_retry(now, key, &error);
            return self.requeue_call(now, key, fx);
        }
        self.fail_task(now, key, Arc::new(error), fx);
    }

    /// An actor ends for good: its queued calls fail, and its name is free.
    pub(super) fn actor_dies(&mut self, now: Time, id: ActorId, cause: Arc<Error>, fx: &mut Effects) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let cause = match &actor.state {
            ActorState::Dead(cause) => cause.clone(),
            _ => cause,
        };
        actor.state = ActorState::Dead(cause.clone());
        if std::mem::take(&mut actor.is_counted) {
            self.tenants.get_mut(self.classes[actor.class].tenant).actors -= 1;
        }
        let detached = actor.options.lifetime == Lifetime::Detached;
        if actor.creating.is_none() && actor.arguments_held() {
            let arguments = std::mem::take(&mut actor.arguments);
            self.inline_bytes -= std::mem::take(&mut actor.argument_bytes);
            let (class, name) = (actor.class, actor.options.name.is_some());
            let (job, scope) = (actor.job, actor.scope);
            actor.class = ClassKey::default();
            self.let_bundle_go(id);
            self.release_arguments(now, &arguments, fx);
            if let Some(class) = self.classes.get_mut(class) {
                class.tasks -= 1;
            }
            self.forget_class_if_unused(class);
            if name {
                fx.push(Effect::ReleaseName(id));
            }
            self.remove_member(job, scope, fx);
            if detached {
                let why = format!("the detached actor that it descends from has ended: {cause}");
                self.end_scope_elsewhere(id, &why);
                self.remove_edge(now, Handle::Actor(id), fx);
                self.end_members(now, job, Some(id), &why, fx);
            }
        }
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let queued = std::mem::take(&mut actor.lanes).into_values().flatten();
        let mut queued: Vec<TaskKey> = queued.map(|(_, key)| key).collect();
        actor.groups.iter_mut().for_each(|group| group.ready.clear());
        queued.sort_by_key(|key| self.tasks.get(*key).map(|task| task.id));
        for key in queued {
            if self.tasks.contains_key(key) {
                self.fail_task(now, key, cause.clone(), fx);
            }
        }
        let Some(actor) = self.actors.get(&id) else { return };
        if let Some(instance) = actor.instance {
            self.stop_instance(instance, StopReason::ActorEnded, fx);
        } else {
            self.end_incarnation_there(id, StopReason::ActorEnded);
        }
        self.end_actor_if_unreachable(now, id, fx);
    }
}

fn died(cause: &dyn std::fmt::Display) -> Arc<Error> {
    Arc::new(Error::new(ErrorCode::ActorDied, format!("the actor died: {cause}")))
}
