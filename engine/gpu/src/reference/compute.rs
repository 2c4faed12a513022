//! The library's operations, as plainly as they can be written.

use crate::dtype::DType;
use crate::ops::{Binary, Distribution, Matmul, Reduction, Unary};
use crate::philox::{group_bits, unit};
use crate::reference::values::Values;

pub(super) fn unary(op: Unary, values: Values) -> Values {
    match values {
        Values::Floats(values) => Values::Floats(values.into_iter().map(|x| unary_float(op, x)).collect()),
        Values::Integers(values) => {
            let each = |x: i64| match op {
                Unary::Negate => x.wrapping_neg(),
                Unary::Absolute => x.wrapping_abs(),
                _ => x.max(0),
            };
            Values::Integers(values.into_iter().map(each).collect())
        }
    }
}

fn unary_float(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Negate => -x,
        Unary::Absolute => x.abs(),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Relu => {
            if x > 0.0 {
                x
            } else {
                0.0
            }
        }
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
    }
}

pub(super) fn binary(op: Binary, left: Values, right: Values) -> Values {
    match (left, right) {
        (Values::Integers(left), Values::Integers(right)) => {
            let each = |(a, b): (i64, i64)| match op {
                Binary::Add => a.wrapping_add(b),
                Binary::Subtract => a.wrapping_sub(b),
                Binary::Divide if b == 0 => 0,
                Binary::Divide => a.wrapping_div(b),
                Binary::Minimum => a.min(b),
                Binary::Maximum => a.max(b),
                Binary::Multiply | Binary::Power => a.wrapping_mul(b),
            };
            Values::Integers(left.into_iter().zip(right).map(each).collect())
        }
        (left, right) => {
            let each = |(a, b): (f64, f64)| match op {
                Binary::Add => a + b,
                Binary::Subtract => a - b,
                Binary::Multiply => a * b,
                Binary::Divide => a / b,
                Binary::Power => a.powf(b),
                Binary::Minimum => a.min(b),
                Binary::Maximum => a.max(b),
            };
            Values::Floats(left.floats().into_iter().zip(right.floats()).map(each).collect())
        }
    }
}

/// Of [outer, axis, inner] to [outer, inner].
pub(super) fn reduce(op: Reduction, values: &Values, [outer, axis, inner]: [usize; 3]) -> Values {
    let along = |o: usize, i: usize| (0..axis).map(move |a| (o * axis + a) * inner + i);
    let places = (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i)));
    match values {
        Values::Floats(values) => {
            let lane = |(o, i)| along(o, i).map(|at| values[at]);
            match op {
                Reduction::ArgMaximum => Values::Integers(places.map(|at| first_largest(lane(at))).collect()),
                Reduction::Sum => Values::Floats(places.map(|at| lane(at).sum()).collect()),
                Reduction::Mean => {
                    Values::Floats(places.map(|at| lane(at).sum::<f64>() / axis as f64).collect())
                }
                Reduction::Minimum => {
                    Values::Floats(places.map(|at| lane(at).fold(f64::INFINITY, f64::min)).collect())
                }
                Reduction::Maximum => {
                    Values::Floats(places.map(|at| lane(at).fold(f64::NEG_INFINITY, f64::max)).collect())
                }
            }
        }
        Values::Integers(values) => {
            let lane = |(o, i)| along(o, i).map(|at| values[at]);
            let each = |at| match op {
                Reduction::ArgMaximum => first_largest(lane(at)),
                Reduction::Minimum => lane(at).fold(i64::MAX, i64::min),
                Reduction::Maximum => lane(at).fold(i64::MIN, i64::max),
                Reduction::Sum | Reduction::Mean => lane(at).fold(0, i64::wrapping_add),
            };
            Values::Integers(places.map(each).collect())
        }
    }
}

