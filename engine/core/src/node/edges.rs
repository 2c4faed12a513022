//! Objects, and who holds what.
//!
//! A reference is an edge from a holder to an object, an actor or a stream. Each holder keeps the
//! set of its own edges (a sandbox's handle table, a pending task's arguments, the handles inside a
//! value, a stream's unread objects); what is held counts how many holders have an edge to it. At
//! zero it is freed, at once, with whatever only it held.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, ErrorCode};
use crate::ids::{ActorId, InstanceId, JobId, NodeId, ObjectId, WaitId};
use crate::node::{Effects, Node, TaskKey};
use crate::resources;
use crate::time::Time;
use crate::value::{Argument, Handle, Outcome, Value};

pub(super) struct Object {
    /// Whose task made it, or will.
    pub job: JobId,
    pub state: State,
    /// Holders.
    pub edges: u32,
    /// Who is told when it is there.
    pub waiting: SmallVec<[Waiter; 1]>,
    /// What few objects have.
    pub afar: Option<Box<Afar>>,
}

/// What other nodes have to do with an object.
#[derive(Default)]
pub(super) struct Afar {
    /// The node that owns it; none: this one.
    pub owner: Option<NodeId>,
    /// Its owner was asked what becomes of it.
    pub wanted: bool,
    /// Nodes that are told when it is there.
    pub waiting: Vec<NodeId>,
    /// How often its bytes could not be had.
    pub rounds: u32,
}

pub(super) enum State {
    Pending,
    Ready(Value),
    Failed(Arc<Error>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    Task(TaskKey),
    Wait(WaitId),
}

impl State {
    /// The value, when there is one.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Ready(value) => Some(value),
            Self::Pending | Self::Failed(_) => None,
        }
    }

    /// The handles inside: of the value, or of what the failing guest attached.
    pub fn handles(&self) -> &[Handle] {
        match self {
            Self::Pending => &[],
            Self::Ready(value) => &value.handles,
            Self::Failed(error) => error.payload().map_or(&[], |payload| &payload.handles),
        }
    }
}

impl Object {
    /// One that nobody holds yet.
    pub fn new(job: JobId, state: State) -> Self {
        Self { job, state, edges: 0, waiting: SmallVec::new(), afar: None }
    }

    /// The node that owns it; none: this one.
    pub fn owner(&self) -> Option<NodeId> {
        self.afar.as_ref()?.owner
    }

    /// Whether its owner was asked what becomes of it.
    pub fn is_wanted(&self) -> bool {
        self.afar.as_ref().is_some_and(|afar| afar.wanted)
    }

    /// The job among whose tenant's bytes it counts here: those of its owner.
    pub fn counted_for(&self) -> Option<JobId> {
        self.owner().is_none().then_some(self.job)
    }

    pub fn afar(&mut self) -> &mut Afar {
        self.afar.get_or_insert_default()
    }

    pub fn outcome(&self) -> Option<Outcome> {
        match &self.state {
            State::Pending => None,
            State::Ready(value) => Some(Ok(value.clone())),
            State::Failed(error) => Some(Err(error.clone())),
        }
    }
}

impl Node {
    /// One more edge to what `handle` names. What is gone already stays gone.
    pub(super) fn add_edge(&mut self, handle: Handle) {
        let edges = match handle {
            Handle::Object(id) => self.objects.get_mut(&id).map(|o| &mut o.edges),
            Handle::Actor(id) => match self.actors.get_mut(&id) {
                Some(actor) => Some(&mut actor.edges),
                None => self.peers.references.actors.get_mut(&id).map(|a| &mut a.edges),
            },
            Handle::Stream(id) => self.streams.get_mut(&id).map(|s| &mut s.edges),
            Handle::PlacementGroup(id) => return self.add_group_edge(id),
        };
        if let Some(edges) = edges {
            *edges += 1;
        }
    }

