//! What starts next: among the classes of ready tasks by priority, then by age, whatever fits.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, ErrorCode};
use crate::ids::{IdMap, PlacementGroupId};
use crate::node::edges::State;
use crate::node::instance::{Instance, Role};
use crate::node::peers::{BEFORE_MAX, Before, Where};
use crate::node::standstill::Extent;
use crate::node::task::Kind;
use crate::node::{ClassKey, Effect, Effects, Node, TaskKey, TaskState};
use crate::options::{Reuse, Strategy};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::{Argument, Value};
use crate::work::{Call, Life, Start, StopReason};

/// Classes with ready tasks, in the order in which they are tried: higher priority first, then the
/// class whose head has waited for longest.
#[derive(Default)]
pub(super) struct Ready {
    pub order: BTreeMap<(Reverse<i32>, u64), ClassKey>,
    /// How many of these classes need so many CPUs.
    by_cpus: BTreeMap<Quantity, usize>,
    pub tasks: usize,
}

impl Ready {
    fn insert(&mut self, at: (Reverse<i32>, u64), class: ClassKey, cpus: Quantity) {
        self.order.insert(at, class);
        *self.by_cpus.entry(cpus).or_insert(0) += 1;
    }

    fn remove(&mut self, at: (Reverse<i32>, u64), cpus: Quantity) {
        self.order.remove(&at);
        if let Some(count) = self.by_cpus.get_mut(&cpus) {
            *count -= 1;
            if *count == 0 {
                self.by_cpus.remove(&cpus);
            }
        }
    }

    /// Whether every class needs more CPUs than these: nothing can start, however many wait.
    fn all_need_more_than(&self, cpus: Quantity) -> bool {
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
            self.ready.insert((priority, sequence), class_key, cpus);
        }
        self.ready.tasks += 1;
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
        match class.queue.front() {
            Some((next, _)) if *next == sequence => {}
            Some((next, _)) => {
                self.ready.order.remove(&(priority, sequence));
                self.ready.order.insert((priority, *next), class_key);
            }
            None => self.ready.remove((priority, sequence), cpus),
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
        // Looking for it would take as long as the line is: its entry stays until there are many such.
        self.ready.tasks -= 1;
        class.ended_in_queue += 1;
        if class.ended_in_queue > class.queue.len() / 2 {
            class.queue.retain(|(_, task)| *task != key && self.tasks.contains_key(*task));
            class.ended_in_queue = 0;
        }
    }

    /// Takes a task that goes on waiting out of the line.
    pub(super) fn take_out_of_line(&mut self, key: TaskKey) {
        let class_key = self.tasks[key].class;
        let class = &mut self.classes[class_key];
        if class.queue.front().is_some_and(|(_, head)| *head == key) {
            self.dequeue(class_key);
        } else {
            class.queue.retain(|(_, task)| *task != key);
            self.ready.tasks -= 1;
        }
    }

    /// Starts whatever can be started. Called at the end of every event.
    pub(super) fn schedule(&mut self, now: Time, fx: &mut Effects) {
        self.free_cycles(now, fx);
        self.serve_moves();
        loop {
            if self.storage.has_waiters() {
                self.serve_storage(now, fx);
            }
            if self.resume_blocked(now, fx) {
                self.start_ready(now, fx);
            }
            if !self.break_deadlock(now, fx) {
                return;
            }
        }
    }

    fn start_ready(&mut self, now: Time, fx: &mut Effects) {
        let mut after = None;
        // Groups in which a task that was passed too often waits for room in a bundle.
        let mut held_up: Vec<PlacementGroupId> = Vec::new();
        let mut before = Before::new();
        while !self.ready.order.is_empty()
            && (!self.peers.is_empty() || !self.ready.all_need_more_than(self.free.cpus))
        {
            let next = match after {
                None => self.ready.order.first_key_value(),
                Some(at) => {
                    self.ready.order.range((std::ops::Bound::Excluded(at), std::ops::Bound::Unbounded)).next()
                }
            };
            let Some((at, class_key)) = next.map(|(at, key)| (*at, *key)) else { break };
            if self.classes[class_key].group.is_some_and(|(group, _)| held_up.contains(&group)) {
                after = Some(at);
                continue;
            }
            match self.place(class_key, &before, fx) {
                Where::Here if self.next_lacks_arguments(class_key) => {
                    if self.storage.fetching_tasks >= self.limits.fetching_tasks_max {
                        after = Some(at);
                    } else if let Some(task) = self.dequeue(class_key) {
                        self.fetch_arguments(now, task, fx);
                        self.serve_storage(now, fx);
                    }
                }
                Where::Here => {
                    let Some(task) = self.dequeue(class_key) else { break };
                    self.classes[class_key].passed_over = 0;
                    self.start(now, task, fx);
                    self.note_passed_over(at);
                }
                Where::There(node) => {
                    let Some(task) = self.dequeue(class_key) else { break };
                    self.classes[class_key].passed_over = 0;
                    self.run_there(now, task, node, false);
                }
                Where::InLine(node) => {
                    let Some(task) = self.dequeue(class_key) else { break };
                    self.classes[class_key].passed_over = 0;
                    self.run_there(now, task, node, true);
                }
                Where::Nowhere => {
                    let class = &self.classes[class_key];
                    if class.group.is_some() {
                        held_up.extend(self.holds_group_up(class_key));
                    } else if class.passed_over >= self.limits.passed_over_max && self.will_have(&class.needs)
                    {
                        break;
                    }
                    if self.wants_others(class_key) && before.len() < BEFORE_MAX {
                        before.push(class_key);
                    }
                    after = Some(at);
                }
            }
        }
    }

