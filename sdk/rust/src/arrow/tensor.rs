//! `Tensor`: an array of numbers with a shape.
use super::{ArrowValue, Element, nested, stream};
use crate::code::ErrorCode;
use crate::error::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, FixedSizeListArray, PrimitiveArray, RecordBatch};
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The name of the column, and of Arrow's type for it. The rows of the column are the first dimension.
const COLUMN: &str = "tensor";
const EXTENSION: &str = "arrow.fixed_shape_tensor";

/// An array of numbers with one or more dimensions, in row-major order.
///
/// It does not change, and clones share the numbers. To other languages it is a table of one column of
/// Arrow's `fixed_shape_tensor`, whose rows are the first dimension (pyarrow: `to_numpy_ndarray()`).
///
/// ```
/// use engine::arrow::Tensor;
/// # fn main() -> engine::Result<()> {
/// let matrix = Tensor::new([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(matrix.strides(), [3, 1]);
/// assert_eq!(matrix.get(&[1, 0]), Some(4.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct Tensor<T: Element> {
    shape: Vec<usize>,
    values: ScalarBuffer<T>,
}

impl<T: Element> Tensor<T> {
    /// A tensor of these values, the last dimension running fastest.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the shape has no dimension, or is not that of so many values.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<T>) -> Result<Self> {
        Self::of(shape.into(), values.into()).map_err(|cause| Error::coded(ErrorCode::InvalidArgument, cause))
    }

    fn of(shape: Vec<usize>, values: ScalarBuffer<T>) -> Result<Self, String> {
        if shape.is_empty() {
            return Err("a tensor has at least one dimension; send a single number as it is".into());
        }
        if product(&shape) != Some(values.len()) {
            return Err(format!("a tensor of shape {shape:?} cannot have {} values", values.len()));
        }
        Ok(Tensor { shape, values })
    }

    /// The size of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many values apart two neighbours in each dimension are.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1_usize; self.shape.len()];
        for dimension in (1..self.shape.len()).rev() {
            strides[dimension - 1] = strides[dimension].saturating_mul(self.shape[dimension]);
        }
        strides
    }

    /// All values, the last dimension running fastest.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The value at this index, which has a number for each dimension; none outside of the shape.
    pub fn get(&self, index: &[usize]) -> Option<T> {
        let is_inside = |(at, size): (&usize, &usize)| at < size;
        if index.len() != self.shape.len() || !index.iter().zip(&self.shape).all(is_inside) {
            return None;
        }
        let at = index.iter().zip(&self.shape).fold(0, |at, (index, size)| at * size + index);
        self.values.get(at).copied()
    }

    /// Gives up the tensor and keeps the values, without a copy where nothing else shares them and they
    /// are not read in place.
    pub fn into_values(self) -> Vec<T> {
        Vec::from(self.values)
    }

    fn to_batch(&self) -> Result<RecordBatch, String> {
        let (rows, inner) = match self.shape.split_first() {
            Some((rows, inner)) => (*rows, inner),
            None => (1, &[][..]),
        };
        let size = product(inner).and_then(|size| i32::try_from(size).ok()).ok_or_else(|| {
            format!("{inner:?} is too much for one row of a tensor: make the first dimension larger")
        })?;
        let metadata = serde_json::to_string(&Layout { shape: inner.to_vec(), permutation: None });
        let item = Arc::new(Field::new("item", T::Arrow::DATA_TYPE, false));
        let made = || {
            let values: ArrayRef = Arc::new(PrimitiveArray::<T::Arrow>::try_new(self.values.clone(), None)?);
            let list = FixedSizeListArray::try_new_with_length(Arc::clone(&item), size, values, None, rows)?;
            let field = Field::new(COLUMN, list.data_type().clone(), false).with_metadata(HashMap::from([
                (EXTENSION_TYPE_NAME_KEY.to_owned(), EXTENSION.to_owned()),
                (EXTENSION_TYPE_METADATA_KEY.to_owned(), metadata.unwrap_or_default()),
            ]));
            RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(list)])
        };
        made().map_err(|cause| cause.to_string())
    }

    fn from_batch(batch: &RecordBatch) -> Result<Self, String> {
        let (schema, columns) = (batch.schema(), batch.columns());
        let ([field], [column]) = (&schema.fields()[..], columns) else {
            return Err(format!(
                "found a table of {} columns; take it as `engine::arrow::Table`",
                columns.len()
            ));
        };
        const NULLS: &str = "found missing values (nulls), which a tensor cannot have; fill them first";
        if column.null_count() > 0 {
            return Err(NULLS.into());
        }
        let (inner, values) = match column.as_fixed_size_list_opt() {
            Some(list) => (inner_shape(field)?, list.values()),
            None => (Vec::new(), column),
        };
        let Some(numbers) = values.as_primitive_opt::<T::Arrow>() else {
            let found = column.data_type();
            return Err(format!("found a column of {found}; take it as `engine::arrow::Table`"));
        };
        if numbers.null_count() > 0 {
            return Err(NULLS.into());
        }
        let shape = std::iter::once(batch.num_rows()).chain(inner).collect();
        Self::of(shape, numbers.values().clone())
    }
}

impl<T: Element> ArrowValue for Tensor<T> {
    fn write(&self) -> Result<Vec<u8>, String> {
        let batch = self.to_batch()?;
        stream::write(&batch.schema(), &[batch])
    }

    fn read(bytes: Buffer) -> Result<Self, String> {
        let wanted = T::Arrow::DATA_TYPE;
        let (_, batches) =
            stream::read(&bytes).map_err(|cause| format!("the Arrow stream cannot be read: {cause}"))?;
        let read = match &batches[..] {
            [batch] => Self::from_batch(batch),
            _ => Err(format!("found {} batches; make it one (pyarrow: `combine_chunks()`)", batches.len())),
        };
        read.map_err(|cause| format!("expected a tensor of {wanted}, {cause}"))
    }
}

/// What Arrow's type says of itself, in JSON.
#[derive(Serialize, Deserialize)]
struct Layout {
    shape: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permutation: Option<Vec<usize>>,
}

/// The dimensions behind the first, of a column of lists of one size.
fn inner_shape(field: &Field) -> Result<Vec<usize>, String> {
    if field.extension_type_name() != Some(EXTENSION) {
        let DataType::FixedSizeList(_, size) = field.data_type() else { return Ok(Vec::new()) };
        return Ok(usize::try_from(*size).into_iter().collect());
    }
    let text = field.extension_type_metadata().unwrap_or_default();
    let layout: Layout =
        serde_json::from_str(text).map_err(|cause| format!("found the shape `{text}`: {cause}"))?;
    match layout.permutation {
        Some(order) if !order.iter().copied().eq(0..order.len()) => {
            Err("found dimensions in another order than that of rows; copy it into that order first (NumPy: `ascontiguousarray`)".into())
        }
        _ => Ok(layout.shape),
    }
}

fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}

impl<T: Element> Serialize for Tensor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        nested::serialize(self, serializer)
    }
}

impl<'de, T: Element> Deserialize<'de> for Tensor<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        nested::deserialize(deserializer)
    }
}

impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", T::Arrow::DATA_TYPE, self.shape)
    }
}
