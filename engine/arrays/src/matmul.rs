//! The product of matrices.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{ArrowPrimitiveType, PrimitiveArray};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, LinalgScalar, Slice};

use crate::elementwise::cast;
use crate::error::{Result, invalid};
use crate::pieces::finished;
use crate::work::Work;
use crate::{Array, DType};

/// Rows, columns, and elements of a sum that are reckoned in one piece: some milliseconds at most.
const BLOCK: [usize; 3] = [128, 256, 256];

/// The product of two matrices, of a matrix and a vector, or of two vectors, of floats.
///
/// # Errors
/// When types or shapes are others.
pub async fn matmul(work: &mut Work, left: &Array, right: &Array) -> Result<Array> {
    let described = || format!("matmul: {} and {}", left.described(), right.described());
    let (ones, others) = match (left.shape(), right.shape()) {
        ([_] | [_, _], [_] | [_, _]) => (left.shape(), right.shape()),
        _ => return invalid(format!("{} are not both vectors or matrices", described())),
    };
    let (m, k) = if let [m, k] = ones { (*m, *k) } else { (1, ones[0]) };
    let (k_too, n) = if let [k, n] = others { (*k, *n) } else { (others[0], 1) };
    if k != k_too {
        let message = "do not go together; the last size of the first is the first of the second";
        return invalid(format!("{} {message}", described()));
    }
    let shape: Vec<usize> =
        ones[..ones.len() - 1].iter().chain(&others[others.len().min(1)..]).copied().collect();
    let dtype = match left.dtype().with(right.dtype())? {
        float @ (DType::F32 | DType::F64) => float,
        _ => return invalid(format!("{} are not of floats; cast one of them to f64", described())),
    };
    if left.null_count() + right.null_count() > 0 {
        return invalid(format!("{} have missing elements", described()));
    }
    let Some(length) = m.checked_mul(n).filter(|length| *length <= isize::MAX as usize) else {
        return invalid(format!("{}: no memory has their product", described()));
    };
    let grant = work.take(dtype.room(length), "matmul")?;
    let (left, right) = (cast(work, left, dtype).await?, cast(work, right, dtype).await?);
    let data: arrow_array::ArrayRef = match dtype {
        DType::F32 => Arc::new(product::<Float32Type>(work, &left, &right, [m, n, k]).await?),
        _ => Arc::new(product::<Float64Type>(work, &left, &right, [m, n, k]).await?),
    };
    finished(data, &shape, grant)
}

async fn product<T: ArrowPrimitiveType<Native: LinalgScalar + Send + Sync>>(
    work: &mut Work,
    left: &Array,
    right: &Array,
    [m, n, k]: [usize; 3],
) -> Result<PrimitiveArray<T>> {
    let one = <T::Native as num_traits::One>::one();
    let (left, right) = (left.data.as_primitive::<T>(), right.data.as_primitive::<T>());
    let mut made = vec![T::Native::default(); m * n];
    let [rows, columns, depth] = BLOCK;
    for i in (0..m).step_by(rows) {
        for j in (0..n).step_by(columns) {
            for p in (0..k).step_by(depth) {
                let (i_end, j_end, p_end) = (m.min(i + rows), n.min(j + columns), k.min(p + depth));
                let wrong = |error: ndarray::ShapeError| crate::Error::Invalid(format!("matmul: {error}"));
                let a = ArrayView2::from_shape((m, k), left.values()).map_err(wrong)?;
                let b = ArrayView2::from_shape((k, n), right.values()).map_err(wrong)?;
                let mut c = ArrayViewMut2::from_shape((m, n), &mut made).map_err(wrong)?;
                let (rows, columns, depth) =
                    (Slice::from(i..i_end), Slice::from(j..j_end), Slice::from(p..p_end));
                let mut c = c.slice_axis_mut(Axis(0), rows);
                general_mat_mul(
                    one,
                    &a.slice_axis(Axis(0), rows).slice_axis(Axis(1), depth),
                    &b.slice_axis(Axis(0), depth).slice_axis(Axis(1), columns),
                    one,
                    &mut c.slice_axis_mut(Axis(1), columns),
                );
                work.pause().await;
            }
        }
    }
    Ok(PrimitiveArray::from_iter_values(made))
}
