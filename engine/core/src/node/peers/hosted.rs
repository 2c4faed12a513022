//! Incarnations of other nodes' actors.
//!
//! What runs inside is a foreign task like any other: it may ask for everything, and its end is told to
//! the actor's owner. This node has no part in the order of its calls, and starts nothing anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, IdMap, InstanceId, JobId, LaneId, NodeId, TaskId};
use crate::node::class::ClassSpec;
use crate::node::peers::message::{ActorPart, Failure, Held, Incarnation, Message, RemoteTask};
use crate::node::spawn::NewTask;
use crate::node::task::{Behalf, CallKind, Kind, Results, Task};
use crate::node::{Effects, Node, TaskKey, TaskState};
use crate::options::{Function, Retries, TaskOptions};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::Argument;
use crate::work::{GoneReport, Life, StopReason};

/// The incarnations of other nodes' actors, and what belongs to them.
#[derive(Default)]
pub(super) struct Hosting {
    pub incarnations: BTreeMap<Incarnation, Hosted>,
    /// Detached actors of other nodes, of which something may be here that ends with them.
    pub scopes: BTreeMap<ActorId, (NodeId, JobId)>,
    /// Calls whose id is that of their caller's task, which is here too.
    pub aliases: IdMap<TaskId, TaskKey>,
}

/// An incarnation of another node's actor.
pub(super) struct Hosted {
    pub owner: NodeId,
    constructor: TaskId,
    /// None: its constructor waits for its turn.
    pub instance: Option<InstanceId>,
    max_concurrency: u32,
    /// CPUs that it keeps once it is there.
    cpus: Quantity,
    /// Calls that wait for an argument that was lost on its way.
    waiting: Vec<TaskKey>,
    /// Why it is ended here, when its owner has not asked for that.
    lost: Option<Error>,
}

impl Hosting {
    fn of(&self, actor: ActorId) -> impl Iterator<Item = (Incarnation, &Hosted)> {
        let (first, last) = (Incarnation { actor, number: 0 }, Incarnation { actor, number: u32::MAX });
        self.incarnations.range(first..=last).map(|(incarnation, hosted)| (*incarnation, hosted))
    }

    fn constructed_by(&self, actor: ActorId, task: TaskId) -> Option<(Incarnation, &Hosted)> {
        self.of(actor).find(|(_, hosted)| hosted.constructor == task)
    }
}

impl super::Peers {
    /// Of the actor's incarnation that a constructor makes: whether there was another before, and how many
    /// calls may be inside.
    pub fn life_of_hosted(&self, actor: ActorId, constructor: TaskId) -> Life {
        let found = self.hosting.constructed_by(actor, constructor);
        let (was_restarted, max_concurrency, cpus) = found
            .map_or((false, 1, Quantity::ZERO), |(incarnation, hosted)| {
                (incarnation.number > 0, hosted.max_concurrency, hosted.cpus)
            });
        Life::Actor { actor, was_restarted, max_concurrency, cpus }
    }

    /// The owner of a detached actor of a job that is, or has left something, here.
    pub(super) fn owner_of_detached(&self, job: JobId) -> Option<NodeId> {
        self.hosting.scopes.values().find(|(_, of)| *of == job).map(|(owner, _)| *owner)
    }

    /// The constructor of an incarnation has its sandbox.
    pub fn hosted_starts(&mut self, actor: ActorId, constructor: TaskId, instance: InstanceId) {
        let found = self.hosting.constructed_by(actor, constructor).map(|(incarnation, _)| incarnation);
        if let Some(hosted) = found.and_then(|found| self.hosting.incarnations.get_mut(&found)) {
            hosted.instance = Some(instance);
        }
    }
}

impl Node {
    /// An incarnation of another node's actor was accepted.
    pub(super) fn host(&mut self, owner: NodeId, job: JobId, constructor: TaskId, part: &ActorPart) {
        let ActorPart::Constructor { incarnation, max_concurrency, cpus, detached } = *part else { return };
        let hosted = Hosted {
            owner,
            constructor,
            instance: None,
            max_concurrency,
            cpus,
            waiting: Vec::new(),
            lost: None,
        };
        self.peers.hosting.incarnations.insert(incarnation, hosted);
        if detached {
            self.peers.hosting.scopes.insert(incarnation.actor, (owner, job));
        }
    }

