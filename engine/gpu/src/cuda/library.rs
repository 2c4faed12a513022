//! Which kernels an operation of the library is, with which parameters.

use crate::backend::MemoryKey;
use crate::cuda::backend::Cuda;
use crate::cuda::cublas::Multiplier;
use crate::cuda::driver::{Address, Handle};
use crate::dtype::DType;
use crate::error::{Result, exceeded, internal};
use crate::ops::{Distribution, Operation, Reduction, Side};

/// The kernels, in CUDA C.
pub(super) const SOURCE: &str = include_str!("library.cu");

/// Threads of a block of every kernel of the library.
const THREADS: u32 = 256;
/// Elements along an axis, above which several blocks make one number of the result.
const PART_ELEMENTS: u64 = 1 << 14;
/// Blocks of the first of two stages at most, for each number of the result.
const PARTS_MAX: u64 = 1 << 12;
/// Numbers of a result, above which one block makes each in any case: there are enough of them.
const SPLIT_RESULTS_MAX: u64 = 1 << 9;

fn parts_of(outer: u64, axis: u64, inner: u64) -> u64 {
    match outer * inner > SPLIT_RESULTS_MAX {
        true => 1,
        false => axis.div_ceil(PART_ELEMENTS).min(PARTS_MAX),
    }
}

/// Bytes of memory that an operation needs beside its buffers: what the first stage of a reduction leaves,
/// values in 8 bytes each, then indices.
pub(super) fn scratch_bytes(operation: &Operation) -> u64 {
    match *operation {
        Operation::Reduce { outer, axis, inner, .. } => match parts_of(outer, axis, inner) {
            1 => 0,
            parts => outer * inner * parts * 12,
        },
        _ => 0,
    }
}

/// A number as an element of this type.
fn element(number: f64, dtype: DType) -> Vec<u8> {
    match dtype {
        DType::U8 => vec![number as u8],
        DType::I32 => (number as i32).to_ne_bytes().into(),
        DType::U32 => (number as u32).to_ne_bytes().into(),
        DType::I64 => (number as i64).to_ne_bytes().into(),
        DType::F16 => half::f16::from_f32(number as f32).to_ne_bytes().into(),
        DType::Bf16 => half::bf16::from_f32(number as f32).to_ne_bytes().into(),
        DType::F32 => (number as f32).to_ne_bytes().into(),
        DType::F64 => number.to_ne_bytes().into(),
    }
}

impl Cuda {
    pub(super) fn operate_on(
        &mut self,
        stream: Handle,
        operation: &Operation,
        scratch: Option<Address>,
    ) -> Result<()> {
        match *operation {
            Operation::Unary { op, dtype, input, output, count } => {
                let (input, output) = (self.address(input)?, self.address(output)?);
                self.call(&format!("unary_{dtype}"), stream, count.div_ceil(u64::from(THREADS)), |call| {
                    call.int(op as i32)?.address(input)?.address(output)?.long(count)
                })
            }
            Operation::Binary { op, dtype, left, right, output, count } => {
                let side = |this: &Self, side| match side {
                    Side::Memory(key) => Ok((this.address(key)?, element(0.0, dtype))),
                    Side::Number(number) => Ok((0, element(number, dtype))),
                };
                let ((left, x), (right, y)) = (side(self, left)?, side(self, right)?);
                let output = self.address(output)?;
                self.call(&format!("binary_{dtype}"), stream, count.div_ceil(u64::from(THREADS)), |call| {
                    call.int(op as i32)?.address(left)?.address(right)?.bytes(&x)?.bytes(&y)?;
                    call.address(output)?.long(count)
                })
            }
            Operation::Cast { from, to, input, output, count } => {
                let (input, output) = (self.address(input)?, self.address(output)?);
                self.call(&format!("cast_{from}_{to}"), stream, count.div_ceil(u64::from(THREADS)), |call| {
                    call.address(input)?.address(output)?.long(count)
                })
            }
            Operation::Reduce { op, dtype, input, output, outer, axis, inner } => {
                let sizes = [outer, axis, inner];
                self.reduce(stream, op, dtype, [input, output], sizes, scratch)
            }
            Operation::Softmax { dtype, input, output, rows, columns } => {
                let (input, output) = (self.address(input)?, self.address(output)?);
                self.call(&format!("softmax_{dtype}"), stream, rows, |call| {
                    call.address(input)?.address(output)?.long(columns)
                })
            }
            Operation::LayerNorm { dtype, input, scale, shift, output, rows, columns, epsilon } => {
                let of = |key: Option<MemoryKey>| key.map_or(Ok(0), |key| self.address(key));
                let (scale, shift) = (of(scale)?, of(shift)?);
                let (input, output) = (self.address(input)?, self.address(output)?);
                self.call(&format!("layer_norm_{dtype}"), stream, rows, |call| {
                    call.address(input)?.address(scale)?.address(shift)?.address(output)?;
                    call.long(columns)?.float(epsilon)
                })
            }
            Operation::Random { dtype, distribution, seed, output, count } => {
                let output = self.address(output)?;
                let blocks = count.div_ceil(4 * u64::from(THREADS));
                let (kind, first, second) = match distribution {
                    Distribution::Bits => {
                        return self.call("random_bits", stream, blocks, |call| {
                            call.address(output)?.long(count)?.long(seed)
                        });
                    }
                    Distribution::Uniform { low, high } => (0, low, high - low),
                    Distribution::Normal { mean, deviation } => (1, mean, deviation),
                };
                self.call(&format!("random_{dtype}"), stream, blocks, |call| {
                    call.int(kind)?.address(output)?.long(count)?.long(seed)?.float(first)?.float(second)
                })
            }
            Operation::Matmul { dtype, shape, left, right, output } => {
                let (left, right) = (self.address(left)?, self.address(right)?);
                let output = self.address(output)?;
                let multiplier = match &mut self.multiplier {
                    Some(multiplier) => multiplier,
                    none => none.insert(Multiplier::create()?),
                };
                multiplier.run(stream, dtype, &shape, left, right, output)
            }
        }
    }

