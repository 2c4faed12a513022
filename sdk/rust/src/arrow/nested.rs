//! Tables and tensors inside other values: bytes of MessagePack (`bin`), which are one Arrow IPC stream.
//! They are copied once when they are read.
use super::ArrowValue;
use arrow_buffer::Buffer;
use serde::de::{Deserializer, Visitor};
use serde::ser::{Error as _, Serializer};
use std::fmt;
use std::marker::PhantomData;

pub(super) fn serialize<V: ArrowValue, S: Serializer>(value: &V, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(&value.write().map_err(S::Error::custom)?)
}

pub(super) fn deserialize<'de, V: ArrowValue, D: Deserializer<'de>>(deserializer: D) -> Result<V, D::Error> {
    deserializer.deserialize_bytes(BytesVisitor(PhantomData))
}

struct BytesVisitor<V>(PhantomData<V>);

impl<V: ArrowValue> Visitor<'_> for BytesVisitor<V> {
    type Value = V;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of an Arrow table or tensor")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<V, E> {
        // Into a buffer that is aligned.
        V::read(Buffer::from_slice_ref(bytes)).map_err(E::custom)
    }
}
