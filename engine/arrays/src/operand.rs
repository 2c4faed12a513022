//! What stands on either side of an operation, stretched to the shape of the result.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, UInt64Array};
use arrow_cast::CastOptions;

use crate::array::product;
use crate::error::{Result, invalid};
use crate::pieces::piece_of_texts;
use crate::scalar::Scalar;
use crate::{Array, DType};

/// An array, or one value for all.
#[derive(Debug, Clone)]
pub enum Operand {
    /// An array.
    Array(Array),
    /// One value, which takes the type of what it is beside.
    Scalar(Scalar),
}

impl Operand {
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Array(array) => array.described(),
            Self::Scalar(scalar) => scalar.to_string(),
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Array(array) => array.shape(),
            Self::Scalar(_) => &[],
        }
    }

    /// The type in which two meet.
    pub(crate) fn meet(&self, other: &Self) -> Result<DType> {
        match (self, other) {
            (Self::Array(one), Self::Array(other)) => one.dtype().with(other.dtype()),
            (Self::Array(array), Self::Scalar(scalar)) | (Self::Scalar(scalar), Self::Array(array)) => {
                scalar.beside(array.dtype())
            }
            (Self::Scalar(_), Self::Scalar(_)) => {
                invalid("at least one side of an operation is an array: make one with `full`")
            }
        }
    }
}

/// The shape of a result: sizes from the last on are the same, or one of them is 1 or missing (NumPy's rule).
pub(crate) fn common_shape(what: &str, operands: &[&Operand]) -> Result<Vec<usize>> {
    let dimensions = operands.iter().map(|operand| operand.shape().len()).max().unwrap_or(0);
    let mut shape = vec![1; dimensions];
    for operand in operands {
        let own = operand.shape();
        for (size, own) in shape[dimensions - own.len()..].iter_mut().zip(own) {
            match (*size, *own) {
                (known, own) if known == own || own == 1 => {}
                (1, own) => *size = own,
                _ => {
                    let all: Vec<_> = operands.iter().map(|operand| operand.described()).collect();
                    return invalid(format!(
                        "{what}: {} do not go together; their sizes are the same from the last on, or 1",
                        all.join(" and ")
                    ));
                }
            }
        }
    }
    match product(&shape) {
        Some(_) => Ok(shape),
        None => invalid(format!("{what}: no memory has an array of shape {shape:?}")),
    }
}

/// How many elements are worked on at once: fewer where a long text is one side of all.
pub(crate) fn piece_of(operands: &[&Operand]) -> usize {
    let texts = operands.iter().map(|operand| match operand {
        Operand::Scalar(Scalar::Text(text)) => text.len(),
        Operand::Array(array) if array.len() == 1 && array.dtype() == DType::Utf8 => array.nbytes() as usize,
        _ => 0,
    });
    piece_of_texts(texts.max().unwrap_or(0))
}

/// An operand as the result needs it: pieces of one type.
pub(crate) struct Source {
    kind: Kind,
    dtype: DType,
}

enum Kind {
    Same(ArrayRef),
    /// One value, a piece long.
    Repeated(ArrayRef),
    Stretched {
        data: ArrayRef,
        shape: Vec<usize>,
        /// How far apart neighbours of each dimension of the result lie here.
        strides: Vec<usize>,
    },
}

impl Source {
    /// `piece` is how many elements are asked for at once at most.
    pub(crate) fn new(operand: &Operand, shape: &[usize], dtype: DType, piece: usize) -> Result<Self> {
        let length = product(shape).unwrap_or(0).min(piece);
        let kind = match operand {
            Operand::Scalar(scalar) => Kind::Repeated(scalar.repeated(dtype, length)?),
            Operand::Array(array) if array.shape() == shape => Kind::Same(array.data.clone()),
            Operand::Array(array) if array.len() == 1 => {
                Kind::Repeated(converted(&array.item(0)?.repeated(array.dtype(), length)?, dtype)?)
            }
            Operand::Array(array) if array.dtype() == DType::Utf8 => {
                return invalid(format!(
                    "{} is not stretched to {shape:?}: of text only a single one is",
                    array.described()
                ));
            }
            Operand::Array(array) => {
                let before = shape.len() - array.shape().len();
                let mut strides = vec![0; shape.len()];
                let mut stride = 1;
                for (at, size) in array.shape().iter().enumerate().rev() {
                    if *size > 1 {
                        strides[before + at] = stride;
                    }
                    stride *= size;
                }
                Kind::Stretched { data: array.data.clone(), shape: shape.to_vec(), strides }
            }
        };
        Ok(Self { kind, dtype })
    }

    /// The elements that belong to these of the result.
    pub(crate) fn piece(&self, range: Range<usize>) -> Result<ArrayRef> {
        match &self.kind {
            Kind::Repeated(data) => Ok(data.slice(0, range.len())),
            Kind::Same(data) => converted(&data.slice(range.start, range.len()), self.dtype),
            Kind::Stretched { data, shape, strides } => {
                let indexes = UInt64Array::from(stretched(range, shape, strides));
                converted(&arrow_select::take::take(data, &indexes, None)?, self.dtype)
            }
        }
    }
}

/// For each place of the result in `range`, the place that the steps of `strides` lead to.
pub(crate) fn stretched(range: Range<usize>, shape: &[usize], strides: &[usize]) -> Vec<u64> {
    let mut at = vec![0; shape.len()];
    let (mut rest, mut index) = (range.start, 0);
    for dimension in (0..shape.len()).rev() {
        at[dimension] = rest % shape[dimension];
        rest /= shape[dimension];
        index += at[dimension] * strides[dimension];
    }
    let mut indexes = Vec::with_capacity(range.len());
    for _ in range {
        indexes.push(index as u64);
        for dimension in (0..shape.len()).rev() {
            at[dimension] += 1;
            index += strides[dimension];
            if at[dimension] < shape[dimension] {
                break;
            }
            index -= strides[dimension] * shape[dimension];
            at[dimension] = 0;
        }
    }
    indexes
}

/// The same elements in another type; an error for one that does not fit it.
pub(crate) fn converted(data: &ArrayRef, dtype: DType) -> Result<ArrayRef> {
    if data.data_type() == &dtype.arrow() {
        return Ok(Arc::clone(data));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(arrow_cast::cast_with_options(data, &dtype.arrow(), &options)?)
}
