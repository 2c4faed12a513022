//! Tasks that run on another node than their owner's.
//!
//! The owner decides everything: where an attempt runs, whether another follows, what its objects are.
//! The node that runs it knows it as a foreign task: it has no retries, and its end is told, not kept.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::ids::{JobId, NodeId, TaskId};
use crate::node::class::ClassSpec;
use crate::node::peers::ahead::{BEFORE_MAX, is_very_short};
use crate::node::peers::message::{
    ActorPart, Failure, Held, Incarnation, Message, Parcel, RemoteJob, RemotePlace, RemoteTask,
};
use crate::node::spawn::NewTask;
use crate::node::task::{Kind, Task, Telling};
use crate::node::{ClassKey, Effects, Node, TaskKey, TaskState};
use crate::options::{Retries, Returns, Strategy, TaskOptions};
use crate::resources::Resources;
use crate::tenant::TenantName;
use crate::time::Time;
use crate::value::{Argument, Value};
use crate::work::StopReason;

impl Node {
    // ---- at the owner ----

    /// Gives a task that was taken out of the line, and whose arguments are there, to another node. `ahead`:
    /// it is to wait there until there is room.
    pub(in crate::node) fn run_there(&mut self, now: Time, key: TaskKey, to: NodeId, ahead: bool) {
        let class = &self.classes[self.tasks[key].class];
        let (needs, spec) = (class.needs.clone(), class.spec.clone());
        let mut options = TaskOptions::clone(&spec.options);
        options.placement.memory = Some(needs.memory);
        self.go_to_bundle(key, &mut options);
        let arguments = self.pack_arguments(to, key);
        let task = &self.tasks[key];
        let job = self.remote_job(task.job);
        let mut remote = RemoteTask {
            id: task.id,
            attempt: task.attempt,
            job,
            function: spec.function.clone(),
            entry: task.entry.clone(),
            arguments,
            options,
            name: task.extra.as_ref().and_then(|extra| extra.name.clone()),
            read: self.read_of(task.id).unwrap_or(0),
            part: None,
            may_wait: ahead,
            may_preempt: matches!(task.kind, Kind::Function) && self.may_preempt(task),
        };
        remote.part = self.hand_incarnation(key, to);
        self.go_away(now, key, to);
        let others = if ahead { self.goes_ahead(key, to) } else { 0 };
        let number = self.tell_with_others(now, to, Message::Run(Box::new(remote)), others);
        if spec.options.placement.group().is_none() {
            self.note_given(to, number, needs);
        }
    }

    /// Whether a task holds, on another node, what counts as its tenant's here.
    pub(in crate::node) fn is_held_away(&self, task: &Task) -> bool {
        let is_task = matches!(task.kind, Kind::Function) && task.owner().is_none();
        is_task && task.away().is_some() && self.classes[task.class].group.is_none()
    }

