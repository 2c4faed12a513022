//! Operations on one piece: both sides have the same length and type.

// One text for all integers: the unsigned ones are never negative, and some conversions cannot fail.
#![allow(
    unused_comparisons,
    clippy::absurd_extreme_comparisons,
    clippy::unnecessary_fallible_conversions,
    clippy::useless_conversion
)]

use std::sync::Arc;

use arrow_arith::arity;
use arrow_arith::numeric;
use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef, BooleanArray, PrimitiveArray};
use arrow_schema::ArrowError;

use crate::DType;
use crate::dtype::with_integer;
use crate::elementwise::{Binary, Unary};
use crate::error::{Result, invalid};

/// Runs `$body` with `$T` as the Arrow type of floats and `$N` as theirs.
macro_rules! with_float {
    ($dtype:expr, $T:ident, $N:ident => $body:expr, $other:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $T = arrow_array::types::Float32Type;
                type $N = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = arrow_array::types::Float64Type;
                type $N = f64;
                $body
            }
            _ => $other,
        }
    };
}

pub(crate) use with_float;

fn overflow(operation: Binary, left: impl std::fmt::Display, right: impl std::fmt::Display) -> ArrowError {
    ArrowError::ArithmeticOverflow(format!("{} of {left} and {right} overflows", operation.name()))
}

/// Two pieces of type `dtype` become one.
pub(crate) fn binary(operation: Binary, dtype: DType, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    Ok(match operation {
        Binary::Add => numeric::add(left, right)?,
        Binary::Subtract => numeric::sub(left, right)?,
        Binary::Multiply => numeric::mul(left, right)?,
        Binary::Divide => numeric::div(left, right)?,
        Binary::FloorDivide | Binary::Remainder | Binary::Power | Binary::Minimum | Binary::Maximum => {
            arithmetic(operation, dtype, left, right)?
        }
        Binary::And | Binary::Or | Binary::Xor => bits(operation, dtype, left, right)?,
        _ => Arc::new(comparison(operation, dtype, left, right)?),
    })
}

fn arithmetic(operation: Binary, dtype: DType, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    with_float!(
        dtype,
        T,
        N => {
            let function: fn(N, N) -> N = match operation {
                Binary::FloorDivide => |a, b| (a / b).floor(),
                // The sign of the divisor, as in Python.
                Binary::Remainder => |a, b| {
                    let rest = a % b;
                    if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
                },
                Binary::Power => N::powf,
                Binary::Minimum => |a, b| if a.is_nan() || a < b { a } else { b },
                _ => |a, b| if a.is_nan() || a > b { a } else { b },
            };
            let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
            let made: PrimitiveArray<T> = arity::binary(left, right, function)?;
            Ok(Arc::new(made))
        },
        integer_arithmetic(operation, dtype, left, right)
    )
}

fn integer_arithmetic(
    operation: Binary,
    dtype: DType,
    left: &ArrayRef,
    right: &ArrayRef,
) -> Result<ArrayRef> {
    with_integer!(
        dtype,
        T,
        N => {
            let made: PrimitiveArray<T> = arity::try_binary(
                left.as_primitive::<T>(),
                right.as_primitive::<T>(),
                |a: N, b: N| match operation {
                    Binary::Minimum => Ok(a.min(b)),
                    Binary::Maximum => Ok(a.max(b)),
                    Binary::Power => u32::try_from(b)
                        .ok()
                        .and_then(|exponent| a.checked_pow(exponent))
                        .ok_or_else(|| overflow(operation, a, b)),
                    _ if b == 0 => Err(ArrowError::DivideByZero),
                    Binary::FloorDivide => {
                        let quotient = a.checked_div(b).ok_or_else(|| overflow(operation, a, b))?;
                        let is_rounded_up = a.wrapping_rem(b) != 0 && (a < 0) != (b < 0);
                        Ok(if is_rounded_up { quotient.wrapping_sub(1) } else { quotient })
                    }
                    _ => {
                        let rest = a.wrapping_rem(b);
                        let has_other_sign = rest != 0 && (rest < 0) != (b < 0);
                        Ok(if has_other_sign { rest.wrapping_add(b) } else { rest })
                    }
                },
            )?;
            Ok(Arc::new(made))
        },
        invalid(format!("{} is not for {}", operation.name(), dtype.name()))
    )
}

