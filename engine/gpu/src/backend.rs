//! What a backend does for a session. Everything that comes in here has been checked by the session against
//! the device's limits and the session's own: ranges lie inside, types fit, keys are alive.

use std::time::Duration;

use crate::device::DeviceDescription;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::ops::Operation;

/// Memory of a session, as its backend knows it. Given out by the session, and used again only once the
/// backend has released it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MemoryKey(pub(crate) u32);

/// A compiled kernel of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KernelKey(pub(crate) u32);

/// A stream of a session. The first is there from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct QueueKey(pub(crate) u32);

/// The stream that is there from the beginning.
pub(crate) const FIRST_QUEUE: QueueKey = QueueKey(0);

/// A kernel's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelSource<'a> {
    /// WebGPU's language. Buffers stand in group 0, at bindings from 0 without gaps, as `var<storage>`;
    /// scalars as one `var<uniform>` at the binding after them.
    Wgsl(&'a str),
    /// CUDA C++ with an `extern "C"` kernel: pointers for the buffers first, then the scalars.
    CudaC(&'a str),
    /// Assembly for NVIDIA's devices.
    Ptx(&'a str),
}

impl<'a> KernelSource<'a> {
    /// The text.
    pub fn text(self) -> &'a str {
        match self {
            Self::Wgsl(text) | Self::CudaC(text) | Self::Ptx(text) => text,
        }
    }

    /// What people call the language.
    pub fn language(self) -> &'static str {
        match self {
            Self::Wgsl(_) => "WGSL",
            Self::CudaC(_) => "CUDA C",
            Self::Ptx(_) => "PTX",
        }
    }
}

/// What a compiled kernel says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelShape {
    /// Of each buffer that it takes; none where the source does not say (CUDA).
    pub(crate) bindings: Option<Vec<BindingShape>>,
    /// Of its scalars; none where the source does not say.
    pub(crate) scalars: Option<ScalarRoom>,
    /// Threads of a block, where the source says them.
    pub(crate) block: Option<[u32; 3]>,
    /// Threads that a block may have, where the compiler says it: registers are few.
    pub(crate) block_threads_max: u32,
}

/// What a source says of a buffer that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BindingShape {
    /// It may write to it.
    pub(crate) writes: bool,
    /// Bytes that it has at least.
    pub(crate) bytes_min: u64,
}

/// Where a kernel's scalars go: a struct, as C and WGSL lay them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScalarRoom {
    /// All of it.
    pub(crate) bytes: u64,
    /// What its end is rounded up to, in bytes.
    pub(crate) alignment: u64,
}

/// A range of a buffer that a kernel is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) memory: MemoryKey,
    /// Bytes.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
}

/// A launch, checked.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) kernel: KernelKey,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    /// Bytes shared by a block beyond what the source says.
    pub(crate) shared_bytes: u32,
    pub(crate) bindings: &'a [Bound],
    pub(crate) scalars: &'a [Scalar],
}

/// Waits, with no lock held, until what it was made for is done or the device is lost.
pub(crate) type Waiter = Box<dyn FnOnce() -> Result<()> + Send>;

/// One device, as one session uses it.
///
/// Each queue carries out in order what it is given, later; a *ticket* is how many things a queue had been
/// given at a moment. Small things are gathered, and reach the device when there are enough of them or
/// somebody wants to know of their end ([`Backend::flush`], [`Backend::waiter`]).
pub(crate) trait Backend: Send {
    fn description(&self) -> &DeviceDescription;

    /// Zeroed memory of so many bytes, a multiple of 16.
    fn allocate(&mut self, key: MemoryKey, bytes: u64) -> Result<()>;
    /// Nothing that was given to a queue uses it any more.
    fn release(&mut self, key: MemoryKey);

    fn upload(&mut self, queue: QueueKey, to: Bound, bytes: &[u8]) -> Result<()>;
    /// Waits for everything before it on its queue.
    fn download(&mut self, queue: QueueKey, from: Bound, into: &mut [u8]) -> Result<()>;
    /// Of as many bytes as divide the range's offset and size: 1, 2, 4 or 8.
    fn fill(&mut self, queue: QueueKey, range: Bound, pattern: &[u8]) -> Result<()>;
    /// Ranges of equal size that do not overlap.
    fn copy(&mut self, queue: QueueKey, from: Bound, to: Bound) -> Result<()>;

    fn compile(&mut self, key: KernelKey, source: KernelSource<'_>, entry: &str) -> Result<KernelShape>;
    fn forget(&mut self, kernel: KernelKey);
    fn launch(&mut self, queue: QueueKey, launch: &Launch<'_>) -> Result<()>;

    /// Bytes of memory that the operation needs beside its buffers.
    fn scratch_bytes(&self, operation: &Operation) -> u64;
    fn operate(&mut self, queue: QueueKey, operation: &Operation, scratch: Option<MemoryKey>) -> Result<()>;

    fn open_queue(&mut self, key: QueueKey) -> Result<()>;
    /// Nothing is left on it.
    fn close_queue(&mut self, key: QueueKey);
    /// How many things the queue was given.
    fn issued(&self, queue: QueueKey) -> u64;
    /// How many of them have ended; does not wait.
    fn completed(&mut self, queue: QueueKey) -> Result<u64>;
    /// Sends what was gathered on its way.
    fn flush(&mut self, queue: QueueKey) -> Result<()>;
    /// Flushes; the waiter ends when `ticket` things of the queue have ended.
    fn waiter(&mut self, queue: QueueKey, ticket: u64) -> Result<Waiter>;
    /// What the queue is given from now on begins after `ticket` things of another.
    fn order(&mut self, queue: QueueKey, after: QueueKey, ticket: u64) -> Result<()>;

    /// How long the device has worked on what has ended.
    fn device_time(&mut self) -> Duration;
    /// How many submissions the device was given.
    fn submissions(&self) -> u64;
}
