//! Which kernels an operation of the library is, with which scalars.

use crate::backend::MemoryKey;
use crate::dtype::DType;
use crate::error::{Result, exceeded, internal};
use crate::ops::{Distribution, Operation, Reduction, Side};
use crate::vulkan::backend::Vulkan;
use crate::vulkan::bind::{Memory, Part};
use crate::vulkan::rows::{self, Stage, TILE};
use crate::vulkan::shaders::{self, BLOCK_THREADS, From, lane_bits, linear_grid, per_word};

/// Elements along an axis, above which several blocks make one number of the result.
const PART_ELEMENTS: u64 = 1 << 14;
/// Numbers of a result, above which one block makes each in any case: there are enough of them.
const SPLIT_RESULTS_MAX: u64 = 256;

/// Bytes of memory that an operation needs beside its buffers.
pub(super) fn scratch_bytes(operation: &Operation) -> u64 {
    match *operation {
        Operation::Reduce { op, dtype, outer, axis, inner, .. } => {
            let layout = Layout::of(op, dtype, outer, axis, inner);
            layout.words * 4
        }
        Operation::Softmax { dtype, rows, columns, .. }
        | Operation::LayerNorm { dtype, rows, columns, .. } => {
            u64::from(dtype.is_half()) * rows * columns * 4
        }
        Operation::Matmul { dtype, shape, .. } => {
            u64::from(dtype.is_half()) * shape.batch * shape.m * shape.n * 4
        }
        _ => 0,
    }
}

/// How a reduction uses the memory beside its buffers, in words: results that are to be cast, then what the
/// first of two stages leaves.
#[derive(Debug, Clone, Copy)]
struct Layout {
    parts: u64,
    values: u64,
    indices: u64,
    words: u64,
    is_cast: bool,
}

