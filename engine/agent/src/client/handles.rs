//! What a client holds: each is one handle in the node's books, given back when the last copy is dropped.

use std::sync::Arc;

use engine_core::node::Spawned;
use engine_core::{ActorId, Handle, LaneId, ObjectId, TaskId};
use engine_runtime::host::PlacementGroupId;

use crate::client::{Client, Inner};

/// A handle of a client's: dropping it gives it back.
pub struct Held {
    client: Arc<Inner>,
    handle: Handle,
}

impl Held {
    /// A handle that the node has given already.
    pub(super) fn given(client: &Client, handle: Handle) -> Self {
        Self { client: client.inner.clone(), handle }
    }

    /// What it is a handle to.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// The object, when it is one.
    pub fn object(&self) -> Option<ObjectId> {
        match self.handle {
            Handle::Object(id) => Some(id),
            _ => None,
        }
    }

    /// The placement group, when it is one.
    pub fn group(&self) -> Option<PlacementGroupId> {
        match self.handle {
            Handle::PlacementGroup(id) => Some(id),
            _ => None,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.client.release(self.handle);
    }
}

/// A task or an actor call that a client made.
pub struct Call {
    /// The task.
    pub task: TaskId,
    /// The objects that it will make, in order; none of one that streams.
    pub outputs: Vec<Held>,
    /// Of one that streams: the reader's end.
    pub stream: Option<Held>,
}

impl Call {
    pub(super) fn new(client: &Client, spawned: Spawned) -> Self {
        let Spawned { task, outputs } = spawned;
        let object = |index| Held::given(client, Handle::Object(task.output(index)));
        Self {
            task,
            outputs: (0..outputs.unwrap_or(0)).map(object).collect(),
            stream: outputs.is_none().then(|| Held::given(client, Handle::Stream(task))),
        }
    }
}

/// An actor, and the queue of the calls made through this handle.
pub struct ActorRef {
    /// The actor.
    pub actor: ActorId,
    pub(super) lane: LaneId,
    _held: Held,
}

impl ActorRef {
    pub(super) fn given(client: &Client, actor: ActorId) -> Self {
        let lane = client.inner.host.new_lane();
        Self { actor, lane, _held: Held::given(client, Handle::Actor(actor)) }
    }
}
