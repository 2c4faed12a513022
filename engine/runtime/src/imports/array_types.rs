//! What `interface arrays` names, as `engine-arrays` has it.

use engine_arrays::{Binary, DType, Error as ArrayError, Operand, Reduction, Scalar, Unary};
use engine_core::resources::bytes;
use engine_core::{Error, ErrorCode};

use crate::bindings::engine::compute::arrays as wit;
use crate::errors::HostError;
use crate::guest::Guest;

/// Each case of an enum, by its two names.
macro_rules! cases {
    ($name:ident: $from:ty => $to:ty { $($one:ident => $other:ident,)* }) => {
        pub(super) fn $name(from: $from) -> $to {
            match from { $(<$from>::$one => <$to>::$other,)* }
        }
    };
}

cases! { dtype_from_guest: wit::Dtype => DType {
    I8 => I8, I16 => I16, I32 => I32, I64 => I64, U8 => U8, U16 => U16, U32 => U32, U64 => U64,
    F32 => F32, F64 => F64, Boolean => Bool, Utf8 => Utf8,
} }

cases! { dtype_to_guest: DType => wit::Dtype {
    I8 => I8, I16 => I16, I32 => I32, I64 => I64, U8 => U8, U16 => U16, U32 => U32, U64 => U64,
    F32 => F32, F64 => F64, Bool => Boolean, Utf8 => Utf8,
} }

cases! { binary_from_guest: wit::BinaryOperation => Binary {
    Add => Add, Subtract => Subtract, Multiply => Multiply, Divide => Divide, FloorDivide => FloorDivide,
    Remainder => Remainder, Power => Power, Minimum => Minimum, Maximum => Maximum,
    BitAnd => And, BitOr => Or, BitXor => Xor, Equal => Equal, NotEqual => NotEqual,
    Less => Less, LessEqual => LessEqual, Greater => Greater, GreaterEqual => GreaterEqual,
} }

cases! { unary_from_guest: wit::UnaryOperation => Unary {
    Negate => Negate, Absolute => Absolute, Sqrt => Sqrt, Exp => Exp, Ln => Ln, Sin => Sin, Cos => Cos,
    Tanh => Tanh, Floor => Floor, Ceil => Ceil, Round => Round, Invert => Not, IsNull => IsNull,
} }

cases! { reduction_from_guest: wit::Reduction => Reduction {
    Sum => Sum, Mean => Mean, Min => Min, Max => Max, Std => Std, Var => Var, Count => Count,
    Any => Any, All => All, Argmin => ArgMin, Argmax => ArgMax,
} }

pub(super) fn scalar_from_guest(scalar: wit::Scalar) -> Scalar {
    match scalar {
        wit::Scalar::Null => Scalar::Null,
        wit::Scalar::Boolean(value) => Scalar::Bool(value),
        wit::Scalar::Signed(value) => Scalar::Signed(value),
        wit::Scalar::Unsigned(value) => Scalar::Unsigned(value),
        wit::Scalar::Floating(value) => Scalar::Float(value),
        wit::Scalar::Text(text) => Scalar::Text(text),
    }
}

pub(super) fn scalar_to_guest(scalar: Scalar) -> wit::Scalar {
    match scalar {
        Scalar::Null => wit::Scalar::Null,
        Scalar::Bool(value) => wit::Scalar::Boolean(value),
        Scalar::Signed(value) => wit::Scalar::Signed(value),
        Scalar::Unsigned(value) => wit::Scalar::Unsigned(value),
        Scalar::Float(value) => wit::Scalar::Floating(value),
        Scalar::Text(text) => wit::Scalar::Text(text),
    }
}

/// Sizes, where no memory is larger than this machine's.
pub(super) fn sizes(shape: &[u64]) -> Vec<usize> {
    shape.iter().map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect()
}

impl Guest {
    pub(super) fn operand_from_guest(&self, operand: wit::Operand) -> wasmtime::Result<Operand> {
        Ok(match operand {
            wit::Operand::Elements(array) => Operand::Array(self.handles.array(&array)?.clone()),
            wit::Operand::Scalar(scalar) => Operand::Scalar(scalar_from_guest(scalar)),
        })
    }
}

/// INVALID_ARGUMENT, or OUT_OF_MEMORY with the numbers.
pub(super) fn failed(error: ArrayError) -> HostError {
    match error {
        ArrayError::Invalid(message) => Error::invalid_argument(message),
        ArrayError::Memory { what, needs, used, max } => Error::new(
            ErrorCode::OutOfMemory,
            format!(
                "{what} takes {}; the guest's memory and its arrays take {} already, and its limit is {}: drop arrays that are no longer needed, work on parts, or raise the `memory` option of the task, actor or job",
                bytes(needs),
                bytes(used),
                bytes(max)
            ),
        ),
    }
    .into()
}
