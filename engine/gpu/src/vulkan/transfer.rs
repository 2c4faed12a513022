//! Bytes to, from and on the device. wgpu moves whole words; what is none goes through a kernel of bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Result, internal, lost};
use crate::vulkan::backend::Vulkan;
use crate::vulkan::bind::{Memory, Part};
use crate::vulkan::shaders::{self, BLOCK_THREADS, linear_grid};

/// Bytes that go to the device in one piece; so much of the machine's memory a transfer takes at most twice.
const UPLOAD_PIECE_BYTES: usize = 8 << 20;
/// Bytes of the buffer that is read through.
pub(super) const READ_BYTES: u64 = 4 << 20;
/// Bytes of the buffer that bytes go through which are no whole words.
pub(super) const STAGING_BYTES: u64 = 1 << 20;

impl Vulkan {
    /// Writes bytes from `offset` on.
    pub(super) fn write_bytes(&mut self, to: &Memory, offset: u64, bytes: &[u8]) -> Result<()> {
        let whole = bytes.len() - bytes.len() % 4;
        if !offset.is_multiple_of(4) {
            return self.write_through_staging(to, offset, bytes);
        }
        for (index, piece) in bytes[..whole].chunks(UPLOAD_PIECE_BYTES).enumerate() {
            // What is written goes before the next submission, so what came before has to be on its way.
            self.batch.flush()?;
            self.queue.write_buffer(&to.buffer, offset + (index * UPLOAD_PIECE_BYTES) as u64, piece);
            if piece.len() == UPLOAD_PIECE_BYTES {
                self.queue.submit([]);
            }
        }
        match whole == bytes.len() {
            true => Ok(()),
            false => self.write_through_staging(to, offset + whole as u64, &bytes[whole..]),
        }
    }

    fn write_through_staging(&mut self, to: &Memory, offset: u64, bytes: &[u8]) -> Result<()> {
        let staging = self.staging.clone();
        for (index, piece) in bytes.chunks(STAGING_BYTES as usize).enumerate() {
            let mut words = piece.to_vec();
            words.resize(piece.len().next_multiple_of(4), 0);
            self.batch.flush()?;
            self.queue.write_buffer(&staging.buffer, 0, &words);
            let target = offset + (index as u64 * STAGING_BYTES);
            self.copy_by_bytes(&staging, 0, to, target, piece.len() as u64)?;
        }
        Ok(())
    }

    /// Reads bytes from `offset` on, when everything before has ended.
    pub(super) fn read_bytes(&mut self, from: &Memory, offset: u64, into: &mut [u8]) -> Result<()> {
        // Pieces of the words that the range touches.
        let skip = offset % 4;
        let room = READ_BYTES - 4;
        let mut at = 0;
        while at < into.len() as u64 {
            let size = (into.len() as u64 - at).min(room);
            let first = offset + at - skip;
            let words = (size + skip).next_multiple_of(4);
            let readable = self.readable.clone();
            self.batch.commands().copy_buffer_to_buffer(&from.buffer, first, &readable, 0, words);
            let is_mapped = Arc::new(AtomicBool::new(false));
            let told = is_mapped.clone();
            self.batch.count();
            self.batch.flush()?;
            readable.map_async(wgpu::MapMode::Read, ..words, move |outcome| {
                told.store(outcome.is_ok(), Ordering::Release);
            });
            self.batch.finish()?;
            if !is_mapped.load(Ordering::Acquire) {
                // The callback may come with the next poll.
                let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
            }
            if !is_mapped.load(Ordering::Acquire) {
                return Err(lost("what was read did not arrive"));
            }
            {
                let bytes = readable.get_mapped_range(..words).map_err(internal)?;
                let bytes = &bytes[skip as usize..(skip + size) as usize];
                into[at as usize..(at + size) as usize].copy_from_slice(bytes);
            }
            readable.unmap();
            at += size;
        }
        Ok(())
    }

    /// Sets bytes from `offset` on to a pattern of 1, 2 or 4, whose size divides both.
    pub(super) fn fill_bytes(&mut self, to: &Memory, offset: u64, size: u64, pattern: &[u8]) -> Result<()> {
        if pattern.iter().all(|byte| *byte == 0) && offset.is_multiple_of(4) && size.is_multiple_of(4) {
            self.batch.commands().clear_buffer(&to.buffer, offset, Some(size));
            return Ok(());
        }
        let mut word = [0; 4];
        word.chunks_exact_mut(pattern.len()).for_each(|part| part.copy_from_slice(pattern));
        let pipeline = self.own("fill", shaders::fill)?;
        let first = offset / 4;
        let words = (offset + size).div_ceil(4) - first;
        let grid = linear_grid(words.div_ceil(BLOCK_THREADS), &self.description.limits)?;
        let scalars =
            [first as u32, words as u32, offset as u32, (offset + size) as u32, u32::from_le_bytes(word)];
        let bytes: Vec<u8> = scalars.iter().flat_map(|scalar| scalar.to_le_bytes()).collect();
        self.batch.dispatch(&pipeline, &[Part::all(to)], &bytes, grid)
    }

    /// Copies bytes between ranges that do not overlap.
    pub(super) fn copy_bytes(
        &mut self,
        from: &Memory,
        source: u64,
        to: &Memory,
        target: u64,
        size: u64,
    ) -> Result<()> {
        let whole = [source, target, size].iter().all(|at| at.is_multiple_of(4));
        if from.id != to.id && whole {
            self.batch.commands().copy_buffer_to_buffer(&from.buffer, source, &to.buffer, target, size);
            return Ok(());
        }
        if from.id != to.id {
            return self.copy_by_bytes(from, source, to, target, size);
        }
        // A buffer cannot be read and written at once.
        let staging = self.staging.clone();
        let mut at = 0;
        while at < size {
            let piece = (size - at).min(STAGING_BYTES - 4);
            let (first, skip) = ((source + at) / 4 * 4, (source + at) % 4);
            let words = (piece + skip).next_multiple_of(4);
            self.batch.commands().copy_buffer_to_buffer(&from.buffer, first, &staging.buffer, 0, words);
            self.copy_by_bytes(&staging, skip, to, target + at, piece)?;
            at += piece;
        }
        Ok(())
    }

    fn copy_by_bytes(
        &mut self,
        from: &Memory,
        source: u64,
        to: &Memory,
        target: u64,
        size: u64,
    ) -> Result<()> {
        let pipeline = self.own("copy", shaders::copy)?;
        let first = target / 4;
        let words = (target + size).div_ceil(4) - first;
        let grid = linear_grid(words.div_ceil(BLOCK_THREADS), &self.description.limits)?;
        let scalars = [first, words, source, target, size].map(|scalar| scalar as u32);
        let bytes: Vec<u8> = scalars.iter().flat_map(|scalar| scalar.to_le_bytes()).collect();
        self.batch.dispatch(&pipeline, &[Part::all(to), Part::all(from)], &bytes, grid)
    }
}
