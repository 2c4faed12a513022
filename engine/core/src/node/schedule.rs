//! What starts next: of the tenant whose turn it is, among its classes of ready tasks by priority, then by
//! age, whatever fits.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, ErrorCode};
use crate::ids::{IdMap, PlacementGroupId};
use crate::node::edges::State;
use crate::node::instance::{Instance, Role};
use crate::node::line::At;
use crate::node::peers::{BEFORE_MAX, Before, Where};
use crate::node::shares::Claims;
use crate::node::standstill::Extent;
use crate::node::task::Kind;
use crate::node::tenants::Turn;
use crate::node::wait::Resuming;
use crate::node::{ClassKey, Effect, Effects, Node, TaskKey, TaskState, TenantKey};
use crate::options::{Reuse, Strategy};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::{Argument, Value};
use crate::work::{Call, Life, Start, StopReason};

/// What one look through the lines has found so far.
#[derive(Default)]
struct Look {
    /// Groups in which a task that was passed too often waits for room in a bundle.
    held_up: Vec<PlacementGroupId>,
    /// Classes that found no room and may run elsewhere.
    before: Before,
    /// Tenants of whom nothing more can be started.
    passed: SmallVec<[TenantKey; 4]>,
    /// What comes free is for a class that was passed too often.
    is_held_up: bool,
    /// Tenants of whom a call would go on if nobody else were served.
    lacking: SmallVec<[TenantKey; 4]>,
}

/// What became of a tenant's turn.
enum Next {
    Started,
    NothingFits,
    /// A class was passed over too often: what comes free is for it.
    HoldsOthersUp,
    /// So was a call that lacks CPUs to go on.
    NothingMore,
}

impl Node {
    /// Starts whatever can be started. Called at the end of every event.
    pub(super) fn schedule(&mut self, now: Time, fx: &mut Effects) {
        self.tenants.settle(now, &self.total);
        self.forget_lacks();
        self.free_cycles(now, fx);
        self.serve_moves();
        let mut claims = Claims::default();
        loop {
            if self.storage.has_waiters() {
                self.serve_storage(now, fx);
            }
            self.resume_at_once(fx);
            self.serve_turns(now, fx);
            if !self.break_deadlock(now, fx) && !self.claim_shares(now, &mut claims, fx) {
                return;
            }
        }
    }

    /// Lets go on what has waited, and starts what is in line and fits: of each tenant in turn one call.
    fn serve_turns(&mut self, now: Time, fx: &mut Effects) {
        if self.tenants.nobody_waits() {
            return;
        }
        let mut turns = self.tenants.turns(now, &self.total);
        let mut look = Look::default();
        while let Some(mut turn) = turns.pop() {
            let cpus = self.free.cpus;
            if self.peers.is_empty() && self.tenants.all_need_more_than(cpus) {
                return;
            }
            match self.serve_next(now, &mut turn, &mut look, fx) {
                Next::Started => {
                    self.tenants.served(now, &self.total, &mut turn, &look.lacking);
                    turns.push(turn);
                }
                Next::NothingFits => look.passed.push(turn.tenant),
                Next::NothingMore => return,
                // What has waited in the middle of its work goes on nevertheless.
                Next::HoldsOthersUp => look.is_held_up = true,
            }
        }
    }

    /// Has the next call of a tenant go on, or else start. Within a tenant, who goes on comes first.
    fn serve_next(&mut self, now: Time, turn: &mut Turn, look: &mut Look, fx: &mut Effects) -> Next {
        if !self.tenants.get(turn.tenant).resuming.is_empty() {
            match self.resume_next(turn, fx) {
                Resuming::GoesOn => return Next::Started,
                Resuming::NoneCan => {}
                Resuming::LacksCpus => {
                    look.lacking.push(turn.tenant);
                    return Next::NothingFits;
                }
                Resuming::HoldsOthersUp => return Next::NothingMore,
            }
        }
        if look.is_held_up {
            return Next::NothingFits;
        }
        self.start_next(now, turn, look, fx)
    }

