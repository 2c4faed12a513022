//! Bytes on their way back from the disk: none is handed out before its checksum was right.

use std::sync::mpsc::{Receiver, Sender, channel};

use engine_core::Error;

use super::aligned::Buffer;
use super::object::{SpilledObject, disk_bytes};
use crate::background::Kind;

/// One call reads so many bytes, rounded down to whole blocks, and at least one: enough that a disk is
/// at its best, and little, so that the last one's check does not take long.
const READ_BYTES: usize = 4 << 20;
/// So many buffers are on their way between the disk and the memory that an object goes to: one is
/// read while another is checked and copied.
const BUFFERS_PER_READ: usize = 3;

impl SpilledObject {
    /// Reads the whole object into `bytes`, which is as long.
    ///
    /// # Errors
    /// OBJECT_LOST, naming the file and where in it, when the disk fails or the bytes are not those
    /// that were written. What is in `bytes` then is of no use.
    pub(crate) fn read_into(&self, bytes: &mut [u8]) -> Result<(), Error> {
        let step = self.step();
        if bytes.len() <= step {
            let mut buffer = Buffer::take();
            self.read_pages(0, bytes.len(), &mut buffer)?;
            self.check_and_copy(0, &buffer, bytes)?;
            return Ok(());
        }
        let length = bytes.len();
        std::thread::scope(|scope| {
            let (filled, to_check) = channel::<(usize, Buffer)>();
            let (emptied, to_fill) = channel();
            for _ in 0..BUFFERS_PER_READ {
                // Both ends are here.
                let _ = emptied.send(Buffer::take());
            }
            let checker = Kind::Checksums
                .start_in(scope, move || {
                    to_check.into_iter().try_for_each(|(at, buffer)| {
                        let bytes = &mut bytes[at..length.min(at + step)];
                        self.check_and_copy(at, &buffer, bytes)?;
                        // Nobody wants it when everything is read.
                        let _ = emptied.send(buffer);
                        Ok(())
                    })
                })
                .map_err(|error| {
                    Error::internal(format!("the system gives no thread to restore with: {error}"))
                })?;
            let read = self.fill(length, &to_fill, &filled);
            drop(filled);
            let checked =
                checker.join().unwrap_or_else(|_| Err(Error::internal("checking what was read panicked")));
            checked.and(read)
        })
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
        let mut buffer = Buffer::take();
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

    /// Reads piece by piece into the buffers that come, and sends them on. Ends early when nobody
    /// sends any more, which whoever checks them only does when he found something wrong.
    fn fill(
        &self,
        length: usize,
        to_fill: &Receiver<Buffer>,
        filled: &Sender<(usize, Buffer)>,
    ) -> Result<(), Error> {
        for at in (0..length).step_by(self.step()) {
            let Ok(mut buffer) = to_fill.recv() else { break };
            self.read_pages(at, self.step().min(length - at), &mut buffer)?;
            if filled.send((at, buffer)).is_err() {
                break;
            }
        }
        Ok(())
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