    fn reduce(
        &mut self,
        stream: Handle,
        op: Reduction,
        dtype: DType,
        [input, output]: [MemoryKey; 2],
        [outer, axis, inner]: [u64; 3],
        scratch: Option<Address>,
    ) -> Result<()> {
        let (input, output) = (self.address(input)?, self.address(output)?);
        let (results, parts) = (outer * inner, parts_of(outer, axis, inner));
        let name = format!("reduce_{dtype}");
        let (values, places) = match (parts, scratch) {
            (1, _) => (0, 0),
            (_, Some(scratch)) => (scratch, scratch + results * parts * 8),
            (_, None) => {
                return Err(internal("a reduction without the memory that it said it needs"));
            }
        };
        let mut stage = |stage: i32, axis_here: u64, part: u64, parts: u64| {
            self.call(&name, stream, results * parts, |call| {
                call.int(op as i32)?.address(input)?.address(output)?.address(values)?.address(places)?;
                call.int(stage)?.long(axis_here)?.long(inner)?.long(part)?.long(parts)?.long(axis)
            })
        };
        if parts == 1 {
            return stage(0, axis, axis, 1);
        }
        stage(1, axis, axis.div_ceil(parts), parts)?;
        stage(2, parts, parts, 1)
    }

    fn call(
        &mut self,
        name: &str,
        stream: Handle,
        blocks: u64,
        fill: impl for<'a, 'b> FnOnce(&'b mut Call<'a>) -> Result<&'b mut Call<'a>>,
    ) -> Result<()> {
        let max = self.description.limits.grid_max[0];
        let Some(blocks) = u32::try_from(blocks).ok().filter(|blocks| *blocks <= max) else {
            return exceeded(format!("{blocks} blocks are more than one launch has here: work on parts"));
        };
        self.prepare(name)?;
        self.parameters.clear();
        fill(&mut Call { cuda: self })?;
        let function = self.own.get_mut(name).ok_or_else(|| internal("a kernel that was prepared"))?;
        function.launch(stream, [blocks, 1, 1], [THREADS, 1, 1], 0, &mut self.parameters)
    }
}

/// The parameters of a kernel of the library, one after the other.
struct Call<'a> {
    cuda: &'a mut Cuda,
}

impl Call<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<&mut Self> {
        self.cuda.parameters.push(bytes)?;
        Ok(self)
    }

    fn int(&mut self, value: i32) -> Result<&mut Self> {
        self.bytes(&value.to_ne_bytes())
    }

    fn long(&mut self, value: u64) -> Result<&mut Self> {
        self.bytes(&value.to_ne_bytes())
    }

    fn float(&mut self, value: f32) -> Result<&mut Self> {
        self.bytes(&value.to_ne_bytes())
    }

    fn address(&mut self, address: Address) -> Result<&mut Self> {
        self.long(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Binary, Unary};

    /// The kernels know operations by number.
    #[test]
    fn numbers_of_operations_are_those_of_the_source() {
        assert!(Unary::ALL.iter().enumerate().all(|(at, op)| *op as usize == at));
        assert!(Binary::ALL.iter().enumerate().all(|(at, op)| *op as usize == at));
        assert!(Reduction::ALL.iter().enumerate().all(|(at, op)| *op as usize == at));
        assert_eq!((Unary::Relu as i32, Binary::Power as i32, Reduction::ArgMaximum as i32), (9, 4, 4));
    }

    #[test]
    fn long_reductions_are_split() {
        assert_eq!(parts_of(1, 100, 1), 1);
        assert_eq!(parts_of(1, 1 << 20, 1), 64);
        assert_eq!(parts_of(1, 1 << 40, 1), PARTS_MAX);
        assert_eq!(parts_of(1 << 20, 1 << 20, 1), 1);
    }
}