    /// One edge less; frees what nobody holds any more, and what only that held.
    pub(super) fn remove_edge(&mut self, now: Time, handle: Handle, fx: &mut Effects) {
        self.freeing.push(handle);
        if self.freeing.len() > 1 {
            return;
        }
        // The handle stays on the list while it is worked on, so that a removal that this one leads
        // to only appends.
        let mut at = 0;
        while let Some(handle) = self.freeing.get(at).copied() {
            self.remove_edge_now(now, handle, fx);
            at += 1;
        }
        self.freeing.clear();
        self.freeing.shrink_to(1024);
    }

    fn remove_edge_now(&mut self, now: Time, handle: Handle, fx: &mut Effects) {
        match handle {
            Handle::Object(id) => {
                let Some(object) = self.objects.get_mut(&id) else { return };
                assert!(object.edges > 0, "{id} was released more often than it was held");
                object.edges -= 1;
                if object.edges == 0 {
                    match self.peers.references.kept.contains_key(&id) {
                        // Its owner holds it, and says when its bytes are not needed any more.
                        true => self.release_borrow(handle),
                        false => self.free_object(now, id, fx),
                    }
                } else if !object.state.handles().is_empty() {
                    // Whoever is left may be the object itself, by what it holds.
                    self.look_for_cycles(handle);
                }
            }
            Handle::Actor(id) => {
                let Some(actor) = self.actors.get_mut(&id) else { return self.remove_remote_actor_edge(id) };
                assert!(actor.edges > 0, "{id} was released more often than it was held");
                actor.edges -= 1;
                self.end_actor_if_unreachable(now, id, fx);
            }
            Handle::Stream(id) => {
                let Some(stream) = self.streams.get_mut(&id) else { return };
                assert!(stream.edges > 0, "the stream of {id} was released more often than it was held");
                stream.edges -= 1;
                if stream.edges == 0 {
                    self.drop_reader(now, id, fx);
                }
            }
            // Dropping the last handle removes no group, as in Ray.
            Handle::PlacementGroup(id) => self.remove_group_edge(id),
        }
    }

    fn remove_remote_actor_edge(&mut self, id: ActorId) {
        let Some(actor) = self.peers.references.actors.get_mut(&id) else { return };
        assert!(actor.edges > 0, "{id} was released more often than it was held");
        actor.edges -= 1;
        if actor.edges == 0 {
            self.forget_remote_actor(id);
        }
    }

    pub(super) fn free_object(&mut self, now: Time, id: ObjectId, fx: &mut Effects) {
        let Some(object) = self.objects.remove(&id) else { return };
        let counted_for = object.counted_for();
        self.ready_is_gone(id);
        if let Some(job) = self.jobs.get_mut(&object.job) {
            job.objects = job.objects.saturating_sub(1);
        }
        self.peers.wanted -= usize::from(object.is_wanted());
        match object.owner() {
            None => self.drop_remote_bytes(id),
            Some(_) => self.release_borrow(Handle::Object(id)),
        }
        for waiter in object.waiting {
            // A guest that dropped its last handle while another call of it waits: the wait ends.
            if let Waiter::Wait(wait) = waiter {
                self.wait_progress(now, wait, true, fx);
            }
        }
        self.freeing.extend(object.state.handles().iter().copied());
        self.value_gone(id, counted_for, &object.state);
        self.forget_lineage(id);
    }

    /// Puts an object into the table.
    pub(super) fn insert_object(&mut self, id: ObjectId, object: Object) {
        if let Some(job) = self.jobs.get_mut(&object.job) {
            job.objects += 1;
        }
        self.objects.insert(id, object);
    }

    /// Takes room for a value in the ledger of those on the heap. What lies in the arena or on disk has
    /// its room already.
    pub(super) fn reserve_inline(&mut self, size: u64, what: impl std::fmt::Display) -> Result<(), Error> {
        let sum = self.inline_bytes.saturating_add(size);
        let max = self.limits.inline_bytes_max;
        if sum > max {
            return Err(Error::new(
                ErrorCode::StoreFull,
                format!(
                    "{what} takes {}, and small values have {} of {} free (inline_bytes_max): drop references that are no longer needed, put many small values into one larger object, or start the node with a larger --store-memory",
                    resources::bytes(size),
                    resources::bytes(max.saturating_sub(self.inline_bytes)),
                    resources::bytes(max),
                ),
            ));
        }
        self.inline_bytes = sum;
        Ok(())
    }

