//! The same once more, with arrays that stay with the host: none of their elements enters the sandbox but
//! what is asked for in the end.
use crate::sales::Groups;
use engine::array::{Array, Reduction, Scalar, Table, group_by};
use engine::arrow::{Table as Arrow, Tensor};
use engine::prelude::*;

/// The statistics of the whole table.
///
/// It is given as a reference inside a value: as an argument of its own the task would get its bytes.
#[engine::task]
pub(crate) fn stats(sales: Vec<ObjectRef<Arrow>>) -> Result<Groups> {
    let sales = Table::from_ref(&sales[0], Some(&["cents", "region"]))?;
    let (cents, regions) = (sales.column("cents")?, sales.column("region")?);
    let reductions = [Reduction::Count, Reduction::Sum, Reduction::Min, Reduction::Max];
    let mut asked = reductions.map(|reduction| (cents, reduction)).to_vec();
    asked.push((regions, Reduction::Count));
    let made = group_by(&[regions], &asked)?;

    let numbers = made.aggregates.iter().map(Array::to_vec::<i64>).collect::<Result<Vec<_>>>()?;
    let [counts, sums, lowest, highest, all] = &numbers[..] else { engine::bail!("five columns of numbers") };
    let names = made.keys[0].texts()?.into_iter().flatten();
    let stats = names.enumerate().map(|(at, name)| {
        let (count, all) = (counts[at].unsigned_abs(), all[at].unsigned_abs());
        (name, crate::sales::Stats::new(count, all - count, sums[at], lowest[at], highest[at]))
    });
    Ok(stats.collect())
}

/// Sum and largest element of the product of a matrix and a vector.
#[engine::task]
pub(crate) fn product(factors: Vec<ObjectRef<Tensor<f64>>>) -> Result<(f64, f64)> {
    let product = Array::from_ref(&factors[0])?.matmul(&Array::from_ref(&factors[1])?)?;
    match (product.reduce(Reduction::Sum)?, product.reduce(Reduction::Max)?) {
        (Scalar::Floating(sum), Scalar::Floating(largest)) => Ok((sum, largest)),
        other => engine::bail!("the product is no array of floats: {other:?}"),
    }
}

/// Takes an array as an argument, and gives another: both travel as references.
#[engine::task]
pub(crate) fn doubled(array: Array) -> Result<Array> {
    let doubled = (&array * 2)?;
    // What went out as an array is a tensor to whoever wants it in its memory.
    let tensor: Tensor<i64> = doubled.put()?.get()?;
    engine::ensure!(tensor.values() == doubled.to_vec::<i64>()?, "the same as a tensor");
    Ok(doubled)
}
