//! The types of elements, and which type two of them meet in.

use arrow_schema::DataType;

use crate::error::{Result, invalid};

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// Signed integers.
    I8,
    /// Signed integers.
    I16,
    /// Signed integers.
    I32,
    /// Signed integers.
    I64,
    /// Unsigned integers.
    U8,
    /// Unsigned integers.
    U16,
    /// Unsigned integers.
    U32,
    /// Unsigned integers.
    U64,
    /// Floating point.
    F32,
    /// Floating point.
    F64,
    /// True and false.
    Bool,
    /// Text.
    Utf8,
}

/// Runs `$body` with `$T` as the Arrow type of a number's type; `$other` for the types that are no numbers.
macro_rules! with_number {
    ($dtype:expr, $T:ident => $body:expr, $other:expr) => {{
        use arrow_array::types as arrow_types;
        match $dtype {
            $crate::DType::I8 => {
                type $T = arrow_types::Int8Type;
                $body
            }
            $crate::DType::I16 => {
                type $T = arrow_types::Int16Type;
                $body
            }
            $crate::DType::I32 => {
                type $T = arrow_types::Int32Type;
                $body
            }
            $crate::DType::I64 => {
                type $T = arrow_types::Int64Type;
                $body
            }
            $crate::DType::U8 => {
                type $T = arrow_types::UInt8Type;
                $body
            }
            $crate::DType::U16 => {
                type $T = arrow_types::UInt16Type;
                $body
            }
            $crate::DType::U32 => {
                type $T = arrow_types::UInt32Type;
                $body
            }
            $crate::DType::U64 => {
                type $T = arrow_types::UInt64Type;
                $body
            }
            $crate::DType::F32 => {
                type $T = arrow_types::Float32Type;
                $body
            }
            $crate::DType::F64 => {
                type $T = arrow_types::Float64Type;
                $body
            }
            $crate::DType::Bool | $crate::DType::Utf8 => $other,
        }
    }};
}

/// The same for the integers alone, with `$N` as the type itself.
macro_rules! with_integer {
    ($dtype:expr, $T:ident, $N:ident => $body:expr, $other:expr) => {{
        use arrow_array::types as arrow_types;
        match $dtype {
            $crate::DType::I8 => {
                type $T = arrow_types::Int8Type;
                type $N = i8;
                $body
            }
            $crate::DType::I16 => {
                type $T = arrow_types::Int16Type;
                type $N = i16;
                $body
            }
            $crate::DType::I32 => {
                type $T = arrow_types::Int32Type;
                type $N = i32;
                $body
            }
            $crate::DType::I64 => {
                type $T = arrow_types::Int64Type;
                type $N = i64;
                $body
            }
            $crate::DType::U8 => {
                type $T = arrow_types::UInt8Type;
                type $N = u8;
                $body
            }
            $crate::DType::U16 => {
                type $T = arrow_types::UInt16Type;
                type $N = u16;
                $body
            }
            $crate::DType::U32 => {
                type $T = arrow_types::UInt32Type;
                type $N = u32;
                $body
            }
            $crate::DType::U64 => {
                type $T = arrow_types::UInt64Type;
                type $N = u64;
                $body
            }
            _ => $other,
        }
    }};
}

pub(crate) use {with_integer, with_number};

impl DType {
    /// What Arrow calls it.
    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::I8 => DataType::Int8,
            Self::I16 => DataType::Int16,
            Self::I32 => DataType::Int32,
            Self::I64 => DataType::Int64,
            Self::U8 => DataType::UInt8,
            Self::U16 => DataType::UInt16,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Utf8 => DataType::Utf8,
        }
    }

    /// The type of an Arrow array; none for those that are not worked on as they are.
    pub(crate) fn of(arrow: &DataType) -> Option<Self> {
        const ALL: [DType; 12] = [
            DType::I8,
            DType::I16,
            DType::I32,
            DType::I64,
            DType::U8,
            DType::U16,
            DType::U32,
            DType::U64,
            DType::F32,
            DType::F64,
            DType::Bool,
            DType::Utf8,
        ];
        ALL.into_iter().find(|dtype| dtype.arrow() == *arrow)
    }

    /// As people write it: `i64`, `f32`, `bool`, `utf8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::Utf8 => "utf8",
        }
    }

    /// Bytes of one element as it is read and written; none of text.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::I8 | Self::U8 | Self::Bool => Some(1),
            Self::I16 | Self::U16 => Some(2),
            Self::I32 | Self::U32 | Self::F32 => Some(4),
            Self::I64 | Self::U64 | Self::F64 => Some(8),
            Self::Utf8 => None,
        }
    }

    /// Bytes that so many elements take in memory, without the text itself.
    pub(crate) fn room(self, length: usize) -> u64 {
        let length = length as u64;
        match self {
            Self::Bool => length.div_ceil(8),
            Self::Utf8 => length.saturating_add(1).saturating_mul(4),
            other => length.saturating_mul(other.width().unwrap_or(1) as u64),
        }
    }

    pub(crate) fn is_integer(self) -> bool {
        self.is_signed() || matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::U64)
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    pub(crate) fn is_number(self) -> bool {
        self.is_integer() || self.is_float()
    }

    /// The type of floats that has its values: `f32` for itself and integers of up to 16 bits, else `f64`.
    pub(crate) fn as_float(self) -> Self {
        match self {
            Self::F32 | Self::I8 | Self::I16 | Self::U8 | Self::U16 => Self::F32,
            _ => Self::F64,
        }
    }

    /// The type that two meet in: the smallest that has the values of both, as in NumPy (so that `i64` and
    /// `u64` meet in `f64`).
    pub(crate) fn with(self, other: Self) -> Result<Self> {
        if self == other {
            return Ok(self);
        }
        match (self, other) {
            (Self::Utf8, _) | (_, Self::Utf8) => invalid(format!(
                "{} and {} have no type in common; cast one of them",
                self.name(),
                other.name()
            )),
            (Self::Bool, number) | (number, Self::Bool) => Ok(number),
            (a, b) if a.is_float() || b.is_float() => Ok(match (a.as_float(), b.as_float()) {
                (Self::F32, Self::F32) => Self::F32,
                _ => Self::F64,
            }),
            (a, b) if a.is_signed() == b.is_signed() => Ok(if a.width() >= b.width() { a } else { b }),
            (a, b) => {
                let (signed, unsigned) = if a.is_signed() { (a, b) } else { (b, a) };
                Ok(match unsigned {
                    Self::U8 => signed.at_least(Self::I16),
                    Self::U16 => signed.at_least(Self::I32),
                    Self::U32 => Self::I64,
                    _ => Self::F64,
                })
            }
        }
    }

    fn at_least(self, other: Self) -> Self {
        if self.width() >= other.width() { self } else { other }
    }
}
