//! Work on GPUs: one tenant's buffers, kernels and library calls on one device.
//!
//! [`devices`] finds what is there, and never fails: a machine without a driver has the reference alone.
//! [`Device::open`] makes a [`Session`], within [`SessionLimits`]: [`Buffer`]s and [`Kernel`]s are its, and
//! [`Stream`]s carry out what they are given in order, later. [`Event`]s tell how far a stream is.
//!
//! Behind it stand three backends: plain code on the CPU, Vulkan through wgpu, and CUDA. A session checks
//! everything before a backend sees it, so that all refuse the same with the same words.
//!
//! A session has no bound on how long a kernel runs: no driver can stop one; ending the process can. So whoever
//! runs other people's kernels gives each tenant a process ([`worker`]).

mod backend;
#[doc(hidden)]
pub mod cuda;
mod device;
mod dtype;
mod error;
mod find;
mod ops;
mod philox;
mod reference;
mod session;
mod vulkan;
pub mod worker;

pub use backend::KernelSource;
pub use device::{BackendKind, DeviceDescription, DeviceKind, DeviceLimits};
pub use dtype::{DType, Element, Scalar};
pub use error::{Code, Error, MESSAGE_BYTES_MAX, Result};
pub use find::{Device, devices};
pub use half::{bf16, f16};
pub use ops::{Binary, Distribution, Matmul, Reduction, Unary};
pub use session::{
    ALLOCATION_GRANULE_BYTES, Access, Binding, Buffer, Event, Grid, Kernel, Operand, Session, SessionLimits,
    Stream, Usage,
};
