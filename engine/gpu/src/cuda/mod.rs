//! NVIDIA's devices, through its driver. Nothing is linked: driver, compiler and cuBLAS are loaded when they
//! are first needed, and a machine without them has no such devices.

mod backend;
mod cublas;
mod driver;
mod includes;
mod library;
mod loader;
mod module;
mod nvrtc;
mod queue;
mod staging;

use std::ffi::{CStr, c_char, c_int};

use crate::device::{BackendKind, DeviceDescription, DeviceKind, DeviceLimits};
use crate::dtype::DType;
use crate::error::Result;
use driver::{Context, SUCCESS, driver};

pub(crate) use backend::Cuda;
pub use cublas::{Cublas, cublas};
pub use driver::{Address, Driver, Handle, driver as load_driver};

// Attributes of devices, by the driver's numbers.
const MAX_THREADS_PER_BLOCK: c_int = 1;
const MAX_BLOCK: [c_int; 3] = [2, 3, 4];
const MAX_GRID: [c_int; 3] = [5, 6, 7];
const SHARED_BYTES: c_int = 8;
const INTEGRATED: c_int = 18;
const CAPABILITY: [c_int; 2] = [75, 76];
const SHARED_BYTES_IF_ASKED: c_int = 97;

/// Buffers of one kernel: more parameters no source has.
const BINDINGS_MAX: u32 = 64;
/// Bytes of a device's name.
const NAME_BYTES: usize = 256;

/// A device that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) description: DeviceDescription,
    /// 90 for compute capability 9.0.
    capability: u32,
    number: c_int,
}

/// The devices of this machine; none where there is no driver.
pub(crate) fn find() -> Vec<Found> {
    let Some(driver) = driver() else { return Vec::new() };
    let mut count = 0;
    // SAFETY: the place is there.
    let result = unsafe { (driver.device_count)(&raw mut count) };
    let numbers = if result == SUCCESS { 0..count } else { 0..0 };
    numbers.filter_map(|number| describe(driver, number)).collect()
}

impl Found {
    /// A context of its own: what breaks it breaks no other session.
    pub(crate) fn open(&self) -> Result<Cuda> {
        let driver = driver().ok_or_else(|| crate::error::lost("the driver is gone"))?;
        let context = Context::create(driver, self.number)?;
        Cuda::new(self.description.clone(), self.capability, context)
    }
}

fn describe(driver: &Driver, index: c_int) -> Option<Found> {
    let mut number = 0;
    let mut bytes = 0;
    let mut name = [0 as c_char; NAME_BYTES];
    let mut version = 0;
    // SAFETY: the places are there, and the name has room for what is said.
    let results = unsafe {
        [
            (driver.device)(&raw mut number, index),
            (driver.device_memory)(&raw mut bytes, number),
            (driver.device_name)(name.as_mut_ptr(), NAME_BYTES as c_int, number),
            (driver.version)(&raw mut version),
        ]
    };
    if results.iter().any(|result| *result != SUCCESS) {
        return None;
    }
    // SAFETY: the driver has ended the name with a zero, and the last place was one.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    let get = |attribute| driver.attribute(attribute, number);
    let capability = get(CAPABILITY[0]) * 10 + get(CAPABILITY[1]);
    let kind = if get(INTEGRATED) == 1 { DeviceKind::Integrated } else { DeviceKind::Discrete };
    let description = DeviceDescription {
        index: u32::try_from(index).unwrap_or(0),
        name,
        vendor: "nvidia".into(),
        backend: BackendKind::Cuda,
        kind,
        memory_bytes: Some(bytes as u64),
        driver: format!("CUDA {}.{}", version / 1000, version % 1000 / 10),
        architecture: format!("sm_{capability}"),
        dtypes: DType::ALL.to_vec(),
        limits: DeviceLimits {
            buffer_bytes_max: bytes as u64,
            binding_bytes_max: bytes as u64,
            // Kernels may read elements of any type at the beginning of a range.
            binding_alignment_bytes: 1,
            bindings_max: BINDINGS_MAX,
            grid_max: MAX_GRID.map(get),
            block_max: MAX_BLOCK.map(get),
            block_threads_max: get(MAX_THREADS_PER_BLOCK),
            shared_bytes_max: get(SHARED_BYTES).max(get(SHARED_BYTES_IF_ASKED)),
        },
        has_timestamps: true,
    };
    Some(Found { description, capability, number })
}
