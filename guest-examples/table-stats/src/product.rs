//! The product of a matrix and a vector, in bands of rows.
use engine::arrow::Tensor;
use engine::arrow::ndarray::{Ix1, Ix2, s};
use engine::prelude::*;
use serde::Serialize;

const ROWS: usize = 2000;
const COLUMNS: usize = 300;

/// What the product comes to.
#[derive(Serialize)]
pub(crate) struct Product {
    rows: usize,
    sum: f64,
    largest: f64,
}

/// The product for the rows from `begin` to `end`; nothing of the matrix is copied.
#[engine::task]
fn band(matrix: Tensor<f64>, vector: Tensor<f64>, begin: usize, end: usize) -> Result<Tensor<f64>> {
    let matrix = matrix.view()?.into_dimensionality::<Ix2>()?;
    let vector = vector.view()?.into_dimensionality::<Ix1>()?;
    Tensor::try_from(matrix.slice(s![begin..end, ..]).dot(&vector))
}

/// The product in bands, and sum and largest element of the product that the host reckons.
pub(crate) fn in_bands(tasks: usize) -> Result<(Product, (f64, f64))> {
    let number = |row: usize, column: usize| ((row * 31 + column * 17) % 101) as f64;
    let values = (0..ROWS * COLUMNS).map(|at| number(at / COLUMNS, at % COLUMNS)).collect();
    let matrix = engine::put(&Tensor::new([ROWS, COLUMNS], values)?)?;
    let vector = engine::put(&Tensor::new([COLUMNS], (0..COLUMNS).map(|at| (at % 7) as f64).collect())?)?;

    let edge = |band: usize| ROWS * band / tasks;
    let bands = (0..tasks)
        .map(|number| band::spawn(&matrix, &vector, edge(number), edge(number + 1)))
        .collect::<Result<Vec<_>>>()?;
    let mut product = Vec::with_capacity(ROWS);
    for band in engine::get_all(&bands)? {
        product.extend_from_slice(band.values());
    }
    let largest = product.iter().copied().fold(f64::MIN, f64::max);
    let native = crate::native::product::spawn(vec![matrix, vector])?.get()?;
    Ok((Product { rows: product.len(), sum: product.iter().sum(), largest }, native))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_part_of_the_product() {
        let matrix = Tensor::new([3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let vector = Tensor::new([2], vec![10.0, 1.0]).unwrap();
        assert_eq!(band(matrix, vector, 1, 3).unwrap().values(), [34.0, 56.0]);
    }
}
