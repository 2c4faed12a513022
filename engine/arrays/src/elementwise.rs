//! Element by element: arithmetic, comparison, functions, choice, and other types.

use arrow_array::cast::AsArray;

use crate::error::{Result, invalid};
use crate::kernels;
use crate::operand::{Operand, Source, common_shape, converted, piece_of};
use crate::pieces::{Pieces, ranges, ranges_of};
use crate::work::Work;
use crate::{Array, DType};

/// What becomes of two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// The sum. Of integers this and what follows give an error instead of a wrong number.
    Add,
    /// The difference.
    Subtract,
    /// The product.
    Multiply,
    /// The quotient, of floats: integers become such.
    Divide,
    /// The quotient, rounded down.
    FloorDivide,
    /// What is left of that; it has the sign of the divisor.
    Remainder,
    /// The first to the power of the second.
    Power,
    /// The smaller; nan if there is one.
    Minimum,
    /// The larger; nan if there is one.
    Maximum,
    /// Of truth values (a false one decides whatever is missing), or of the bits of integers.
    And,
    /// Likewise.
    Or,
    /// Likewise.
    Xor,
    /// Whether they are equal; nan is equal to nothing.
    Equal,
    /// Whether they are not.
    NotEqual,
    /// Whether the first is smaller, or before in the order of text.
    Less,
    /// Or equal.
    LessEqual,
    /// Whether the first is larger.
    Greater,
    /// Or equal.
    GreaterEqual,
}

impl Binary {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::FloorDivide => "floor-divide",
            Self::Remainder => "remainder",
            Self::Power => "power",
            Self::Minimum => "minimum",
            Self::Maximum => "maximum",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
            Self::Equal => "equal",
            Self::NotEqual => "not-equal",
            Self::Less => "less",
            Self::LessEqual => "less-equal",
            Self::Greater => "greater",
            Self::GreaterEqual => "greater-equal",
        }
    }

    /// The type that the elements are given first, and that of the result, for elements of this type.
    fn types(self, common: DType) -> Option<(DType, DType)> {
        let is_text = common == DType::Utf8;
        Some(match self {
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual => (common, DType::Bool),
            _ if is_text => return None,
            Self::And | Self::Or | Self::Xor if common.is_float() => return None,
            Self::And | Self::Or | Self::Xor => (common, common),
            Self::Divide => (common.as_float(), common.as_float()),
            _ if common == DType::Bool => (DType::I64, DType::I64),
            _ => (common, common),
        })
    }
}

/// What becomes of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// The number with the other sign.
    Negate,
    /// Without its sign.
    Absolute,
    /// The square root; of integers this and the next ones give floats.
    Sqrt,
    /// e to its power.
    Exp,
    /// The natural logarithm.
    Ln,
    /// Of an angle in radians.
    Sin,
    /// Likewise.
    Cos,
    /// The hyperbolic tangent.
    Tanh,
    /// The next whole number below.
    Floor,
    /// The next above.
    Ceil,
    /// The nearest; of two the even one.
    Round,
    /// The other truth value, or the other bits of an integer.
    Not,
    /// Whether it is missing.
    IsNull,
}

impl Unary {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Negate => "negate",
            Self::Absolute => "absolute",
            Self::Sqrt => "sqrt",
            Self::Exp => "exp",
            Self::Ln => "ln",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Tanh => "tanh",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
            Self::Not => "not",
            Self::IsNull => "is-null",
        }
    }

    fn types(self, dtype: DType) -> Option<(DType, DType)> {
        Some(match self {
            Self::IsNull => (dtype, DType::Bool),
            Self::Not if dtype == DType::Bool || dtype.is_integer() => (dtype, dtype),
            Self::Not => return None,
            Self::Sqrt | Self::Exp | Self::Ln | Self::Sin | Self::Cos | Self::Tanh if dtype.is_number() => {
                (dtype.as_float(), dtype.as_float())
            }
            _ if dtype.is_number() => (dtype, dtype),
            _ => return None,
        })
    }
}

