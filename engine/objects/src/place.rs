//! What a place of the core is, here.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use engine_core::{Error, ErrorCode, Place, Residence, Value};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use crate::extent::Extent;
use crate::spill::SpilledObject;

/// Where bytes lie.
pub(crate) enum Blob {
    Inline(Vec<u8>),
    Arena(Extent),
    Spilled(SpilledObject),
}

impl Blob {
    pub(crate) fn into_place(self) -> Place {
        let residence = match &self {
            Self::Inline(_) => Residence::Inline,
            Self::Arena(_) => Residence::Arena,
            Self::Spilled(_) => Residence::Spilled,
        };
        Place::of(Arc::new(self), residence)
    }

    pub(crate) fn of(place: &Place) -> Option<&Self> {
        place.downcast()
    }

    /// The bytes, unless they are on disk.
    pub(crate) fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Arena(extent) => Some(extent.as_slice()),
            Self::Spilled(_) => None,
        }
    }
}

/// A place on the heap that has these bytes, however many they are: for what was read from disk and is
/// about to be given to a guest, and for what waits for room.
pub fn on_heap(bytes: Vec<u8>) -> Place {
    Blob::Inline(bytes).into_place()
}

/// Where a place's bytes lie; none when no [`Store`](crate::Store) made it.
pub fn residence(place: &Place) -> Option<Residence> {
    Blob::of(place).map(|_| place.residence())
}

/// A place's bytes; none when they are spilled, or no [`Store`](crate::Store) made it.
pub fn slice(place: &Place) -> Option<&[u8]> {
    Blob::of(place)?.in_memory()
}

/// How many bytes a place has, wherever they lie; 0 when no [`Store`](crate::Store) made it.
pub fn size(place: &Place) -> u64 {
    match Blob::of(place) {
        Some(Blob::Spilled(object)) => object.length(),
        Some(memory) => memory.in_memory().map_or(0, |bytes| bytes.len() as u64),
        None => 0,
    }
}

/// The bytes of a value; empty where [`slice`] gives none.
pub fn bytes(value: &Value) -> &[u8] {
    slice(&value.place).unwrap_or_default()
}

/// What to map to see a place's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Mapping<'a> {
    /// All pages of the arena. It can be written: map it privately, and keep it in this process.
    pub file: BorrowedFd<'a>,
    /// Where in the file the bytes begin: a multiple of 4096.
    pub offset: u64,
    /// Bytes. From there to the end of their last page are zeros.
    pub length: usize,
}

/// What to map to see a place's bytes; none unless they lie in the arena. A mapping does not keep the
/// place: whoever maps holds a clone of it until the mapping is gone, also of a private mapping, whose
/// pages show the arena until they are written.
pub fn mapping(place: &Place) -> Option<Mapping<'_>> {
    match Blob::of(place)? {
        Blob::Arena(extent) => Some(Mapping {
            file: extent.arena().file(),
            offset: extent.offset() as u64,
            length: extent.as_slice().len(),
        }),
        Blob::Inline(_) | Blob::Spilled(_) => None,
    }
}

/// A descriptor of a copy of a place's bytes, and of nothing else, that nobody can change (F_SEAL_WRITE
/// of fcntl(2)): for another process.
///
/// # Errors
/// INVALID_ARGUMENT when the bytes are not in memory, STORE_FULL when the system gives none for the
/// copy.
pub fn read_only_descriptor(place: &Place) -> Result<OwnedFd, Error> {
    let Some(bytes) = slice(place) else {
        return Err(Error::invalid_argument(
            "bytes that are not in memory have no descriptor; restore them first",
        ));
    };
    sealed_copy(bytes).map_err(|error| {
        Error::new(
            ErrorCode::StoreFull,
            format!(
                "the system gives no memory for a copy of {} bytes: {error}; free memory on this machine",
                bytes.len()
            ),
        )
    })
}

fn sealed_copy(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let file = memfd_create("engine-object", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(&file, &bytes[done..], done as u64) {
            Ok(0) => return Err(Errno::NOMEM),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}
