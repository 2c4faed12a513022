//! What a session gives to its node and gets from it.

use bytes::Bytes;
use engine_core::resources::Quantity;
use engine_core::{Codec, Error, Handle, ObjectId};

use crate::session::Held;

/// A value. One that came holds what is inside it as long as it lives.
pub struct Value {
    /// How the bytes are read.
    pub codec: Codec,
    /// The bytes.
    pub bytes: Bytes,
    /// The handles inside, by index.
    pub handles: Vec<Handle>,
    held: Vec<Held>,
}

impl Value {
    /// A value to give. Whoever gives it holds what is inside until that has returned.
    pub fn new(codec: Codec, bytes: impl Into<Bytes>, handles: Vec<Handle>) -> Self {
        Self { codec, bytes: bytes.into(), handles, held: Vec::new() }
    }

    /// One that the node has given, and each of the handles inside with it.
    pub(super) fn given(codec: Codec, bytes: Bytes, held: Vec<Held>) -> Self {
        Self { codec, bytes, handles: held.iter().map(Held::handle).collect(), held }
    }

    /// The bytes, and what the value holds: nothing of one that was made here.
    pub fn into_parts(self) -> (Bytes, Vec<Held>) {
        (self.bytes, self.held)
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { codec, bytes, handles, .. } = self;
        write!(f, "Value({codec:?}, {} bytes, {handles:?})", bytes.len())
    }
}

/// An argument of a task or call.
#[derive(Debug)]
pub enum Argument {
    /// A value now.
    Value(Value),
    /// An object whose value the callee sees once it exists.
    Object(ObjectId),
}

/// What has failed, and what the failing guest attached.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// The error.
    pub error: Error,
    /// What was attached.
    pub payload: Option<Value>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, payload: None }
    }
}

/// A node as a session sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// What it has: name and amount.
    pub total: Vec<(String, Quantity)>,
    /// What is free.
    pub available: Vec<(String, Quantity)>,
}
