//! Where a value's bytes are put.

use std::sync::Arc;

use engine_core::{Error, ErrorCode, Place, resources};

use crate::arena::Arena;
use crate::draft::{Draft, Room};
use crate::filling::Filling;
use crate::keeper::Keeper;
use crate::place::Blob;
use crate::spill::{Spill, SpillOptions, SpillTarget, SpillUsage, open_target};

/// How the store is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of the arena.
    pub arena_bytes_max: usize,
    /// Values up to this many bytes lie on the heap and travel in messages (contract O5).
    pub inline_object_bytes_max: usize,
    /// At most so many bytes of the arena's pages are made ready ahead of those in use; 0: none.
    pub prefault_bytes_max: usize,
    /// Where what memory has no room for is written.
    pub spill: SpillOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arena_bytes_max: 4 << 30,
            inline_object_bytes_max: 100 << 10,
            prefault_bytes_max: 256 << 20,
            spill: SpillOptions::default(),
        }
    }
}

/// The bytes of this node's values.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) arena: Arc<Arena>,
    /// None when the system gave no thread for it.
    _keeper: Option<Keeper>,
    pub(crate) inline_object_bytes_max: usize,
    pub(crate) spill: Option<Arc<Spill>>,
}

/// How full the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Of them free.
    pub arena_free_bytes: usize,
    /// The largest value that would fit in one piece.
    pub largest_free_bytes: usize,
    /// Parts that are free and do not touch.
    pub arena_free_parts: usize,
    /// Values and drafts in the arena.
    pub arena_extents: usize,
    /// Memory that the arena takes from the system, in bytes: pages in use, free ones that are kept,
    /// and those made ready ahead.
    pub arena_resident_bytes: usize,
    /// What is on disk; all zeros where nothing can be spilled.
    pub spill: SpillUsage,
}

impl Store {
    /// Makes a store.
    ///
    /// # Errors
    /// STORE_FULL when the system gives no shared memory of this size; INVALID_ARGUMENT when the spill
    /// folder cannot be used.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let target = options.spill.folder.as_deref().map(open_target).transpose()?;
        Self::make(options, target)
    }

    /// A store that spills to this target, whatever folder the options name.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_target(options: &Options, target: Arc<dyn SpillTarget>) -> Result<Self, Error> {
        Self::make(options, Some(target))
    }

    fn make(options: &Options, target: Option<Arc<dyn SpillTarget>>) -> Result<Self, Error> {
        let arena = Arena::new(options.arena_bytes_max, options.prefault_bytes_max).map_err(|error| {
            Error::new(
                ErrorCode::StoreFull,
                format!(
                    "the system gives no arena of {}: {error}; start the node with a smaller --store-memory",
                    resources::bytes(options.arena_bytes_max as u64)
                ),
            )
        })?;
        let spill = target.map(|target| Spill::new(target, &options.spill)).transpose()?;
        let keeper = Keeper::start(arena.clone()).ok();
        let inline_object_bytes_max = options.inline_object_bytes_max;
        Ok(Self(Arc::new(Inner { arena, _keeper: keeper, inline_object_bytes_max, spill })))
    }

    /// Stores bytes; they are free when the last clone of the place is dropped.
    ///
    /// # Errors
    /// STORE_FULL when they are large and no part of the arena can take them.
    pub fn place(&self, bytes: Vec<u8>) -> Result<Place, Error> {
        if bytes.len() <= self.inline_object_bytes_max() {
            return Ok(Blob::Inline(bytes).into_place());
        }
        self.write(&[&bytes])
    }

    /// Stores these parts, one after another, as one object.
    ///
    /// # Errors
    /// As [`Self::place`].
    pub fn write(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        let mut draft = self.allocate(parts.iter().map(|part| part.len()).sum())?;
        for part in parts {
            draft.append(part)?;
        }
        Ok(draft.seal())
    }

    /// Room for an object of `size` bytes that is written piece by piece.
    ///
    /// # Errors
    /// As [`Self::place`].
    pub fn allocate(&self, size: usize) -> Result<Draft, Error> {
        if size <= self.inline_object_bytes_max() {
            return Ok(Draft(Room::Inline { bytes: Vec::with_capacity(size), size }));
        }
        match self.0.arena.allocate(size) {
            Some(extent) => Ok(Draft(Room::Arena(extent))),
            None => Err(self.no_room(size as u64)),
        }
    }

    /// Room in the arena for an object of `size` bytes that is received in pieces, from several at once, and
    /// read meanwhile.
    ///
    /// # Errors
    /// STORE_FULL when no part of the arena can take it.
    pub fn receive(&self, size: usize) -> Result<Filling, Error> {
        let extent = self.0.arena.allocate(size).ok_or_else(|| self.no_room(size as u64))?;
        Ok(Filling::new(extent, size))
    }

    pub(crate) fn no_room(&self, size: u64) -> Error {
        let usage = self.0.arena.usage();
        Error::new(
            ErrorCode::StoreFull,
            format!(
                "a value of {} does not fit into the arena: {} of {} are free, {} in one piece; drop references that are no longer needed, or start the node with a larger --store-memory",
                resources::bytes(size),
                resources::bytes(usage.free as u64),
                resources::bytes(usage.total as u64),
                resources::bytes(usage.largest_free as u64),
            ),
        )
    }

    /// Values above this many bytes lie in the arena.
    pub fn inline_object_bytes_max(&self) -> usize {
        self.0.inline_object_bytes_max
    }

    /// Whether there is somewhere to spill to.
    pub fn can_spill(&self) -> bool {
        self.0.spill.is_some()
    }

    /// Gives memory of free parts of the arena back to the system, until at most `keep_bytes` of it
    /// are kept for later use. Answers how many bytes were given back. Blocks: a gigabyte takes a
    /// fifth of a second.
    pub fn trim(&self, keep_bytes: usize) -> usize {
        self.0.arena.trim(keep_bytes)
    }

    /// How full it is. Asks the system, so it takes microseconds.
    pub fn usage(&self) -> Usage {
        let arena = self.0.arena.usage();
        Usage {
            arena_bytes: arena.total,
            arena_free_bytes: arena.free,
            largest_free_bytes: arena.largest_free,
            arena_free_parts: arena.free_parts,
            arena_extents: arena.extents,
            arena_resident_bytes: arena.resident,
            spill: self.0.spill.as_ref().map(|spill| spill.usage()).unwrap_or_default(),
        }
    }
}
