//! Tasks that have ended and can still be listed (contract T1). Each is kept small: what people read
//! is made when they ask for it.

use std::sync::Arc;

use crate::error::Error;
use crate::ids::{ActorId, InstanceId, JobId, TaskId};
use crate::node::task::{Extra, Kind, Task};
use crate::node::view::AttemptView;
use crate::node::{Node, TaskState, TaskView};
use crate::resources::Resources;
use crate::time::Time;
use crate::work::Entry;

pub(super) struct Ended {
    pub id: TaskId,
    pub job: JobId,
    parent: Option<TaskId>,
    actor: Option<ActorId>,
    /// The actor's class, of a call.
    class: Option<Arc<str>>,
    entry: Entry,
    state: TaskState,
    /// Of the last attempt, if it was begun.
    instance: Option<InstanceId>,
    attempt: u32,
    submitted: Time,
    started: Time,
    ended: Time,
    error: Option<Arc<Error>>,
    needs: Option<Arc<Resources>>,
    extra: Option<Box<Extra>>,
}

impl Node {
    /// Remembers a task that has just left the table.
    pub(super) fn keep_in_history(
        &mut self,
        now: Time,
        task: &mut Task,
        parent: Option<TaskId>,
        error: Option<&Arc<Error>>,
    ) {
        if self.limits.history_tasks_max == 0 {
            return;
        }
        while self.history.len() >= self.limits.history_tasks_max {
            self.history.pop_front();
        }
        let (actor, class) = match &task.kind {
            Kind::Root | Kind::Function => (None, None),
            Kind::Create(actor) => (Some(*actor), None),
            Kind::Sent(call) => (Some(call.actor), None),
            Kind::Call(call) => {
                let class = self.actors.get(&call.actor).map(|actor| actor.function.name.clone());
                (Some(call.actor), class)
            }
        };
        let is_call = matches!(task.kind, Kind::Call(_) | Kind::Sent(_));
        let needs =
            (!is_call).then(|| self.classes.get(task.class).map(|class| class.needs.clone())).flatten();
        self.history.push_back(Ended {
            id: task.id,
            job: task.job,
            parent,
            actor,
            class,
            entry: task.entry.clone(),
            state: task.state,
            instance: task.instance,
            attempt: task.attempt,
            submitted: task.submitted,
            started: task.started,
            ended: now,
            error: error.cloned(),
            needs,
            extra: task.extra.take(),
        });
    }

    pub(super) fn ended_view(&self, task: &Ended) -> TaskView {
        let mut attempts = task.extra.as_ref().map(|extra| extra.attempts.clone()).unwrap_or_default();
        let ran_on = task.extra.as_ref().and_then(|extra| extra.ran_on);
        if task.instance.is_some() || ran_on.is_some() {
            attempts.push(AttemptView {
                attempt: task.attempt,
                node: ran_on.unwrap_or(self.id),
                instance: task.instance,
                started: task.started,
                ended: Some(task.ended),
                cause: task.error.clone(),
            });
        }
        let name = task.entry.name();
        TaskView {
            id: task.id,
            job: task.job,
            parent: task.parent,
            actor: task.actor,
            function: task.class.as_ref().map_or_else(|| name.to_owned(), |class| format!("{class}.{name}")),
            name: task.extra.as_ref().and_then(|extra| extra.name.clone()),
            state: task.state,
            attempts,
            submitted: task.submitted,
            ended: Some(task.ended),
            error: task.error.clone(),
            needs: task.needs.as_deref().cloned().unwrap_or_default(),
        }
    }
}
