//! `get_all`: many values at once.
use crate::bindings::engine::compute::{objects, types as wit};
use crate::code::ErrorCode;
use crate::codec::{self, Value};
use crate::error::{Error, Result};
use crate::object::ObjectRef;
use crate::time::nanoseconds;
use std::time::Duration;

/// The values of all, in the order of the references; one reference may occur several times.
///
/// # Errors
/// The first failure among them.
pub fn get_all<T: Value>(references: &[ObjectRef<T>]) -> Result<Vec<T>> {
    get_all_within(references, None)
}

/// [`get_all`] that waits at most so long for all together.
///
/// # Errors
/// As [`get_all`], and GET_TIMEOUT, which leaves the tasks that make the values alone.
pub fn get_all_timeout<T: Value>(references: &[ObjectRef<T>], timeout: Duration) -> Result<Vec<T>> {
    get_all_within(references, Some(nanoseconds(timeout)))
}

fn get_all_within<T: Value>(references: &[ObjectRef<T>], timeout: Option<u64>) -> Result<Vec<T>> {
    let objects: Vec<&wit::Object> = references.iter().map(ObjectRef::wire).collect();
    let values = objects::get_all(&objects, timeout).map_err(Error::from_wire)?;
    let decoded = references.iter().zip(values).map(|(reference, value)| {
        codec::decode(value).map_err(|cause| {
            let id = reference.id();
            Error::coded(ErrorCode::InvalidArgument, format!("object {id} does not decode: {cause}"))
        })
    });
    decoded.collect()
}
