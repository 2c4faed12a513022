//! Kernels from source, and launching them.

use std::fmt;
use std::sync::Arc;

use crate::backend::{BindingShape, Bound, KernelKey, KernelShape, KernelSource, Launch};
use crate::dtype::Scalar;
use crate::error::{Code, Error, Result, exceeded, invalid};
use crate::session::buffer::Buffer;
use crate::session::stream::Stream;
use crate::session::{Session, Shared};

/// Bytes of an entry point's name.
const ENTRY_BYTES_MAX: usize = 256;

/// A compiled kernel of a session.
pub struct Kernel {
    shared: Arc<Shared>,
    key: KernelKey,
    entry: String,
    shape: KernelShape,
}

/// What a kernel may do to a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It reads only. A CUDA kernel that writes all the same does so: its source says what it does.
    Read,
    /// It reads and writes.
    ReadWrite,
}

/// A buffer, or a range of one, that a kernel is given.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    buffer: &'a Buffer,
    offset: u64,
    count: u64,
    access: Access,
}

impl<'a> Binding<'a> {
    /// The whole buffer, to read.
    pub fn read(buffer: &'a Buffer) -> Self {
        Self { buffer, offset: 0, count: buffer.count(), access: Access::Read }
    }

    /// The whole buffer, to read and write.
    pub fn read_write(buffer: &'a Buffer) -> Self {
        Self { access: Access::ReadWrite, ..Self::read(buffer) }
    }

    /// Of the same buffer, `count` elements from element `offset` on. The range has to begin where the device
    /// allows (`binding_alignment_bytes`).
    pub fn range(self, offset: u64, count: u64) -> Self {
        Self { offset, count, ..self }
    }
}

/// How many run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Blocks (workgroups) along x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block along x, y and z. CUDA needs it; the source of WGSL says it itself, so that there
    /// it is left out, or says the same.
    pub threads: Option<[u32; 3]>,
    /// Bytes that the threads of a block share, beyond what the source says: CUDA only.
    pub shared_bytes: u32,
}

impl Grid {
    /// So many blocks, of as many threads as the source says.
    pub fn of(blocks: [u32; 3]) -> Self {
        Self { blocks, threads: None, shared_bytes: 0 }
    }

    /// So many blocks of so many threads along x.
    pub fn blocks_of(blocks: u32, threads: u32) -> Self {
        Self { blocks: [blocks, 1, 1], threads: Some([threads, 1, 1]), shared_bytes: 0 }
    }
}

impl Session {
    /// Compiles a kernel: the function `entry` of this source.
    ///
    /// # Errors
    /// GPU_COMPILE_ERROR with the compiler's text; UNSUPPORTED for a language that the device's backend does
    /// not take; LIMIT_EXCEEDED at `kernels_max` and `kernel_source_bytes_max`; INVALID_ARGUMENT for a name
    /// that none can have; GPU_DEVICE_LOST.
    pub fn compile(&self, source: KernelSource<'_>, entry: &str) -> Result<Kernel> {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        if entry.is_empty() || entry.len() > ENTRY_BYTES_MAX || !entry.chars().all(is_name) {
            return invalid(format!("{entry:?} is no name of a kernel's entry point"));
        }
        let mut state = self.shared.state.lock();
        let (bytes, max) = (source.text().len(), state.limits.kernel_source_bytes_max);
        if bytes > max {
            return exceeded(format!(
                "the source of kernel {entry} has {bytes} bytes, and one may have {max} \
                 (kernel_source_bytes_max): split it into several kernels"
            ));
        }
        let max = state.limits.kernels_max;
        if state.kernels.held >= max {
            return exceeded(format!(
                "the session has {} kernels, as many as it may have (kernels_max = {max}): drop some",
                state.kernels.held
            ));
        }
        let key = KernelKey(state.kernels.take());
        let outcome = state.ask(|backend| backend.compile(key, source, entry));
        if outcome.is_err() {
            state.kernels.give_back(key.0);
        }
        drop(state);
        Ok(Kernel { shared: self.shared.clone(), key, entry: entry.into(), shape: outcome? })
    }
}

impl Kernel {
    /// The threads of a block, where the source says them (WGSL).
    pub fn threads(&self) -> Option<[u32; 3]> {
        self.shape.block
    }

    fn block(&self, grid: &Grid, what: &str) -> Result<[u32; 3]> {
        let block = match (self.shape.block, grid.threads) {
            (Some(own), None) => return Ok(own),
            (Some(own), Some(asked)) if own == asked => return Ok(own),
            (Some(own), Some(asked)) => {
                return invalid(format!(
                    "{what}: blocks of {asked:?} threads, but the source says @workgroup_size{own:?}, and \
                     that is what counts: leave the threads out, or change the source"
                ));
            }
            (None, Some(asked)) => asked,
            (None, None) => {
                return invalid(format!("{what}: the threads of a block are missing, which CUDA needs"));
            }
        };
        let limits = &self.shared.description.limits;
        check_extent(block, limits.block_max, &format!("{what}: threads of a block"))?;
        let threads: u64 = block.iter().map(|extent| u64::from(*extent)).product();
        let max = limits.block_threads_max.min(self.shape.block_threads_max);
        if threads > u64::from(max) {
            return invalid(format!(
                "{what}: {threads} threads in a block, and this kernel has at most {max}"
            ));
        }
        Ok(block)
    }

