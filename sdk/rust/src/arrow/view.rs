//! Tensors as `ndarray` has them.
use super::{Element, Tensor};
use crate::code::ErrorCode;
use crate::error::{Error, Result};
use ndarray::{Array, ArrayView, ArrayViewD, Dimension};

impl<T: Element> Tensor<T> {
    /// The tensor as `ndarray` sees it, without a copy. `into_dimensionality` tells the compiler how many
    /// dimensions there are.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the tensor is empty and the other dimensions are larger than any memory.
    pub fn view(&self) -> Result<ArrayViewD<'_, T>> {
        ArrayView::from_shape(self.shape(), self.values()).map_err(|cause| {
            let message = format!("a tensor of shape {:?} has no view: {cause}", self.shape());
            Error::coded(ErrorCode::InvalidArgument, message)
        })
    }
}

impl<T: Element, D: Dimension> TryFrom<Array<T, D>> for Tensor<T> {
    type Error = Error;

    /// Without a copy where the array is in row-major order.
    fn try_from(array: Array<T, D>) -> Result<Self> {
        let (shape, length) = (array.shape().to_vec(), array.len());
        if !array.is_standard_layout() {
            return Tensor::new(shape, array.iter().copied().collect());
        }
        // A sliced array keeps what lies around it.
        match array.into_raw_vec_and_offset() {
            (values, None | Some(0)) if values.len() == length => Tensor::new(shape, values),
            (values, offset) => {
                let values = values.into_iter().skip(offset.unwrap_or(0)).take(length);
                Tensor::new(shape, values.collect())
            }
        }
    }
}
