//! Actors whose incarnation is on another node than their own.
//!
//! The owner's node keeps everything that outlives an incarnation: lanes and their order, bounds, retries,
//! the restart budget, the name and the edges. It decides when a call may enter, and has it run inside the
//! incarnation as it has a task run. Whatever becomes of an incarnation, the last that is heard of it is
//! that it has ended, unless its node dies.

use crate::error::{Error, ErrorCode};
use crate::group::BundleId;
use crate::ids::{ActorId, JobId, NodeId, TaskId};
use crate::node::actor::Actor;
use crate::node::incarnation::{Fate, Fates};
use crate::node::peers::message::{ActorPart, Failure, Held, Incarnation, Message, RemoteTask};
use crate::node::task::Kind;
use crate::node::{Effects, Node, TaskKey};
use crate::options::{Function, Lifetime, TaskOptions};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::work::StopReason;

/// Where an actor's incarnation is, or is about to be.
pub(in crate::node) struct Host {
    pub node: NodeId,
    /// It was told to end it: no call enters any more.
    pub ending: bool,
    /// The node drains: no call enters any more, and the incarnation ends when none is inside.
    pub leaving: bool,
    /// Calls that are inside, or on their way there.
    pub calls: Vec<TaskKey>,
    /// The bundle of its placement group that it is in.
    pub bundle: Option<u32>,
    /// What it takes of that for life, once it is there.
    pub holds: Option<(BundleId, Resources)>,
}

impl Node {
    /// The constructor of an actor is given to another node, which has its incarnation from now on.
    pub(super) fn hand_incarnation(&mut self, key: TaskKey, to: NodeId) -> Option<ActorPart> {
        let Kind::Create(id) = self.tasks[key].kind else { return None };
        let bundle = self.tasks[key].bundle();
        let actor = self.actors.get_mut(&id)?;
        actor.host = Some(Box::new(Host {
            node: to,
            ending: false,
            leaving: false,
            calls: Vec::new(),
            bundle,
            holds: None,
        }));
        let detached = actor.options.lifetime == Lifetime::Detached;
        if detached && !actor.hosted_on.contains(&to) {
            actor.hosted_on.push(to);
        }
        Some(ActorPart::Constructor {
            incarnation: Incarnation { actor: id, number: actor.restarts },
            max_concurrency: actor.max_concurrency(),
            cpus: actor.options.placement.cpus.unwrap_or(Quantity::ZERO),
            detached,
        })
    }

    /// Has a call that may enter run inside an incarnation on another node.
    pub(in crate::node) fn start_call_there(&mut self, now: Time, key: TaskKey, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let Some(host) = &mut actor.host else { return };
        host.calls.push(key);
        let (to, component) = (host.node, actor.function.component);
        let incarnation = Incarnation { actor: id, number: actor.restarts };
        let arguments = self.pack_arguments(to, key);
        let task = &self.tasks[key];
        let spec = &self.classes[task.class].spec;
        let (owner, extra) = (task.owner(), task.extra.as_deref());
        let call = RemoteTask {
            id: task.id,
            attempt: task.attempt,
            job: self.remote_job(task.job),
            function: Function { component, name: spec.function.name.clone() },
            entry: task.entry.clone(),
            arguments,
            options: TaskOptions { returns: spec.options.returns, ..TaskOptions::default() },
            name: extra.and_then(|extra| extra.name.clone()),
            read: match owner {
                None => self.read_of(task.id).unwrap_or(0),
                Some(_) => extra.map_or(0, |extra| extra.read),
            },
            part: Some(ActorPart::Call { incarnation, owner: owner.unwrap_or(self.id) }),
            may_wait: false,
            may_preempt: false,
        };
        self.go_away(now, key, to);
        self.tell(to, Message::Run(Box::new(call)));
    }

    /// A call is not inside an incarnation on another node any more.
    pub(super) fn leave_host(&mut self, key: TaskKey) {
        let Kind::Call(call) = &self.tasks[key].kind else { return };
        if let Some(host) = self.actors.get_mut(&call.actor).and_then(|actor| actor.host.as_mut()) {
            host.calls.retain(|other| *other != key);
        }
    }

