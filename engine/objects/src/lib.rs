//! Node-local bytes.

use std::sync::Arc;

use engine_core::{Error, Place, Value};

/// The bytes of a value; empty when its place is none of this store's.
pub fn bytes(value: &Value) -> &[u8] {
    value.place.downcast::<Vec<u8>>().map_or(&[], Vec::as_slice)
}

/// Stores bytes.
pub fn place(bytes: Vec<u8>) -> Result<Place, Error> {
    Ok(Place::new(Arc::new(bytes)))
}
