//! The trait of backends, for a device of CUDA's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{
    Backend, Bound, FIRST_QUEUE, KernelKey, KernelShape, KernelSource, Launch, MemoryKey, QueueKey, Waiter,
};
use crate::cuda::cublas::Multiplier;
use crate::cuda::driver::{Address, Context, CudaStream};
use crate::cuda::library;
use crate::cuda::module::{Function, Module, Parameters};
use crate::cuda::nvrtc;
use crate::cuda::queue::Queue;
use crate::cuda::staging::Staging;
use crate::device::DeviceDescription;
use crate::error::{Result, internal, invalid, unsupported};
use crate::ops::Operation;

/// A device of CUDA's, as one session uses it.
pub(crate) struct Cuda {
    pub(super) description: DeviceDescription,
    capability: u32,
    /// What has to go while the context is entered stands before it.
    pub(super) multiplier: Option<Multiplier>,
    pub(super) own: HashMap<String, Function>,
    kernels: HashMap<KernelKey, Function>,
    /// Forgotten while something was queued: unloading them then would wait.
    forgotten: Vec<Function>,
    library: Option<Arc<Module>>,
    pub(super) parameters: Parameters,
    staging: Staging,
    /// Clears fresh memory.
    side: CudaStream,
    queues: HashMap<QueueKey, Queue>,
    memory: HashMap<MemoryKey, (Address, usize)>,
    /// Of queues that were closed.
    worked: Duration,
    submissions: u64,
    context: Arc<Context>,
}

impl Cuda {
    pub(super) fn new(
        description: DeviceDescription,
        capability: u32,
        context: Arc<Context>,
    ) -> Result<Self> {
        context.enter()?;
        let queues = HashMap::from([(FIRST_QUEUE, Queue::create(&context)?)]);
        Ok(Self {
            description,
            capability,
            multiplier: None,
            own: HashMap::new(),
            kernels: HashMap::new(),
            forgotten: Vec::new(),
            library: None,
            parameters: Parameters::new(),
            staging: Staging::create(&context)?,
            side: CudaStream::create(&context)?,
            queues,
            memory: HashMap::new(),
            worked: Duration::ZERO,
            submissions: 0,
            context,
        })
    }

    pub(super) fn address(&self, key: MemoryKey) -> Result<Address> {
        self.memory
            .get(&key)
            .map(|(address, _)| *address)
            .ok_or_else(|| internal("memory that the device does not have"))
    }

    fn queue(&mut self, key: QueueKey) -> Result<&mut Queue> {
        self.queues.get_mut(&key).ok_or_else(|| internal("a stream that the device does not have"))
    }

    /// Makes sure that a kernel of the library is there.
    pub(super) fn prepare(&mut self, name: &str) -> Result<()> {
        if self.own.contains_key(name) {
            return Ok(());
        }
        let module = match &self.library {
            Some(module) => module.clone(),
            None => {
                let image = nvrtc::image(library::SOURCE, "of the library", self.capability)?;
                self.library.insert(Module::load(&self.context, &image, "of the library")?).clone()
            }
        };
        let function = module.function(name).map_err(|error| internal(error.to_string()))?;
        self.own.insert(name.into(), function);
        Ok(())
    }

    /// Gives the queue something, with the context entered.
    fn give(
        &mut self,
        key: QueueKey,
        what: impl FnOnce(&mut Self, crate::cuda::driver::Handle) -> Result<()>,
    ) -> Result<()> {
        self.context.enter()?;
        let queue = self.queue(key)?;
        queue.begin()?;
        let stream = queue.stream.handle;
        let outcome = what(self, stream);
        // Also after an error: a part of it may be on its way.
        self.queue(key)?.count();
        outcome
    }

    fn is_idle(&mut self) -> bool {
        self.queues.values_mut().all(|queue| queue.completed().is_ok_and(|ended| ended == queue.issued()))
    }
}

impl Backend for Cuda {
    fn description(&self) -> &DeviceDescription {
        &self.description
    }

