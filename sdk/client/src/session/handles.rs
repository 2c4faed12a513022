//! What a session holds: each is one handle in the node's books, given back when it is dropped.

use std::sync::Arc;

use engine_core::{ActorId, Handle, ObjectId, PlacementGroupId, TaskId};
use engine_proto::convert::client::handle;
use engine_proto::v1::client_message::Message;

use crate::session::line::Line;

/// A handle of a session's: dropping it gives it back, which waits for nothing.
pub struct Held {
    line: Arc<Line>,
    handle: Handle,
}

impl Held {
    /// A handle that the node has given already.
    pub(super) fn given(line: &Arc<Line>, handle: Handle) -> Self {
        Self { line: line.clone(), handle }
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
        self.line.say(Message::Release(handle(self.handle)));
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Held({:?})", self.handle)
    }
}

/// A task or an actor call that a session made.
#[derive(Debug)]
pub struct Call {
    /// The task.
    pub task: TaskId,
    /// The objects that it will make, in order; none of one that streams.
    pub outputs: Vec<Held>,
    /// Of one that streams: the reader's end.
    pub stream: Option<Held>,
}

impl Call {
    /// `outputs`: none of one that streams.
    pub(super) fn given(line: &Arc<Line>, task: TaskId, outputs: Option<u32>) -> Self {
        let object = |index| Held::given(line, Handle::Object(task.output(index)));
        Self {
            task,
            outputs: (0..outputs.unwrap_or(0)).map(object).collect(),
            stream: outputs.is_none().then(|| Held::given(line, Handle::Stream(task))),
        }
    }
}

/// An actor, and the queue of the calls made through this handle.
pub struct ActorRef {
    /// The actor.
    pub actor: ActorId,
    pub(super) lane: u64,
    line: Arc<Line>,
}

impl ActorRef {
    /// One that the node has given, by this lane.
    pub(super) fn given(line: &Arc<Line>, actor: ActorId, lane: u64) -> Self {
        Self { actor, lane, line: line.clone() }
    }
}

impl Drop for ActorRef {
    fn drop(&mut self) {
        self.line.say(Message::CloseLane(self.lane));
    }
}

impl std::fmt::Debug for ActorRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ActorRef({}, lane {})", self.actor, self.lane)
    }
}
