//! Arrays that lie with the host: worked on there, natively, by handle.
//!
//! The elements enter the guest's memory only where they are asked for ([`Array::to_vec`],
//! [`Array::texts`], [`Array::item`], and what [`Array::reduce`] gives). What arrays take counts against
//! the `memory` of the task, together with the guest's own; what is read in place from an object counts as
//! nothing. Shapes are stretched as in NumPy, and elements may be missing.
//!
//! ```no_run
//! # mod totals {
//! use engine::array::{Array, Reduction, Table};
//! use engine::prelude::*;
//!
//! #[engine::task]
//! fn totals(sales: Vec<ObjectRef<Array>>) -> Result<Vec<f64>> {
//!     let sales = Table::from_ref(&sales[0], None)?;          // read where it lies
//!     let amounts = (sales.column("amount")? * 1.25)?;
//!     let large = sales.column("amount")?.greater(100.0)?;
//!     let countries = sales.column("country")?.filter(&large)?;
//!     let sums = engine::array::group_by(&[&countries], &[(&amounts.filter(&large)?, Reduction::Sum)])?;
//!     sums.aggregates[0].to_vec()
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! Operators give a `Result`, as every operation may fail: types and shapes that it is not for, and
//! integers that overflow, give INVALID_ARGUMENT, and arrays that the limit has no room for
//! OUT_OF_MEMORY; the guest goes on.

mod element;
mod operators;
mod table;

pub use element::Element;
pub use operators::Operand;
pub use table::{Grouped, Table, argsort, group_by};

use crate::bindings::engine::compute::arrays as wit;
use crate::code::ErrorCode;
use crate::error::{Error, Result};
use crate::object::ObjectRef;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

pub use wit::{BinaryOperation, Dtype, Reduction, Scalar, UnaryOperation};

/// Elements of one type with a shape, in the host's memory. It does not change; clones are one array.
///
/// As an argument or inside a value it travels as a reference to an object that is made of it.
#[derive(Clone)]
pub struct Array(Arc<wit::Array>);

type Made = std::result::Result<wit::Array, crate::bindings::engine::compute::types::Error>;

fn made(made: Made) -> Result<Array> {
    made.map(|array| Array(Arc::new(array))).map_err(Error::from_wire)
}

fn sizes(shape: &[usize]) -> Vec<u64> {
    shape.iter().map(|size| *size as u64).collect()
}

impl Array {
    pub(super) fn of_wire(array: wit::Array) -> Self {
        Array(Arc::new(array))
    }

    pub(super) fn wire(&self) -> &wit::Array {
        &self.0
    }

    /// An array of these numbers, in one dimension.
    ///
    /// # Errors
    /// OUT_OF_MEMORY.
    pub fn from_slice<T: Element>(values: &[T]) -> Result<Self> {
        made(wit::Array::from_bytes(T::DTYPE, &[values.len() as u64], &T::to_bytes(values)))
    }

    /// An array of these texts, in one dimension; none: missing.
    ///
    /// # Errors
    /// OUT_OF_MEMORY.
    pub fn from_texts(texts: Vec<Option<String>>) -> Result<Self> {
        made(wit::Array::from_texts(&texts))
    }

    /// An array of one value.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the value does not fit the type, OUT_OF_MEMORY.
    pub fn full(dtype: Dtype, shape: &[usize], value: impl Into<Scalar>) -> Result<Self> {
        made(wit::Array::full(dtype, &sizes(shape), &value.into()))
    }

    /// The numbers from `start` on, `step` apart, up to `stop`, which is not among them.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when they do not fit the type, OUT_OF_MEMORY.
    pub fn sequence(
        dtype: Dtype,
        start: impl Into<Scalar>,
        stop: impl Into<Scalar>,
        step: impl Into<Scalar>,
    ) -> Result<Self> {
        made(wit::Array::sequence(dtype, &start.into(), &stop.into(), &step.into()))
    }

    /// The array of an object that is an Arrow tensor or a table of one column, read where it lies. Waits
    /// for it.
    ///
    /// # Errors
    /// The failure of the task that was to make it; INVALID_ARGUMENT when it is something else.
    pub fn from_ref<T>(object: &ObjectRef<T>) -> Result<Self> {
        made(wit::Array::from_object(object.wire(), None))
    }

    /// The array of an object of raw bytes, read where it lies. Waits for it.
    ///
    /// # Errors
    /// As [`from_ref`](Self::from_ref), and when there are more or fewer bytes.
    pub fn from_raw<T>(object: &ObjectRef<T>, dtype: Dtype, shape: &[usize]) -> Result<Self> {
        made(wit::Array::from_raw(object.wire(), dtype, &sizes(shape), None))
    }

    /// Makes an object of it: an Arrow tensor, which every language reads (`ObjectRef<Tensor<f64>>` too).
    ///
    /// # Errors
    /// STORE_FULL, OUT_OF_DISK, LIMIT_EXCEEDED.
    pub fn put<T>(&self) -> Result<ObjectRef<T>> {
        self.0.to_object().map(ObjectRef::from_wire).map_err(Error::from_wire)
    }

