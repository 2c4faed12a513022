//! Single values.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, PrimitiveArray, StringArray, new_null_array,
};

use crate::DType;
use crate::dtype::with_integer;
use crate::error::{Result, invalid};

/// A single value.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Signed(i64),
    /// A whole number.
    Unsigned(u64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
}

impl Scalar {
    /// The type that it takes beside an array of this type: the array's own, unless it is a number with a
    /// fraction beside integers, or a number beside true and false.
    pub(crate) fn beside(&self, array: DType) -> Result<DType> {
        match (self, array) {
            (Self::Null, _) | (Self::Bool(_), DType::Bool) | (Self::Text(_), DType::Utf8) => Ok(array),
            (Self::Bool(_) | Self::Signed(_) | Self::Unsigned(_) | Self::Float(_), array)
                if array.is_float() =>
            {
                Ok(array)
            }
            (Self::Bool(_) | Self::Signed(_) | Self::Unsigned(_), array) if array.is_integer() => Ok(array),
            (Self::Signed(_), DType::Bool) => Ok(DType::I64),
            (Self::Unsigned(_), DType::Bool) => Ok(DType::U64),
            (Self::Float(_), array) if array != DType::Utf8 => Ok(DType::F64),
            _ => {
                invalid(format!("{self} does not go with an array of {}; cast the array first", array.name()))
            }
        }
    }

    /// So many of it, as an Arrow array of this type.
    pub(crate) fn repeated(&self, dtype: DType, length: usize) -> Result<ArrayRef> {
        let misfit = || invalid(format!("{self} does not fit {}", dtype.name()));
        let whole = match self {
            Self::Null => return Ok(new_null_array(&dtype.arrow(), length)),
            Self::Bool(value) => Some(i128::from(*value)),
            Self::Signed(value) => Some(i128::from(*value)),
            Self::Unsigned(value) => Some(i128::from(*value)),
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 1e30 => Some(*value as i128),
            _ => None,
        };
        let float = match self {
            Self::Float(value) => Some(*value),
            _ => whole.map(|whole| whole as f64),
        };
        Ok(match (dtype, self) {
            (DType::Utf8, Self::Text(text)) => {
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, length)))
            }
            (DType::Bool, Self::Bool(value)) => Arc::new(BooleanArray::from(vec![*value; length])),
            (DType::F32, _) => match float {
                Some(value) => Arc::new(Float32Array::from_value(value as f32, length)),
                None => return misfit(),
            },
            (DType::F64, _) => match float {
                Some(value) => Arc::new(Float64Array::from_value(value, length)),
                None => return misfit(),
            },
            (dtype, _) => with_integer!(
                dtype,
                T,
                N => match whole.and_then(|whole| N::try_from(whole).ok()) {
                    Some(value) => Arc::new(PrimitiveArray::<T>::from_value(value, length)),
                    None => return misfit(),
                },
                return misfit()
            ),
        })
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{:?}", text.chars().take(40).collect::<String>()),
        }
    }
}
