//! Why a task is not running, in a sentence with numbers (contract E2).

use std::sync::Arc;

use crate::ids::{ObjectId, TaskId};
use crate::node::edges::State;
use crate::node::task::Kind;
use crate::node::{Node, TaskState};
use crate::resources::{Lack, Resources, bytes};
use crate::value::Argument;
use crate::work::Entry;

/// Tasks that wait for the same resources.
#[derive(Debug, Clone)]
pub struct Demand {
    /// What each of them asks for.
    pub needs: Arc<Resources>,
    /// How many they are.
    pub count: usize,
    /// Why they wait.
    pub reason: String,
}

impl Node {
    /// Says where a task stands and what it waits for; none when it is not known.
    pub fn explain(&self, id: TaskId) -> Option<String> {
        let Some(key) = self.task_index.get(&id).copied() else {
            let view = self.task(id)?;
            return Some(match view.error {
                None => format!("{id} ({}) has ended: {}", view.function, view.state),
                Some(error) => format!("{id} ({}) has ended: {}: {error}", view.function, view.state),
            });
        };
        let task = &self.tasks[key];
        let function = task.entry.name();
        let why = match task.state {
            TaskState::PendingArgs => {
                let missing: Vec<String> = task
                    .arguments
                    .iter()
                    .filter_map(|argument| match argument {
                        Argument::Object(id) if self.is_pending(*id) => Some(self.why_not_ready(*id)),
                        _ => None,
                    })
                    .take(5)
                    .collect();
                format!("waits for {} of its arguments: {}", task.unready_arguments, missing.join("; "))
            }
            TaskState::PendingPlacement => self.explain_placement(&self.classes[task.class].needs, key),
            TaskState::Submitted => match &task.kind {
                Kind::Call(call) if let Some(node) = task.away() => {
                    format!("was given to {node}, where {} lives, which runs it or is about to", call.actor)
                }
                Kind::Call(call) => match self.actors.get(&call.actor) {
                    Some(actor) => format!(
                        "waits for its turn at {}, which is {} and has {} calls inside and {} unfinished",
                        call.actor,
                        actor.state.as_str(),
                        actor.running(),
                        actor.unfinished
                    ),
                    None => format!("waits for {}", call.actor),
                },
                _ => match task.away() {
                    Some(node) if task.is_ahead() => format!(
                        "is in line at {node}, ahead of its room, as tasks of its kind are short: it runs there soon, or comes back after {:?}",
                        self.limits.ahead_wait_max
                    ),
                    Some(node) => format!("was given to {node}, which runs it or is about to"),
                    None => "has been handed to its sandbox".to_owned(),
                },
            },
            TaskState::PendingStoreMemory => format!(
                "waits for room in memory for its arguments, which are on disk: {} of {} are in use, and what running tasks work with stays there",
                bytes(self.storage.arena_bytes),
                bytes(self.limits.store_bytes_max)
            ),
            TaskState::FetchingArgs => {
                "waits for its arguments, which are on their way back from disk".to_owned()
            }
            TaskState::Blocked => "waits in get, wait or emit, and has given its CPUs back".to_owned(),
            TaskState::Running if matches!(task.entry, Entry::Client) => {
                "is no task in a sandbox but a client outside, which is attached to this node or may come back"
                    .to_owned()
            }
            TaskState::Running if self.is_paused(key) => {
                "stands still while another tenant has its guaranteed share of the node, and goes on as soon as CPUs are free for it".to_owned()
            }
            state => format!("is {state}"),
        };
        Some(format!("{id} ({function}) is {}: it {why}", task.state))
    }

    /// The resources that a task in line lacks; none when it is not in line.
    pub fn lacking(&self, id: TaskId) -> Option<Vec<Lack>> {
        let task = &self.tasks[*self.task_index.get(&id)?];
        let waits = task.state == TaskState::PendingPlacement;
        waits.then(|| {
            let mut lacks = self.lacks_of(task.class);
            lacks.extend(self.quota_lacks_of(task.class));
            lacks
        })
    }

    fn is_pending(&self, id: ObjectId) -> bool {
        self.objects.get(&id).is_some_and(|object| matches!(object.state, State::Pending))
    }

    /// The arguments of a task that are not there yet, `max` at most.
    pub fn missing_arguments(&self, id: TaskId, max: usize) -> Option<Vec<ObjectId>> {
        let task = &self.tasks[*self.task_index.get(&id)?];
        let pending = |argument: &Argument| match argument {
            Argument::Object(id) if self.is_pending(*id) => Some(*id),
            _ => None,
        };
        Some(task.arguments.iter().filter_map(pending).take(max).collect())
    }

    /// What waits for resources, by class, the most first, `max` at most.
    pub fn demands(&self, max: usize) -> Vec<Demand> {
        let mut demands: Vec<Demand> = self
            .classes
            .iter()
            .filter(|(_, class)| !class.queue.is_empty())
            .map(|(key, class)| Demand {
                needs: class.needs.clone(),
                count: class.queue.len() - class.ended_in_queue,
                reason: match self.lacks_of(key).first() {
                    Some(lack) => format!("{} of {} is free", lack.had, lack.resource),
                    None => "waits for its turn".to_owned(),
                },
            })
            .collect();
        demands.sort_by_key(|demand| std::cmp::Reverse(demand.count));
        demands.truncate(max);
        demands
    }

    fn explain_placement(&self, needs: &Resources, key: super::TaskKey) -> String {
        let in_line = self.classes[self.tasks[key].class].queue.iter().map(|(_, other)| *other);
        let before =
            in_line.take_while(|other| *other != key).filter(|other| self.tasks.contains_key(*other));
        let before = before.count();
        if self.classes[self.tasks[key].class].group.is_some() {
            let waits = self.explain_in_group(self.tasks[key].class);
            return format!("{waits}; {before} tasks of its kind are before it");
        }
        let mut lacks = self.free.lacking(needs);
        lacks.extend(self.lacks_beside_shares(self.tasks[key].class));
        lacks.extend(self.quota_lacks_of(self.tasks[key].class));
        if lacks.is_empty() {
            let instances = self.sandboxes();
            return format!(
                "waits in line behind {before} tasks of its kind; {instances} of {} sandboxes are alive",
                self.limits.instances_max
            );
        }
        let what: Vec<String> = lacks
            .iter()
            .map(|lack| format!("{} of {} where {} is free", lack.wanted, lack.resource, lack.had))
            .collect();
        let lent = self.lent();
        let reserved = self.explain_reserved(needs);
        let elsewhere = self.explain_elsewhere(self.tasks[key].class);
        format!(
            "wants {} on {}{reserved}{elsewhere}, behind {before} tasks of its kind{}",
            what.join(" and "),
            self.id,
            if lent.0 > 0 { format!(" ({lent} CPUs of blocked tasks are lent out)") } else { String::new() }
        )
    }
}