    /// The type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.0.dtype()
    }

    /// The size of each dimension; empty for a single element.
    pub fn shape(&self) -> Vec<usize> {
        // No array is larger than a host's memory; what a guest cannot count it cannot read either.
        self.0.shape().into_iter().map(|size| usize::try_from(size).unwrap_or(usize::MAX)).collect()
    }

    /// How many elements are missing.
    pub fn null_count(&self) -> u64 {
        self.0.null_count()
    }

    /// Bytes of its elements.
    pub fn nbytes(&self) -> u64 {
        self.0.nbytes()
    }

    /// The numbers, in row-major order, in the guest's memory.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when they are of another type or some are missing, OUT_OF_MEMORY.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let (found, missing) = (self.dtype(), self.null_count());
        if found != T::DTYPE || missing > 0 {
            return Err(Error::coded(
                ErrorCode::InvalidArgument,
                format!(
                    "an array of {found:?} with {missing} missing elements is no `Vec` of {:?}: cast or fill it first",
                    T::DTYPE
                ),
            ));
        }
        self.0.read(0, u64::MAX).map(|bytes| T::of_bytes(&bytes)).map_err(Error::from_wire)
    }

    /// The texts, in row-major order, in the guest's memory.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when it is no text, OUT_OF_MEMORY.
    pub fn texts(&self) -> Result<Vec<Option<String>>> {
        self.0.texts(0, u64::MAX).map_err(Error::from_wire)
    }

    /// The element at this place in row-major order.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there is none.
    pub fn item(&self, index: u64) -> Result<Scalar> {
        self.0.item(index).map_err(Error::from_wire)
    }

    /// Element by element, with this operation.
    ///
    /// # Errors
    /// As every operation: see [the module](crate::array).
    pub fn unary(&self, operation: UnaryOperation) -> Result<Self> {
        made(self.0.unary(operation))
    }

    /// In another type; floats lose their fraction on the way to integers.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for an element that the type does not have.
    pub fn cast(&self, dtype: Dtype) -> Result<Self> {
        made(self.0.cast(dtype))
    }

    /// One value of all elements; null where there is none.
    ///
    /// # Errors
    /// As every operation.
    pub fn reduce(&self, operation: Reduction) -> Result<Scalar> {
        self.0.reduce(operation).map_err(Error::from_wire)
    }

    /// The values along one dimension become one each.
    ///
    /// # Errors
    /// As every operation.
    pub fn reduce_axis(&self, operation: Reduction, axis: u32) -> Result<Self> {
        made(self.0.reduce_axis(operation, axis))
    }

    /// The product of matrices and vectors, of floats.
    ///
    /// # Errors
    /// As every operation.
    pub fn matmul(&self, right: &Array) -> Result<Self> {
        made(self.0.matmul(&right.0))
    }

    /// The dimensions in this order; with none given, the other way round.
    ///
    /// # Errors
    /// As every operation.
    pub fn transpose(&self, axes: &[u32]) -> Result<Self> {
        made(self.0.transpose(axes))
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when it is not one of so many elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        made(self.0.reshape(&sizes(shape)))
    }

    /// The rows from `begin` up to `end`, as far as there are so many, without a copy.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a single element.
    pub fn rows(&self, begin: u64, end: u64) -> Result<Self> {
        made(self.0.rows(begin, end))
    }

    /// The rows of these numbers; a negative one counts from the end.
    ///
    /// # Errors
    /// As every operation.
    pub fn take(&self, indices: &Array) -> Result<Self> {
        made(self.0.take(&indices.0))
    }

    /// The rows where the mask is true; of a mask of the array's own shape the elements.
    ///
    /// # Errors
    /// As every operation.
    pub fn filter(&self, mask: &Array) -> Result<Self> {
        made(self.0.filter(&mask.0))
    }

    /// In order, in one dimension: nan is the greatest number, and missing elements come last.
    ///
    /// # Errors
    /// As every operation.
    pub fn sort(&self, descending: bool) -> Result<Self> {
        made(self.0.sort(descending))
    }

    /// Each element once, in order, in one dimension.
    ///
    /// # Errors
    /// As every operation.
    pub fn unique(&self) -> Result<Self> {
        made(self.0.unique())
    }

    /// Of two elements the first where the mask is true, else the second.
    ///
    /// # Errors
    /// As every operation.
    pub fn choose(mask: &Array, yes: impl Into<Operand>, no: impl Into<Operand>) -> Result<Self> {
        made(wit::Array::choose(&mask.0, &yes.into().lend(), &no.into().lend()))
    }

    /// One after another along a dimension.
    ///
    /// # Errors
    /// As every operation.
    pub fn concatenate(arrays: &[&Array], axis: u32) -> Result<Self> {
        let arrays: Vec<&wit::Array> = arrays.iter().map(|array| &*array.0).collect();
        made(wit::Array::concatenate(&arrays, axis))
    }
}

impl Serialize for Array {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let object: ObjectRef<Array> =
            self.put().map_err(|error| serde::ser::Error::custom(error.message()))?;
        object.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Array {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let object = ObjectRef::<Array>::deserialize(deserializer)?;
        Array::from_ref(&object).map_err(|error| serde::de::Error::custom(error.message()))
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({:?} {:?})", self.dtype(), self.shape())
    }
}
