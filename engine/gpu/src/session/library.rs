//! The library calls: what they take is checked here, and done by the backend.
//!
//! Elements count from the beginning of each buffer, in row-major order; a buffer may be longer than what is
//! asked of it. Nothing of the result is also read, but for elementwise calls in place. All may fail with
//! INVALID_ARGUMENT (types, shapes), GPU_OUT_OF_BOUNDS (a buffer is too short), LIMIT_EXCEEDED (queue,
//! memory that is needed beside the buffers), UNSUPPORTED (the type is not for this) and GPU_DEVICE_LOST.

use crate::backend::MemoryKey;
use crate::dtype::DType;
use crate::error::{Code, Error, Result, exceeded, invalid, unsupported};
use crate::ops::{Binary, Distribution, Matmul, Operation, Reduction, Side, Unary};
use crate::session::buffer::Buffer;
use crate::session::stream::Stream;

/// Dimensions of a shape that is reduced.
const RANK_MAX: usize = 8;

/// One side of a binary operation.
#[derive(Debug, Clone, Copy)]
pub enum Operand<'a> {
    /// The elements of a buffer.
    Buffer(&'a Buffer),
    /// The same number everywhere, converted to the type of the other side.
    Number(f64),
}

impl<'a> From<&'a Buffer> for Operand<'a> {
    fn from(buffer: &'a Buffer) -> Self {
        Self::Buffer(buffer)
    }
}

impl From<f64> for Operand<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl Stream {
    /// `output[i] = op(input[i])` for `count` elements of one type; in place too.
    ///
    /// # Errors
    /// See the module's.
    pub fn unary(&self, op: Unary, input: &Buffer, output: &Buffer, count: u64) -> Result<()> {
        let what = format!("{op:?}");
        let dtype = self.checked_type(&[input, output], &what)?;
        self.check(op.takes(dtype), dtype, &what)?;
        holds(input, &[count], &what)?;
        holds(output, &[count], &what)?;
        let operation = Operation::Unary { op, dtype, input: input.key, output: output.key, count };
        self.operate(&[input, output], operation)
    }