    /// A call enters an incarnation. When that has ended, its owner hears so, and finds that this call was
    /// not begun.
    pub(super) fn call_hosted(
        &mut self,
        now: Time,
        from: NodeId,
        (incarnation, owner): (Incarnation, NodeId),
        task: RemoteTask,
        fx: &mut Effects,
    ) {
        let RemoteTask { id, attempt, job, function, entry, arguments, options, name, read, .. } = task;
        let mut held = Held::new();
        let arguments: Vec<Argument> = arguments
            .into_iter()
            .map(|argument| self.take_argument(now, from, job.id, argument, &mut held, fx))
            .collect();
        if let Some(class) = self.class_inside(from, incarnation, function, options) {
            let call =
                CallKind { actor: incarnation.actor, lane: LaneId(0), group: 0, order: 0, system_retries: 0 };
            let is_known = self.task_index.contains_key(&id);
            let new = NewTask {
                id: if is_known { self.ids.task() } else { id },
                job: self.classes[class].spec.job,
                class,
                kind: Kind::Call(Box::new(call)),
                entry,
                arguments,
                parent: None,
                deadline: None,
                name,
            };
            let key = self.register_foreign(now, from, new, fx);
            if is_known {
                self.peers.hosting.aliases.insert(id, key);
            }
            let task = &mut self.tasks[key];
            task.attempt = attempt;
            let results = Results { owner, job: job.id, id };
            let extra = task.extra();
            (extra.read, extra.behalf) = (read, Some(Box::new(Behalf { incarnation, results })));
            self.admit(now, key, fx);
            self.note_waiting(key, incarnation);
        }
        self.let_go(now, held, fx);
    }

    /// The class of a call inside an incarnation that goes on: it is the actor's, whoever made it.
    fn class_inside(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        function: Function,
        mut options: TaskOptions,
    ) -> Option<crate::node::ClassKey> {
        let hosted = self.peers.hosting.incarnations.get(&incarnation)?;
        let instance = self.instances.get(&hosted.instance?)?;
        if hosted.owner != from || instance.stopping.is_some() {
            return None;
        }
        let (job, scope) = (instance.job, instance.scope);
        options.retries = Retries { system: 0, application: 0, kinds: Vec::new() };
        Some(self.class_of(ClassSpec { job, scope, function, options }, 0))
    }

    fn note_waiting(&mut self, key: TaskKey, incarnation: Incarnation) {
        if self.tasks.get(key).is_some_and(|task| task.instance.is_none())
            && let Some(hosted) = self.peers.hosting.incarnations.get_mut(&incarnation)
        {
            hosted.waiting.push(key);
        }
    }

    /// The arguments of a call inside an incarnation are there.
    pub(in crate::node) fn hosted_call_ready(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let Some(behalf) = self.tasks[key].behalf() else { return };
        let hosted = self.peers.hosting.incarnations.get_mut(&behalf.incarnation);
        let Some(hosted) = hosted else { return };
        hosted.waiting.retain(|other| *other != key);
        let Some(instance) = hosted.instance else { return };
        if self.instances.get(&instance).is_some_and(|instance| instance.stopping.is_none()) {
            self.start_call(now, key, instance, fx);
        } else {
            hosted.waiting.push(key);
        }
    }

    /// The task of another node's that this node knows by an id of its own, or by the owner's.
    pub(super) fn foreign(&self, owner: NodeId, id: TaskId) -> Option<TaskKey> {
        let is_meant = |key: &&TaskKey| self.tasks[**key].owner() == Some(owner);
        let alias = || self.peers.hosting.aliases.get(&id).filter(is_meant);
        self.task_index.get(&id).filter(is_meant).or_else(alias).copied()
    }

    pub(in crate::node) fn forget_alias(&mut self, task: &Task) {
        if let Some(behalf) = task.behalf()
            && behalf.results.id != task.id
        {
            self.peers.hosting.aliases.remove(&behalf.results.id);
        }
    }