    /// Has another node end an actor's incarnation, if one has it. That it has ended follows.
    pub(in crate::node) fn end_incarnation_there(&mut self, id: ActorId, reason: StopReason) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let Some(host) = &mut actor.host else { return };
        if !std::mem::replace(&mut host.ending, true) {
            let (node, incarnation) = (host.node, Incarnation { actor: id, number: actor.restarts });
            self.tell(node, Message::EndIncarnation(incarnation, reason));
        }
    }

    /// A detached actor has ended: what descends from it ends on the nodes that it lived on.
    pub(in crate::node) fn end_scope_elsewhere(&mut self, id: ActorId, why: &str) {
        let nodes = self.actors.get_mut(&id).map(|actor| std::mem::take(&mut actor.hosted_on));
        for node in nodes.into_iter().flatten() {
            self.tell(node, Message::EndScope(id, why.into()));
        }
    }

    /// A node had no room for a constructor after all. Whether the actor is dead meanwhile.
    pub(super) fn incarnation_refused(&mut self, key: TaskKey) -> Option<Error> {
        let Kind::Create(id) = self.tasks[key].kind else { return None };
        let actor = self.actors.get_mut(&id)?;
        actor.host = None;
        actor.is_dead().then(|| Error::new(ErrorCode::TaskCancelled, "its actor has ended"))
    }

    /// An incarnation on another node has ended.
    pub(super) fn incarnation_ended_there(
        &mut self,
        now: Time,
        from: NodeId,
        incarnation: Incarnation,
        (calls, cause): (Vec<(TaskId, Option<Failure>)>, Option<Failure>),
        fx: &mut Effects,
    ) {
        let mut held = Held::new();
        let actor = self.actors.get(&incarnation.actor);
        let job = actor.map_or(JobId::from_bits(0, 0), |actor| actor.job);
        let host = actor.filter(|actor| actor.restarts == incarnation.number).and_then(|a| a.host.as_ref());
        let is_meant = host.is_some_and(|host| host.node == from);
        let cause = cause.map(|failure| self.unpack_error(from, job, failure, &mut held));
        let mut fates = Fates::new();
        for (id, failure) in calls {
            let failure = failure.map(|failure| self.unpack_error(from, job, failure, &mut held));
            let key = self.task_index.get(&id).copied();
            let key = key.filter(|key| is_meant && self.is_part_of(*key, incarnation.actor, from));
            if let Some(key) = key {
                fates.push((key, failure.map_or(Fate::CutShort, |error| Fate::Ended(Err(error)))));
            }
        }
        if is_meant {
            self.incarnation_lost(now, incarnation.actor, (fates, || Fate::NotBegun), cause.as_ref(), fx);
        }
        self.let_go(now, held, fx);
    }

    fn is_part_of(&self, key: TaskKey, actor: ActorId, node: NodeId) -> bool {
        let task = &self.tasks[key];
        let of = match &task.kind {
            Kind::Create(of) => *of,
            Kind::Call(call) => call.actor,
            _ => return false,
        };
        of == actor && task.away() == Some(node)
    }

    /// An actor has no incarnation on another node any more. `rest`: what became of its calls that
    /// nothing is said of.
    fn incarnation_lost(
        &mut self,
        now: Time,
        id: ActorId,
        (mut fates, rest): (Fates, impl Fn() -> Fate),
        cause: Option<&Error>,
        fx: &mut Effects,
    ) {
        self.let_bundle_go(id);
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let Some(host) = actor.host.take() else { return };
        let creating = actor.creating;
        for key in host.calls.into_iter().chain(creating) {
            if !fates.iter().any(|(known, _)| *known == key) {
                fates.push((key, rest()));
            }
        }
        for (key, _) in &fates {
            self.come_back(*key);
        }
        self.incarnation_over(now, id, fates, cause, fx);
    }

    /// The incarnations on a node that is dead are lost.
    pub(super) fn lose_incarnations_at(&mut self, now: Time, dead: NodeId, fx: &mut Effects) {
        let is_there = |actor: &Actor| actor.host.as_ref().is_some_and(|host| host.node == dead);
        let mut ids: Vec<ActorId> =
            self.actors.iter().filter(|(_, actor)| is_there(actor)).map(|(id, _)| *id).collect();
        // The order must be the same in every run.
        ids.sort();
        let cause = Error::new(ErrorCode::NodeDied, format!("{dead}, the node that it lived on, is dead"));
        for id in ids {
            self.incarnation_lost(now, id, (Fates::new(), || Fate::CutShort), Some(&cause), fx);
        }
    }

    /// What the ledger of another node has taken for an actor.
    pub(in crate::node) fn held_there(&self, actor: &Actor) -> Resources {
        let Some(class) = self.classes.get(actor.class) else { return Resources::default() };
        let mut held = Resources::clone(&class.needs);
        if actor.creating.is_none() {
            held.cpus = actor.options.placement.cpus.unwrap_or(Quantity::ZERO);
        }
        held
    }
}