    fn next_lacks_arguments(&self, class: ClassKey) -> bool {
        self.classes[class].queue.front().is_some_and(|(_, task)| self.lacks_arguments(*task))
    }

    /// Counts a start against the classes that were before it in the order and could not be started.
    fn note_passed_over(&mut self, started: (Reverse<i32>, u64)) {
        let Self { ready, classes, .. } = self;
        for (_, class) in ready.order.range(..started) {
            classes[*class].passed_over += 1;
        }
    }

    /// Whether so much will be free once all that runs has ended, if nothing else starts. Only then
    /// does holding others back help who wants it: what blocked tasks and actors hold does not come.
    pub(super) fn will_have(&self, wanted: &Resources) -> bool {
        let (free, soon) = (&self.free, &self.held_by_running);
        let memory = free.memory + soon.memory + self.memory_of_ending_sandboxes();
        self.active_calls > 0
            && free.cpus.0 + soon.cpus.0 >= wanted.cpus.0
            && free.gpus.0 + soon.gpus.0 >= wanted.gpus.0
            && memory >= wanted.memory
            && wanted.custom.iter().all(|(name, q)| free.get_custom(name).0 + soon.get_custom(name).0 >= q.0)
    }

    /// Whether a task of this class can start now. When warm sandboxes are in its way, they end.
    pub(super) fn fits(&mut self, class_key: ClassKey, fx: &mut Effects) -> bool {
        if self.classes[class_key].group.is_some() {
            return self.fits_in_group(class_key, fx);
        }
        let class = &self.classes[class_key];
        let needs = class.needs.clone();
        if let Some(key) = &class.reuse
            && self.warm.has(key)
        {
            let without_memory = Resources { memory: 0, ..Resources::clone(&needs) };
            return self.free.covers(&without_memory);
        }
        if !self.free.covers(&needs) {
            // Warm sandboxes only wait: their memory is for whoever has work.
            let but_memory = Resources { memory: 0, ..Resources::clone(&needs) };
            if self.warm.idle() > 0 && self.free.covers(&but_memory) {
                self.retire_for_memory(needs.memory, fx);
            }
            return false;
        }
        let full = self.sandboxes() >= self.limits.instances_max;
        if full && self.stopping.sandboxes == 0 {
            self.retire_oldest_warm(fx);
        }
        !full
    }

    fn start(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let arguments = match self.argument_values(key) {
            Ok(arguments) => arguments,
            Err(error) => return self.fail_task(now, key, Arc::new(error), fx),
        };
        let task = &mut self.tasks[key];
        task.started = now;
        task.emitted = 0;
        if let Some(extra) = &mut task.extra {
            extra.ran_on = None;
        }
        let class = &self.classes[task.class];
        let needs = class.needs.clone();
        let spec = class.spec.clone();
        let mut call = Call {
            task: task.id,
            attempt: task.attempt,
            entry: task.entry.clone(),
            arguments,
            returns: spec.options.returns,
            cpu_time: spec.options.cpu_time,
            assigned: None,
        };
        if let Some(reuse) = &class.reuse
            && let Some(id) = self.warm.take(reuse)
        {
            let without_memory = Resources { memory: 0, ..Resources::clone(&needs) };
            self.free.take(&without_memory);
            call.assigned = Some(needs.clone());
            task.instance = Some(id);
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.held = needs;
                instance.calls.push(key);
            }
            self.set_state(key, TaskState::Running);
            fx.push(Effect::Deliver(id, Box::new(call)));
            return;
        }
        let class_key = task.class;
        let bundle = self.bundle_here(class_key);
        self.take_resources(bundle, &needs);
        self.enter_bundle(bundle);
        let task = &mut self.tasks[key];
        if let Some(bundle) = bundle {
            task.extra().bundle = Some(bundle.index);
        }
        let class = &self.classes[class_key];
        let captures = match spec.options.placement.strategy {
            Strategy::PlacementGroup { group, capture_children: true, .. } => Some(group),
            _ => None,
        };
        let (role, life) = match &task.kind {
            Kind::Create(actor) => {
                let (was_restarted, max_concurrency) = match self.actors.get(actor) {
                    Some(actor) => (actor.restarts > 0, actor.max_concurrency()),
                    None => self.peers.life_of_hosted(*actor, task.id),
                };
                let life = Life::Actor { actor: *actor, was_restarted, max_concurrency };
                (Role::Actor(*actor), life)
            }
            _ => match &class.reuse {
                Some(key) if spec.options.reuse == Reuse::Job => (Role::Warm(key.clone()), Life::Warm),
                _ => (Role::Task, Life::Task),
            },
        };
        let creates = match task.kind {
            Kind::Create(actor) => Some((actor, task.id)),
            _ => None,
        };
        let id = self.new_instance();
        self.tasks[key].instance = Some(id);
        self.instances.insert(
            id,
            Instance {
                job: spec.job,
                component: Some(spec.function.component),
                scope: spec.scope,
                role,
                handles: IdMap::default(),
                calls: SmallVec::from_elem(key, 1),
                bundle,
                captures,
                held: needs.clone(),
                lent_cpus: Quantity::ZERO,
                blocked: 0,
                waits: SmallVec::new(),
                stopping: None,
            },
        );
        if let Some((actor, constructor)) = creates {
            match self.actors.get_mut(&actor) {
                Some(actor) => actor.instance = Some(id),
                None => self.peers.hosted_starts(actor, constructor, id),
            }
        }
        self.counters.instances_started += 1;
        self.add_member(spec.job, spec.scope);
        if let Some(job) = self.jobs.get_mut(&spec.job) {
            job.instances += 1;
        }
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

