//! `put`: a value into the object store.
use crate::bindings::engine::compute::objects;
use crate::bytes::Bytes;
use crate::codec::{self, Encoded, Value};
use crate::error::{Error, Result};
use crate::object::ObjectRef;

/// Puts a value into the object store, to be passed to many tasks without being sent each time.
///
/// # Errors
/// INVALID_ARGUMENT when the value does not encode, STORE_FULL, OUT_OF_DISK, LIMIT_EXCEEDED.
pub fn put<T: Value>(value: &T) -> Result<ObjectRef<T>> {
    store(codec::encode(value)?)
}

/// [`put`] for bytes, which are handed over without a copy of the guest's.
///
/// # Errors
/// As [`put`].
pub fn put_bytes(bytes: impl Into<Bytes>) -> Result<ObjectRef<Bytes>> {
    store(codec::encode_owned(bytes.into())?)
}

fn store<T>(mut encoded: Encoded) -> Result<ObjectRef<T>> {
    objects::put(&encoded.lend()).map(ObjectRef::from_wire).map_err(Error::from_wire)
}
