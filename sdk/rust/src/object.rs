//! `ObjectRef<T>`: a reference to a value that exists or will.
use crate::bindings::engine::compute::types as wit;
use crate::code::ErrorCode;
use crate::codec::{self, Codec, Value};
use crate::error::{Error, Result};
use crate::handles::{self, Handle};
use crate::time::nanoseconds;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A reference to an immutable value, made by [`put`](crate::put) or by a task, that exists or will.
///
/// It is passed to a task in place of the value (which then arrives as the value), or inside one
/// (and then arrives as a reference). The value lives as long as a reference to it does. In async
/// code it is awaited: `reference.await?`.
pub struct ObjectRef<T> {
    object: Arc<wit::Object>,
    value: PhantomData<fn() -> T>,
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// How its bytes are read.
    pub codec: Codec,
    /// Its size in bytes.
    pub size: u64,
    /// How many handles are inside it.
    pub handles: u32,
}

impl<T> ObjectRef<T> {
    pub(crate) fn from_wire(object: wit::Object) -> Self {
        Self::from_shared(Arc::new(object))
    }

    pub(crate) fn from_shared(object: Arc<wit::Object>) -> Self {
        ObjectRef { object, value: PhantomData }
    }

    pub(crate) fn wire(&self) -> &wit::Object {
        &self.object
    }

    pub(crate) fn shared(&self) -> Arc<wit::Object> {
        Arc::clone(&self.object)
    }

    /// Printable, for logs and listings.
    pub fn id(&self) -> String {
        self.object.id()
    }

    /// Whether the value, or the failure in its place, is there.
    pub fn is_ready(&self) -> bool {
        self.object.is_ready()
    }

    /// The same reference, its value read as another type. Nothing is converted: a `get` fails if
    /// the bytes are not a `U`.
    pub fn cast<U>(self) -> ObjectRef<U> {
        ObjectRef { object: self.object, value: PhantomData }
    }

    /// Codec, size and number of handles, once the value is there.
    ///
    /// # Errors
    /// The failure of the task that was to make the value.
    pub fn metadata(&self) -> Result<Metadata> {
        let wit::Metadata { codec, size, handles } = self.object.metadata(None).map_err(Error::from_wire)?;
        Ok(Metadata { codec: Codec::from_wire(codec), size, handles })
    }

    /// Part of the value's bytes, as they are encoded; fewer than `length` only at the end.
    ///
    /// # Errors
    /// The failure of the task that was to make the value.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.object.read(offset, length, None).map_err(Error::from_wire)
    }
}

impl<T: Value> ObjectRef<T> {
    /// Waits for the value and gives it.
    ///
    /// # Errors
    /// The failure of the task that was to make the value; INVALID_ARGUMENT when it is not a `T`.
    pub fn get(&self) -> Result<T> {
        self.decode(self.object.get(None))
    }

    /// Waits for the value at most so long; a timeout of zero only looks.
    ///
    /// # Errors
    /// As [`get`](Self::get), and GET_TIMEOUT, which leaves the task that makes the value alone.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.decode(self.object.get(Some(nanoseconds(timeout))))
    }

    pub(crate) fn decode(&self, got: std::result::Result<wit::Value, wit::Error>) -> Result<T> {
        codec::decode(got.map_err(Error::from_wire)?).map_err(|cause| {
            Error::coded(ErrorCode::InvalidArgument, format!("object {} does not decode: {cause}", self.id()))
        })
    }
}

impl<T> Clone for ObjectRef<T> {
    fn clone(&self) -> Self {
        Self::from_shared(self.shared())
    }
}

impl<T> fmt::Debug for ObjectRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectRef({})", self.id())
    }
}

impl<T> Serialize for ObjectRef<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        handles::serialize(Handle::Object(self.shared()), serializer)
    }
}

impl<'de, T> Deserialize<'de> for ObjectRef<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        const WANTED: &str = "a reference to an object";
        match handles::deserialize(deserializer, WANTED)? {
            Handle::Object(object) => Ok(Self::from_shared(object)),
            other => Err(handles::mismatch(&other, WANTED)),
        }
    }
}