    fn allocate(&mut self, key: MemoryKey, bytes: u64) -> Result<()> {
        let driver = self.context.enter()?;
        let size = usize::try_from(bytes).map_err(internal)?;
        let mut address = 0;
        // SAFETY: the place is there, and the context is entered.
        driver.check(unsafe { (driver.allocate)(&raw mut address, size) }, &format!("{bytes} bytes"))?;
        self.memory.insert(key, (address, size));
        // SAFETY: the memory is as long, and nobody else has it yet.
        let cleared = unsafe { (driver.set_bytes)(address, 0, size, self.side.handle) };
        let cleared = driver.check(cleared, "clearing memory").and_then(|()| self.side.synchronize());
        // Memory that may not be clear is nobody's.
        cleared.inspect_err(|_| self.release(key))
    }

    fn release(&mut self, key: MemoryKey) {
        if let Some((address, _)) = self.memory.remove(&key)
            && let Ok(driver) = self.context.enter()
        {
            // SAFETY: it was allocated in this context, and nothing uses it any more.
            unsafe { (driver.free)(address) };
        }
    }

    fn upload(&mut self, queue: QueueKey, to: Bound, bytes: &[u8]) -> Result<()> {
        let address = self.address(to.memory)? + to.offset;
        self.give(queue, |this, _| {
            let stream = this.queues.get(&queue).map(|queue| &queue.stream);
            let stream = stream.ok_or_else(|| internal("a stream that the device does not have"))?;
            this.staging.upload(stream, address, bytes)
        })
    }

    fn download(&mut self, queue: QueueKey, from: Bound, into: &mut [u8]) -> Result<()> {
        let address = self.address(from.memory)? + from.offset;
        self.give(queue, |this, _| {
            let stream = this.queues.get(&queue).map(|queue| &queue.stream);
            let stream = stream.ok_or_else(|| internal("a stream that the device does not have"))?;
            this.staging.download(stream, address, into)
        })
    }

    fn fill(&mut self, queue: QueueKey, range: Bound, pattern: &[u8]) -> Result<()> {
        let address = self.address(range.memory)? + range.offset;
        let count = usize::try_from(range.size).map_err(internal)? / pattern.len().max(1);
        let mut wide = [0; 8];
        wide[..pattern.len().min(8)].copy_from_slice(&pattern[..pattern.len().min(8)]);
        let word = |at: usize| u32::from_le_bytes([wide[at], wide[at + 1], wide[at + 2], wide[at + 3]]);
        self.give(queue, |this, stream| {
            let driver = this.context.driver;
            // SAFETY: the range lies in its memory, as the session has checked, and elements lie at multiples of
            // their size. Of 8 bytes, the two halves are columns.
            let result = unsafe {
                match pattern.len() {
                    1 => (driver.set_bytes)(address, pattern[0], count, stream),
                    2 => (driver.set_halves)(address, u16::from_le_bytes([wide[0], wide[1]]), count, stream),
                    4 => (driver.set_words)(address, word(0), count, stream),
                    _ => match (driver.set_columns)(address, 8, word(0), 1, count, stream) {
                        0 => (driver.set_columns)(address + 4, 8, word(4), 1, count, stream),
                        failed => failed,
                    },
                }
            };
            driver.check(result, "a fill")
        })
    }

    fn copy(&mut self, queue: QueueKey, from: Bound, to: Bound) -> Result<()> {
        let source = self.address(from.memory)? + from.offset;
        let target = self.address(to.memory)? + to.offset;
        let size = usize::try_from(from.size).map_err(internal)?;
        self.give(queue, |this, stream| {
            let driver = this.context.driver;
            // SAFETY: both ranges lie in their memory and do not overlap, as the session has checked.
            driver.check(unsafe { (driver.copy)(target, source, size, stream) }, "a copy")
        })
    }