    /// A task is given to another node.
    pub(super) fn go_away(&mut self, now: Time, key: TaskKey, to: NodeId) {
        self.set_state(key, TaskState::Submitted);
        let task = &mut self.tasks[key];
        (task.started, task.emitted) = (now, 0);
        task.extra().away = Some(to);
        self.peers.away += 1;
        if self.is_held_away(&self.tasks[key]) {
            let class = &self.classes[self.tasks[key].class];
            self.tenants.goes_away(class.tenant, &class.needs, true);
        }
        let task = &self.tasks[key];
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.spread.insert(to);
            job.away += u64::from(task.is_counted_away());
        }
    }

    pub(super) fn remote_job(&self, id: JobId) -> RemoteJob {
        let job = self.jobs.get(&id);
        RemoteJob {
            id,
            home: job.and_then(|job| job.home).unwrap_or(self.id),
            unfinished_tasks_max: job.and_then(|job| job.spec.unfinished_tasks_max),
            task_memory_bytes: job.and_then(|job| job.spec.task_memory_bytes),
            tenant: job.map(|job| job.spec.tenant.clone()).unwrap_or_default(),
        }
    }

    /// The task, when this attempt of it is at that node.
    pub(super) fn away_at(&self, node: NodeId, id: TaskId, attempt: u32) -> Option<TaskKey> {
        let key = *self.task_index.get(&id)?;
        let task = &self.tasks[key];
        (task.attempt == attempt && task.away() == Some(node)).then_some(key)
    }

    /// The task is not at another node any more.
    pub(in crate::node) fn come_back(&mut self, key: TaskKey) {
        if self.is_held_away(&self.tasks[key]) {
            let class = &self.classes[self.tasks[key].class];
            self.tenants.goes_away(class.tenant, &class.needs, false);
        }
        let task = &mut self.tasks[key];
        let is_counted = u64::from(task.is_counted_away());
        let Some(extra) = &mut task.extra else { return };
        let Some(away) = extra.away.take() else { return };
        extra.ran_on = Some(away);
        self.peers.away -= 1;
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.away -= is_counted;
        }
        self.is_back(key, away);
        self.note_sent(key, false);
        self.leave_host(key);
    }

    /// A node had no room for a task after all.
    pub(super) fn refused(&mut self, now: Time, from: NodeId, id: TaskId, attempt: u32, fx: &mut Effects) {
        let Some(key) = self.away_at(from, id, attempt) else { return };
        if self.tasks[key].is_ahead() {
            self.was_refused_ahead(key, from);
        }
        self.come_back(key);
        self.tasks[key].extra().ran_on = None;
        self.counters.tasks_refused += 1;
        self.close_room(from);
        let without_actor = self.incarnation_refused(key).map(Arc::new);
        // Ended while it was on its way there and back: `Cancel` found nothing.
        match self.tasks[key].doom.take().or(without_actor) {
            Some(doom) => self.end_task(now, key, Err(doom), fx),
            None if self.waits_for_lost(now, key, fx) => {}
            None => self.enqueue(key, true),
        }
    }

    /// An attempt has ended on another node.
    pub(super) fn ended_elsewhere(
        &mut self,
        now: Time,
        from: NodeId,
        (id, attempt, ran): (TaskId, u32, Option<Duration>),
        result: Result<Vec<Parcel>, Failure>,
        fx: &mut Effects,
    ) {
        let key = self.away_at(from, id, attempt);
        let job = key.map_or(JobId::from_bits(0, 0), |key| self.tasks[key].job);
        let mut held = Held::new();
        let result = match result {
            Ok(parcels) => {
                let values = parcels.into_iter().enumerate().map(|(index, parcel)| {
                    self.unpack_result(from, job, (id.output(index as u32), parcel), &mut held)
                });
                Ok(values.collect())
            }
            Err(failure) => Err(self.unpack_error(from, job, failure, &mut held)),
        };
        let is_passed_on = key.is_some_and(|key| self.passes_on(key, &result));
        let large: Vec<_> = result
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(index, value): (usize, &Value)| {
                Some((RemotePlace::of(&value.place)?.holder, id.output(index as u32)))
            })
            .filter(|_| !is_passed_on)
            .collect();
        if let Some(key) = key {
            if let Some(ran) = ran.filter(|_| matches!(self.tasks[key].kind, Kind::Function)) {
                self.note_ran(self.tasks[key].class, Some(from), ran);
            }
            self.come_back(key);
            match result {
                Ok(values) => self.attempt_succeeded(now, key, values, fx),
                Err(error) => self.attempt_failed(now, key, error, fx),
            }
        }
        for (holder, object) in large {
            self.drop_unless_stored(holder, object);
        }
        self.let_go(now, held, fx);
    }

    /// Whether what a call returned on another node goes on to whoever made it, on a third.
    fn passes_on(&self, key: TaskKey, result: &Result<Vec<Value>, Error>) -> bool {
        let task = &self.tasks[key];
        let is_whole = |values: &Vec<Value>| match self.classes[task.class].returns() {
            Returns::Fixed(count) => values.len() == count as usize,
            Returns::Streaming(_) => false,
        };
        task.owner().is_some() && task.doom.is_none() && result.as_ref().is_ok_and(is_whole)
    }

    /// Has the node that a task is at end it; its end follows from there.
    pub(in crate::node) fn end_there(
        &mut self,
        key: TaskKey,
        reason: StopReason,
        recursive: bool,
        force: bool,
    ) {
        let task = &self.tasks[key];
        let Some(node) = task.away() else { return };
        let (task, attempt) = (task.id, task.attempt);
        self.tell(node, Message::Cancel { task, attempt, reason, recursive, force });
    }

    // ---- where it runs ----

    pub(super) fn run_foreign(&mut self, now: Time, from: NodeId, task: RemoteTask, fx: &mut Effects) {
        if let Some(ActorPart::Call { incarnation, owner }) = task.part {
            return self.call_hosted(now, from, (incarnation, owner), task, fx);
        }
        let RemoteTask { id, attempt, job, function, entry, arguments, options, name, read, part, .. } = task;
        let (may_wait, may_preempt) = (task.may_wait, task.may_preempt);
        let may_wait = may_wait && part.is_none() && options.placement.group().is_none();
        let mut held = Held::new();
        let job_id = job.id;
        let (kind, scope) = match part {
            Some(ActorPart::Constructor { incarnation: Incarnation { actor, .. }, detached, .. }) => {
                (Kind::Create(actor), detached.then_some(actor))
            }
            _ => (Kind::Function, None),
        };
        let refuse = match self.check_foreign(from, &job, id, scope.is_some()) {
            Err(error) => Some(Some(error)),
            Ok(()) => (!self.takes_foreign(&job.tenant, &options, may_wait)).then_some(None),
        };
        match (&refuse, scope) {
            (None, None) => self.know_job(&job, function.component),
            (None, Some(_)) => self.know_job_of_detached(&job, function.component),
            (Some(_), _) => {}
        }
        let arguments: Vec<Argument> = arguments
            .into_iter()
            .map(|argument| self.take_argument(now, from, job_id, argument, &mut held, fx))
            .collect();
        if let Some(error) = refuse {
            match error {
                Some(error) => self.tell_never_run(from, (id, attempt), part, error),
                None => self.refuse(from, id, attempt),
            }
            return self.let_go(now, held, fx);
        }
        let mut options = options;
        options.retries = Retries { system: 0, application: 0, kinds: Vec::new() };
        if options.placement.group().is_none() {
            options.placement.strategy = Strategy::Default;
        }
        if let Some(part) = &part {
            self.host(from, job_id, id, part);
        }
        let class = self.class_of(ClassSpec { job: job_id, scope, function, options }, 0);
        let new =
            NewTask { id, job: job_id, class, kind, entry, arguments, parent: None, deadline: None, name };
        let key = self.register_foreign(now, from, new, fx);
        let task = &mut self.tasks[key];
        task.attempt = attempt;
        (task.extra().read, task.extra().ahead) = (read, may_wait);
        task.extra().may_preempt = may_preempt;
        self.admit(now, key, fx);
        if may_wait {
            self.waits_ahead(now, key);
        }
        self.let_go(now, held, fx);
    }

    /// The owner of a task that cannot be taken at all hears why.
    fn tell_never_run(
        &mut self,
        to: NodeId,
        (task, attempt): (TaskId, u32),
        part: Option<ActorPart>,
        error: Error,
    ) {
        let failure = Failure::plain(error);
        let message = match part {
            Some(ActorPart::Constructor { incarnation, .. }) => {
                Message::IncarnationEnded { incarnation, calls: vec![(task, Some(failure))], cause: None }
            }
            _ => Message::Ended { task, attempt, ran: None, result: Err(failure) },
        };
        self.tell(to, message);
    }

    /// Why a task or call of another node's cannot be taken at all. `outlives`: it outlives its job.
    pub(super) fn check_foreign(
        &self,
        from: NodeId,
        job: &RemoteJob,
        id: TaskId,
        outlives: bool,
    ) -> Result<(), Error> {
        if !outlives && (self.has_ended(job.id) || self.peers.dead.contains(&job.home)) {
            return Err(Error::new(ErrorCode::TaskCancelled, "its job has ended"));
        }
        if self.task_index.contains_key(&id) {
            return Err(Error::internal(format!("{from} sent {id} to a node that has it")));
        }
        Ok(())
    }

    /// Puts a task or call of another node's into the tables.
    pub(super) fn register_foreign(
        &mut self,
        now: Time,
        owner: NodeId,
        new: NewTask,
        fx: &mut Effects,
    ) -> TaskKey {
        let argument_bytes = new.arguments.iter().map(Argument::inline_bytes).sum();
        // They were accepted where they were made.
        self.inline_bytes += argument_bytes;
        let puts_as = self.ids.task();
        let key = self.register(now, new, argument_bytes, fx);
        let tenant = self.classes[self.tasks[key].class].tenant;
        self.tenants.get_mut(tenant).queued -= 1;
        let extra = self.tasks[key].extra();
        extra.owner = Some(owner);
        extra.puts_as = Some(puts_as);
        let task = &self.tasks[key];
        if let Some(job) = self.jobs.get_mut(&task.job) {
            job.foreign[task.state as usize] += 1;
        }
        self.counters.foreign_tasks += 1;
        key
    }

    /// Whether a task of another node's may come here: it fits now, or few enough are in line.
    fn takes_foreign(&self, tenant: &TenantName, options: &TaskOptions, may_wait: bool) -> bool {
        if self.is_draining() {
            return false;
        }
        let needs = self.needs_of(options, 0);
        if let Some(slot) = options.placement.group() {
            return self.tasks.len() < self.limits.queued_tasks_max && self.takes_in_group(slot, &needs);
        }
        let (begin, left) = self.about_to_begin();
        let ahead = self.peers.ahead_in_line;
        let waiting = self.tenants.in_line_of(tenant);
        let has_place = match may_wait {
            true => ahead < self.limits.ahead_in_line_max,
            false => waiting.saturating_sub(ahead) < self.limits.foreign_tasks_in_line_max + begin,
        };
        // Those before it in line may have come in the same packet, and nothing of them runs yet.
        let in_line = has_place && (self.free.covers(&needs) || self.will_have(&needs));
        self.tasks.len() < self.limits.queued_tasks_max
            && self.total.covers(&needs)
            && options.placement.accepts(&self.labels)
            && (left.covers(&needs) || in_line)
    }

    /// How many of those in line begin once this event has been dealt with, and what they leave free. Of
    /// many classes in line only the first are looked at, and then nothing is left.
    fn about_to_begin(&self) -> (usize, Resources) {
        let mut left = self.free.clone();
        let mut begin = 0;
        for (at, class) in self.classes_in_line().map(|class| &self.classes[class]).enumerate() {
            if at == BEFORE_MAX {
                return (begin, Resources::default());
            }
            if class.group.is_some() {
                continue;
            }
            let count = left.times(&class.needs).min(class.queue.len() as u64);
            for _ in 0..count {
                left.take(&class.needs);
            }
            begin += count as usize;
        }
        (begin, left)
    }

    /// When nothing here will ever make room for a task of another node's that is in line, its owner finds
    /// another node for it. False when there is none.
    pub(in crate::node) fn give_back_foreign(&mut self, now: Time, fx: &mut Effects) -> bool {
        let head = |class: ClassKey| {
            let (_, key) = self.classes[class].queue.front()?;
            let owner = self.tasks.get(*key)?.owner()?;
            // One in a bundle is where it must be.
            let is_free = self.classes[class].group.is_none();
            (is_free && !self.free.covers(&self.classes[class].needs)).then_some((class, owner))
        };
        let Some((class, owner)) = self.classes_in_line().find_map(head) else { return false };
        let Some(key) = self.dequeue(class) else { return false };
        self.hand_back(now, key, owner, fx);
        true
    }

    /// The owner of a task that was taken out of the line finds another node for it.
    pub(super) fn hand_back(&mut self, now: Time, key: TaskKey, owner: NodeId, fx: &mut Effects) {
        let error = self.give_back(owner, key);
        self.fail_task(now, key, Arc::new(error), fx);
    }

    /// The owner of a task that was not begun finds another node for it: here it is to end with this.
    fn give_back(&mut self, owner: NodeId, key: TaskKey) -> Error {
        let task = &mut self.tasks[key];
        let (id, attempt) = (task.id, task.attempt);
        task.extra().untold = true;
        self.forget_unstarted(id, key);
        self.refuse(owner, id, attempt);
        Error::new(ErrorCode::TaskCancelled, "its owner finds another node for it")
    }

    /// A task or constructor of another node's that has not begun goes back to its owner, wherever it waits.
    pub(in crate::node) fn give_unbegun_back(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        if let Some(owner) = self.tasks.get(key).and_then(|task| task.owner()) {
            let error = self.give_back(owner, key);
            self.end_now(now, key, error, StopReason::Cancelled, fx);
        }
    }

    /// A task of another node's has ended: its owner is told.
    pub(in crate::node) fn tell_end(
        &mut self,
        now: Time,
        Telling { owner, results, attempt, began }: Telling,
        result: Result<Vec<Value>, Arc<Error>>,
        fx: &mut Effects,
    ) {
        let ran = began.map(|began| now.since(began));
        let result = match result {
            Ok(values) => {
                let mut parcels = Vec::with_capacity(values.len());
                for (index, value) in values.iter().enumerate() {
                    let id = results.id.output(index as u32);
                    parcels.push(self.pack_result(now, owner, results, (id, value), fx));
                }
                Ok(parcels)
            }
            Err(error) => {
                // The owner adds the step of this attempt to the error's path.
                let mut path = error.path().to_vec();
                path.pop();
                Err(self.pack_error(owner, &Error::clone(&error).with_path(path)))
            }
        };
        let message = Message::Ended { task: results.id, attempt, ran, result };
        // Told at half of the line, so that more comes before it runs dry.
        let others = match ran.is_some_and(is_very_short) {
            true => self.peers.in_line_of(owner),
            false => 0,
        };
        self.tell_with_others(now, owner, message, others);
    }

    /// The owner wants an attempt to end.
    pub(super) fn cancel_foreign(
        &mut self,
        now: Time,
        from: NodeId,
        (id, attempt): (TaskId, u32),
        reason: StopReason,
        (recursive, force): (bool, bool),
        fx: &mut Effects,
    ) {
        let Some(key) = self.foreign(from, id) else { return };
        let task = &self.tasks[key];
        let is_call = matches!(task.kind, Kind::Call(_)) && task.behalf().is_none();
        if task.attempt_for_owner() != attempt {
            return;
        }
        if recursive {
            self.cancel_descendants(now, key, force, fx);
        }
        let error = Error::new(ErrorCode::TaskCancelled, "its owner has ended it");
        if is_call && self.tasks[key].is_inside() && reason == StopReason::JobEnded {
            // The actor goes on, and whoever called it does not wait for that.
            let result = Err(Failure::plain(error.clone()));
            self.tell(from, Message::Ended { task: id, attempt: 0, ran: None, result });
            return self.orphan_call(now, key, error, false, fx);
        }
        self.end_now(now, key, error, reason, fx);
    }
}
