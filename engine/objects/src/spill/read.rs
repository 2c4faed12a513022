//! Bytes on their way back from the disk: none is handed out before its checksum was right.

use std::iter::Enumerate;
use std::slice::ChunksMut;

use engine_core::Error;
use parking_lot::Mutex;

use super::aligned::Buffer;
use super::object::{SpilledObject, disk_bytes};

/// One call reads so many bytes, rounded down to whole blocks, and at least one: enough that a disk is
/// at its best, and little, so that the last one's check does not take long. An object of no more is
/// read by one call: sharing it costs more than the disk gives.
const READ_BYTES: usize = 2 << 20;
/// So many threads read pieces of one object: while some check and copy theirs, the disk has work.
const READERS: usize = 3;

impl SpilledObject {
    /// Reads the whole object into `bytes`, which is as long.
    ///
    /// # Errors
    /// OBJECT_LOST, naming the file and where in it, when the disk fails or the bytes are not those
    /// that were written. What is in `bytes` then is of no use.
    pub(crate) fn read_into(&self, bytes: &mut [u8]) -> Result<(), Error> {
        let step = self.step();
        if bytes.len() <= step {
            let mut buffer = Buffer::take(bytes.len());
            self.read_pages(0, bytes.len(), &mut buffer)?;
            self.check_and_copy(0, &buffer, bytes)?;
            return Ok(());
        }
        let readers = READERS.min(bytes.len().div_ceil(step));
        let pieces = Mutex::new(bytes.chunks_mut(step).enumerate());
        let outcome = Mutex::new(Ok(()));
        let read = || {
            if let Err(error) = self.read_pieces(&pieces, step) {
                // Nobody wants the others.
                pieces.lock().by_ref().for_each(drop);
                *outcome.lock() = Err(error);
            }
        };
        if !self.file.spill.readers.run(readers - 1, &read) {
            return Err(Error::internal("a reader panicked"));
        }
        outcome.into_inner()
    }

    /// Reads, checks and copies pieces of the object until none is left.
    fn read_pieces(&self, pieces: &Mutex<Enumerate<ChunksMut<'_, u8>>>, step: usize) -> Result<(), Error> {
        let mut buffer = Buffer::take(step);
        loop {
            let Some((index, piece)) = pieces.lock().next() else { return Ok(()) };
            self.read_pages(index * step, piece.len(), &mut buffer)?;
            self.check_and_copy(index * step, &buffer, piece)?;
        }
    }

    /// Bytes `offset .. offset + length`, which lie within the object.
    ///
    /// # Errors
    /// As of [`Self::read_into`], about the blocks that these bytes lie in.
    pub(crate) fn read_range(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let block = self.file.spill.block_bytes;
        let (first, end) = (offset as usize, offset as usize + length);
        let mut bytes = Vec::with_capacity(length);
        let mut at = first - first % block;
        let mut buffer = Buffer::take(self.step().min(length + 2 * block));
        while at < end {
            // Whole blocks, as far as they are wanted.
            let wanted = (end - at).next_multiple_of(block).min(self.step());
            let there = wanted.min(self.length() as usize - at);
            let read = self.read_checked(at, there, &mut buffer)?;
            bytes.extend_from_slice(&read[first.saturating_sub(at)..there.min(end - at)]);
            at += there;
        }
        Ok(bytes)
    }

    /// Bytes per call: whole blocks.
    fn step(&self) -> usize {
        let block = self.file.spill.block_bytes;
        (READ_BYTES - READ_BYTES % block).max(block)
    }

    /// Reads `length` bytes from `at` on, a block's beginning, and compares them with what they were.
    fn read_checked<'b>(&self, at: usize, length: usize, buffer: &'b mut Buffer) -> Result<&'b [u8], Error> {
        self.read_pages(at, length, buffer)?;
        let read = &buffer.as_slice()[..length];
        self.check(at, read)?;
        Ok(read)
    }

    /// Block by block, so that what was checked is still in the processor's cache when it is copied.
    fn check_and_copy(&self, at: usize, buffer: &Buffer, bytes: &mut [u8]) -> Result<(), Error> {
        let block = self.file.spill.block_bytes;
        let read = &buffer.as_slice()[..bytes.len()];
        for (index, (from, to)) in read.chunks(block).zip(bytes.chunks_mut(block)).enumerate() {
            self.check(at + index * block, from)?;
            to.copy_from_slice(from);
        }
        Ok(())
    }

    fn read_pages(&self, at: usize, length: usize, buffer: &mut Buffer) -> Result<(), Error> {
        let (spill, name, offset) = (&self.file.spill, &self.file.name, self.offset + at as u64);
        let pages = &mut buffer.as_mut_slice()[..disk_bytes(length as u64) as usize];
        if pages.is_empty() {
            return Ok(());
        }
        spill.target.read(name, offset, pages).map_err(|error| spill.lost(name, offset, error))
    }

    fn check(&self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        let spill = &self.file.spill;
        let block = spill.block_bytes;
        self.checksums.check(at / block, bytes, block).map_err(|wrong| {
            let offset = self.offset + (at + wrong * block) as u64;
            spill.lost(
                &self.file.name,
                offset,
                "the checksum is wrong, so the bytes were changed on the disk",
            )
        })
    }
}
