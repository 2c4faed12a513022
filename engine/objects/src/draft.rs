//! An object that is being written.

use engine_core::{Error, Place, resources};

use crate::extent::ExtentDraft;
use crate::place::Blob;

/// Room for an object, to be written piece by piece from its beginning on. Dropped before it is
/// sealed, its room is free again.
pub struct Draft(pub(crate) Room);

pub(crate) enum Room {
    Inline { bytes: Vec<u8>, size: usize },
    Arena(ExtentDraft),
}

impl Draft {
    /// Bytes written so far.
    pub fn written(&self) -> usize {
        match &self.0 {
            Room::Inline { bytes, .. } => bytes.len(),
            Room::Arena(extent) => extent.written(),
        }
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Room::Inline { bytes, .. } => bytes,
            Room::Arena(extent) => extent.as_slice(),
        }
    }

    /// Bytes that there is still room for.
    pub fn left(&self) -> usize {
        match &self.0 {
            Room::Inline { bytes, size } => size - bytes.len(),
            Room::Arena(extent) => extent.left(),
        }
    }

    /// Writes after what was written.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when these are more bytes than there is room for; then none is written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > self.left() {
            return Err(Error::invalid_argument(format!(
                "{} more do not fit into an object of {} of which {} are written; allocate as many bytes as will be written",
                resources::bytes(bytes.len() as u64),
                resources::bytes((self.written() + self.left()) as u64),
                resources::bytes(self.written() as u64),
            )));
        }
        match &mut self.0 {
            Room::Inline { bytes: written, .. } => written.extend_from_slice(bytes),
            Room::Arena(extent) => extent.append(bytes),
        }
        Ok(())
    }

    /// The object: what was written, which does not change any more. Room that was not needed is free
    /// again.
    pub fn seal(self) -> Place {
        match self.0 {
            Room::Inline { bytes, .. } => Blob::Inline(bytes),
            Room::Arena(extent) => Blob::Arena(extent.seal()),
        }
        .into_place()
    }
}
