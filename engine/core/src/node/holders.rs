//! Who holds an object, and why: for listings (contract O6).

use std::fmt;

use crate::ids::{ActorId, IdMap, InstanceId, JobId, NodeId, ObjectId, TaskId};
use crate::node::edges::{State, for_each_handle};
use crate::node::instance::Role;
use crate::node::view::ObjectView;
use crate::node::{Node, TaskKey};
use crate::value::Handle;

/// Holders of one object that are listed.
const HOLDERS_SHOWN_MAX: usize = 16;

/// Who holds an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which kind of holder.
    pub kind: HolderKind,
    /// The task, call, actor or object.
    pub id: String,
    /// The function, class or method, when there is one.
    pub function: String,
}

/// Why an object is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderKind {
    /// A guest has a handle to it.
    Handle,
    /// A task that has not ended has it as an argument, or inside one.
    Argument,
    /// An actor's constructor has it as an argument, for restarts.
    Constructor,
    /// Another object's value or failure contains it.
    Value,
    /// A stream has yielded it and nobody has read it yet.
    Stream,
    /// Another node holds it, or keeps its bytes here.
    Node,
}

impl HolderKind {
    /// The kind as it is printed: `HANDLE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handle => "HANDLE",
            Self::Argument => "ARGUMENT",
            Self::Constructor => "CONSTRUCTOR",
            Self::Value => "VALUE",
            Self::Stream => "STREAM",
            Self::Node => "NODE",
        }
    }
}

impl fmt::Display for HolderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A holder before it has a name, which most never need.
#[derive(Clone, Copy)]
enum Who {
    Sandbox(InstanceId),
    Task(TaskKey),
    Actor(ActorId),
    Object(ObjectId),
    Stream(TaskId),
    Node(NodeId),
}

impl Node {
    /// Objects, `max` at most, of a job or of all, the largest first.
    pub fn objects(&self, job: Option<JobId>, max: usize) -> Vec<ObjectView> {
        let wanted = self.objects.iter().filter(|(_, object)| job.is_none_or(|job| object.job == job));
        let mut ids: Vec<(u64, ObjectId)> =
            wanted.map(|(id, object)| (object.state.value().map_or(0, |value| value.size), *id)).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.truncate(max);
        let mut holders: IdMap<ObjectId, Vec<Who>> = ids.iter().map(|(_, id)| (*id, Vec::new())).collect();
        self.note_holders(&mut holders);
        let view = |(_, id): (u64, ObjectId)| {
            let holders = holders.get(&id).map_or(&[][..], Vec::as_slice);
            self.object_view(id, holders)
        };
        ids.into_iter().filter_map(view).collect()
    }

    /// One object.
    pub fn object(&self, id: ObjectId) -> Option<ObjectView> {
        self.objects.get(&id)?;
        let mut holders = IdMap::default();
        holders.insert(id, Vec::new());
        self.note_holders(&mut holders);
        self.object_view(id, &holders[&id])
    }

    /// Notes who holds these objects, a few of each.
    fn note_holders(&self, holders: &mut IdMap<ObjectId, Vec<Who>>) {
        let mut note = |handle: Handle, who: Who| {
            if let Handle::Object(id) = handle
                && let Some(list) = holders.get_mut(&id)
                && list.len() < HOLDERS_SHOWN_MAX
            {
                list.push(who);
            }
        };
        for (id, instance) in &self.instances {
            instance.handles.keys().for_each(|handle| note(*handle, Who::Sandbox(*id)));
        }
        for (key, task) in &self.tasks {
            for_each_handle(&task.arguments, |handle| note(handle, Who::Task(key)));
        }
        for (id, actor) in &self.actors {
            for_each_handle(&actor.arguments, |handle| note(handle, Who::Actor(*id)));
        }
        for (id, object) in &self.objects {
            object.state.handles().iter().for_each(|handle| note(*handle, Who::Object(*id)));
        }
        for (id, stream) in &self.streams {
            stream.unread.iter().for_each(|object| note(Handle::Object(*object), Who::Stream(*id)));
            stream.failure_handles().iter().for_each(|handle| note(*handle, Who::Stream(*id)));
        }
        self.peers.references.for_each_holder(|node, handle| note(handle, Who::Node(node)));
        let kept = &self.peers.references.kept;
        kept.iter().for_each(|(object, kept)| note(Handle::Object(*object), Who::Node(kept.owner)));
    }

    fn holder(&self, who: Who) -> Holder {
        let of_task = |kind, key: TaskKey| Holder {
            kind,
            id: self.tasks[key].id.to_string(),
            function: self.function_name(&self.tasks[key]),
        };
        let of_actor = |kind, id: ActorId| Holder {
            kind,
            id: id.to_string(),
            function: self.actors.get(&id).map(|actor| actor.function.name.to_string()).unwrap_or_default(),
        };
        match who {
            Who::Sandbox(id) => {
                let instance = &self.instances[&id];
                match (&instance.role, instance.calls.first()) {
                    (Role::Actor(actor), _) => of_actor(HolderKind::Handle, *actor),
                    (_, Some(key)) => of_task(HolderKind::Handle, *key),
                    (_, None) => {
                        Holder { kind: HolderKind::Handle, id: id.to_string(), function: String::new() }
                    }
                }
            }
            Who::Task(key) => of_task(HolderKind::Argument, key),
            Who::Actor(id) => of_actor(HolderKind::Constructor, id),
            Who::Object(id) => {
                Holder { kind: HolderKind::Value, id: id.to_string(), function: String::new() }
            }
            Who::Node(id) => Holder { kind: HolderKind::Node, id: id.to_string(), function: String::new() },
            Who::Stream(id) => {
                let function = self.task_index.get(&id).map(|key| self.function_name(&self.tasks[*key]));
                Holder {
                    kind: HolderKind::Stream,
                    id: id.to_string(),
                    function: function.unwrap_or_default(),
                }
            }
        }
    }

    fn object_view(&self, id: ObjectId, holders: &[Who]) -> Option<ObjectView> {
        let object = self.objects.get(&id)?;
        let (state, size, handles, error) = match &object.state {
            State::Pending => ("PENDING", 0, 0, None),
            State::Ready(value) => ("READY", value.size, value.handles.len(), None),
            State::Failed(error) => ("FAILED", 0, 0, Some(error.clone())),
        };
        let (place, pins) = match self.storage.view(id) {
            Some((place, pins)) => (place, pins),
            None => (if state == "READY" { "INLINE" } else { "" }, 0),
        };
        Some(ObjectView {
            id,
            task: id.task(),
            job: object.job,
            state,
            size,
            handles,
            holders: object.edges,
            held_by: holders.iter().map(|who| self.holder(*who)).collect(),
            place,
            pins,
            error,
        })
    }
}