fn bits(operation: Binary, dtype: DType, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    use arrow_arith::{bitwise, boolean};
    if dtype == DType::Bool {
        let (left, right) = (left.as_boolean(), right.as_boolean());
        return Ok(Arc::new(match operation {
            Binary::And => boolean::and_kleene(left, right)?,
            Binary::Or => boolean::or_kleene(left, right)?,
            _ => BooleanArray::from_binary(left, right, |a, b| a != b),
        }));
    }
    with_integer!(
        dtype,
        T,
        _N => {
            let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
            Ok(Arc::new(match operation {
                Binary::And => bitwise::bitwise_and(left, right)?,
                Binary::Or => bitwise::bitwise_or(left, right)?,
                _ => bitwise::bitwise_xor(left, right)?,
            }))
        },
        invalid(format!("{} is not for {}", operation.name(), dtype.name()))
    )
}

fn comparison(operation: Binary, dtype: DType, left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray> {
    use arrow_ord::cmp;
    // Of floats as IEEE 754 has it: nan is unequal to everything.
    with_float!(
        dtype,
        T,
        N => {
            let function: fn(N, N) -> bool = match operation {
                Binary::Equal => |a, b| a == b,
                Binary::NotEqual => |a, b| a != b,
                Binary::Less => |a, b| a < b,
                Binary::LessEqual => |a, b| a <= b,
                Binary::Greater => |a, b| a > b,
                _ => |a, b| a >= b,
            };
            Ok(BooleanArray::from_binary(left.as_primitive::<T>(), right.as_primitive::<T>(), function))
        },
        Ok(match operation {
            Binary::Equal => cmp::eq(left, right)?,
            Binary::NotEqual => cmp::neq(left, right)?,
            Binary::Less => cmp::lt(left, right)?,
            Binary::LessEqual => cmp::lt_eq(left, right)?,
            Binary::Greater => cmp::gt(left, right)?,
            _ => cmp::gt_eq(left, right)?,
        })
    )
}

/// One piece of type `dtype` becomes another.
pub(crate) fn unary(operation: Unary, dtype: DType, piece: &ArrayRef) -> Result<ArrayRef> {
    match operation {
        Unary::IsNull => return Ok(Arc::new(arrow_arith::boolean::is_null(piece)?)),
        Unary::Not if dtype == DType::Bool => {
            return Ok(Arc::new(arrow_arith::boolean::not(piece.as_boolean())?));
        }
        _ => {}
    }
    with_float!(
        dtype,
        T,
        N => {
            let function: fn(N) -> N = match operation {
                Unary::Negate => |x| -x,
                Unary::Absolute => N::abs,
                Unary::Sqrt => N::sqrt,
                Unary::Exp => N::exp,
                Unary::Ln => N::ln,
                Unary::Sin => N::sin,
                Unary::Cos => N::cos,
                Unary::Tanh => N::tanh,
                Unary::Floor => N::floor,
                Unary::Ceil => N::ceil,
                Unary::Round => N::round_ties_even,
                Unary::IsNull | Unary::Not => return no(operation, dtype),
            };
            let made: PrimitiveArray<T> = arity::unary(piece.as_primitive::<T>(), function);
            Ok(Arc::new(made))
        },
        integer_unary(operation, dtype, piece)
    )
}

fn integer_unary(operation: Unary, dtype: DType, piece: &ArrayRef) -> Result<ArrayRef> {
    with_integer!(
        dtype,
        T,
        N => {
            let numbers = piece.as_primitive::<T>();
            let made: PrimitiveArray<T> = match operation {
                Unary::Not => arity::unary(numbers, |x: N| !x),
                Unary::Negate | Unary::Absolute => arity::try_unary(numbers, |x: N| {
                    if operation == Unary::Absolute && x >= 0 {
                        return Ok(x);
                    }
                    let text = || format!("{} of {x} overflows", operation.name());
                    x.checked_neg().ok_or_else(|| ArrowError::ArithmeticOverflow(text()))
                })?,
                Unary::Floor | Unary::Ceil | Unary::Round => return Ok(piece.clone()),
                _ => return no(operation, dtype),
            };
            debug_assert_eq!(made.len(), piece.len());
            Ok(Arc::new(made))
        },
        no(operation, dtype)
    )
}

fn no<T>(operation: Unary, dtype: DType) -> Result<T> {
    invalid(format!("{} is not for {}", operation.name(), dtype.name()))
}