    /// `output[i] = op(left[i], right[i])` for `count` elements of one type; in place too. Either side may be
    /// a number.
    ///
    /// # Errors
    /// See the module's; INVALID_ARGUMENT for two numbers.
    pub fn binary<'a>(
        &self,
        op: Binary,
        left: impl Into<Operand<'a>>,
        right: impl Into<Operand<'a>>,
        output: &'a Buffer,
        count: u64,
    ) -> Result<()> {
        let what = format!("{op:?}");
        let (left, right) = (left.into(), right.into());
        let mut buffers = vec![output];
        for side in [left, right] {
            if let Operand::Buffer(buffer) = side {
                holds(buffer, &[count], &what)?;
                buffers.push(buffer);
            }
        }
        if buffers.len() == 1 {
            return invalid(format!("{what} of two numbers: fill the buffer with the result"));
        }
        let dtype = self.checked_type(&buffers, &what)?;
        self.check(op.takes(dtype), dtype, &what)?;
        holds(output, &[count], &what)?;
        let side = |operand| match operand {
            Operand::Buffer(buffer) => Side::Memory(buffer.key),
            Operand::Number(number) => Side::Number(number),
        };
        let operation =
            Operation::Binary { op, dtype, left: side(left), right: side(right), output: output.key, count };
        self.operate(&buffers, operation)
    }

    /// `output[i] = input[i]` in the output's type. A fraction is cut, and a float beyond an integer's range
    /// becomes its nearest (NaN: 0); among integers the low bits stay; floats round to the nearest, ties to
    /// even.
    ///
    /// # Errors
    /// See the module's.
    pub fn cast(&self, input: &Buffer, output: &Buffer, count: u64) -> Result<()> {
        input.check_session(&self.shared, "Cast: the input")?;
        output.check_session(&self.shared, "Cast: the output")?;
        differ(input, output, "Cast")?;
        holds(input, &[count], "Cast")?;
        holds(output, &[count], "Cast")?;
        let (from, to) = (input.dtype(), output.dtype());
        let operation = Operation::Cast { from, to, input: input.key, output: output.key, count };
        self.operate(&[input, output], operation)
    }

    /// Reduces an array of this shape over one axis, or over all of it. The result has the other dimensions,
    /// in order, and the type of [`Reduction::result`]. Floats are added in f32 (f64 for f64), in an order
    /// that is the device's.
    ///
    /// # Errors
    /// See the module's.
    pub fn reduce(
        &self,
        op: Reduction,
        input: &Buffer,
        shape: &[u64],
        axis: Option<usize>,
        output: &Buffer,
    ) -> Result<()> {
        let what = format!("{op:?}");
        if shape.is_empty() || shape.len() > RANK_MAX {
            return invalid(format!("{what}: {} dimensions, and there are 1 to {RANK_MAX}", shape.len()));
        }
        let dtype = self.checked_type(&[input], &what)?;
        output.check_session(&self.shared, &format!("{what}: the output"))?;
        self.check(op.takes(dtype), dtype, &what)?;
        differ(input, output, &what)?;
        if output.dtype() != op.result(dtype) {
            return invalid(format!(
                "{what} of {dtype} gives {}, and the output is of {}",
                op.result(dtype),
                output.dtype()
            ));
        }
        let total = holds(input, shape, &what)?;
        let (outer, along, inner) = match axis {
            None => (1, total, 1),
            Some(axis) if axis < shape.len() => {
                (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
            }
            Some(axis) => {
                return invalid(format!("{what}: axis {axis} of {} dimensions", shape.len()));
            }
        };
        if op == Reduction::ArgMaximum && along > u64::from(u32::MAX) {
            return unsupported(format!("{what}: {along} elements along the axis; indices are u32"));
        }
        holds(output, &[outer, inner], &what)?;
        let (input_key, output_key) = (input.key, output.key);
        let operation =
            Operation::Reduce { op, dtype, input: input_key, output: output_key, outer, axis: along, inner };
        self.operate(&[input, output], operation)
    }

    /// Softmax of each row of a [rows, columns] matrix of floats.
    ///
    /// # Errors
    /// See the module's.
    pub fn softmax(&self, input: &Buffer, output: &Buffer, rows: u64, columns: u64) -> Result<()> {
        let what = "softmax";
        let dtype = self.checked_type(&[input, output], what)?;
        self.check(dtype.is_float(), dtype, what)?;
        differ(input, output, what)?;
        holds(input, &[rows, columns], what)?;
        holds(output, &[rows, columns], what)?;
        let operation = Operation::Softmax { dtype, input: input.key, output: output.key, rows, columns };
        self.operate(&[input, output], operation)
    }

    /// Layer norm of each row of a [rows, columns] matrix of floats: less its mean, by the root of its
    /// variance and `epsilon`, times `scale`, plus `shift`, which have one element for each column.
    ///
    /// # Errors
    /// See the module's; INVALID_ARGUMENT for an `epsilon` that is not above 0.
    #[allow(clippy::too_many_arguments, reason = "they are the operation's own")]
    pub fn layer_norm(
        &self,
        input: &Buffer,
        scale: Option<&Buffer>,
        shift: Option<&Buffer>,
        output: &Buffer,
        rows: u64,
        columns: u64,
        epsilon: f32,
    ) -> Result<()> {
        let what = "layer norm";
        let mut buffers = vec![input, output];
        for extra in [scale, shift].into_iter().flatten() {
            differ(extra, output, what)?;
            buffers.push(extra);
        }
        let dtype = self.checked_type(&buffers, what)?;
        self.check(dtype.is_float(), dtype, what)?;
        differ(input, output, what)?;
        holds(input, &[rows, columns], what)?;
        holds(output, &[rows, columns], what)?;
        for extra in [scale, shift].into_iter().flatten() {
            holds(extra, &[columns], what)?;
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return invalid(format!("{what}: an epsilon of {epsilon}: it is above 0, such as 1e-5"));
        }
        let operation = Operation::LayerNorm {
            dtype,
            input: input.key,
            scale: scale.map(|buffer| buffer.key),
            shift: shift.map(|buffer| buffer.key),
            output: output.key,
            rows,
            columns,
            epsilon,
        };
        self.operate(&buffers, operation)
    }

    /// `count` random numbers: element i follows from the seed and i alone (Philox 4x32-10), on every device.
    ///
    /// # Errors
    /// See the module's; INVALID_ARGUMENT for bounds or a deviation that are no numbers.
    pub fn random(&self, distribution: Distribution, seed: u64, output: &Buffer, count: u64) -> Result<()> {
        let what = "random";
        let dtype = self.checked_type(&[output], what)?;
        match distribution {
            Distribution::Bits => self.check(dtype == DType::U32, dtype, what)?,
            Distribution::Uniform { low, high } => {
                self.check(dtype.is_float() && dtype != DType::F64, dtype, what)?;
                if !(low < high && (high - low).is_finite()) {
                    return invalid(format!("{what}: from {low} to {high}: low is below high, both finite"));
                }
            }
            Distribution::Normal { mean, deviation } => {
                self.check(dtype.is_float() && dtype != DType::F64, dtype, what)?;
                if !(mean.is_finite() && deviation.is_finite() && deviation >= 0.0) {
                    return invalid(format!("{what}: a mean of {mean}, a deviation of {deviation}"));
                }
            }
        }
        holds(output, &[count], what)?;
        self.operate(&[output], Operation::Random { dtype, distribution, seed, output: output.key, count })
    }

    /// Products of matrices of f16, bf16 or f32, and of f64 where the device has it.
    ///
    /// # Errors
    /// See the module's.
    pub fn matmul(&self, shape: Matmul, left: &Buffer, right: &Buffer, output: &Buffer) -> Result<()> {
        let what = format!("matmul of [{}, {}] and [{}, {}]", shape.m, shape.k, shape.k, shape.n);
        let dtype = self.checked_type(&[left, right, output], &what)?;
        self.check(dtype.is_float(), dtype, &what)?;
        differ(left, output, &what)?;
        differ(right, output, &what)?;
        holds(left, &[shape.batch, shape.m, shape.k], &what)?;
        holds(right, &[shape.batch, shape.k, shape.n], &what)?;
        holds(output, &[shape.batch, shape.m, shape.n], &what)?;
        let extents = [shape.batch, shape.m, shape.n, shape.k];
        if extents.iter().any(|extent| *extent > MATMUL_EXTENT_MAX) {
            return exceeded(format!("{what}: an extent above {MATMUL_EXTENT_MAX}"));
        }
        if !(shape.alpha.is_finite() && shape.beta.is_finite()) {
            return invalid(format!("{what}: alpha {}, beta {}: both are finite", shape.alpha, shape.beta));
        }
        let operation =
            Operation::Matmul { dtype, shape, left: left.key, right: right.key, output: output.key };
        self.operate(&[left, right, output], operation)
    }

    /// That all are of this session and of one type, which is given back.
    fn checked_type(&self, buffers: &[&Buffer], what: &str) -> Result<DType> {
        for buffer in buffers {
            buffer.check_session(&self.shared, what)?;
        }
        let dtype = buffers[0].dtype();
        if let Some(other) = buffers.iter().find(|buffer| buffer.dtype() != dtype) {
            return invalid(format!("{what}: buffers of {dtype} and {}: cast one of them", other.dtype()));
        }
        Ok(dtype)
    }

    fn check(&self, takes: bool, dtype: DType, what: &str) -> Result<()> {
        if takes {
            return Ok(());
        }
        unsupported(format!("{what} is not defined for {dtype}: cast to another type first"))
    }

    fn operate(&self, buffers: &[&Buffer], operation: Operation) -> Result<()> {
        let queue = self.queue();
        let mut keys: Vec<MemoryKey> = buffers.iter().map(|buffer| buffer.key).collect();
        let mut state = self.shared.state.lock();
        state.check_alive()?;
        let bytes = state.backend.scratch_bytes(&operation);
        let scratch = state.scratch(queue, bytes)?;
        keys.extend(scratch);
        state.enqueue(queue, keys, |backend| backend.operate(queue, &operation, scratch))
    }
}

/// Rows, columns and products of a matmul, above which libraries count wrong.
const MATMUL_EXTENT_MAX: u64 = i32::MAX as u64;

/// How many elements the shape has; GPU_OUT_OF_BOUNDS when the buffer has fewer.
fn holds(buffer: &Buffer, shape: &[u64], what: &str) -> Result<u64> {
    if shape.contains(&0) {
        return invalid(format!("{what}: the shape {shape:?} has no elements: each extent is at least 1"));
    }
    let total = shape.iter().try_fold(1, |total: u64, extent| total.checked_mul(*extent));
    match total {
        Some(total) if total <= buffer.count() => Ok(total),
        _ => Err(Error::new(
            Code::OutOfBounds,
            format!(
                "{what}: the shape {shape:?} needs more elements than the buffer has, which are {} of {}",
                buffer.count(),
                buffer.dtype()
            ),
        )),
    }
}

fn differ(input: &Buffer, output: &Buffer, what: &str) -> Result<()> {
    if input.key != output.key {
        return Ok(());
    }
    invalid(format!("{what}: the output is also an input, and only elementwise calls work in place"))
}
