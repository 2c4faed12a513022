//! What wgpu says of a device outside of any call.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, Result, lost};
use crate::vulkan::unexpected;

/// What went wrong on a device, as its callbacks said; shared with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    lost: Option<String>,
    error: Option<Error>,
}

impl Faults {
    /// Listens to a device.
    pub(super) fn of(device: &wgpu::Device) -> Self {
        let faults = Self::default();
        let heard = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            heard.0.lock().lost.get_or_insert_with(|| format!("{reason:?}: {message}"));
        });
        let heard = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            heard.0.lock().error.get_or_insert_with(|| unexpected(&error));
        }));
        faults
    }

    /// GPU_DEVICE_LOST once it is; else an error that was not said yet.
    pub(super) fn check(&self) -> Result<()> {
        let mut said = self.0.lock();
        if let Some(message) = &said.lost {
            return Err(lost(format!("the device is lost ({message})")));
        }
        said.error.take().map_or(Ok(()), Err)
    }
}
