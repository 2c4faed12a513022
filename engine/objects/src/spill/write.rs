//! Bytes on their way to the disk.

use std::io::{self, IoSlice};
use std::sync::Arc;

use engine_core::Error;

use super::Spill;
use super::aligned::padding;
use super::errors::is_full;
use super::object::{SpillFile, SpilledObject, disk_bytes};
use super::target::SpillWriter;
use crate::background::Kind;
use crate::checksum::{Builder, Checksums};

/// From so many bytes on, checksums are computed beside the writing rather than after it.
const BESIDE_BYTES_MIN: u64 = 4 << 20;

impl Spill {
    /// Writes objects into one file. When there is no room for all of them, as many as there is room
    /// for go into smaller ones. An object that could not be written is as it was.
    pub(crate) fn write_fused(self: &Arc<Self>, objects: &[&[u8]]) -> Vec<Result<SpilledObject, Error>> {
        let error = match self.write_file(objects) {
            Ok(spilled) => return spilled.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        if objects.len() < 2 || error.code() != engine_core::ErrorCode::OutOfDisk {
            return objects.iter().map(|_| Err(error.clone())).collect();
        }
        let (first, second) = objects.split_at(objects.len() / 2);
        [first, second].into_iter().flat_map(|half| self.write_fused(half)).collect()
    }

    /// Writes one object, in parts, into a file of its own.
    pub(crate) fn write_one(self: &Arc<Self>, parts: &[&[u8]]) -> Result<SpilledObject, Error> {
        let length = parts.iter().map(|part| part.len() as u64).sum();
        let mut file = Unfinished::create(self, Some(disk_bytes(length)))?;
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        slices.push(IoSlice::new(padding(length as usize)));
        let sums = || Checksums::of(parts, self.block_bytes);
        let (written, checksums) = beside(length, || file.append(&slices), sums);
        written?;
        Ok(SpilledObject::new(file.finish()?, 0, length, checksums))
    }

    fn write_file(self: &Arc<Self>, objects: &[&[u8]]) -> Result<Vec<SpilledObject>, Error> {
        let total = objects.iter().map(|object| disk_bytes(object.len() as u64)).sum();
        let mut file = Unfinished::create(self, Some(total))?;
        let mut slices = Vec::with_capacity(objects.len() * 2);
        for object in objects {
            slices.extend([object, padding(object.len())].map(IoSlice::new));
        }
        let sums = || -> Vec<Checksums> {
            objects.iter().map(|object| Checksums::of(&[object], self.block_bytes)).collect()
        };
        let (written, checksums) = beside(total, || file.append(&slices), sums);
        written?;
        let file = file.finish()?;
        let mut offset = 0;
        let place = |(object, checksums): (&&[u8], Checksums)| {
            let length = object.len() as u64;
            let spilled = SpilledObject::new(file.clone(), offset, length, checksums);
            offset += disk_bytes(length);
            spilled
        };
        Ok(objects.iter().zip(checksums).map(place).collect())
    }
}

/// Does both, at the same time when there are many bytes and the system gives a thread.
fn beside<W, S: Send>(bytes: u64, write: impl FnOnce() -> W, sums: impl Fn() -> S + Sync) -> (W, S) {
    std::thread::scope(|scope| {
        let started = (bytes >= BESIDE_BYTES_MIN).then(|| Kind::Checksums.start_in(scope, &sums));
        let written = write();
        let summed = started.and_then(Result::ok).and_then(|thread| thread.join().ok());
        (written, summed.unwrap_or_else(&sums))
    })
}

/// A file that is being written; deleted when it is dropped before its end.
struct Unfinished {
    // Declared before the file, so that it is closed before it is deleted.
    writer: Option<Box<dyn SpillWriter>>,
    file: SpillFile,
}

impl Unfinished {
    /// Begins a file of `bytes`, or of as many as will be appended.
    fn create(spill: &Arc<Spill>, bytes: Option<u64>) -> Result<Self, Error> {
        let mut file = Self { writer: None, file: SpillFile::begin(spill) };
        file.take(bytes.unwrap_or(0))?;
        let mut created = spill.target.create(&file.file.name, bytes);
        if created.as_ref().is_err_and(is_full) {
            // Perhaps what was dropped a moment ago is not deleted yet.
            spill.janitor.settle();
            created = spill.target.create(&file.file.name, bytes);
        }
        file.writer = Some(created.map_err(|error| file.failed(&error))?);
        Ok(file)
    }

    /// Takes so many more bytes of the bound.
    fn take(&mut self, bytes: u64) -> Result<(), Error> {
        let spill = &self.file.spill;
        if !spill.accounts.take(bytes) {
            spill.janitor.settle();
            if !spill.accounts.take(bytes) {
                return Err(spill.limit_reached(bytes));
            }
        }
        self.file.bytes += bytes;
        Ok(())
    }

    fn append(&mut self, slices: &[IoSlice<'_>]) -> Result<(), Error> {
        let appended = match &mut self.writer {
            Some(writer) => writer.append(slices),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        appended.map_err(|error| self.give_up(&error))
    }

    fn finish(mut self) -> Result<Arc<SpillFile>, Error> {
        let finished = match self.writer.take() {
            Some(writer) => writer.finish(),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        finished.map_err(|error| self.failed(&error))?;
        Ok(self.file.finish())
    }

    /// The writer is closed at once; a file that failed is not written to again.
    fn give_up(&mut self, error: &io::Error) -> Error {
        self.writer = None;
        self.failed(error)
    }

    fn failed(&self, error: &io::Error) -> Error {
        self.file.spill.write_failed(&self.file.name, self.file.bytes, error)
    }
}

/// An object that is written to disk piece by piece, in a file of its own, without being held whole
/// in memory. Dropped before it is sealed, nothing is left of it. Its calls block.
pub struct SpillDraft {
    file: Unfinished,
    checksums: Builder,
    length: u64,
}

impl SpillDraft {
    pub(crate) fn new(spill: &Arc<Spill>) -> Result<Self, Error> {
        let checksums = Builder::new(spill.block_bytes);
        Ok(Self { file: Unfinished::create(spill, None)?, checksums, length: 0 })
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.length
    }

    /// Writes after what was written.
    ///
    /// # Errors
    /// OUT_OF_DISK when there is no room, STORE_FULL when the disk does not work; the draft is of no
    /// use then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let length = self.length + bytes.len() as u64;
        self.file.take(disk_bytes(length) - disk_bytes(self.length))?;
        self.file.append(&[IoSlice::new(bytes)])?;
        self.checksums.append(bytes);
        self.length = length;
        Ok(())
    }

    pub(crate) fn into_object(mut self) -> Result<SpilledObject, Error> {
        let rest = padding((self.length % super::aligned::ALIGN_BYTES as u64) as usize);
        self.file.append(&[IoSlice::new(rest)])?;
        Ok(SpilledObject::new(self.file.finish()?, 0, self.length, self.checksums.finish()))
    }
}