impl Layout {
    fn of(op: Reduction, dtype: DType, outer: u64, axis: u64, inner: u64) -> Self {
        let results = outer * inner;
        let is_cast = dtype.is_half() && op != Reduction::ArgMaximum;
        let parts = if results > SPLIT_RESULTS_MAX { 1 } else { axis.div_ceil(PART_ELEMENTS) };
        let values = if is_cast { results } else { 0 };
        let left = if parts > 1 { results * parts } else { 0 };
        let indices = values + left;
        let with_indices = if op == Reduction::ArgMaximum { left } else { 0 };
        Self { parts, values, indices, words: indices + with_indices, is_cast }
    }
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Vulkan {
    pub(super) fn operate_on(&mut self, operation: &Operation, scratch: Option<&Memory>) -> Result<()> {
        match *operation {
            Operation::Unary { op, dtype, input, output, count } => {
                let in_place = input == output;
                let name = format!("{op:?} {dtype} {in_place}");
                let keys = if in_place { vec![output] } else { vec![output, input] };
                self.elementwise(&name, || shaders::unary(op, dtype, in_place), &keys, &[count as u32], dtype)
            }
            Operation::Binary { op, dtype, left, right, output, count } => {
                let mut keys = vec![output];
                let mut scalars = [count as u32, 0, 0];
                let sides = [(left, 1), (right, 2)].map(|(side, at)| match side {
                    Side::Number(number) => {
                        scalars[at] = lane_bits(number, dtype);
                        From::Number
                    }
                    Side::Memory(key) if key == output => From::Output,
                    Side::Memory(key) => {
                        keys.push(key);
                        From::Buffer
                    }
                });
                let name = format!("{op:?} {dtype} {sides:?}");
                self.elementwise(&name, || shaders::binary(op, dtype, sides), &keys, &scalars, dtype)
            }
            Operation::Cast { from, to, input, output, count } => {
                let (input, output) = (self.memory(input)?, self.memory(output)?);
                self.cast(from, to, &input, &output, count)
            }
            Operation::Random { dtype, distribution, seed, output, count } => {
                let (kind, first, second) = match distribution {
                    Distribution::Bits => ("bits", 0.0, 0.0),
                    Distribution::Uniform { low, high } => ("uniform", low, high - low),
                    Distribution::Normal { mean, deviation } => ("normal", mean, deviation),
                };
                let pipeline =
                    self.own(&format!("{kind} {dtype}"), || shaders::random(distribution, dtype))?;
                let seed = [seed as u32, (seed >> 32) as u32];
                let scalars = words(&[count as u32, seed[0], seed[1], first.to_bits(), second.to_bits()]);
                let grid = linear_grid(count.div_ceil(4 * BLOCK_THREADS), &self.description.limits)?;
                let output = self.memory(output)?;
                self.batch.dispatch(&pipeline, &[Part::all(&output)], &scalars, grid)
            }
            Operation::Reduce { op, dtype, input, output, outer, axis, inner } => {
                self.reduce(op, dtype, [input, output], [outer, axis, inner], scratch)
            }
            Operation::Softmax { dtype, input, output, rows, columns } => {
                let pipeline = self.own(&format!("softmax {dtype}"), || rows::softmax(dtype))?;
                let scalars = words(&[rows as u32, columns as u32, f32::NEG_INFINITY.to_bits()]);
                let grid = linear_grid(rows, &self.description.limits)?;
                let (input, output) = (self.memory(input)?, self.memory(output)?);
                let target = if dtype.is_half() { needed(scratch)? } else { &output };
                let parts = [Part::all(target), Part::all(&input)];
                self.batch.dispatch(&pipeline, &parts, &scalars, grid)?;
                self.narrow(dtype, scratch, &output, rows * columns)
            }
            Operation::LayerNorm { dtype, input, scale, shift, output, rows, columns, epsilon } => {
                let name = format!("layer norm {dtype} {} {}", scale.is_some(), shift.is_some());
                let pipeline =
                    self.own(&name, || rows::layer_norm(dtype, scale.is_some(), shift.is_some()))?;
                let scalars = words(&[rows as u32, columns as u32, epsilon.to_bits()]);
                let grid = linear_grid(rows, &self.description.limits)?;
                let output = self.memory(output)?;
                let mut inputs = Vec::new();
                for key in [Some(input), scale, shift].into_iter().flatten() {
                    inputs.push(self.memory(key)?);
                }
                let target = if dtype.is_half() { needed(scratch)? } else { &output };
                let parts: Vec<_> = [target].into_iter().chain(&inputs).map(Part::all).collect();
                self.batch.dispatch(&pipeline, &parts, &scalars, grid)?;
                self.narrow(dtype, scratch, &output, rows * columns)
            }
            Operation::Matmul { .. } => self.matmul(operation, scratch),
        }
    }

    fn elementwise(
        &mut self,
        name: &str,
        source: impl FnOnce() -> String,
        keys: &[MemoryKey],
        scalars: &[u32],
        dtype: DType,
    ) -> Result<()> {
        let pipeline = self.own(name, source)?;
        let count = u64::from(scalars[0]);
        let blocks = count.div_ceil(per_word(dtype)).div_ceil(BLOCK_THREADS);
        let grid = linear_grid(blocks, &self.description.limits)?;
        let mut memory = Vec::with_capacity(keys.len());
        for key in keys {
            memory.push(self.memory(*key)?);
        }
        let parts: Vec<_> = memory.iter().map(Part::all).collect();
        self.batch.dispatch(&pipeline, &parts, &words(scalars), grid)
    }

    fn cast(&mut self, from: DType, to: DType, input: &Memory, output: &Memory, count: u64) -> Result<()> {
        let pipeline = self.own(&format!("cast {from} {to}"), || shaders::cast(from, to))?;
        let blocks = count.div_ceil(per_word(to)).div_ceil(BLOCK_THREADS);
        let grid = linear_grid(blocks, &self.description.limits)?;
        let parts = [Part::all(output), Part::all(input)];
        self.batch.dispatch(&pipeline, &parts, &words(&[count as u32]), grid)
    }

    /// What was made in f32 beside the buffers, to where it belongs; nothing for results of 32 bits.
    fn narrow(&mut self, dtype: DType, scratch: Option<&Memory>, output: &Memory, count: u64) -> Result<()> {
        if !dtype.is_half() {
            return Ok(());
        }
        self.cast(DType::F32, dtype, needed(scratch)?, output, count)
    }

    fn reduce(
        &mut self,
        op: Reduction,
        dtype: DType,
        [input, output]: [MemoryKey; 2],
        [outer, axis, inner]: [u64; 3],
        scratch: Option<&Memory>,
    ) -> Result<()> {
        let layout = Layout::of(op, dtype, outer, axis, inner);
        let (input, output) = (self.memory(input)?, self.memory(output)?);
        let identity = identity(op, dtype);
        let mut stages = Vec::new();
        if layout.parts > 1 {
            let left = Stage { from_scratch: false, to_scratch: true, is_first_of_two: true };
            stages.push((left, axis, axis.div_ceil(layout.parts), layout.parts, layout.values));
            let last = Stage { from_scratch: true, to_scratch: layout.is_cast, is_first_of_two: false };
            stages.push((last, layout.parts, layout.parts, 1, 0));
        } else {
            let only = Stage { from_scratch: false, to_scratch: layout.is_cast, is_first_of_two: false };
            stages.push((only, axis, axis, 1, 0));
        }
        for (stage, axis_here, part, parts, result) in stages {
            let name = format!("{op:?} {dtype} {stage:?}");
            let pipeline = self.own(&name, || rows::reduce(op, dtype, stage))?;
            let blocks = outer * parts * inner;
            let scalars = [axis_here, inner, part, parts, blocks].map(|scalar| scalar as u32);
            let places = [axis, layout.values, layout.indices, result].map(|scalar| scalar as u32);
            let scalars: Vec<u32> = scalars.into_iter().chain([identity]).chain(places).collect();
            let mut bound = Vec::new();
            if !stage.to_scratch {
                bound.push(Part::all(&output));
            }
            if !stage.from_scratch {
                bound.push(Part::all(&input));
            }
            if stage.from_scratch || stage.to_scratch {
                bound.push(Part::all(needed(scratch)?));
            }
            let grid = linear_grid(blocks, &self.description.limits)?;
            self.batch.dispatch(&pipeline, &bound, &words(&scalars), grid)?;
        }
        match layout.is_cast {
            true => self.narrow(dtype, scratch, &output, outer * inner),
            false => Ok(()),
        }
    }

    fn matmul(&mut self, operation: &Operation, scratch: Option<&Memory>) -> Result<()> {
        let Operation::Matmul { dtype, shape, left, right, output } = *operation else {
            return Err(internal("no matmul"));
        };
        let limits = self.description.limits;
        let grid = [shape.n.div_ceil(TILE), shape.m.div_ceil(TILE)];
        if grid.iter().zip(limits.grid_max).any(|(blocks, max)| *blocks > u64::from(max)) {
            return exceeded(format!(
                "matmul: a result of {} rows and {} columns; this device makes at most {} of each at once: \
                 work on parts",
                shape.m,
                shape.n,
                u64::from(limits.grid_max[0]) * TILE
            ));
        }
        let adds = shape.beta != 0.0;
        let name = format!("matmul {dtype} {} {} {adds}", shape.transpose_left, shape.transpose_right);
        let pipeline = self.own(&name, || rows::matmul(dtype, &shape))?;
        let (left, right, output) = (self.memory(left)?, self.memory(right)?, self.memory(output)?);
        let target = if dtype.is_half() { needed(scratch)? } else { &output };
        let mut parts = vec![Part::all(target), Part::all(&left), Part::all(&right)];
        if adds && dtype.is_half() {
            parts.push(Part::all(&output));
        }
        let at_once = u64::from(limits.grid_max[2]);
        for first in (0..shape.batch).step_by(at_once as usize) {
            let scalars = [shape.m, shape.n, shape.k, first].map(|scalar| scalar as u32);
            let factors = [shape.alpha.to_bits(), shape.beta.to_bits()];
            let scalars: Vec<u32> = scalars.into_iter().chain(factors).collect();
            let depth = (shape.batch - first).min(at_once) as u32;
            let grid = [grid[0] as u32, grid[1] as u32, depth];
            self.batch.dispatch(&pipeline, &parts, &words(&scalars), grid)?;
        }
        self.narrow(dtype, scratch, &output, shape.batch * shape.m * shape.n)
    }
}

fn needed(scratch: Option<&Memory>) -> Result<&Memory> {
    scratch.ok_or_else(|| internal("a library call without the memory that it said it needs"))
}

/// The bits of what changes no result.
fn identity(op: Reduction, dtype: DType) -> u32 {
    match (op, dtype) {
        (Reduction::Sum | Reduction::Mean, _) => 0,
        (Reduction::Minimum, DType::I32) => i32::MAX.cast_unsigned(),
        (Reduction::Minimum, DType::U32) => u32::MAX,
        (Reduction::Minimum, _) => f32::INFINITY.to_bits(),
        (Reduction::Maximum | Reduction::ArgMaximum, DType::I32) => i32::MIN.cast_unsigned(),
        (Reduction::Maximum | Reduction::ArgMaximum, DType::U32) => 0,
        (Reduction::Maximum | Reduction::ArgMaximum, _) => f32::NEG_INFINITY.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stages_leave_lies_apart() {
        // Small and wide: nothing is left.
        assert_eq!(Layout::of(Reduction::Sum, DType::F32, 3, 100, 5).words, 0);
        // Halves are made in f32 first.
        let cast = Layout::of(Reduction::Sum, DType::F16, 3, 100, 5);
        assert_eq!((cast.parts, cast.words, cast.is_cast), (1, 15, true));
        // Two stages: results, then values, then indices.
        let long = Layout::of(Reduction::ArgMaximum, DType::F32, 1, 4 * PART_ELEMENTS, 2);
        assert_eq!((long.parts, long.values, long.indices, long.words), (4, 0, 8, 16));
        let long = Layout::of(Reduction::Mean, DType::Bf16, 1, 4 * PART_ELEMENTS, 2);
        assert_eq!((long.parts, long.values, long.words), (4, 2, 10));
        // Results enough for all blocks.
        assert_eq!(Layout::of(Reduction::Sum, DType::F32, 1 << 20, 4 * PART_ELEMENTS, 1).parts, 1);
    }
}
