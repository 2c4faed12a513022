//! What a guest holds: its resources, and how many of each it has.
//!
//! The node is told of the first handle that a sandbox has to a thing and of the last; duplicates in
//! between are counted here, so that they cost no call into the node.

use engine_arrays::Array;
use engine_core::ids::{IdMap, PlacementGroupId};
use engine_core::{ActorId, Handle, LaneId, ObjectId, TaskId};
use slab::Slab;
use wasmtime::component::Resource;

use crate::writing::Writing;

#[allow(unreachable_pub)]
pub use kinds::{
    ActorHandle, ArrayHandle, GroupHandle, InvocationHandle, ObjectHandle, TaskHandle, WriterHandle,
};

/// What stands for each WIT resource in the types of the generated code, which re-exports them.
#[allow(unreachable_pub)]
mod kinds {
    /// The WIT resource `object`.
    pub enum ObjectHandle {}
    /// The WIT resource `task`.
    pub enum TaskHandle {}
    /// The WIT resource `actor`.
    pub enum ActorHandle {}
    /// The WIT resource `placement-group`.
    pub enum GroupHandle {}
    /// The WIT resource `invocation`.
    pub enum InvocationHandle {}
    /// The WIT resource `array`.
    pub enum ArrayHandle {}
    /// The WIT resource `writer`.
    pub enum WriterHandle {}
}

/// A task or call that the guest spawned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskEntry {
    pub(crate) task: TaskId,
    /// None: it streams.
    pub(crate) outputs: Option<u32>,
}

/// An actor handle: it is a queue too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActorEntry {
    pub(crate) actor: ActorId,
    pub(crate) lane: LaneId,
}

/// The tables of one sandbox.
#[derive(Default)]
pub(crate) struct Handles {
    objects: Slab<ObjectId>,
    tasks: Slab<TaskEntry>,
    actors: Slab<ActorEntry>,
    groups: Slab<PlacementGroupId>,
    /// None while a piece is being written.
    writers: Slab<Option<Writing>>,
    arrays: Slab<Array>,
    counts: IdMap<Handle, u32>,
    /// Given away with a value that the node does not have yet.
    moved: Vec<Handle>,
}

/// A guest used a handle that it does not hold: it, or what generated its code, is broken.
fn stale(what: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the guest used a handle to {what} that it does not hold"))
}

fn key<T: 'static>(resource: &Resource<T>) -> usize {
    resource.rep() as usize
}

/// A new resource; an index that does not fit is refused before (see `is_full`).
fn resource<T: 'static>(index: usize) -> Resource<T> {
    Resource::new_own(u32::try_from(index).unwrap_or(u32::MAX))
}

impl Handles {
    /// Handles held, of all kinds.
    pub(crate) fn len(&self) -> usize {
        let shared = self.objects.len() + self.tasks.len() + self.actors.len() + self.groups.len();
        shared + self.writers.len() + self.arrays.len()
    }

    /// One more of `handle`: whether it is the first.
    pub(crate) fn count_up(&mut self, handle: Handle) -> bool {
        let count = self.counts.entry(handle).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// One less of `handle`: whether it was the last.
    pub(crate) fn count_down(&mut self, handle: Handle) -> bool {
        match self.counts.get_mut(&handle) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) => {
                self.counts.remove(&handle);
                true
            }
            None => false,
        }
    }

    /// Notes that a handle went into a value that the node does not have yet.
    pub(crate) fn moved(&mut self, handle: Handle) {
        self.moved.push(handle);
    }

    /// The handles that went into values, once the node has those.
    pub(crate) fn take_moved(&mut self) -> Vec<Handle> {
        std::mem::take(&mut self.moved)
    }

    pub(crate) fn push_object(&mut self, object: ObjectId) -> Resource<ObjectHandle> {
        resource(self.objects.insert(object))
    }

    pub(crate) fn object(&self, object: &Resource<ObjectHandle>) -> wasmtime::Result<ObjectId> {
        self.objects.get(key(object)).copied().ok_or_else(|| stale("an object"))
    }

    pub(crate) fn take_object(&mut self, object: &Resource<ObjectHandle>) -> wasmtime::Result<ObjectId> {
        self.objects.try_remove(key(object)).ok_or_else(|| stale("an object"))
    }

    pub(crate) fn push_task(&mut self, task: TaskEntry) -> Resource<TaskHandle> {
        resource(self.tasks.insert(task))
    }

    pub(crate) fn task(&self, task: &Resource<TaskHandle>) -> wasmtime::Result<TaskEntry> {
        self.tasks.get(key(task)).copied().ok_or_else(|| stale("a task"))
    }

    pub(crate) fn take_task(&mut self, task: &Resource<TaskHandle>) -> wasmtime::Result<TaskEntry> {
        self.tasks.try_remove(key(task)).ok_or_else(|| stale("a task"))
    }

    pub(crate) fn push_actor(&mut self, actor: ActorEntry) -> Resource<ActorHandle> {
        resource(self.actors.insert(actor))
    }

    pub(crate) fn actor(&self, actor: &Resource<ActorHandle>) -> wasmtime::Result<ActorEntry> {
        self.actors.get(key(actor)).copied().ok_or_else(|| stale("an actor"))
    }

    pub(crate) fn take_actor(&mut self, actor: &Resource<ActorHandle>) -> wasmtime::Result<ActorEntry> {
        self.actors.try_remove(key(actor)).ok_or_else(|| stale("an actor"))
    }

    pub(crate) fn push_group(&mut self, group: PlacementGroupId) -> Resource<GroupHandle> {
        resource(self.groups.insert(group))
    }

    pub(crate) fn group(&self, group: &Resource<GroupHandle>) -> wasmtime::Result<PlacementGroupId> {
        self.groups.get(key(group)).copied().ok_or_else(|| stale("a placement group"))
    }

    pub(crate) fn take_group(&mut self, group: &Resource<GroupHandle>) -> wasmtime::Result<PlacementGroupId> {
        self.groups.try_remove(key(group)).ok_or_else(|| stale("a placement group"))
    }

    /// Arrays held.
    pub(crate) fn arrays(&self) -> usize {
        self.arrays.len()
    }

    pub(crate) fn push_array(&mut self, array: Array) -> Resource<ArrayHandle> {
        resource(self.arrays.insert(array))
    }

    pub(crate) fn array(&self, array: &Resource<ArrayHandle>) -> wasmtime::Result<&Array> {
        self.arrays.get(key(array)).ok_or_else(|| stale("an array"))
    }

    pub(crate) fn take_array(&mut self, array: &Resource<ArrayHandle>) -> wasmtime::Result<Array> {
        self.arrays.try_remove(key(array)).ok_or_else(|| stale("an array"))
    }

    /// Objects that are being written.
    pub(crate) fn writers(&self) -> usize {
        self.writers.len()
    }

    pub(crate) fn push_writer(&mut self, writer: Writing) -> Resource<WriterHandle> {
        resource(self.writers.insert(Some(writer)))
    }

    /// Where a writer is while no piece is being written.
    pub(crate) fn writer(
        &mut self,
        writer: &Resource<WriterHandle>,
    ) -> wasmtime::Result<&mut Option<Writing>> {
        self.writers.get_mut(key(writer)).ok_or_else(|| stale("a writer"))
    }

    pub(crate) fn take_writer(
        &mut self,
        writer: &Resource<WriterHandle>,
    ) -> wasmtime::Result<Option<Writing>> {
        self.writers.try_remove(key(writer)).ok_or_else(|| stale("a writer"))
    }
}