    /// The constructor of an incarnation has ended.
    pub(in crate::node) fn hosted_constructor_ended(
        &mut self,
        actor: ActorId,
        constructor: TaskId,
        error: Option<Arc<Error>>,
    ) {
        let Some((incarnation, hosted)) = self.peers.hosting.constructed_by(actor, constructor) else {
            return;
        };
        let (owner, cpus) = (hosted.owner, hosted.cpus);
        match (hosted.instance, error) {
            (Some(id), None) => {
                let Some(instance) = self.instances.get(&id) else { return };
                self.keep_only(id, Resources { cpus, ..Resources::clone(&instance.held) });
            }
            // Its owner has heard of it, and has the sandbox end.
            (Some(_), Some(_)) | (None, None) => {}
            (None, Some(error)) => {
                // The owner adds the step of this attempt to the error's path.
                let mut path = error.path().to_vec();
                path.pop();
                let failure = self.pack_error(owner, &Error::clone(&error).with_path(path));
                self.tell_incarnation_ended(incarnation, vec![(constructor, Some(failure))], None);
            }
        }
    }

    /// The constructor of an incarnation is given back to its owner.
    pub(super) fn forget_unstarted(&mut self, constructor: TaskId, key: TaskKey) {
        if let Kind::Create(actor) = self.tasks[key].kind
            && let Some((incarnation, _)) = self.peers.hosting.constructed_by(actor, constructor)
        {
            self.peers.hosting.incarnations.remove(&incarnation);
        }
    }

    fn tell_incarnation_ended(
        &mut self,
        incarnation: Incarnation,
        calls: Vec<(TaskId, Option<Failure>)>,
        cause: Option<Failure>,
    ) {
        if let Some(hosted) = self.peers.hosting.incarnations.remove(&incarnation) {
            self.tell(hosted.owner, Message::IncarnationEnded { incarnation, calls, cause });
        }
    }

    /// The sandbox of an incarnation is gone.
    pub(in crate::node) fn hosted_sandbox_gone(
        &mut self,
        now: Time,
        actor: ActorId,
        report: GoneReport,
        fx: &mut Effects,
    ) {
        let sandbox = report.instance;
        let found = self.peers.hosting.of(actor).find(|(_, hosted)| hosted.instance == Some(sandbox));
        let Some((incarnation, hosted)) = found else { return };
        let (owner, waiting, lost) = (hosted.owner, hosted.waiting.clone(), hosted.lost.clone());
        let inside = self.instances.get(&sandbox).map(|instance| instance.calls.to_vec());
        let mut calls = Vec::new();
        for key in inside.into_iter().flatten().chain(waiting) {
            let Some(task) = self.tasks.get(key) else { continue };
            let own = report.calls.iter().find(|call| call.task == task.id).map(|call| call.result.clone());
            // Whoever had it end says why.
            let own = own.filter(|_| task.doom.is_none());
            if let Some(Ok(values)) = own {
                self.attempt_succeeded(now, key, values, fx);
                continue;
            }
            let failure = own.and_then(Result::err).map(|error| self.pack_error(owner, &error));
            calls.push((self.tasks[key].results(owner).id, failure));
            self.end_untold(now, key, fx);
        }
        let cause = lost.or(report.cause).map(|cause| self.pack_error(owner, &cause));
        self.tell_incarnation_ended(incarnation, calls, cause);
    }

    /// The bundle that an incarnation is in goes away: its owner hears why.
    pub(in crate::node) fn lose_hosted(
        &mut self,
        actor: ActorId,
        sandbox: InstanceId,
        why: &Error,
        fx: &mut Effects,
    ) {
        let found = self.peers.hosting.of(actor).find(|(_, hosted)| hosted.instance == Some(sandbox));
        let found = found.map(|(incarnation, _)| incarnation);
        if let Some(hosted) = found.and_then(|found| self.peers.hosting.incarnations.get_mut(&found)) {
            hosted.lost.get_or_insert_with(|| why.clone());
        }
        self.stop_instance(sandbox, StopReason::ActorEnded, fx);
    }

    /// Ends a call or constructor of an incarnation that has ended: that is how its owner hears of it.
    fn end_untold(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let task = &mut self.tasks[key];
        task.extra().untold = true;
        let doom = task.doom.take();
        let error = doom.unwrap_or_else(|| Arc::new(self.lost_with_sandbox(None)));
        self.end_task(now, key, Err(error), fx);
    }

