//! Which devices there are.

use std::fmt;

use crate::backend::Backend;
use crate::cuda;
use crate::device::DeviceDescription;
use crate::error::Result;
use crate::reference;
use crate::session::{Session, SessionLimits};
use crate::vulkan;

/// A device that was found.
#[derive(Clone)]
pub struct Device {
    description: DeviceDescription,
    open: Opener,
}

#[derive(Clone)]
enum Opener {
    Cuda(Box<cuda::Found>),
    Vulkan(Box<vulkan::Found>),
    Reference,
}

/// Every device of this machine: those of CUDA, those of Vulkan, and the reference, which is always there.
/// A device that two drivers know comes twice. Where a driver's library is missing, it has no devices.
pub fn devices() -> Vec<Device> {
    let mut found = Vec::new();
    for cuda in cuda::find() {
        found.push(Device { description: cuda.description.clone(), open: Opener::Cuda(Box::new(cuda)) });
    }
    for vulkan in vulkan::find() {
        found
            .push(Device { description: vulkan.description.clone(), open: Opener::Vulkan(Box::new(vulkan)) });
    }
    found.push(Device { description: reference::description(), open: Opener::Reference });
    found
}

impl Device {
    /// What it is.
    pub fn description(&self) -> &DeviceDescription {
        &self.description
    }

    /// A session of its own on the device: what is allocated in it no other session reaches.
    ///
    /// # Errors
    /// GPU_DEVICE_LOST or GPU_OUT_OF_MEMORY when the driver gives none.
    pub fn open(&self, limits: SessionLimits) -> Result<Session> {
        let backend: Box<dyn Backend> = match &self.open {
            Opener::Cuda(found) => Box::new(found.open()?),
            Opener::Vulkan(found) => Box::new(found.open()?),
            Opener::Reference => Box::new(reference::Reference::new()),
        };
        Ok(Session::new(backend, limits))
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.description)
    }
}