/// Element by element of both sides, each stretched to the common shape (NumPy's broadcasting). What is
/// missing on one side is missing in the result.
///
/// # Errors
/// For shapes that do not go together, types that the operation is not for, and integers whose result
/// does not fit.
pub async fn binary(work: &mut Work, operation: Binary, left: Operand, right: Operand) -> Result<Array> {
    let name = operation.name();
    let shape = common_shape(name, &[&left, &right])?;
    let common = left.meet(&right)?;
    let Some((operands, result)) = operation.types(common) else {
        return invalid(format!("{name} is not for {} and {}", left.described(), right.described()));
    };
    let length = shape.iter().product();
    let step = piece_of(&[&left, &right]);
    let left = Source::new(&left, &shape, operands, step)?;
    let right = Source::new(&right, &shape, operands, step)?;
    let mut pieces = Pieces::new(work, result, length, 0, name)?;
    for range in ranges_of(length, step) {
        let piece = kernels::binary(operation, operands, &left.piece(range.clone())?, &right.piece(range)?)?;
        pieces.append(&piece)?;
        work.pause().await;
    }
    pieces.finish(&shape)
}

/// Element by element.
///
/// # Errors
/// For types that it is not for, and integers whose result does not fit.
pub async fn unary(work: &mut Work, operation: Unary, array: &Array) -> Result<Array> {
    let name = operation.name();
    let Some((operand, result)) = operation.types(array.dtype()) else {
        return invalid(format!("{name} is not for {}", array.described()));
    };
    let mut pieces = Pieces::new(work, result, array.len(), 0, name)?;
    for range in ranges(array.len()) {
        let piece = array.data.slice(range.start, range.len());
        pieces.append(&kernels::unary(operation, operand, &converted(&piece, operand)?)?)?;
        work.pause().await;
    }
    pieces.finish(array.shape())
}

/// Of two elements the first where the mask is true, and else the second; all three are stretched to the
/// common shape.
///
/// # Errors
/// For shapes that do not go together, types without one in common, and a mask that is not of bool.
pub async fn choose(work: &mut Work, mask: &Array, yes: Operand, no: Operand) -> Result<Array> {
    if mask.dtype() != DType::Bool {
        return invalid(format!("where: the mask is {}, and must be of bool", mask.described()));
    }
    let dtype = match (&yes, &no) {
        (Operand::Scalar(one), Operand::Scalar(_)) => {
            return invalid(format!(
                "where: one side of the choice is an array: make one of {one} with `full`"
            ));
        }
        _ => yes.meet(&no)?,
    };
    let mask = Operand::Array(mask.clone());
    let shape = common_shape("where", &[&mask, &yes, &no])?;
    let length = shape.iter().product();
    let text = match dtype {
        DType::Utf8 => text_at_most(&yes, length).saturating_add(text_at_most(&no, length)),
        _ => 0,
    };
    let step = piece_of(&[&yes, &no]);
    let mask = Source::new(&mask, &shape, DType::Bool, step)?;
    let (yes, no) = (Source::new(&yes, &shape, dtype, step)?, Source::new(&no, &shape, dtype, step)?);
    let mut pieces = Pieces::new(work, dtype, length, text, "where")?;
    for range in ranges_of(length, step) {
        let mask = mask.piece(range.clone())?;
        let chosen =
            arrow_select::zip::zip(mask.as_boolean(), &yes.piece(range.clone())?, &no.piece(range)?)?;
        pieces.append(&chosen)?;
        work.pause().await;
    }
    pieces.finish(&shape)
}

/// Bytes that the text of so many elements of this takes at most.
fn text_at_most(operand: &Operand, length: usize) -> u64 {
    match operand {
        Operand::Scalar(crate::Scalar::Text(text)) => (text.len() as u64).saturating_mul(length as u64),
        Operand::Scalar(_) => 0,
        Operand::Array(array) if array.len() == length => array.nbytes(),
        Operand::Array(array) => array.nbytes().saturating_mul(length as u64),
    }
}

/// Bytes of the longest number or truth value as text.
const NUMBER_TEXT_BYTES: u64 = 26;

/// The same elements in another type. Floats lose their fraction on the way to integers.
///
/// # Errors
/// For an element that the other type does not have.
pub async fn cast(work: &mut Work, array: &Array, dtype: DType) -> Result<Array> {
    if dtype == array.dtype() {
        return Ok(array.clone());
    }
    let text = if dtype == DType::Utf8 { NUMBER_TEXT_BYTES.saturating_mul(array.len() as u64) } else { 0 };
    let mut pieces = Pieces::new(work, dtype, array.len(), text, "cast")?;
    for range in ranges(array.len()) {
        pieces.append(&converted(&array.data.slice(range.start, range.len()), dtype)?)?;
        work.pause().await;
    }
    pieces.finish(array.shape())
}