    /// Starts the first task of a tenant that fits, from where its line was left.
    fn start_next(&mut self, now: Time, turn: &mut Turn, look: &mut Look, fx: &mut Effects) -> Next {
        loop {
            let line = &self.tenants.get(turn.tenant).line;
            let next = match turn.after {
                None => line.order.first_key_value(),
                Some(at) => {
                    line.order.range((std::ops::Bound::Excluded(at), std::ops::Bound::Unbounded)).next()
                }
            };
            let Some((at, class_key)) = next.map(|(at, key)| (*at, *key)) else { return Next::NothingFits };
            if self.classes[class_key].group.is_some_and(|(group, _)| look.held_up.contains(&group)) {
                turn.after = Some(at);
                continue;
            }
            let place = self.place(class_key, &look.before, fx);
            match place {
                Where::Here if self.next_lacks_arguments(class_key) => {
                    if self.storage.fetching_tasks >= self.limits.fetching_tasks_max {
                        turn.after = Some(at);
                    } else if let Some(task) = self.dequeue(class_key) {
                        self.fetch_arguments(now, task, fx);
                        self.serve_storage(now, fx);
                    }
                }
                Where::Here => {
                    let Some(task) = self.dequeue(class_key) else { return Next::NothingFits };
                    self.classes[class_key].passed_over = 0;
                    self.start(now, task, fx);
                    self.note_passed_over(turn.tenant, at, look);
                    return Next::Started;
                }
                Where::There(node) | Where::InLine(node) => {
                    let Some(task) = self.dequeue(class_key) else { return Next::NothingFits };
                    self.classes[class_key].passed_over = 0;
                    self.run_there(now, task, node, matches!(place, Where::InLine(_)));
                    return Next::Started;
                }
                Where::Nowhere => {
                    turn.after = Some(at);
                    if self.is_over_quota(class_key) {
                        self.classes[class_key].passed_over = 0;
                        continue;
                    }
                    let class = &self.classes[class_key];
                    if class.group.is_some() {
                        look.held_up.extend(self.holds_group_up(class_key));
                    } else if class.passed_over >= self.limits.passed_over_max && self.will_have(&class.needs)
                    {
                        return Next::HoldsOthersUp;
                    }
                    if self.wants_others(class_key) && look.before.len() < BEFORE_MAX {
                        look.before.push(class_key);
                    }
                }
            }
        }
    }

    fn next_lacks_arguments(&self, class: ClassKey) -> bool {
        self.classes[class].queue.front().is_some_and(|(_, task)| self.lacks_arguments(*task))
    }

    /// Counts a start against the classes whose turn was before it and that could not be started.
    fn note_passed_over(&mut self, tenant: TenantKey, started: At, look: &Look) {
        let Self { tenants, classes, .. } = self;
        for (_, class) in tenants.get(tenant).line.order.range(..started) {
            classes[*class].passed_over += 1;
        }
        for class in look.passed.iter().flat_map(|passed| tenants.get(*passed).line.order.values()) {
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
        if self.is_over_quota(class_key) {
            self.ask_for_quota(class_key);
            return false;
        }
        if self.classes[class_key].group.is_some() {
            return self.fits_in_group(class_key, fx);
        }
        if !self.lacks_beside_shares(class_key).is_empty() {
            return false;
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
        let (spec, tenant) = (class.spec.clone(), class.tenant);
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
            self.tenants.takes(tenant, &without_memory);
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
        if bundle.is_none() {
            self.tenants.takes(tenant, &needs);
        }
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
                let life = match self.actors.get(actor) {
                    Some(record) => Life::Actor {
                        actor: *actor,
                        was_restarted: record.restarts > 0,
                        max_concurrency: record.max_concurrency(),
                        cpus: record.options.placement.cpus.unwrap_or(Quantity::ZERO),
                    },
                    None => self.peers.life_of_hosted(*actor, task.id),
                };
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
                tenant,
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
                paused: None,
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
        self.tenants.get_mut(tenant).sandboxes += 1;
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
            || self.leases_may_change_something()
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
        if let Some((Some(task), wants)) = self.first_resuming().and_then(|wait| self.cpus_to_resume(wait)) {
            let message = format!(
                "deadlock: what it waited for is there, and it needs {wants} CPUs to go on, of which {} are free: the others are held for life by actors that are idle; create actors without cpus, or give the node more",
                self.free.cpus
            );
            let error = Error::new(ErrorCode::Unschedulable, message);
            self.end_now(now, task, error, StopReason::Cancelled, fx);
            return true;
        }
        let Some(class_key) = self.first_in_line() else { return false };
        let head = self.classes[class_key].queue.front().map(|(_, key)| *key);
        let others_may_help =
            || self.waits_for_group(class_key) || head.is_some_and(|key| self.any_peer_could_run(key));
        if extent == Extent::Node && others_may_help() {
            return false;
        }
        let Some(key) = self.dequeue(class_key) else { return false };
        let mut lacks = self.lacks_of(class_key);
        lacks.extend(self.quota_lacks_of(class_key));
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
