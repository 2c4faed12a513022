//! Operations of the library, as messages name them.

use std::fmt::Debug;

use crate::error::{Code, Error, Result, invalid};
use crate::ops::{Binary, Distribution, Matmul, Reduction, Unary};
use crate::worker::messages::Operate;
use crate::worker::server::Held;

/// The one of these that is called so.
fn named<T: Copy + Debug>(all: &[T], name: &str, kind: &str) -> Result<T> {
    let found = all.iter().find(|op| format!("{op:?}") == name).copied();
    found.ok_or_else(|| {
        Error::new(Code::InvalidArgument, format!("{kind}: there is none called {name:?}; there are {all:?}"))
    })
}

impl Held {
    pub(super) fn operate(&self, it: &Operate) -> Result<()> {
        let stream = self.stream(it.stream)?;
        let output = self.buffer(it.output)?;
        let input = |at: usize| match it.inputs.get(at) {
            None | Some(0) => invalid(format!("{}: input {at} is missing", it.kind)),
            Some(handle) => self.buffer(*handle),
        };
        let maybe = |at: usize| match it.inputs.get(at) {
            None | Some(0) => Ok(None),
            Some(handle) => self.buffer(*handle).map(Some),
        };
        let number = |at: usize| {
            let missing =
                || Error::new(Code::InvalidArgument, format!("{}: number {at} is missing", it.kind));
            it.numbers.get(at).copied().ok_or_else(missing)
        };
        let extents = |count: usize| match it.shape.len() == count {
            true => Ok(it.shape.as_slice()),
            false => invalid(format!("{}: a shape of {:?}, and it has {count} extents", it.kind, it.shape)),
        };
        match it.kind.as_str() {
            "unary" => {
                let op = named(&Unary::ALL, &it.op, "unary")?;
                stream.unary(op, input(0)?, output, extents(1)?[0])
            }
            "binary" => {
                let op = named(&Binary::ALL, &it.op, "binary")?;
                let (left, right) = (maybe(0)?, maybe(1)?);
                let count = extents(1)?[0];
                // One number stands for whichever side has no buffer.
                match (left, right) {
                    (Some(left), Some(right)) => stream.binary(op, left, right, output, count),
                    (Some(left), None) => stream.binary(op, left, number(0)?, output, count),
                    (None, Some(right)) => stream.binary(op, number(0)?, right, output, count),
                    (None, None) => invalid("binary: both inputs are missing"),
                }
            }
            "cast" => stream.cast(input(0)?, output, extents(1)?[0]),
            "reduce" => {
                let op = named(&Reduction::ALL, &it.op, "reduce")?;
                let axis = it.axis.map(|axis| usize::try_from(axis).unwrap_or(usize::MAX));
                stream.reduce(op, input(0)?, &it.shape, axis, output)
            }
            "softmax" => {
                let shape = extents(2)?;
                stream.softmax(input(0)?, output, shape[0], shape[1])
            }
            "layer_norm" => {
                let (shape, epsilon) = (extents(2)?, number(0)? as f32);
                let (scale, shift) = (maybe(1)?, maybe(2)?);
                stream.layer_norm(input(0)?, scale, shift, output, shape[0], shape[1], epsilon)
            }
            "random" => {
                let distribution = match it.op.as_str() {
                    "Bits" => Distribution::Bits,
                    "Uniform" => Distribution::Uniform { low: number(0)? as f32, high: number(1)? as f32 },
                    "Normal" => {
                        Distribution::Normal { mean: number(0)? as f32, deviation: number(1)? as f32 }
                    }
                    other => return invalid(format!("random: Bits, Uniform or Normal, not {other:?}")),
                };
                stream.random(distribution, it.seed, output, extents(1)?[0])
            }
            "matmul" => {
                let shape = extents(4)?;
                let turned = |at: usize| it.transposed.get(at).copied().unwrap_or(false);
                let shape = Matmul {
                    batch: shape[0],
                    m: shape[1],
                    n: shape[2],
                    k: shape[3],
                    transpose_left: turned(0),
                    transpose_right: turned(1),
                    alpha: number(0)? as f32,
                    beta: number(1)? as f32,
                };
                stream.matmul(shape, input(0)?, input(1)?, output)
            }
            other => invalid(format!("there is no operation {other:?}")),
        }
    }
}