fn first_largest<N: PartialOrd>(mut lane: impl Iterator<Item = N>) -> i64 {
    let Some(mut best) = lane.next() else { return 0 };
    let mut at = 0;
    for (index, value) in lane.enumerate() {
        if value > best {
            (best, at) = (value, index as i64 + 1);
        }
    }
    at
}

pub(super) fn softmax(values: &[f64], columns: usize) -> Vec<f64> {
    let mut made = Vec::with_capacity(values.len());
    for row in values.chunks_exact(columns) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
        made.extend(row.iter().map(|x| (x - largest).exp() / sum));
    }
    made
}

pub(super) fn layer_norm(
    values: &[f64],
    scale: Option<&[f64]>,
    shift: Option<&[f64]>,
    columns: usize,
    epsilon: f32,
) -> Vec<f64> {
    let mut made = Vec::with_capacity(values.len());
    for row in values.chunks_exact(columns) {
        let mean = row.iter().sum::<f64>() / columns as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / columns as f64;
        let by = 1.0 / (variance + f64::from(epsilon)).sqrt();
        made.extend(row.iter().enumerate().map(|(column, x)| {
            let scale = scale.map_or(1.0, |scale| scale[column]);
            let shift = shift.map_or(0.0, |shift| shift[column]);
            (x - mean) * by * scale + shift
        }));
    }
    made
}

pub(super) fn random(distribution: Distribution, seed: u64, count: u64) -> Values {
    let groups = (0..count.div_ceil(4)).map(|group| group_bits(seed, group));
    match distribution {
        Distribution::Bits => {
            Values::Integers(groups.flatten().take(count as usize).map(i64::from).collect())
        }
        Distribution::Uniform { low, high } => {
            let each = |bits| f64::from(low + unit(bits) * (high - low));
            Values::Floats(groups.flatten().take(count as usize).map(each).collect())
        }
        Distribution::Normal { mean, deviation } => {
            let (mean, deviation) = (f64::from(mean), f64::from(deviation));
            // Box and Muller; the angle is from −π, where devices know sine and cosine best.
            let pair = |a: u32, b: u32| {
                let radius = (-2.0 * (f64::from(unit(a)) + 1.0 / 16_777_216.0).ln()).sqrt();
                let angle = std::f64::consts::TAU * (f64::from(unit(b)) - 0.5);
                [mean + deviation * radius * angle.cos(), mean + deviation * radius * angle.sin()]
            };
            let each = |[a, b, c, d]: [u32; 4]| pair(a, b).into_iter().chain(pair(c, d));
            Values::Floats(groups.flat_map(each).take(count as usize).collect())
        }
    }
}

pub(super) fn matmul(shape: &Matmul, left: &[f64], right: &[f64], before: &[f64]) -> Vec<f64> {
    let [batch, m, n, k] = [shape.batch, shape.m, shape.n, shape.k].map(|extent| extent as usize);
    let (alpha, beta) = (f64::from(shape.alpha), f64::from(shape.beta));
    let mut made = Vec::with_capacity(batch * m * n);
    for b in 0..batch {
        let (left, right) = (&left[b * m * k..], &right[b * k * n..]);
        for i in 0..m {
            for j in 0..n {
                let sum: f64 = (0..k)
                    .map(|p| {
                        let a = if shape.transpose_left { p * m + i } else { i * k + p };
                        let b = if shape.transpose_right { j * k + p } else { p * n + j };
                        left[a] * right[b]
                    })
                    .sum();
                let old = if beta == 0.0 { 0.0 } else { beta * before[(b * m + i) * n + j] };
                made.push(alpha * sum + old);
            }
        }
    }
    made
}

/// A number as elements of this type: what a side of a binary operation that is none stands for.
pub(super) fn constant(number: f64, dtype: DType, count: u64) -> Values {
    let mut bytes = vec![0; (count * dtype.bytes()) as usize];
    Values::Floats(vec![number; count as usize]).write(&mut bytes, dtype);
    Values::read(&bytes, dtype, count)
}