    /// The values of a task's arguments, all of which are there and stay where they are until its attempt
    /// ends. INTERNAL when the books were wrong about that.
    pub(super) fn argument_values(&mut self, key: TaskKey) -> Result<Vec<Value>, Error> {
        self.pin_arguments(key);
        let value = |argument: &Argument| match argument {
            Argument::Value(value) => Ok(value.clone()),
            Argument::Object(id) => match self.objects.get(id).map(|object| &object.state) {
                Some(State::Ready(value)) => Ok(value.clone()),
                _ => Err(Error::internal(format!("{id}, an argument that was there, is not there any more"))),
            },
        };
        self.tasks[key].arguments.iter().map(value).collect()
    }

    /// When nothing runs and nothing can start, and no timer will change that, whoever waits first
    /// would wait for ever: it fails, and the error names what it lacks (contract T2). False when
    /// there is no such deadlock.
    fn break_deadlock(&mut self, now: Time, fx: &mut Effects) -> bool {
        if !self.has_waiting_work()
            || self.something_goes_on()
            || self.peers.may_change_something()
            || self.groups.may_change_something()
        {
            return false;
        }
        if self.give_back_foreign(now, fx) {
            return true;
        }
        // Their owners, and clients outside, may end them at any time.
        if self.peers.is_hosting() || self.clients.attached_roots > 0 {
            return false;
        }
        self.fail_first_in_line(now, Extent::Node, fx)
    }

    /// Whoever waits first fails. False when it may go on after all.
    pub(super) fn fail_first_in_line(&mut self, now: Time, extent: Extent, fx: &mut Effects) -> bool {
        if let Some((task, wants)) = self.resuming.front().and_then(|wait| self.cpus_to_resume(*wait)) {
            let message = format!(
                "deadlock: what it waited for is there, and it needs {wants} CPUs to go on, of which {} are free: the others are held for life by actors that are idle; create actors without cpus, or give the node more",
                self.free.cpus
            );
            let error = Error::new(ErrorCode::Unschedulable, message);
            self.end_now(now, task, error, StopReason::Cancelled, fx);
            return true;
        }
        let Some((_, class_key)) = self.ready.order.first_key_value().map(|(at, key)| (*at, *key)) else {
            return false;
        };
        let head = self.classes[class_key].queue.front().map(|(_, key)| *key);
        let others_may_help =
            || self.waits_for_group(class_key) || head.is_some_and(|key| self.any_peer_could_run(key));
        if extent == Extent::Node && others_may_help() {
            return false;
        }
        let Some(key) = self.dequeue(class_key) else { return false };
        let lacks = self.lacks_of(class_key);
        let what: Vec<String> = lacks
            .iter()
            .map(|lack| format!("{} ({} wanted, {} free)", lack.resource, lack.wanted, lack.had))
            .collect();
        let what = match what.is_empty() {
            true => format!("a sandbox (instances_max of {} is reached)", self.limits.instances_max),
            false => what.join(" and "),
        };
        let message = match extent {
            Extent::Node => format!(
                "deadlock: it waits for {what}, and the rest is held by {} tasks and actors that are blocked or idle, none of which can go on; ask for less of it, hold fewer tasks and actors at once, or give the node more",
                self.sandboxes(),
            ),
            Extent::Cluster => format!(
                "deadlock: it waits for {what} or as much on another node, and the rest of the cluster is held by tasks and actors that are blocked or idle, none of which can go on; ask for less of it, hold fewer tasks and actors at once, or add a node"
            ),
        };
        self.fail_task(now, key, Arc::new(Error::new(ErrorCode::Unschedulable, message)), fx);
        true
    }
}
