//! Element by element of two.
use super::{Array, BinaryOperation, Scalar, made, wit};
use crate::error::Result;
use std::ops::{Add, Div, Mul, Rem, Sub};

/// One side of an operation: an array, or one value for all.
#[derive(Clone, Debug)]
pub enum Operand {
    /// An array.
    Array(Array),
    /// One value; a number takes the type of the array that it is beside.
    Scalar(Scalar),
}

impl Operand {
    pub(super) fn lend(&self) -> wit::Operand<'_> {
        match self {
            Operand::Array(array) => wit::Operand::Elements(array.wire()),
            Operand::Scalar(scalar) => wit::Operand::Scalar(scalar.clone()),
        }
    }
}

impl From<&Array> for Operand {
    fn from(array: &Array) -> Self {
        Operand::Array(array.clone())
    }
}

impl From<Array> for Operand {
    fn from(array: Array) -> Self {
        Operand::Array(array)
    }
}

macro_rules! scalars {
    ($($native:ty),+) => {
        $(impl From<$native> for Operand {
            fn from(value: $native) -> Self {
                Operand::Scalar(value.into())
            }
        })+
    };
}

scalars!(Scalar, bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, &str, String);

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident: $operation:ident;)+) => {
        impl Array {
            /// Element by element, this on the left, each side stretched to the common shape.
            ///
            /// # Errors
            /// As every operation: see [the module](crate::array).
            pub fn binary(&self, operation: BinaryOperation, right: impl Into<Operand>) -> Result<Array> {
                let left = wit::Operand::Elements(self.wire());
                made(wit::Array::binary(operation, &left, &right.into().lend()))
            }

            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// As every operation.
                pub fn $name(&self, right: impl Into<Operand>) -> Result<Array> {
                    self.binary(BinaryOperation::$operation, right)
                }
            )+
        }
    };
}

operations! {
    /// Whether elements are equal; nan is equal to nothing.
    equal: Equal;
    /// Whether they are not.
    not_equal: NotEqual;
    /// Whether they are smaller.
    less: Less;
    /// Or equal.
    less_equal: LessEqual;
    /// Whether they are larger.
    greater: Greater;
    /// Or equal.
    greater_equal: GreaterEqual;
    /// The smaller of both.
    minimum: Minimum;
    /// The larger of both.
    maximum: Maximum;
    /// To the power of the other.
    power: Power;
    /// The quotient, rounded down.
    floor_divide: FloorDivide;
    /// Of truth values, or of the bits of integers.
    and: BitAnd;
    /// Likewise.
    or: BitOr;
    /// Likewise.
    xor: BitXor;
}

macro_rules! operators {
    ($($operator:ident $method:ident: $operation:ident;)+) => {
        $(
            impl<T: Into<Operand>> $operator<T> for &Array {
                type Output = Result<Array>;

                fn $method(self, right: T) -> Result<Array> {
                    self.binary(BinaryOperation::$operation, right)
                }
            }

            impl<T: Into<Operand>> $operator<T> for Array {
                type Output = Result<Array>;

                fn $method(self, right: T) -> Result<Array> {
                    self.binary(BinaryOperation::$operation, right)
                }
            }
        )+
    };
}

operators! {
    Add add: Add;
    Sub sub: Subtract;
    Mul mul: Multiply;
    Div div: Divide;
    Rem rem: Remainder;
}
