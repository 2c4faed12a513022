//! An array: elements of one type, with a shape.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef};
use smallvec::SmallVec;

use crate::DType;
use crate::error::{Result, invalid};
use crate::scalar::Scalar;
use crate::work::Grant;

/// Elements of one type in row-major order, with a shape; some may be missing (null). It does not change,
/// and clones share the elements.
#[derive(Debug, Clone)]
pub struct Array {
    pub(crate) data: ArrayRef,
    shape: SmallVec<[usize; 4]>,
    dtype: DType,
    /// What of a budget it takes; none for what lies in place.
    grant: Option<Arc<Grant>>,
}

/// The number of elements of a shape; none when no memory has so many.
pub(crate) fn product(shape: &[usize]) -> Option<usize> {
    let product = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
    (product <= isize::MAX as usize).then_some(product)
}

impl Array {
    /// `data` is of one of the types of [`DType`], and as long as the shape says.
    pub(crate) fn new(data: ArrayRef, shape: &[usize], grant: Option<Arc<Grant>>) -> Result<Self> {
        let Some(dtype) = DType::of(data.data_type()) else {
            return invalid(format!("arrays of {} cannot be worked on", data.data_type()));
        };
        if product(shape) != Some(data.len()) {
            return invalid(format!("{} elements do not have the shape {shape:?}", data.len()));
        }
        Ok(Self { data, shape: shape.into(), dtype, grant })
    }

    /// The same memory seen otherwise.
    pub(crate) fn view(&self, data: ArrayRef, shape: &[usize]) -> Result<Self> {
        Self::new(data, shape, self.grant.clone())
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The size of each dimension; empty for a single element.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// How many elements are missing.
    pub fn null_count(&self) -> usize {
        self.data.null_count()
    }

    /// Bytes of its elements, wherever they lie.
    pub fn nbytes(&self) -> u64 {
        let text = match self.data.as_string_opt::<i32>() {
            Some(text) => text_bytes(text.value_offsets()),
            None => 0,
        };
        let nulls = if self.null_count() > 0 { (self.len() as u64).div_ceil(8) } else { 0 };
        self.dtype.room(self.len()) + text + nulls
    }

    /// The first dimension: rows.
    pub(crate) fn rows(&self) -> Result<usize> {
        match self.shape.first() {
            Some(rows) => Ok(*rows),
            None => invalid("a single element has no rows; reshape it to [1] first"),
        }
    }

    /// Elements of one row.
    pub(crate) fn row_len(&self) -> usize {
        product(self.shape.get(1..).unwrap_or_default()).unwrap_or(0)
    }

    /// For messages: type and shape.
    pub(crate) fn described(&self) -> String {
        format!("{}{:?}", self.dtype.name(), &self.shape[..])
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// When the shape is not one of so many elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if product(shape) != Some(self.len()) {
            return invalid(format!("reshape: {} cannot have the shape {shape:?}", self.described()));
        }
        self.view(self.data.clone(), shape)
    }

    /// The rows from `begin` up to `end`, as far as there are so many; without a copy.
    ///
    /// # Errors
    /// For a single element, which has no rows.
    pub fn slice(&self, begin: usize, end: usize) -> Result<Self> {
        let rows = self.rows()?;
        let begin = begin.min(rows);
        let end = end.clamp(begin, rows);
        let row = self.row_len();
        let mut shape = self.shape.clone();
        shape[0] = end - begin;
        self.view(self.data.slice(begin * row, (end - begin) * row), &shape)
    }

    /// The element at this place of the row-major order.
    ///
    /// # Errors
    /// When there is none.
    pub fn item(&self, index: usize) -> Result<Scalar> {
        if index >= self.len() {
            return invalid(format!("there is no element {index} in {}", self.described()));
        }
        Ok(item(&self.data, self.dtype, index))
    }
}

/// The element at an index that there is.
#[allow(
    clippy::unnecessary_fallible_conversions,
    clippy::useless_conversion,
    reason = "one text for all integers"
)]
pub(crate) fn item(data: &ArrayRef, dtype: DType, index: usize) -> Scalar {
    if data.is_null(index) {
        return Scalar::Null;
    }
    match dtype {
        DType::Bool => Scalar::Bool(data.as_boolean().value(index)),
        DType::Utf8 => Scalar::Text(data.as_string::<i32>().value(index).to_owned()),
        DType::F32 => {
            Scalar::Float(f64::from(data.as_primitive::<arrow_array::types::Float32Type>().value(index)))
        }
        DType::F64 => Scalar::Float(data.as_primitive::<arrow_array::types::Float64Type>().value(index)),
        DType::U64 => Scalar::Unsigned(data.as_primitive::<arrow_array::types::UInt64Type>().value(index)),
        other => crate::dtype::with_integer!(
            other,
            T,
            N => {
                let value: N = data.as_primitive::<T>().value(index);
                i64::try_from(value).map_or(Scalar::Null, Scalar::Signed)
            },
            Scalar::Null
        ),
    }
}

/// Bytes of text between the first offset and the last.
pub(crate) fn text_bytes(offsets: &[i32]) -> u64 {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => u64::try_from(i64::from(*last) - i64::from(*first)).unwrap_or(0),
        _ => 0,
    }
}
