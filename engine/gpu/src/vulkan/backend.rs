//! The trait of backends, for a device of Vulkan's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{
    Backend, Bound, KernelKey, KernelShape, KernelSource, Launch, MemoryKey, QueueKey, ScalarRoom, Waiter,
};
use crate::device::DeviceDescription;
use crate::error::{Code, Error, Result, internal, unsupported};
use crate::ops::Operation;
use crate::vulkan::batch::Batch;
use crate::vulkan::bind::{Memory, Part};
use crate::vulkan::compile::{Pipeline, compile, compile_own};
use crate::vulkan::faults::Faults;
use crate::vulkan::transfer::{READ_BYTES, STAGING_BYTES};
use crate::vulkan::{at_once, library, unexpected};

/// A device of Vulkan's, as one session uses it.
pub(crate) struct Vulkan {
    pub(super) description: DeviceDescription,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) batch: Batch,
    memory: HashMap<MemoryKey, Memory>,
    next_memory: u64,
    kernels: HashMap<KernelKey, Arc<Pipeline>>,
    /// Those of the library, by name.
    own: HashMap<String, Arc<Pipeline>>,
    pub(super) staging: Memory,
    pub(super) readable: wgpu::Buffer,
    faults: Faults,
}

const BUFFER_USAGES: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

impl Vulkan {
    pub(super) fn new(
        description: DeviceDescription,
        device: wgpu::Device,
        queue: wgpu::Queue,
    ) -> Result<Self> {
        let faults = Faults::of(&device);
        let batch = Batch::new(&device, &queue, &faults);
        let staging = Memory { id: 0, buffer: create(&device, STAGING_BYTES, BUFFER_USAGES)? };
        let readable =
            create(&device, READ_BYTES, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?;
        let (memory, kernels, own) = (HashMap::new(), HashMap::new(), HashMap::new());
        let next_memory = 1;
        Ok(Self {
            description,
            device,
            queue,
            batch,
            memory,
            next_memory,
            kernels,
            own,
            staging,
            readable,
            faults,
        })
    }

    pub(super) fn memory(&self, key: MemoryKey) -> Result<Memory> {
        self.memory.get(&key).cloned().ok_or_else(|| internal("memory that the device does not have"))
    }

    /// A kernel of the library, compiled when it is used first.
    pub(super) fn own(&mut self, name: &str, source: impl FnOnce() -> String) -> Result<Arc<Pipeline>> {
        if let Some(pipeline) = self.own.get(name) {
            return Ok(pipeline.clone());
        }
        let shared = self.description.limits.shared_bytes_max;
        let pipeline = Arc::new(compile_own(&self.device, &source(), shared)?);
        self.own.insert(name.into(), pipeline.clone());
        Ok(pipeline)
    }
}

fn create(device: &wgpu::Device, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
    let outer = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let middle = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let inner = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let options = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    let buffer = device.create_buffer(&options);
    let refused = at_once(inner.pop()).flatten();
    let refused = refused.or(at_once(middle.pop()).flatten()).or(at_once(outer.pop()).flatten());
    match refused {
        None => Ok(buffer),
        Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::new(
            Code::OutOfMemory,
            format!("the device has no {size} bytes left for a buffer: drop some, or use a smaller one"),
        )),
        Some(other) => Err(unexpected(&other)),
    }
}

impl Backend for Vulkan {
    fn description(&self) -> &DeviceDescription {
        &self.description
    }

    fn allocate(&mut self, key: MemoryKey, bytes: u64) -> Result<()> {
        // wgpu clears what a buffer has not been written before it is read.
        let buffer = create(&self.device, bytes, BUFFER_USAGES)?;
        self.faults.check()?;
        self.memory.insert(key, Memory { id: self.next_memory, buffer });
        self.next_memory += 1;
        Ok(())
    }

    fn release(&mut self, key: MemoryKey) {
        if let Some(memory) = self.memory.remove(&key) {
            self.batch.groups().forget_memory(memory.id);
        }
    }

    fn upload(&mut self, _: QueueKey, to: Bound, bytes: &[u8]) -> Result<()> {
        let memory = self.memory(to.memory)?;
        self.write_bytes(&memory, to.offset, bytes)?;
        self.batch.count();
        Ok(())
    }

    fn download(&mut self, _: QueueKey, from: Bound, into: &mut [u8]) -> Result<()> {
        let memory = self.memory(from.memory)?;
        self.read_bytes(&memory, from.offset, into)
    }

    fn fill(&mut self, _: QueueKey, range: Bound, pattern: &[u8]) -> Result<()> {
        let memory = self.memory(range.memory)?;
        self.fill_bytes(&memory, range.offset, range.size, pattern)?;
        self.batch.count();
        Ok(())
    }

    fn copy(&mut self, _: QueueKey, from: Bound, to: Bound) -> Result<()> {
        let (source, target) = (self.memory(from.memory)?, self.memory(to.memory)?);
        self.copy_bytes(&source, from.offset, &target, to.offset, from.size)?;
        self.batch.count();
        Ok(())
    }

