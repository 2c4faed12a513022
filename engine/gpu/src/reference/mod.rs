//! The CPU as a device: the judge of the others. Everything has ended when its call returns.

mod compute;
mod values;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::backend::{
    Backend, Bound, KernelKey, KernelShape, KernelSource, Launch, MemoryKey, QueueKey, Waiter,
};
use crate::device::{BackendKind, DeviceDescription, DeviceKind, DeviceLimits};
use crate::dtype::DType;
use crate::error::{Code, Error, Result, internal, unsupported};
use crate::ops::{Operation, Side};
use values::Values;

/// Bytes of one buffer.
const BUFFER_BYTES_MAX: u64 = 1 << 40;

/// What the reference says of itself.
pub(crate) fn description() -> DeviceDescription {
    DeviceDescription {
        index: 0,
        name: "reference".into(),
        vendor: "engine".into(),
        backend: BackendKind::Reference,
        kind: DeviceKind::Cpu,
        memory_bytes: None,
        driver: concat!("engine ", env!("CARGO_PKG_VERSION")).into(),
        architecture: String::new(),
        dtypes: DType::ALL.to_vec(),
        limits: DeviceLimits {
            buffer_bytes_max: BUFFER_BYTES_MAX,
            binding_bytes_max: BUFFER_BYTES_MAX,
            binding_alignment_bytes: 1,
            bindings_max: 0,
            grid_max: [0; 3],
            block_max: [0; 3],
            block_threads_max: 0,
            shared_bytes_max: 0,
        },
        has_timestamps: false,
    }
}

/// The CPU, as one session uses it.
pub(crate) struct Reference {
    description: DeviceDescription,
    memory: HashMap<MemoryKey, Vec<u8>>,
    issued: HashMap<QueueKey, u64>,
    worked: Duration,
}

impl Reference {
    pub(crate) fn new() -> Self {
        Self {
            description: description(),
            memory: HashMap::new(),
            issued: HashMap::new(),
            worked: Duration::ZERO,
        }
    }

    fn bytes(&self, key: MemoryKey) -> Result<&[u8]> {
        self.memory
            .get(&key)
            .map(Vec::as_slice)
            .ok_or_else(|| internal("memory that the reference does not have"))
    }

    fn slice(&mut self, bound: Bound) -> Result<&mut [u8]> {
        let from = bound.offset as usize;
        self.memory
            .get_mut(&bound.memory)
            .and_then(|bytes| bytes.get_mut(from..from + bound.size as usize))
            .ok_or_else(|| internal("a range that the reference does not have"))
    }

    fn read(&self, key: MemoryKey, dtype: DType, count: u64) -> Result<Values> {
        Ok(Values::read(self.bytes(key)?, dtype, count))
    }

    fn write(&mut self, key: MemoryKey, dtype: DType, values: &Values) -> Result<()> {
        let bytes = self.memory.get_mut(&key);
        values.write(bytes.ok_or_else(|| internal("memory that the reference does not have"))?, dtype);
        Ok(())
    }

    /// Does something of a queue's, on its account.
    fn work(&mut self, queue: QueueKey, what: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let begun = Instant::now();
        let outcome = what(self);
        self.worked += begun.elapsed();
        *self.issued.entry(queue).or_default() += 1;
        outcome
    }

    fn compute(&mut self, operation: &Operation) -> Result<()> {
        match *operation {
            Operation::Unary { op, dtype, input, output, count } => {
                let made = compute::unary(op, self.read(input, dtype, count)?);
                self.write(output, dtype, &made)
            }
            Operation::Binary { op, dtype, left, right, output, count } => {
                let side = |side| match side {
                    Side::Memory(key) => self.read(key, dtype, count),
                    Side::Number(number) => Ok(compute::constant(number, dtype, count)),
                };
                let made = compute::binary(op, side(left)?, side(right)?);
                self.write(output, dtype, &made)
            }
            Operation::Cast { from, to, input, output, count } => {
                let values = self.read(input, from, count)?;
                self.write(output, to, &values)
            }
            Operation::Reduce { op, dtype, input, output, outer, axis, inner } => {
                let values = self.read(input, dtype, outer * axis * inner)?;
                let made = compute::reduce(op, &values, [outer, axis, inner].map(|extent| extent as usize));
                self.write(output, op.result(dtype), &made)
            }
            Operation::Softmax { dtype, input, output, rows, columns } => {
                let values = self.read(input, dtype, rows * columns)?.floats();
                self.write(output, dtype, &Values::Floats(compute::softmax(&values, columns as usize)))
            }
            Operation::LayerNorm { dtype, input, scale, shift, output, rows, columns, epsilon } => {
                let values = self.read(input, dtype, rows * columns)?.floats();
                let column = |key: Option<MemoryKey>| {
                    key.map(|key| self.read(key, dtype, columns).map(Values::floats)).transpose()
                };
                let (scale, shift) = (column(scale)?, column(shift)?);
                let made = compute::layer_norm(
                    &values,
                    scale.as_deref(),
                    shift.as_deref(),
                    columns as usize,
                    epsilon,
                );
                self.write(output, dtype, &Values::Floats(made))
            }
            Operation::Random { dtype, distribution, seed, output, count } => {
                self.write(output, dtype, &compute::random(distribution, seed, count))
            }
            Operation::Matmul { dtype, shape, left, right, output } => {
                let left = self.read(left, dtype, shape.batch * shape.m * shape.k)?.floats();
                let right = self.read(right, dtype, shape.batch * shape.k * shape.n)?.floats();
                let before = self.read(output, dtype, shape.batch * shape.m * shape.n)?.floats();
                let made = compute::matmul(&shape, &left, &right, &before);
                self.write(output, dtype, &Values::Floats(made))
            }
        }
    }
}

