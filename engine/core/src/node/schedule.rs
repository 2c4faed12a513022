//! What starts next: among the classes of ready tasks by priority, then by age, whatever fits.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, ErrorCode};
use crate::ids::IdMap;
use crate::node::edges::State;
use crate::node::instance::{Instance, Role};
use crate::node::task::Kind;
use crate::node::{ClassKey, Effect, Effects, Node, TaskKey, TaskState};
use crate::options::Reuse;
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::{Argument, Value};
use crate::work::{Call, Life, Start};

/// Classes with ready tasks, in the order in which they are tried: higher priority first, then the
/// class whose head has waited for longest.
#[derive(Default)]
pub(super) struct Ready {
    order: BTreeMap<(Reverse<i32>, u64), ClassKey>,
    pub tasks: usize,
}

enum Fit {
    Fits,
    /// Too little is free.
    Lacks,
    /// No sandbox may be added.
    Full,
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
        let head = class.queue.front().map(|(sequence, _)| *sequence);
        if again && let Some(head) = head {
            class.queue.push_front((head, key));
        } else {
            class.queue.push_back((sequence, key));
        }
        if head.is_none() {
            self.ready.order.insert((priority, sequence), class_key);
        }
        self.ready.tasks += 1;
    }

    /// Takes the head of a class out of the line.
    fn dequeue(&mut self, class_key: ClassKey) -> Option<TaskKey> {
        let class = &mut self.classes[class_key];
        let (sequence, task) = class.queue.pop_front()?;
        let priority = Reverse(class.spec.options.placement.priority);
        let next = class.queue.front().map(|(sequence, _)| *sequence);
        if next != Some(sequence) {
            self.ready.order.remove(&(priority, sequence));
            if let Some(next) = next {
                self.ready.order.insert((priority, next), class_key);
            }
        }
        self.ready.tasks -= 1;
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
        // Cancelling a whole job takes tasks from the front or the back, so this rarely looks far.
        if let Some(at) = class.queue.iter().rposition(|(_, task)| *task == key) {
            class.queue.remove(at);
            self.ready.tasks -= 1;
        }
    }

    /// Starts whatever can be started. Called at the end of every event.
    pub(super) fn schedule(&mut self, now: Time, fx: &mut Effects) {
        if !self.resume_blocked(now, fx) {
            return;
        }
        let mut after = None;
        loop {
            let next = match after {
                None => self.ready.order.first_key_value(),
                Some(at) => {
                    self.ready.order.range((std::ops::Bound::Excluded(at), std::ops::Bound::Unbounded)).next()
                }
            };
            let Some((at, class_key)) = next.map(|(at, key)| (*at, *key)) else { break };
            match self.fit(class_key, fx) {
                Fit::Fits => {
                    let Some(task) = self.dequeue(class_key) else { break };
                    self.classes[class_key].passed_over = 0;
                    self.start(now, task, fx);
                    self.note_passed_over(at);
                }
                Fit::Lacks => {
                    if self.classes[class_key].passed_over >= self.limits.passed_over_max {
                        break;
                    }
                    after = Some(at);
                }
                Fit::Full => break,
            }
        }
        self.break_deadlock(now, fx);
    }

    /// Counts a start against the classes that were before it in the order and could not be started.
    fn note_passed_over(&mut self, started: (Reverse<i32>, u64)) {
        let Self { ready, classes, .. } = self;
        for (_, class) in ready.order.range(..started) {
            classes[*class].passed_over += 1;
        }
    }

    fn fit(&mut self, class_key: ClassKey, fx: &mut Effects) -> Fit {
        let class = &self.classes[class_key];
        let needs = class.needs.clone();
        if let Some(key) = &class.reuse
            && self.warm.has(key)
        {
            let without_memory = Resources { memory: 0, ..Resources::clone(&needs) };
            return if self.free.covers(&without_memory) { Fit::Fits } else { Fit::Lacks };
        }
        if !self.free.covers(&needs) {
            // Warm sandboxes only wait: their memory is for whoever has work.
            let but_memory = Resources { memory: 0, ..Resources::clone(&needs) };
            if self.warm.idle() > 0 && self.free.covers(&but_memory) {
                self.retire_oldest_warm(fx);
            }
            return Fit::Lacks;
        }
        if self.instances.len() >= self.limits.instances_max {
            self.retire_oldest_warm(fx);
            return Fit::Full;
        }
        Fit::Fits
    }

    fn start(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let arguments = self.argument_values(key);
        let task = &mut self.tasks[key];
        task.started = now;
        task.emitted = 0;
        let class = &self.classes[task.class];
        let needs = class.needs.clone();
        let spec = class.spec.clone();
        let call = Call {
            task: task.id,
            attempt: task.attempt,
            entry: task.entry.clone(),
            arguments,
            returns: spec.options.returns,
            cpu_time: spec.options.cpu_time,
        };
        if let Some(reuse) = &class.reuse
            && let Some(id) = self.warm.take(reuse)
        {
            let without_memory = Resources { memory: 0, ..Resources::clone(&needs) };
            self.free.take(&without_memory);
            task.instance = Some(id);
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.held = needs;
                instance.calls.push(key);
            }
            self.set_state(key, TaskState::Running);
            fx.push(Effect::Deliver(id, Box::new(call)));
            return;
        }
        self.free.take(&needs);
        let (role, life) = match &task.kind {
            Kind::Create(actor) => {
                let restarted = self.actors.get(actor).map(|a| (a.restarts > 0, a.max_concurrency()));
                let (was_restarted, max_concurrency) = restarted.unwrap_or((false, 1));
                let life = Life::Actor { actor: *actor, was_restarted, max_concurrency };
                (Role::Actor(*actor), life)
            }
            _ => match &class.reuse {
                Some(key) if spec.options.reuse == Reuse::Job => (Role::Warm(key.clone()), Life::Warm),
                _ => (Role::Task, Life::Task),
            },
        };
        let creates = match task.kind {
            Kind::Create(actor) => Some(actor),
            _ => None,
        };
        let id = self.new_instance();
        self.tasks[key].instance = Some(id);
        self.instances.insert(
            id,
            Instance {
                job: spec.job,
                scope: spec.scope,
                role,
                handles: IdMap::default(),
                calls: SmallVec::from_elem(key, 1),
                held: needs.clone(),
                lent_cpus: Quantity::ZERO,
                blocked: 0,
                waits: SmallVec::new(),
                stopping: None,
            },
        );
        if let Some(actor) = creates.and_then(|actor| self.actors.get_mut(&actor)) {
            actor.instance = Some(id);
        }
        self.counters.instances_started += 1;
        self.add_member(spec.job, spec.scope);
        self.set_state(key, TaskState::Running);
        fx.push(Effect::Start(Box::new(Start {
            instance: id,
            job: spec.job,
            component: spec.function.component,
            env: spec.options.env.clone(),
            memory_bytes_max: needs.memory,
            assigned: needs,
            life,
            call,
        })));
    }

    /// The values of a task's arguments, all of which are there.
    pub(super) fn argument_values(&self, key: TaskKey) -> Vec<Value> {
        let value = |argument: &Argument| match argument {
            Argument::Value(value) => value.clone(),
            Argument::Object(id) => match self.objects.get(id).map(|object| &object.state) {
                Some(State::Ready(value)) => value.clone(),
                _ => unreachable!("{id} is held by a task whose arguments were counted as ready"),
            },
        };
        self.tasks[key].arguments.iter().map(value).collect()
    }

    /// When nothing runs and nothing can start, and no timer will change that, whoever waits first
    /// would wait for ever: it fails, and the error names what it lacks (contract T2).
    fn break_deadlock(&mut self, now: Time, fx: &mut Effects) {
        let stuck = self.ready.tasks > 0
            && self.active_calls == 0
            && self.resuming.is_empty()
            && !self.timers.any_pending()
            && self.warm.idle() == 0
            && self.instances.values().all(|i| i.stopping.is_none());
        if !stuck {
            return;
        }
        let Some((_, class_key)) = self.ready.order.first_key_value().map(|(at, key)| (*at, *key)) else {
            return;
        };
        let needs = self.classes[class_key].needs.clone();
        let Some(key) = self.dequeue(class_key) else { return };
        let lacks = self.free.lacking(&needs);
        let what: Vec<String> = lacks
            .iter()
            .map(|lack| format!("{} ({} wanted, {} free)", lack.resource, lack.wanted, lack.had))
            .collect();
        let message = format!(
            "deadlock: it waits for {}, all of which is held by {} tasks and actors that are blocked or idle, and none of them can go on; ask for less of it, hold fewer tasks and actors at once, or give the node more",
            if what.is_empty() { "a sandbox".to_owned() } else { what.join(" and ") },
            self.instances.len(),
        );
        self.fail_task(now, key, Arc::new(Error::new(ErrorCode::Unschedulable, message)), fx);
        self.schedule(now, fx);
    }
}
