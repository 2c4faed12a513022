//! Values as the core sees them: codec, size, handles, and a place that it carries but cannot read.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::ids::{ActorId, ObjectId, PlacementGroupId, TaskId};

/// How the bytes of a value are read (contract O4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Bytes as they are.
    Raw,
    /// MessagePack; handles are extension type 1.
    Msgpack,
    /// One Arrow IPC stream.
    ArrowIpc,
    /// The Python SDK's own.
    Python,
}

/// Where a value's bytes lie: a token that the core moves and clones and never looks into. When the
/// last clone is dropped, the bytes are free.
#[derive(Clone, Default)]
pub struct Place(Option<Arc<dyn Any + Send + Sync>>);

impl Place {
    /// A place that is `bytes`, whatever that is to whoever stores bytes.
    pub fn new<T: Any + Send + Sync>(bytes: Arc<T>) -> Self {
        Self(Some(bytes))
    }

    /// What [`Self::new`] was given, when it was a `T`.
    pub fn downcast<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Place(..)" } else { "Place(none)" })
    }
}

/// A capability inside a value or in a guest's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handle {
    /// A reference to an object.
    Object(ObjectId),
    /// A reference to an actor.
    Actor(ActorId),
    /// A reference to a placement group.
    PlacementGroup(PlacementGroupId),
    /// The reader of a streaming task. Never travels inside a value.
    Stream(TaskId),
}

/// A value: what an object holds, and what arguments and results are.
#[derive(Debug, Clone)]
pub struct Value {
    /// How the bytes are read.
    pub codec: Codec,
    /// Bytes.
    pub size: u64,
    /// The handles inside, by index.
    pub handles: Arc<[Handle]>,
    /// Where the bytes lie.
    pub place: Place,
}

impl Value {
    /// A value of no bytes and no handles.
    pub fn empty() -> Self {
        Self { codec: Codec::Raw, size: 0, handles: no_handles(), place: Place::default() }
    }
}

/// An empty list of handles.
pub fn no_handles() -> Arc<[Handle]> {
    Arc::from([])
}

/// What became of an object.
pub type Outcome = Result<Value, Arc<Error>>;

/// An argument of a task or call.
#[derive(Debug, Clone)]
pub enum Argument {
    /// A value now.
    Value(Value),
    /// An object whose value the callee sees once it exists.
    Object(ObjectId),
}
