//! The numbers that a tensor can be made of.
use arrow_array::ArrowPrimitiveType;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_buffer::ArrowNativeType;

/// What a [`Tensor`](crate::arrow::Tensor) is made of: `i8` to `i64`, `u8` to `u64`, `f32` and `f64`.
pub trait Element: ArrowNativeType {
    /// Its type in Arrow.
    type Arrow: ArrowPrimitiveType<Native = Self>;
}

macro_rules! elements {
    ($($native:ty: $arrow:ty),+ $(,)?) => {
        $(impl Element for $native {
            type Arrow = $arrow;
        })+
    };
}

elements! {
    i8: Int8Type,
    i16: Int16Type,
    i32: Int32Type,
    i64: Int64Type,
    u8: UInt8Type,
    u16: UInt16Type,
    u32: UInt32Type,
    u64: UInt64Type,
    f32: Float32Type,
    f64: Float64Type,
}
