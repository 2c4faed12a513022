//! Vulkan's devices, through wgpu: any vendor's, and those that a CPU plays (lavapipe).

mod backend;
mod batch;
mod bind;
mod compile;
mod faults;
mod library;
mod rows;
mod shaders;
mod sizes;
mod source;
mod transfer;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wgpu::Features;

use crate::device::{BackendKind, DeviceDescription, DeviceKind, DeviceLimits};
use crate::dtype::DType;
use crate::error::{Error, Result, lost};
pub(crate) use backend::Vulkan;

/// Timestamps around a whole batch, where the device has them.
const TIMESTAMPS: Features = Features::TIMESTAMP_QUERY.union(Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

/// A device that was found.
#[derive(Clone)]
pub(crate) struct Found {
    adapter: wgpu::Adapter,
    pub(crate) description: DeviceDescription,
}

/// The devices of this machine; none where there is no Vulkan.
pub(crate) fn find() -> Vec<Found> {
    let mut options = wgpu::InstanceDescriptor::new_without_display_handle();
    options.backends = wgpu::Backends::VULKAN;
    // Nor what an environment variable asks for: layers would be in between.
    options.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(options);
    let Some(adapters) = at_once(instance.enumerate_adapters(wgpu::Backends::VULKAN)) else {
        return Vec::new();
    };
    let compute = wgpu::DownlevelFlags::COMPUTE_SHADERS;
    let usable =
        adapters.into_iter().filter(|adapter| adapter.get_downlevel_capabilities().flags.contains(compute));
    usable
        .enumerate()
        .map(|(index, adapter)| Found { description: describe(&adapter, index as u32), adapter })
        .collect()
}

impl Found {
    /// A device of its own: what is allocated on it nobody else reaches.
    pub(crate) fn open(&self) -> Result<Vulkan> {
        let options = wgpu::DeviceDescriptor {
            required_features: self.adapter.features() & (TIMESTAMPS | Features::SHADER_F16),
            required_limits: self.adapter.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let opened = at_once(self.adapter.request_device(&options))
            .ok_or_else(|| lost("the driver does not answer"))?;
        let (device, queue) = opened.map_err(|error| lost(format!("the driver gives no device: {error}")))?;
        Vulkan::new(self.description.clone(), device, queue)
    }
}

fn describe(adapter: &wgpu::Adapter, index: u32) -> DeviceDescription {
    let info = adapter.get_info();
    let limits = adapter.limits();
    // Whatever is allocated can be given to a kernel as a whole.
    let buffer_bytes_max =
        limits.max_buffer_size.min(limits.max_storage_buffer_binding_size) & !u64::from(u32::MAX >> 24);
    DeviceDescription {
        index,
        name: info.name.clone(),
        vendor: vendor(info.vendor),
        backend: BackendKind::Wgpu,
        kind: match info.device_type {
            wgpu::DeviceType::Cpu => DeviceKind::Cpu,
            wgpu::DeviceType::IntegratedGpu => DeviceKind::Integrated,
            wgpu::DeviceType::DiscreteGpu => DeviceKind::Discrete,
            wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => DeviceKind::Other,
        },
        memory_bytes: memory_bytes(adapter),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        architecture: "spirv".into(),
        dtypes: vec![DType::U8, DType::I32, DType::U32, DType::F16, DType::Bf16, DType::F32],
        limits: DeviceLimits {
            buffer_bytes_max,
            binding_bytes_max: buffer_bytes_max,
            binding_alignment_bytes: u64::from(limits.min_storage_buffer_offset_alignment),
            bindings_max: limits.max_storage_buffers_per_shader_stage.min(BINDINGS_MAX),
            grid_max: [limits.max_compute_workgroups_per_dimension; 3],
            block_max: [
                limits.max_compute_workgroup_size_x,
                limits.max_compute_workgroup_size_y,
                limits.max_compute_workgroup_size_z,
            ],
            block_threads_max: limits.max_compute_invocations_per_workgroup,
            shared_bytes_max: limits.max_compute_workgroup_storage_size,
        },
        has_timestamps: adapter.features().contains(TIMESTAMPS),
    }
}

/// Buffers of one kernel, however many a device allows.
const BINDINGS_MAX: u32 = 64;

/// The largest heap that the device calls its own.
fn memory_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the adapter is only asked, and lives as long as what is asked of it.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = adapter.shared_instance().raw_instance();
    // SAFETY: the physical device is of this instance.
    let properties = unsafe { instance.get_physical_device_memory_properties(adapter.raw_physical_device()) };
    let heaps = &properties.memory_heaps[..properties.memory_heap_count as usize];
    // DEVICE_LOCAL is the first of a heap's flags.
    heaps.iter().filter(|heap| heap.flags.as_raw() & 1 == 1).map(|heap| heap.size).max()
}

/// The vendors whose numbers people should not have to know.
fn vendor(number: u32) -> String {
    match number {
        0x1002 => "amd".into(),
        0x106B => "apple".into(),
        0x10DE => "nvidia".into(),
        0x13B5 => "arm".into(),
        0x5143 => "qualcomm".into(),
        0x8086 => "intel".into(),
        0x1_0005 => "mesa".into(),
        other => format!("{other:#06x}"),
    }
}

/// What a future gives that has its answer when it is asked, as those of wgpu have on this side of a browser.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// An error of wgpu's for something that had been checked before.
fn unexpected(error: &wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { source } => Error::new(
            crate::error::Code::OutOfMemory,
            format!("the device has no memory left ({source}): drop buffers, or do less at once"),
        ),
        other => crate::error::internal(format!("wgpu refused what was checked before: {other}")),
    }
}
