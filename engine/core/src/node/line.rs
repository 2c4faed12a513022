//! The lines of tasks whose arguments are there: one for each tenant, and in it one for each class.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::node::{ClassKey, Node, TaskKey, TaskState};
use crate::resources::Quantity;

/// Where a class is in its tenant's line: higher priority first, then the class whose head has waited for
/// longest.
pub(super) type At = (Reverse<i32>, u64);

/// A tenant's classes with ready tasks, in the order in which they are tried.
#[derive(Default)]
pub(super) struct Line {
    pub order: BTreeMap<At, ClassKey>,
    /// How many of these classes need so many CPUs.
    by_cpus: BTreeMap<Quantity, usize>,
    /// Tasks in it.
    pub tasks: usize,
}

impl Line {
    fn insert(&mut self, at: At, class: ClassKey, cpus: Quantity) {
        self.order.insert(at, class);
        *self.by_cpus.entry(cpus).or_insert(0) += 1;
    }

    fn remove(&mut self, at: At, cpus: Quantity) {
        self.order.remove(&at);
        if let Some(count) = self.by_cpus.get_mut(&cpus) {
            *count -= 1;
            if *count == 0 {
                self.by_cpus.remove(&cpus);
            }
        }
    }

    /// Whether every class needs more CPUs than these: nothing can start, however many wait.
    pub fn all_need_more_than(&self, cpus: Quantity) -> bool {
        self.by_cpus.first_key_value().is_none_or(|(least, _)| *least > cpus)
    }
}

impl Node {
    /// Puts a task whose arguments are there in line. `again`: it was in line before, and keeps its
    /// place among those of its class.
    pub(super) fn enqueue(&mut self, key: TaskKey, again: bool) {
        self.set_state(key, TaskState::PendingPlacement);
        let class_key = self.tasks[key].class;
        let sequence = self.sequence();
        let class = &mut self.classes[class_key];
        let priority = Reverse(class.spec.options.placement.priority);
        let cpus = class.node_cpus();
        let head = class.queue.front().map(|(sequence, _)| *sequence);
        if again && let Some(head) = head {
            class.queue.push_front((head, key));
        } else {
            class.queue.push_back((sequence, key));
        }
        if head.is_none() {
            class.passed_over = 0;
            let tenant = class.tenant;
            self.tenants.get_mut(tenant).line.insert((priority, sequence), class_key, cpus);
        }
        self.note_in_line(class_key, 1);
    }

    /// Takes the head of a class out of the line.
    pub(super) fn dequeue(&mut self, class_key: ClassKey) -> Option<TaskKey> {
        let class = &mut self.classes[class_key];
        let (sequence, task) = class.queue.pop_front()?;
        while class.queue.front().is_some_and(|(_, task)| !self.tasks.contains_key(*task)) {
            class.queue.pop_front();
            class.ended_in_queue -= 1;
        }
        let (priority, cpus) = (Reverse(class.spec.options.placement.priority), class.node_cpus());
        let line = &mut self.tenants.get_mut(class.tenant).line;
        match class.queue.front() {
            Some((next, _)) if *next == sequence => {}
            Some((next, _)) => {
                line.order.remove(&(priority, sequence));
                line.order.insert((priority, *next), class_key);
            }
            None => line.remove((priority, sequence), cpus),
        }
        self.note_in_line(class_key, -1);
        Some(task)
    }

    /// Takes a task that ends before it ran out of the line.
    pub(super) fn remove_from_line(&mut self, key: TaskKey) {
        let class_key = self.tasks[key].class;
        let class = &mut self.classes[class_key];
        if class.queue.front().is_some_and(|(_, head)| *head == key) {
            self.dequeue(class_key);
            return;
        }
        // Looking for it would take as long as the line is: its entry stays until there are many such.
        class.ended_in_queue += 1;
        if class.ended_in_queue > class.queue.len() / 2 {
            class.queue.retain(|(_, task)| *task != key && self.tasks.contains_key(*task));
            class.ended_in_queue = 0;
        }
        self.note_in_line(class_key, -1);
    }

    /// Takes a task that goes on waiting out of the line.
    pub(super) fn take_out_of_line(&mut self, key: TaskKey) {
        let class_key = self.tasks[key].class;
        let class = &mut self.classes[class_key];
        if class.queue.front().is_some_and(|(_, head)| *head == key) {
            self.dequeue(class_key);
        } else {
            class.queue.retain(|(_, task)| *task != key);
            self.note_in_line(class_key, -1);
        }
    }

    /// So many tasks of a class more are in line.
    fn note_in_line(&mut self, class: ClassKey, more: isize) {
        let tenant = self.classes[class].tenant;
        self.tenants.note_in_line(tenant, more);
    }

    /// The class that is first in line, whoever's it is: by priority, then by age.
    pub(super) fn first_in_line(&self) -> Option<ClassKey> {
        let firsts = self.tenants.lines().filter_map(|line| line.order.first_key_value());
        firsts.min_by_key(|(at, _)| **at).map(|(_, class)| *class)
    }

    /// All classes with tasks in line.
    pub(super) fn classes_in_line(&self) -> impl Iterator<Item = ClassKey> {
        self.tenants.lines().flat_map(|line| line.order.values().copied())
    }
}
