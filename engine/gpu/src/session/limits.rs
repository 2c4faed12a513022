//! What a session may use, and what it does use.

use std::time::Duration;

/// What one session may use. At each bound the caller gets LIMIT_EXCEEDED, and nothing that was accepted is
/// lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Bytes on the device: of buffers, each rounded up to [`ALLOCATION_GRANULE_BYTES`], and of what library
    /// calls need beside them. A dropped buffer counts until nothing that was queued uses it.
    pub device_memory_bytes_max: u64,
    /// Buffers at once.
    pub buffers_max: usize,
    /// Compiled kernels at once.
    pub kernels_max: usize,
    /// Bytes of one kernel's source.
    pub kernel_source_bytes_max: usize,
    /// Streams at once.
    pub streams_max: usize,
    /// Launches, library calls and transfers of one stream that have not ended.
    pub launches_queued_max: u64,
    /// Bytes of the scalars of one launch.
    pub scalars_bytes_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            device_memory_bytes_max: 1 << 30,
            buffers_max: 4_096,
            kernels_max: 256,
            kernel_source_bytes_max: 256 << 10,
            streams_max: 16,
            launches_queued_max: 65_536,
            scalars_bytes_max: 1 << 10,
        }
    }
}

/// What the memory of a buffer is rounded up to, in bytes.
pub const ALLOCATION_GRANULE_BYTES: u64 = 256;

/// What a session uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes on the device, as the limit counts them.
    pub device_memory_bytes: u64,
    /// Buffers that are held.
    pub buffers: usize,
    /// Kernels that are held.
    pub kernels: usize,
    /// Streams that are held; the first one always is.
    pub streams: usize,
    /// How long the device has worked on what has ended.
    pub device_time: Duration,
    /// Launches, library calls and transfers that were accepted.
    pub launches: u64,
    /// Submissions that the device was given for them.
    pub submissions: u64,
}
