//! Which types travel as Arrow, asked of a type that may be any: all of it is decided when a guest is
//! compiled.
use super::{ArrowValue, Table, Tensor};
use crate::codec;
use arrow_buffer::Buffer;
use std::any::{Any, TypeId};

macro_rules! of_each {
    ($check:ident) => {
        $check!(
            Table,
            Tensor<i8>,
            Tensor<i16>,
            Tensor<i32>,
            Tensor<i64>,
            Tensor<u8>,
            Tensor<u16>,
            Tensor<u32>,
            Tensor<u64>,
            Tensor<f32>,
            Tensor<f64>,
        )
    };
}

/// Whether values of this type travel as Arrow.
pub(crate) fn is_arrow<T: 'static>() -> bool {
    macro_rules! check {
        ($($kind:ty,)+) => { $(TypeId::of::<T>() == TypeId::of::<$kind>())||+ };
    }
    of_each!(check)
}

/// The value's bytes; none: values of this type do not travel as Arrow.
pub(crate) fn encode<T: 'static>(value: &T) -> Option<Result<Vec<u8>, String>> {
    let any: &dyn Any = value;
    macro_rules! check {
        ($($kind:ty,)+) => {
            $(if let Some(value) = any.downcast_ref::<$kind>() {
                return Some(value.write());
            })+
        };
    }
    of_each!(check);
    None
}

/// The value that these bytes are; none: values of this type do not travel as Arrow.
pub(crate) fn decode<T: 'static>(bytes: Vec<u8>) -> Option<Result<T, String>> {
    macro_rules! check {
        ($($kind:ty,)+) => {
            $(if TypeId::of::<T>() == TypeId::of::<$kind>() {
                return Some(<$kind>::read(Buffer::from_vec(bytes)).and_then(codec::claim));
            })+
        };
    }
    of_each!(check);
    None
}
