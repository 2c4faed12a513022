//! The store's work with spill files. All of it blocks on the disk and holds no lock meanwhile; what
//! is spilled and restored, and when, the core says.

use std::sync::Arc;

use engine_core::{Error, ErrorCode, Place, resources};

use crate::draft::Room;
use crate::place::Blob;
use crate::spill::{Spill, SpillDraft};
use crate::store::Store;

impl Store {
    /// Writes values into one spill file, or, when the disk has no room for all of them, as many as it
    /// has room for into smaller ones. Each place answered is where the value of the same index lies
    /// now; the memory is free once the last clone of the old place is dropped. One that is spilled
    /// already is answered as it is.
    ///
    /// # Errors
    /// Each on its own; the value is then as it was. OUT_OF_DISK when there is no room on the disk or
    /// below `spill_bytes_max`; STORE_FULL when the disk does not work or spilling is off;
    /// INVALID_ARGUMENT when no store made the place.
    pub fn spill(&self, values: Vec<Place>) -> Vec<Result<Place, Error>> {
        let mut outgoing = Vec::with_capacity(values.len());
        let mut answers: Vec<Option<Result<Place, Error>>> = Vec::with_capacity(values.len());
        for place in &values {
            let (object, answer) = match Blob::of(place) {
                Some(Blob::Spilled(_)) => (None, Some(Ok(place.clone()))),
                Some(memory) => (memory.in_memory(), None),
                None => (None, Some(Err(not_ours()))),
            };
            outgoing.extend(object);
            answers.push(answer);
        }
        let mut written = match self.spilling() {
            _ if outgoing.is_empty() => Vec::new(),
            Ok(spill) => spill.write_fused(&outgoing),
            Err(error) => outgoing.iter().map(|_| Err(error.clone())).collect(),
        }
        .into_iter();
        let mut next = || match written.next() {
            Some(spilled) => spilled.map(|object| Blob::Spilled(object).into_place()),
            None => Err(Error::internal("a spilled value has no answer")),
        };
        answers.into_iter().map(|answer| answer.unwrap_or_else(&mut next)).collect()
    }

    /// Stores these parts, one after another, as one object on disk, for when memory has no room.
    ///
    /// # Errors
    /// As [`Self::spill`].
    pub fn write_through(&self, parts: &[&[u8]]) -> Result<Place, Error> {
        Ok(Blob::Spilled(self.spilling()?.write_one(parts)?).into_place())
    }

    /// An object on disk that is written piece by piece, for one that is too large for memory.
    ///
    /// # Errors
    /// As [`Self::spill`].
    pub fn allocate_through(&self) -> Result<SpillDraft, Error> {
        SpillDraft::new(self.spilling()?)
    }

    /// Brings a value back to memory; one that is there is answered as it is. Its place on disk is free
    /// once the last clone of the old place is dropped.
    ///
    /// # Errors
    /// STORE_FULL when the arena has no room; OBJECT_LOST, naming file and offset, when the disk fails
    /// or the bytes were changed there; INVALID_ARGUMENT when no store made the place.
    pub fn restore(&self, place: &Place) -> Result<Place, Error> {
        let object = match Blob::of(place).ok_or_else(not_ours)? {
            Blob::Inline(_) | Blob::Arena(_) => return Ok(place.clone()),
            Blob::Spilled(object) => object,
        };
        let size = usize::try_from(object.length()).map_err(|_| self.no_room(object.length()))?;
        let mut draft = self.allocate(size)?;
        match &mut draft.0 {
            Room::Inline { bytes, .. } => *bytes = object.read_range(0, size)?,
            Room::Arena(extent) => {
                object.read_into(extent.rest_mut())?;
                extent.fill();
            }
        }
        Ok(draft.seal())
    }

    /// Bytes `offset .. offset + length` of a value, wherever it lies; of one on disk, only the blocks
    /// that they lie in are read.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the value ends before; otherwise as [`Self::restore`].
    pub fn read(&self, place: &Place, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let blob = Blob::of(place).ok_or_else(not_ours)?;
        let size = match blob {
            Blob::Spilled(object) => object.length(),
            memory => memory.in_memory().map_or(0, |bytes| bytes.len() as u64),
        };
        let end = offset.checked_add(length).filter(|end| *end <= size).ok_or_else(|| {
            Error::invalid_argument(format!(
                "a value of {size} bytes has no {length} bytes at offset {offset}; ask for a range that lies within it"
            ))
        })?;
        if length == 0 {
            return Ok(Vec::new());
        }
        match blob {
            Blob::Spilled(object) => {
                let length = usize::try_from(length).map_err(|_| self.no_room(length))?;
                object.read_range(offset, length)
            }
            memory => {
                let bytes = memory.in_memory().unwrap_or_default();
                Ok(bytes[offset as usize..end as usize].to_vec())
            }
        }
    }

    fn spilling(&self) -> Result<&Arc<Spill>, Error> {
        self.0.spill.as_ref().ok_or_else(|| {
            Error::new(
                ErrorCode::StoreFull,
                format!(
                    "memory is full and nothing can be spilled, because this node has no spill folder: {} of {} are free; start the node with a spill folder or a larger --store-memory",
                    resources::bytes(self.0.arena.usage().free as u64),
                    resources::bytes(self.0.arena.usage().total as u64),
                ),
            )
        })
    }
}

impl SpillDraft {
    /// The object: what was written, on disk.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn seal(self) -> Result<Place, Error> {
        Ok(Blob::Spilled(self.into_object()?).into_place())
    }
}

fn not_ours() -> Error {
    Error::invalid_argument("the value has no bytes in this store")
}
