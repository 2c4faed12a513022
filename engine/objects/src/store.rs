//! Where a value's bytes are put.

use std::sync::Arc;

use engine_core::{Error, ErrorCode, Place, Value, resources};

use crate::arena::{Arena, Extent};

/// How the store is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of the arena.
    pub arena_bytes_max: usize,
    /// Values up to this many bytes lie on the heap and travel in messages (contract O5).
    pub inline_object_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { arena_bytes_max: 4 << 30, inline_object_bytes_max: 100 << 10 }
    }
}

/// The bytes of this node's values.
#[derive(Clone)]
pub struct Store {
    arena: Arc<Arena>,
    inline_object_bytes_max: usize,
}

/// How full the arena is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Of them free.
    pub arena_free_bytes: usize,
    /// The largest value that would fit in one piece.
    pub largest_free_bytes: usize,
}

enum Blob {
    Inline(Vec<u8>),
    Shared(Extent),
}

impl Store {
    /// Makes a store.
    ///
    /// # Errors
    /// INTERNAL when the system gives no shared memory of this size.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let arena = Arena::new(options.arena_bytes_max).map_err(|error| {
            Error::new(
                ErrorCode::StoreFull,
                format!(
                    "the system gives no arena of {}: {error}; start the node with a smaller --store-memory",
                    resources::bytes(options.arena_bytes_max as u64)
                ),
            )
        })?;
        Ok(Self { arena, inline_object_bytes_max: options.inline_object_bytes_max })
    }

    /// Stores bytes; they are free when the last clone of the place is dropped.
    ///
    /// # Errors
    /// STORE_FULL when they are large and no part of the arena can take them.
    pub fn place(&self, bytes: Vec<u8>) -> Result<Place, Error> {
        if bytes.len() <= self.inline_object_bytes_max {
            return Ok(Place::new(Arc::new(Blob::Inline(bytes))));
        }
        match self.arena.write(&bytes) {
            Some(extent) => Ok(Place::new(Arc::new(Blob::Shared(extent)))),
            None => {
                let usage = self.usage();
                Err(Error::new(
                    ErrorCode::StoreFull,
                    format!(
                        "a value of {} does not fit into the arena: {} of {} are free, {} in one piece; drop references that are no longer needed, or start the node with a larger --store-memory",
                        resources::bytes(bytes.len() as u64),
                        resources::bytes(usage.arena_free_bytes as u64),
                        resources::bytes(usage.arena_bytes as u64),
                        resources::bytes(usage.largest_free_bytes as u64),
                    ),
                ))
            }
        }
    }

    /// Values above this many bytes lie in the arena.
    pub fn inline_object_bytes_max(&self) -> usize {
        self.inline_object_bytes_max
    }

    /// How full the arena is.
    pub fn usage(&self) -> Usage {
        let (arena_bytes, arena_free_bytes, largest_free_bytes) = self.arena.usage();
        Usage { arena_bytes, arena_free_bytes, largest_free_bytes }
    }
}

/// The bytes of a value; none when it was not placed by a [`Store`].
pub fn bytes(value: &Value) -> &[u8] {
    match value.place.downcast::<Blob>() {
        Some(Blob::Inline(bytes)) => bytes,
        Some(Blob::Shared(extent)) => extent.as_slice(),
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use engine_core::{Codec, value::no_handles};

    use super::*;

    // contract: O5
    #[test]
    fn values_above_the_inline_bound_lie_in_the_arena_once() {
        let store = Store::new(&Options { arena_bytes_max: 1 << 20, inline_object_bytes_max: 100 << 10 })
            .expect("a store");
        let value = |count: usize| {
            let place = store.place(vec![7; count]).expect("room");
            Value { codec: Codec::Raw, size: count as u64, handles: no_handles(), place }
        };
        let before = store.usage().arena_free_bytes;
        let small = value(100 << 10);
        assert_eq!(store.usage().arena_free_bytes, before);
        let large = value((100 << 10) + 1);
        let with_one = store.usage().arena_free_bytes;
        assert!(with_one < before);
        let shared = large.clone();
        assert_eq!(bytes(&shared).as_ptr(), bytes(&large).as_ptr());
        assert_eq!((bytes(&small).len(), bytes(&large).len()), (100 << 10, (100 << 10) + 1));
        drop(large);
        assert_eq!(store.usage().arena_free_bytes, with_one);
        drop(shared);
        assert_eq!(store.usage().arena_free_bytes, before);
    }

    #[test]
    fn a_full_arena_says_so_and_the_same_value_fits_when_there_is_room() {
        let store =
            Store::new(&Options { arena_bytes_max: 1 << 20, inline_object_bytes_max: 0 }).expect("a store");
        let first = store.place(vec![0; 600 << 10]).expect("room");
        let error = store.place(vec![0; 600 << 10]).expect_err("no room");
        assert_eq!(error.code(), ErrorCode::StoreFull);
        assert!(error.message().contains("600 KiB"), "{error}");
        drop(first);
        store.place(vec![0; 600 << 10]).expect("room again");
    }
}