    fn check_bindings(&self, bindings: &[Binding<'_>], what: &str) -> Result<()> {
        let limits = &self.shared.description.limits;
        if bindings.len() as u64 > u64::from(limits.bindings_max) {
            return invalid(format!(
                "{what}: {} buffers, and a kernel has at most {}",
                bindings.len(),
                limits.bindings_max
            ));
        }
        let Some(declared) = &self.shape.bindings else { return Ok(()) };
        if bindings.len() != declared.len() {
            return invalid(format!(
                "{what}: {} buffers, but the source has {} (var<storage> in group 0)",
                bindings.len(),
                declared.len()
            ));
        }
        for (index, (binding, shape)) in bindings.iter().zip(declared).enumerate() {
            if shape.writes && binding.access == Access::Read {
                return invalid(format!(
                    "{what}: buffer {index} is given to read, but the source writes to it"
                ));
            }
            let same = |(other, (_, others)): &(usize, (&Binding<'_>, &BindingShape))| {
                *other != index
                    && bindings[*other].buffer.key == binding.buffer.key
                    && (shape.writes || others.writes)
            };
            if let Some((other, _)) = bindings.iter().zip(declared).enumerate().find(same) {
                return invalid(format!(
                    "{what}: buffers {} and {} are the same one, and the source writes to it: in WGSL a buffer \
                     that is written to is bound once",
                    index.min(other),
                    index.max(other)
                ));
            }
        }
        Ok(())
    }
}

fn check_extent(extent: [u32; 3], max: [u32; 3], what: &str) -> Result<()> {
    if extent.contains(&0) || extent.iter().zip(max).any(|(extent, max)| *extent > max) {
        return invalid(format!("{what}: {extent:?}, and each is from 1 to {max:?}"));
    }
    Ok(())
}

impl Stream {
    /// Runs a kernel, later, after what the stream was given before.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a grid, a block, buffers or scalars that the device or the source does not take;
    /// GPU_OUT_OF_BOUNDS for a range beyond its buffer; LIMIT_EXCEEDED at `launches_queued_max` and
    /// `scalars_bytes_max`; GPU_DEVICE_LOST.
    pub fn launch(
        &self,
        kernel: &Kernel,
        grid: Grid,
        bindings: &[Binding<'_>],
        scalars: &[Scalar],
    ) -> Result<()> {
        let what = kernel.entry.as_str();
        if !Arc::ptr_eq(&kernel.shared, &self.shared) {
            return invalid(format!("{what} is a kernel of another session: compile it in this one"));
        }
        let limits = &self.shared.description.limits;
        check_extent(grid.blocks, limits.grid_max, what)?;
        let block = kernel.block(&grid, what)?;
        if grid.shared_bytes > 0 && kernel.shape.block.is_some() {
            return invalid(format!(
                "{what}: shared memory of WGSL is what the source says (var<workgroup>)"
            ));
        }
        if grid.shared_bytes > limits.shared_bytes_max {
            return invalid(format!(
                "{what}: {} bytes of shared memory, and a block has at most {}",
                grid.shared_bytes, limits.shared_bytes_max
            ));
        }
        kernel.check_bindings(bindings, what)?;
        let mut bounds = Vec::with_capacity(bindings.len());
        for (index, binding) in bindings.iter().enumerate() {
            let bound = self.bound(binding, index, what)?;
            let least = kernel.shape.bindings.as_ref().map_or(0, |shapes| shapes[index].bytes_min);
            // A range ends with a word.
            if bound.size.next_multiple_of(4) < least {
                return invalid(format!(
                    "{what}: buffer {index} has {} bytes, and what the source says it is has {least}",
                    bound.size
                ));
            }
            bounds.push(bound);
        }
        let max = self.shared.limits.scalars_bytes_max;
        let bytes = scalar_bytes(scalars);
        if bytes > max as u64 {
            return exceeded(format!(
                "{what}: {bytes} bytes of scalars, and a launch has at most {max} (scalars_bytes_max): use a buffer"
            ));
        }
        if let Some(room) = kernel.shape.scalars
            && bytes.next_multiple_of(room.alignment) != room.bytes
        {
            return invalid(format!(
                "{what}: scalars of {bytes} bytes, but the source's var<uniform> has {}",
                room.bytes
            ));
        }
        let queue = self.queue();
        let launch = Launch {
            kernel: kernel.key,
            grid: grid.blocks,
            block,
            shared_bytes: grid.shared_bytes,
            bindings: &bounds,
            scalars,
        };
        let keys = bindings.iter().map(|binding| binding.buffer.key);
        let mut state = self.shared.state.lock();
        state.enqueue(queue, keys, |backend| backend.launch(queue, &launch))
    }

    fn bound(&self, binding: &Binding<'_>, index: usize, what: &str) -> Result<Bound> {
        let what = format!("{what}: buffer {index}");
        binding.buffer.check_session(&self.shared, &what)?;
        let bound = binding.buffer.range(binding.offset, binding.count, &what)?;
        let limits = &self.shared.description.limits;
        if bound.size == 0 {
            return invalid(format!("{what}: a range of no elements"));
        }
        if bound.size > limits.binding_bytes_max {
            return invalid(format!(
                "{what}: {} bytes, and a kernel's buffer has at most {}: give it a range",
                bound.size, limits.binding_bytes_max
            ));
        }
        if bound.offset % limits.binding_alignment_bytes != 0 {
            return Err(Error::new(
                Code::InvalidArgument,
                format!(
                    "{what}: a range from byte {} on, and on this device one begins at a multiple of {}",
                    bound.offset, limits.binding_alignment_bytes
                ),
            ));
        }
        Ok(bound)
    }
}

fn scalar_bytes(scalars: &[Scalar]) -> u64 {
    scalars.iter().fold(0, |bytes: u64, scalar| {
        let size = scalar.dtype().bytes();
        bytes.next_multiple_of(size) + size
    })
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.backend.forget(self.key);
        state.kernels.give_back(self.key.0);
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernel({})", self.entry)
    }
}