    fn compile(&mut self, key: KernelKey, source: KernelSource<'_>, entry: &str) -> Result<KernelShape> {
        let KernelSource::Wgsl(text) = source else {
            return unsupported(format!(
                "kernel {entry}: this device takes WGSL, and the source is {}: write it in WGSL, or open the \
                 device through CUDA",
                source.language()
            ));
        };
        let pipeline = compile(&self.device, text, entry, self.description.limits.shared_bytes_max)?;
        self.faults.check()?;
        let shape = KernelShape {
            bindings: Some(pipeline.bindings.clone()),
            scalars: Some(pipeline.scalars.unwrap_or(ScalarRoom { bytes: 0, alignment: 1 })),
            block: Some(pipeline.block),
            block_threads_max: self.description.limits.block_threads_max,
        };
        self.kernels.insert(key, Arc::new(pipeline));
        Ok(shape)
    }

    fn forget(&mut self, kernel: KernelKey) {
        if let Some(pipeline) = self.kernels.remove(&kernel) {
            self.batch.groups().forget_pipeline(pipeline.id);
        }
    }

    fn launch(&mut self, _: QueueKey, launch: &Launch<'_>) -> Result<()> {
        let missing = || internal("a kernel or a buffer that the device does not have");
        let pipeline = self.kernels.get(&launch.kernel).ok_or_else(missing)?;
        let mut parts = Vec::with_capacity(launch.bindings.len());
        for bound in launch.bindings {
            let memory = self.memory.get(&bound.memory).ok_or_else(missing)?;
            parts.push(Part { memory, offset: bound.offset, size: bound.size });
        }
        let mut scalars = Vec::new();
        launch.scalars.iter().for_each(|scalar| scalar.append_to(&mut scalars));
        self.batch.dispatch(pipeline, &parts, &scalars, launch.grid)?;
        self.batch.count();
        Ok(())
    }

    fn scratch_bytes(&self, operation: &Operation) -> u64 {
        library::scratch_bytes(operation)
    }

    fn operate(&mut self, _: QueueKey, operation: &Operation, scratch: Option<MemoryKey>) -> Result<()> {
        let scratch = scratch.map(|key| self.memory(key)).transpose()?;
        self.operate_on(operation, scratch.as_ref())?;
        self.batch.count();
        Ok(())
    }

    fn open_queue(&mut self, _: QueueKey) -> Result<()> {
        Ok(())
    }

    fn close_queue(&mut self, _: QueueKey) {}

    fn issued(&self, _: QueueKey) -> u64 {
        self.batch.issued()
    }

    fn completed(&mut self, _: QueueKey) -> Result<u64> {
        self.batch.completed()
    }

    fn flush(&mut self, _: QueueKey) -> Result<()> {
        self.batch.flush()
    }

    fn waiter(&mut self, _: QueueKey, ticket: u64) -> Result<Waiter> {
        self.batch.waiter(ticket)
    }

    fn order(&mut self, _: QueueKey, _: QueueKey, _: u64) -> Result<()> {
        // There is one queue, which is in order.
        Ok(())
    }

    fn device_time(&mut self) -> Duration {
        // What fails here is said to whoever asks for something.
        let _ = self.batch.completed();
        self.batch.device_time()
    }

    fn submissions(&self) -> u64 {
        self.batch.submissions()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::FIRST_QUEUE;
    use crate::dtype::DType;
    use crate::ops::Unary;
    use crate::session::{Session, SessionLimits};
    use crate::vulkan::find;

    /// Every kind of request ends with an error that says so, whatever was queued before.
    #[test]
    fn a_device_that_is_lost_is_said_to_be_by_every_call() {
        let Some(found) = find().into_iter().next() else {
            eprintln!("no device of Vulkan's: nothing was tested");
            return;
        };
        let vulkan = found.open().expect("it opens");
        let device = vulkan.device.clone();
        let session = Session::new(Box::new(vulkan), SessionLimits::default());
        let [a, b] = [(); 2].map(|()| session.allocate(DType::F32, 64).expect("there is room"));
        let source = KernelSource::Wgsl("@compute @workgroup_size(1) fn f() {}");
        let kernel = session.compile(source, "f").expect("it is right");
        let stream = session.stream();
        stream.unary(Unary::Exp, &a, &b, 64).expect("it is right");
        device.destroy();
        let grid = crate::session::Grid::of([1, 1, 1]);
        // The first to hear of it may be told of the call that the loss has spoilt; after that it is known.
        let _ = stream.synchronize();
        let outcomes = [
            stream.synchronize().err(),
            session.allocate(DType::F32, 64).err(),
            session.compile(source, "f").err(),
            session.open_stream().err(),
            stream.upload(&a, 0, &[1.0_f32; 64]).err(),
            stream.download(&a, 0, &mut [0.0_f32; 64]).err(),
            stream.fill(&a, 0, 64, 1.0_f32).err(),
            stream.copy(&a, 0, &b, 0, 64).err(),
            stream.launch(&kernel, grid, &[], &[]).err(),
            stream.unary(Unary::Exp, &a, &b, 64).err(),
            stream.record().err(),
        ];
        for (index, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome.map(|error| error.code()), Some(Code::DeviceLost), "{index}");
        }
    }

    #[test]
    fn memory_that_the_device_does_not_have_is_an_error() {
        let Some(found) = find().into_iter().next() else {
            eprintln!("no device of Vulkan's: nothing was tested");
            return;
        };
        let mut vulkan = found.open().expect("it opens");
        let bound = Bound { memory: MemoryKey(7), offset: 0, size: 4 };
        assert_eq!(
            vulkan.upload(FIRST_QUEUE, bound, &[0; 4]).map_err(|error| error.code()),
            Err(Code::Internal)
        );
    }
}
