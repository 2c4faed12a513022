//! What a device is: found at run time, described in the same words whatever it is.

use std::fmt;

use crate::dtype::DType;

/// Who drives a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendKind {
    /// Plain code on the CPU, which the others are judged by. Library calls only.
    Reference,
    /// Vulkan through wgpu: any vendor's devices, and CPU devices; kernels from WGSL.
    Wgpu,
    /// NVIDIA's driver: kernels from CUDA C and PTX.
    Cuda,
}

impl BackendKind {
    /// `reference`, `wgpu`, `cuda`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a device is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The processor itself.
    Cpu,
    /// Shares the processor's memory.
    Integrated,
    /// Has memory of its own.
    Discrete,
    /// Virtual, or its driver does not say.
    Other,
}

/// What a device allows in one piece. All of them are checked before anything reaches the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Bytes of one buffer.
    pub buffer_bytes_max: u64,
    /// Bytes of a buffer that a kernel can be given.
    pub binding_bytes_max: u64,
    /// A binding's range begins at a multiple of so many bytes.
    pub binding_alignment_bytes: u64,
    /// Buffers that one kernel can be given.
    pub bindings_max: u32,
    /// Blocks (workgroups) of a launch, along x, y and z.
    pub grid_max: [u32; 3],
    /// Threads of a block, along x, y and z.
    pub block_max: [u32; 3],
    /// Threads of a block.
    pub block_threads_max: u32,
    /// Bytes that the threads of a block share.
    pub shared_bytes_max: u32,
}

/// What is known of a device before it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceDescription {
    /// Which of its backend's devices it is, from 0.
    pub index: u32,
    /// As its driver calls it.
    pub name: String,
    /// Who made it, in lower case: `nvidia`, `amd`, `intel`, `mesa`, or the vendor's number.
    pub vendor: String,
    /// Who drives it.
    pub backend: BackendKind,
    /// What it is made of.
    pub kind: DeviceKind,
    /// Bytes of memory; none where the driver does not say.
    pub memory_bytes: Option<u64>,
    /// The driver's name and version.
    pub driver: String,
    /// For which kernels are compiled: `sm_90`, `spirv`; empty where none are.
    pub architecture: String,
    /// The types that buffers of it can have.
    pub dtypes: Vec<DType>,
    /// What it allows in one piece.
    pub limits: DeviceLimits,
    /// Whether the device itself says how long it worked; if not, device time is the time between
    /// submission and end.
    pub has_timestamps: bool,
}

impl fmt::Display for DeviceDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {} ({})", self.backend, self.index, self.name, self.driver)
    }
}
