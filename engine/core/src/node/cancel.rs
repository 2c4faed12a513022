//! Cancelling tasks and calls (contract T4, A5).

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::TaskId;
use crate::node::peers::Message;
use crate::node::planted::Planted;
use crate::node::task::Kind;
use crate::node::{Effect, Effects, Node, TaskKey, TaskState};
use crate::time::Time;
use crate::work::StopReason;

impl Node {
    /// Cancels a task or call; with `recursive` its children too. One that has ended is untouched.
    /// A running actor call is asked; with `force` its actor's incarnation ends.
    pub fn cancel(&mut self, now: Time, task: TaskId, force: bool, recursive: bool, fx: &mut Effects) {
        let Some(key) = self.task_index.get(&task).copied() else { return };
        if recursive {
            self.cancel_descendants(now, key, force, fx);
        }
        self.cancel_one(now, key, force, recursive, fx);
        self.schedule(now, fx);
    }

    /// Cancels the children of a task, and theirs.
    pub(super) fn cancel_descendants(&mut self, now: Time, key: TaskKey, force: bool, fx: &mut Effects) {
        let mut keys = vec![key];
        self.descendants(&mut keys);
        // Children first: a parent that waits for one of them must not see its failure and go on.
        for key in keys.into_iter().skip(1).rev() {
            self.cancel_one(now, key, force, true, fx);
        }
    }

    /// Appends the descendants of all that is in `keys`.
    fn descendants(&self, keys: &mut Vec<TaskKey>) {
        let mut at = 0;
        while let Some(key) = keys.get(at).copied() {
            at += 1;
            let mut child = self.tasks.get(key).and_then(|task| task.first_child);
            while let Some(key) = child {
                keys.push(key);
                child = self.tasks.get(key).and_then(|task| task.next_sibling);
            }
        }
    }

    pub(super) fn cancel_one(
        &mut self,
        now: Time,
        key: TaskKey,
        force: bool,
        recursive: bool,
        fx: &mut Effects,
    ) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if let Kind::Sent(_) = &task.kind {
            return self.cancel_sent(key, force, recursive);
        }
        if let (Kind::Call(_), true, false) = (&task.kind, task.is_inside(), force) {
            return self.ask_to_end(key, recursive, fx);
        }
        if recursive && task.doom.is_none() {
            self.end_there(key, StopReason::Cancelled, true, force);
        }
        let state = self.tasks[key].state;
        let error = Error::new(ErrorCode::TaskCancelled, format!("it was cancelled while it was {state}"));
        self.end_now(now, key, error, StopReason::Cancelled, fx);
    }

    /// Raises the flag of a call that is inside its actor; with `recursive` its children elsewhere end.
    pub(super) fn ask_to_end(&mut self, key: TaskKey, recursive: bool, fx: &mut Effects) {
        let task = &mut self.tasks[key];
        let asked = std::mem::replace(&mut task.cancelled, true);
        let (id, away) = (task.id, task.away());
        if let (Some(instance), false) = (task.instance, asked) {
            fx.push(Effect::Interrupt(instance, id));
        }
        if let Some(node) = away.filter(|_| !asked || recursive) {
            self.tell(node, Message::CancelCall { task: id, force: false, recursive });
        }
    }

    /// Ends a task with this error wherever it stands: at once when nothing runs it, else as soon as
    /// its sandbox has been stopped.
    pub(super) fn end_now(
        &mut self,
        now: Time,
        key: TaskKey,
        error: Error,
        reason: StopReason,
        fx: &mut Effects,
    ) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if task.doom.is_some() {
            return;
        }
        if let Some(instance) = task.instance {
            let error = error.with_frame(self.frame(&self.tasks[key]));
            self.tasks[key].doom = Some(Arc::new(error));
            self.stop_instance(instance, reason, fx);
            return;
        }
        if task.away().is_some() {
            let error = error.with_frame(self.frame(&self.tasks[key]));
            self.tasks[key].doom = Some(Arc::new(error));
            return match &self.tasks[key].kind {
                Kind::Create(actor) => self.end_incarnation_there(*actor, reason),
                Kind::Call(call) => self.end_incarnation_there(call.actor, reason),
                _ => self.end_there(key, reason, false, false),
            };
        }
        if task.state == TaskState::PendingPlacement {
            self.remove_from_line(key);
        } else if task.state == TaskState::FetchingArgs && self.has_planted(Planted::PinsLeft) {
            self.tasks[key].pinned = false;
        }
        self.fail_task(now, key, Arc::new(error), fx);
    }
}
