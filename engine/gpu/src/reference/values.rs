//! Elements as numbers that all types fit into, and back with the rounding that every device has.

use half::{bf16, f16};

use crate::dtype::DType;

/// Elements of a buffer: floats as f64, integers as i64, both exact.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Floats(Vec<f64>),
    Integers(Vec<i64>),
}

fn read<T: bytemuck::Pod, N>(bytes: &[u8], convert: impl Fn(T) -> N) -> Vec<N> {
    bytes.chunks_exact(size_of::<T>()).map(|chunk| convert(bytemuck::pod_read_unaligned(chunk))).collect()
}

fn write<T: bytemuck::Pod, N: Copy>(bytes: &mut [u8], values: &[N], convert: impl Fn(N) -> T) {
    for (chunk, value) in bytes.chunks_exact_mut(size_of::<T>()).zip(values) {
        chunk.copy_from_slice(bytemuck::bytes_of(&convert(*value)));
    }
}

impl Values {
    /// The first `count` elements.
    pub(super) fn read(bytes: &[u8], dtype: DType, count: u64) -> Self {
        let bytes = &bytes[..(count * dtype.bytes()) as usize];
        match dtype {
            DType::U8 => Self::Integers(read(bytes, |value: u8| i64::from(value))),
            DType::I32 => Self::Integers(read(bytes, |value: i32| i64::from(value))),
            DType::U32 => Self::Integers(read(bytes, |value: u32| i64::from(value))),
            DType::I64 => Self::Integers(read(bytes, |value: i64| value)),
            DType::F16 => Self::Floats(read(bytes, |value: f16| value.to_f64())),
            DType::Bf16 => Self::Floats(read(bytes, |value: bf16| value.to_f64())),
            DType::F32 => Self::Floats(read(bytes, |value: f32| f64::from(value))),
            DType::F64 => Self::Floats(read(bytes, |value: f64| value)),
        }
    }

    /// Puts them where the first elements are. Floats become integers by cutting the fraction, at the ends of
    /// the range; of integers the low bits stay.
    pub(super) fn write(&self, bytes: &mut [u8], dtype: DType) {
        match (self, dtype) {
            (Self::Floats(values), DType::U8) => write(bytes, values, |value| value as u8),
            (Self::Floats(values), DType::I32) => write(bytes, values, |value| value as i32),
            (Self::Floats(values), DType::U32) => write(bytes, values, |value| value as u32),
            (Self::Floats(values), DType::I64) => write(bytes, values, |value| value as i64),
            // By way of f32, as devices compute.
            (Self::Floats(values), DType::F16) => write(bytes, values, |value| f16::from_f32(value as f32)),
            (Self::Floats(values), DType::Bf16) => write(bytes, values, |value| bf16::from_f32(value as f32)),
            (Self::Floats(values), DType::F32) => write(bytes, values, |value| value as f32),
            (Self::Floats(values), DType::F64) => write(bytes, values, |value| value),
            (Self::Integers(values), DType::U8) => write(bytes, values, |value| value as u8),
            (Self::Integers(values), DType::I32) => write(bytes, values, |value| value as i32),
            (Self::Integers(values), DType::U32) => write(bytes, values, |value| value as u32),
            (Self::Integers(values), DType::I64) => write(bytes, values, |value| value),
            (Self::Integers(values), DType::F16) => write(bytes, values, |value| f16::from_f32(value as f32)),
            (Self::Integers(values), DType::Bf16) => {
                write(bytes, values, |value| bf16::from_f32(value as f32));
            }
            (Self::Integers(values), DType::F32) => write(bytes, values, |value| value as f32),
            (Self::Integers(values), DType::F64) => write(bytes, values, |value| value as f64),
        }
    }

    /// The same as floats; integers are converted.
    pub(super) fn floats(self) -> Vec<f64> {
        match self {
            Self::Floats(values) => values,
            Self::Integers(values) => values.into_iter().map(|value| value as f64).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_integers_at_the_ends_of_the_range() {
        let mut bytes = [0; 4];
        Values::Floats(vec![300.7, -5.0, f64::NAN, 2.9]).write(&mut bytes, DType::U8);
        assert_eq!(bytes, [255, 0, 0, 2]);
    }

    #[test]
    fn half_rounds_to_even() {
        let mut bytes = [0; 4];
        Values::Floats(vec![1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0]).write(&mut bytes, DType::F16);
        let expected = vec![1.0, 1.0 + 2.0 / 1024.0];
        assert_eq!(Values::read(&bytes, DType::F16, 2), Values::Floats(expected));
    }
}