    /// What an object was is gone from the books of bytes.
    ///
    /// `counted_for`: as [`Object::counted_for`] said.
    pub(super) fn value_gone(&mut self, id: ObjectId, counted_for: Option<JobId>, was: &State) {
        if let State::Ready(value) = was {
            self.count_object_bytes(counted_for, value.counted_bytes(), false);
            self.inline_bytes -= value.inline_bytes();
            self.forget_stored(id);
        }
    }

    /// Bytes of an object come or go, as its tenant's quota counts them.
    pub(super) fn count_object_bytes(&mut self, job: Option<JobId>, bytes: u64, come: bool) {
        let Some(job) = job.and_then(|job| self.jobs.get_mut(&job)) else { return };
        self.tenants.note_consumption(job.tenant);
        let tenant = self.tenants.get_mut(job.tenant);
        for count in [&mut job.object_bytes, &mut tenant.object_bytes] {
            *count = if come { *count + bytes } else { *count - bytes };
        }
    }

    /// Gives an object its value or failure and tells whoever waits. Nothing happens when nobody
    /// holds it, or when it has one already: the first counts.
    pub(super) fn set_outcome(&mut self, now: Time, id: ObjectId, outcome: Outcome, fx: &mut Effects) {
        match self.objects.get(&id) {
            Some(Object { state: State::Pending, .. }) => {}
            _ => return,
        }
        let outcome = outcome.and_then(|value| {
            self.reserve_inline(value.inline_bytes(), format_args!("the value of {id}")).map_err(Arc::new)?;
            Ok(value)
        });
        let failure = outcome.as_ref().err().cloned();
        let state = match outcome {
            Ok(value) => State::Ready(value),
            Err(error) => State::Failed(error),
        };
        for handle in state.handles() {
            self.add_edge(*handle);
        }
        let Some(object) = self.objects.get_mut(&id) else { return };
        object.state = state;
        self.note_stored(id, fx);
        self.tell_waiters(now, id, failure.as_ref(), fx);
    }

    /// Adds the edges that a task's arguments are, once each.
    pub(super) fn hold_arguments(&mut self, arguments: &[Argument]) {
        for_each_handle(arguments, |handle| self.add_edge(handle));
    }

    /// Removes the edges that a task's arguments were.
    pub(super) fn release_arguments(&mut self, now: Time, arguments: &[Argument], fx: &mut Effects) {
        for_each_handle(arguments, |handle| self.remove_edge(now, handle, fx));
    }

    /// One more handle of a sandbox. The first one is an edge.
    pub fn acquire(&mut self, instance: InstanceId, handle: Handle) {
        let Some(holder) = self.instances.get_mut(&instance) else { return };
        let count = holder.handles.entry(handle).or_insert(0);
        *count += 1;
        if *count == 1 {
            if let Handle::Actor(id) = handle {
                self.know_hosted_actor(id);
            }
            self.add_edge(handle);
        }
    }

    /// One handle of a sandbox less. The last one was an edge.
    pub fn release(&mut self, now: Time, instance: InstanceId, handle: Handle, fx: &mut Effects) {
        let Some(holder) = self.instances.get_mut(&instance) else { return };
        let Some(count) = holder.handles.get_mut(&handle) else { return };
        *count -= 1;
        if *count == 0 {
            holder.handles.remove(&handle);
            self.remove_edge(now, handle, fx);
            // A stream without a reader does not hold its task up any more; there may be room now.
            if self.any_resuming() || !self.ended_jobs.is_empty() || self.storage.has_waiters() {
                self.schedule(now, fx);
            }
        }
    }
}

pub(super) fn for_each_handle(arguments: &[Argument], mut visit: impl FnMut(Handle)) {
    for argument in arguments {
        match argument {
            Argument::Object(id) => visit(Handle::Object(*id)),
            Argument::Value(value) => value.handles.iter().copied().for_each(&mut visit),
        }
    }
}
