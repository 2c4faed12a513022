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
pub struct Place {
    token: Option<Arc<dyn Any + Send + Sync>>,
    residence: Residence,
}

/// What a value's bytes take room of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Residence {
    /// The heap: at most `inline_object_bytes_max`. They stay there.
    #[default]
    Inline,
    /// The arena, which the core makes room in.
    Arena,
    /// A disk or bucket.
    Spilled,
    /// Another node.
    Remote,
}

impl Residence {
    /// Whether the bytes are in this node's memory.
    pub fn is_memory(self) -> bool {
        matches!(self, Self::Inline | Self::Arena)
    }
}

impl Place {
    /// A place on the heap that is `token`, whatever that is to whoever stores bytes.
    pub fn new<T: Any + Send + Sync>(token: Arc<T>) -> Self {
        Self::of(token, Residence::Inline)
    }

    /// A place of this residence.
    pub fn of<T: Any + Send + Sync>(token: Arc<T>, residence: Residence) -> Self {
        Self { token: Some(token), residence }
    }

    /// What this place was made of, when it was a `T`.
    pub fn downcast<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.token.as_deref()?.downcast_ref()
    }

    /// What the bytes take room of.
    pub fn residence(&self) -> Residence {
        self.residence
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.token, self.residence) {
            (None, _) => "Place(none)",
            (_, Residence::Inline) => "Place(inline)",
            (_, Residence::Arena) => "Place(arena)",
            (_, Residence::Spilled) => "Place(spilled)",
            (_, Residence::Remote) => "Place(remote)",
        })
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

    /// Bytes that it counts as among those of its tenant's objects, wherever they lie.
    pub fn counted_bytes(&self) -> u64 {
        self.size + OBJECT_RECORD_BYTES
    }

    /// Bytes that it takes on the heap.
    pub fn inline_bytes(&self) -> u64 {
        match self.place.residence() {
            Residence::Inline => self.size,
            Residence::Arena | Residence::Spilled | Residence::Remote => 0,
        }
    }
}

/// What an object counts as besides the bytes of its value: so that empty ones are bounded too.
pub const OBJECT_RECORD_BYTES: u64 = 256;

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

impl Argument {
    /// Bytes that it takes on the heap by itself.
    pub fn inline_bytes(&self) -> u64 {
        match self {
            Self::Value(value) => value.inline_bytes(),
            Self::Object(_) => 0,
        }
    }

    /// The object, when it is one.
    pub fn object(&self) -> Option<ObjectId> {
        match self {
            Self::Object(id) => Some(*id),
            Self::Value(_) => None,
        }
    }
}
