//! The types of elements, and numbers of them.

use std::fmt;

use half::{bf16, f16};

/// The type of a buffer's elements, little-endian on every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// Bytes.
    U8,
    /// Signed integers of 32 bits.
    I32,
    /// Unsigned integers of 32 bits.
    U32,
    /// Signed integers of 64 bits.
    I64,
    /// IEEE half precision.
    F16,
    /// The upper half of an [`DType::F32`].
    Bf16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl DType {
    /// Every type.
    pub const ALL: [Self; 8] =
        [Self::U8, Self::I32, Self::U32, Self::I64, Self::F16, Self::Bf16, Self::F32, Self::F64];

    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// The name, as Rust and the interface have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Whether its numbers have a fraction.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// Whether it is one of 16 bits, which devices compute on as f32.
    pub fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type whose values lie in buffers as they are.
pub trait Element: bytemuck::Pod {
    /// Its name on devices.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty = $dtype:ident,)*) => { $(impl Element for $rust { const DTYPE: DType = DType::$dtype; })* };
}

elements! { u8 = U8, i32 = I32, u32 = U32, i64 = I64, f16 = F16, bf16 = Bf16, f32 = F32, f64 = F64, }

/// A number that a kernel is given by value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// Signed, 32 bits.
    I32(i32),
    /// Unsigned, 32 bits.
    U32(u32),
    /// Signed, 64 bits: CUDA only.
    I64(i64),
    /// Single precision.
    F32(f32),
    /// Double precision: CUDA only.
    F64(f64),
}

impl Scalar {
    /// Its type.
    pub fn dtype(self) -> DType {
        match self {
            Self::I32(_) => DType::I32,
            Self::U32(_) => DType::U32,
            Self::I64(_) => DType::I64,
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
        }
    }

    /// Puts its bytes behind what is there, after zeros up to a multiple of its own size: as structs of C
    /// and of WGSL have their members.
    pub(crate) fn append_to(self, bytes: &mut Vec<u8>) {
        let size = self.dtype().bytes() as usize;
        bytes.resize(bytes.len().next_multiple_of(size), 0);
        match self {
            Self::I32(value) => bytes.extend(value.to_le_bytes()),
            Self::U32(value) => bytes.extend(value.to_le_bytes()),
            Self::I64(value) => bytes.extend(value.to_le_bytes()),
            Self::F32(value) => bytes.extend(value.to_le_bytes()),
            Self::F64(value) => bytes.extend(value.to_le_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_lie_as_in_a_struct() {
        let mut bytes = Vec::new();
        for scalar in [Scalar::U32(1), Scalar::F64(0.0), Scalar::I32(-1)] {
            scalar.append_to(&mut bytes);
        }
        assert_eq!(bytes.len(), 20);
        assert_eq!((bytes[0], bytes[16]), (1, 255));
    }
}
