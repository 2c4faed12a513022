//! The numbers that an array can be made of.
use super::{Dtype, Scalar};

/// What an [`Array`](super::Array) is made of and read as: `i8` to `i64`, `u8` to `u64`, `f32` and `f64`.
pub trait Element: Copy + sealed::Sealed {
    /// Its type.
    const DTYPE: Dtype;
    /// The bytes of so many.
    #[doc(hidden)]
    fn to_bytes(values: &[Self]) -> Vec<u8>;
    /// The other way round.
    #[doc(hidden)]
    fn of_bytes(bytes: &[u8]) -> Vec<Self>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($native:ty: $dtype:ident, $scalar:ident($wide:ty);)+) => {
        $(
            impl sealed::Sealed for $native {}

            impl Element for $native {
                const DTYPE: Dtype = Dtype::$dtype;

                fn to_bytes(values: &[Self]) -> Vec<u8> {
                    values.iter().flat_map(|value| value.to_le_bytes()).collect()
                }

                fn of_bytes(bytes: &[u8]) -> Vec<Self> {
                    let (values, _) = bytes.as_chunks();
                    values.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect()
                }
            }

            impl From<$native> for Scalar {
                fn from(value: $native) -> Self {
                    Scalar::$scalar(<$wide>::from(value))
                }
            }
        )+
    };
}

elements! {
    i8: I8, Signed(i64);
    i16: I16, Signed(i64);
    i32: I32, Signed(i64);
    i64: I64, Signed(i64);
    u8: U8, Unsigned(u64);
    u16: U16, Unsigned(u64);
    u32: U32, Unsigned(u64);
    u64: U64, Unsigned(u64);
    f32: F32, Floating(f64);
    f64: F64, Floating(f64);
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Scalar::Boolean(value)
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Scalar::Text(text.to_owned())
    }
}

impl From<String> for Scalar {
    fn from(text: String) -> Self {
        Scalar::Text(text)
    }
}