impl Backend for Reference {
    fn description(&self) -> &DeviceDescription {
        &self.description
    }

    fn allocate(&mut self, key: MemoryKey, bytes: u64) -> Result<()> {
        let none = || Error::new(Code::OutOfMemory, format!("the machine has no {bytes} bytes for a buffer"));
        let size = usize::try_from(bytes).map_err(|_| none())?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(size).map_err(|_| none())?;
        memory.resize(size, 0);
        self.memory.insert(key, memory);
        Ok(())
    }

    fn release(&mut self, key: MemoryKey) {
        self.memory.remove(&key);
    }

    fn upload(&mut self, queue: QueueKey, to: Bound, bytes: &[u8]) -> Result<()> {
        self.work(queue, |this| {
            this.slice(to)?.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn download(&mut self, queue: QueueKey, from: Bound, into: &mut [u8]) -> Result<()> {
        self.work(queue, |this| {
            into.copy_from_slice(this.slice(from)?);
            Ok(())
        })
    }

    fn fill(&mut self, queue: QueueKey, range: Bound, pattern: &[u8]) -> Result<()> {
        self.work(queue, |this| {
            this.slice(range)?
                .chunks_exact_mut(pattern.len())
                .for_each(|chunk| chunk.copy_from_slice(pattern));
            Ok(())
        })
    }

    fn copy(&mut self, queue: QueueKey, from: Bound, to: Bound) -> Result<()> {
        self.work(queue, |this| {
            let bytes = this.slice(from)?.to_vec();
            this.slice(to)?.copy_from_slice(&bytes);
            Ok(())
        })
    }

    fn compile(&mut self, _: KernelKey, source: KernelSource<'_>, entry: &str) -> Result<KernelShape> {
        unsupported(format!(
            "kernel {entry}: the reference runs library calls only and compiles no {}: open another device",
            source.language()
        ))
    }

    fn forget(&mut self, _: KernelKey) {}

    fn launch(&mut self, _: QueueKey, _: &Launch<'_>) -> Result<()> {
        unsupported("the reference launches no kernels: open another device")
    }

    fn scratch_bytes(&self, _: &Operation) -> u64 {
        0
    }

    fn operate(&mut self, queue: QueueKey, operation: &Operation, _: Option<MemoryKey>) -> Result<()> {
        self.work(queue, |this| this.compute(operation))
    }

    fn open_queue(&mut self, key: QueueKey) -> Result<()> {
        self.issued.insert(key, 0);
        Ok(())
    }

    fn close_queue(&mut self, key: QueueKey) {
        self.issued.remove(&key);
    }

    fn issued(&self, queue: QueueKey) -> u64 {
        self.issued.get(&queue).copied().unwrap_or_default()
    }

    fn completed(&mut self, queue: QueueKey) -> Result<u64> {
        Ok(self.issued(queue))
    }

    fn flush(&mut self, _: QueueKey) -> Result<()> {
        Ok(())
    }

    fn waiter(&mut self, _: QueueKey, _: u64) -> Result<Waiter> {
        Ok(Box::new(|| Ok(())))
    }

    fn order(&mut self, _: QueueKey, _: QueueKey, _: u64) -> Result<()> {
        Ok(())
    }

    fn device_time(&mut self) -> Duration {
        self.worked
    }

    fn submissions(&self) -> u64 {
        self.issued.values().sum()
    }
}