    /// The owner of an incarnation wants it to end.
    pub(super) fn end_hosted(
        &mut self,
        now: Time,
        from: NodeId,
        incarnation: Incarnation,
        reason: StopReason,
        fx: &mut Effects,
    ) {
        let hosted = self.peers.hosting.incarnations.get(&incarnation);
        let Some(hosted) = hosted.filter(|hosted| hosted.owner == from) else { return };
        let constructor = hosted.constructor;
        if let Some(instance) = hosted.instance {
            return self.stop_instance(instance, reason, fx);
        }
        self.tell_incarnation_ended(incarnation, vec![(constructor, None)], None);
        if let Some(key) = self.foreign(from, constructor) {
            self.tasks[key].extra().untold = true;
            let error = Error::new(ErrorCode::TaskCancelled, "its owner has ended it");
            self.end_now(now, key, error, reason, fx);
        }
    }

    /// A detached actor of another node has ended: what descends from it ends here.
    pub(super) fn end_scope(&mut self, now: Time, from: NodeId, actor: ActorId, why: &str, fx: &mut Effects) {
        let Some((owner, job)) = self.peers.hosting.scopes.get(&actor).copied() else { return };
        if owner == from {
            self.peers.hosting.scopes.remove(&actor);
            self.end_members(now, job, Some(actor), why, fx);
        }
    }

    /// The incarnations of a dead node's actors end at once, and what descends from those that are
    /// detached.
    pub(super) fn end_hosted_of(&mut self, now: Time, dead: NodeId, fx: &mut Effects) {
        let hosting = &self.peers.hosting;
        let ended = |hosted: &Hosted| if hosted.owner == dead { hosted.instance } else { None };
        let sandboxes: Vec<InstanceId> = hosting.incarnations.values().filter_map(ended).collect();
        let scopes: Vec<ActorId> =
            hosting.scopes.iter().filter(|(_, (owner, _))| *owner == dead).map(|(actor, _)| *actor).collect();
        for sandbox in sandboxes {
            self.stop_instance(sandbox, StopReason::ActorEnded, fx);
        }
        for actor in scopes {
            let why = format!("{dead}, the node of the detached actor that it descends from, is dead");
            self.end_scope(now, dead, actor, &why, fx);
        }
    }

    /// A guest inside an incarnation has a handle to its own actor.
    pub(in crate::node) fn know_hosted_actor(&mut self, id: ActorId) {
        if self.actors.contains_key(&id) {
            return;
        }
        let owner = self.peers.hosting.of(id).next().map(|(_, hosted)| hosted.owner);
        if let Some(owner) = owner.filter(|owner| !self.peers.dead.contains(owner)) {
            self.borrow_actor(id, owner);
        }
    }

    /// Whether something is known of an actor, wherever it is.
    #[cfg(test)]
    pub(in crate::node) fn knows_actor(&self, id: ActorId) -> bool {
        self.actors.contains_key(&id) || self.peers.references.actors.contains_key(&id)
    }

    /// Says what does not hold of the incarnations here and elsewhere; none when all does.
    pub(in crate::node) fn broken_hosting(&self) -> Option<String> {
        for (id, actor) in &self.actors {
            let Some(host) = &actor.host else { continue };
            let is_there = |key: &TaskKey| self.tasks.get(*key).and_then(Task::away) == Some(host.node);
            let calls = host.calls.len();
            if actor.instance.is_some()
                || calls != actor.running() as usize
                || !host.calls.iter().all(is_there)
            {
                return Some(format!(
                    "{id} has {calls} calls at {} and counts {}",
                    host.node,
                    actor.running()
                ));
            }
        }
        let mut hosted = self.peers.hosting.incarnations.iter();
        let is_lost = |(_, hosted): &(&Incarnation, &Hosted)| match hosted.instance {
            Some(id) => !self.instances.contains_key(&id),
            None => !self.task_index.contains_key(&hosted.constructor),
        };
        if let Some((incarnation, _)) = hosted.find(is_lost) {
            return Some(format!("{incarnation:?}, of another node's, has neither sandbox nor constructor"));
        }
        let calls = self.tasks.values().filter(|task| task.behalf().is_some());
        let is_inside = |task: &Task| task.instance.is_some() || task.state == TaskState::PendingArgs;
        let outside = calls.into_iter().find(|task| !is_inside(task));
        outside.map(|task| format!("{}, a call of another node's actor, is {}", task.id, task.state))
    }
}