    fn compile(&mut self, key: KernelKey, source: KernelSource<'_>, entry: &str) -> Result<KernelShape> {
        self.context.enter()?;
        let module = match source {
            KernelSource::CudaC(text) => {
                let image = nvrtc::image(text, entry, self.capability)?;
                Module::load(&self.context, &image, entry)?
            }
            KernelSource::Ptx(text) => {
                if text.contains('\0') {
                    return invalid(format!("kernel {entry}: the assembly has a zero byte"));
                }
                Module::load(&self.context, format!("{text}\0").as_bytes(), entry)?
            }
            KernelSource::Wgsl(_) => {
                return unsupported(format!(
                    "kernel {entry}: this device takes CUDA C and PTX, and the source is WGSL: open the device \
                     through wgpu"
                ));
            }
        };
        let function = module.function(entry)?;
        let block_threads_max = function.block_threads_max;
        self.kernels.insert(key, function);
        Ok(KernelShape { bindings: None, scalars: None, block: None, block_threads_max })
    }

    fn forget(&mut self, kernel: KernelKey) {
        self.forgotten.extend(self.kernels.remove(&kernel));
        if self.context.enter().is_ok() && self.is_idle() {
            self.forgotten.clear();
        }
    }

    fn launch(&mut self, queue: QueueKey, launch: &Launch<'_>) -> Result<()> {
        self.parameters.clear();
        for bound in launch.bindings {
            let address = self.address(bound.memory)? + bound.offset;
            self.parameters.push(&address.to_ne_bytes())?;
        }
        for scalar in launch.scalars {
            let mut bytes = Vec::new();
            scalar.append_to(&mut bytes);
            self.parameters.push(&bytes)?;
        }
        self.give(queue, |this, stream| {
            let function = this.kernels.get_mut(&launch.kernel);
            let function = function.ok_or_else(|| internal("a kernel that the device does not have"))?;
            function.launch(stream, launch.grid, launch.block, launch.shared_bytes, &mut this.parameters)
        })
    }

    fn scratch_bytes(&self, operation: &Operation) -> u64 {
        library::scratch_bytes(operation)
    }

    fn operate(&mut self, queue: QueueKey, operation: &Operation, scratch: Option<MemoryKey>) -> Result<()> {
        let scratch = scratch.map(|key| self.address(key)).transpose()?;
        self.give(queue, |this, stream| this.operate_on(stream, operation, scratch))
    }

    fn open_queue(&mut self, key: QueueKey) -> Result<()> {
        self.context.enter()?;
        self.queues.insert(key, Queue::create(&self.context)?);
        Ok(())
    }

    fn close_queue(&mut self, key: QueueKey) {
        if let Some(queue) = self.queues.remove(&key) {
            self.worked += queue.worked();
            self.submissions += queue.submissions;
        }
    }

    fn issued(&self, queue: QueueKey) -> u64 {
        self.queues.get(&queue).map_or(0, Queue::issued)
    }

    fn completed(&mut self, queue: QueueKey) -> Result<u64> {
        self.context.enter()?;
        self.queue(queue)?.completed()
    }

    fn flush(&mut self, queue: QueueKey) -> Result<()> {
        self.context.enter()?;
        self.queue(queue)?.flush()
    }

    fn waiter(&mut self, queue: QueueKey, ticket: u64) -> Result<Waiter> {
        self.context.enter()?;
        self.queue(queue)?.waiter(ticket)
    }

    fn order(&mut self, queue: QueueKey, after: QueueKey, ticket: u64) -> Result<()> {
        self.context.enter()?;
        let Some(event) = self.queue(after)?.event_of(ticket)? else { return Ok(()) };
        self.queue(queue)?.stream.wait_for(&event)
    }

    fn device_time(&mut self) -> Duration {
        if self.context.enter().is_ok() {
            // What fails here is said to whoever asks for something.
            self.is_idle();
        }
        self.worked + self.queues.values().map(Queue::worked).sum::<Duration>()
    }

    fn submissions(&self) -> u64 {
        self.submissions + self.queues.values().map(|queue| queue.submissions).sum::<u64>()
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if let Ok(driver) = self.context.enter() {
            // What still runs ends before what it uses goes; a broken context has nothing that runs.
            // SAFETY: the context is entered.
            unsafe { (driver.context_synchronize)() };
        }
        self.multiplier = None;
        for key in self.memory.keys().copied().collect::<Vec<_>>() {
            self.release(key);
        }
    }
}
