//! Which elements, and in which order.

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef, BooleanArray, UInt64Array};

use crate::array::text_bytes;
use crate::dtype::with_integer;
use crate::error::{Result, invalid};
use crate::operand::{converted, stretched};
use crate::pieces::{PIECE, Pieces, ranges};
use crate::scalar::Scalar;
use crate::work::Work;
use crate::{Array, DType};

/// The rows of these numbers; a negative one counts from the end.
///
/// # Errors
/// When the numbers are no integers in one dimension, or there is no such row.
pub async fn take(work: &mut Work, array: &Array, indices: &Array) -> Result<Array> {
    let rows = array.rows()?;
    if !indices.dtype().is_integer() || indices.shape().len() != 1 {
        return invalid(format!(
            "take: the indices are {}, and must be integers in one dimension",
            indices.described()
        ));
    }
    let row = array.row_len();
    let mut shape = array.shape().to_vec();
    shape[0] = indices.len();
    let Some(length) = crate::array::product(&shape) else {
        return invalid(format!("take: no memory has an array of shape {shape:?}"));
    };
    let mut pieces = Pieces::new(work, array.dtype(), length, 0, "take")?;
    let step = (PIECE / row.max(1)).max(1);
    for begin in (0..indices.len()).step_by(step) {
        let end = indices.len().min(begin + step);
        let found = places(&indices.data.slice(begin, end - begin), indices.dtype(), rows)?;
        if row > PIECE {
            take_wide(work, &mut pieces, array, &found, row).await?;
            continue;
        }
        let wanted = if row == 1 { found } else { spread(&found, row) };
        for part in ranges(wanted.len()) {
            let part = wanted.slice(part.start, part.len());
            pieces.gather(work, &array.data, &part).await?;
        }
    }
    pieces.finish(&shape)
}

/// Rows of more than a piece each.
async fn take_wide(
    work: &mut Work,
    pieces: &mut Pieces,
    array: &Array,
    rows: &UInt64Array,
    row: usize,
) -> Result<()> {
    for place in rows {
        match place {
            Some(place) => {
                let begin = place as usize * row;
                pieces.copy(work, &array.data, begin..begin + row).await?;
            }
            None => {
                for range in ranges(row) {
                    pieces.append(&Scalar::Null.repeated(array.dtype(), range.len())?)?;
                    work.pause().await;
                }
            }
        }
    }
    Ok(())
}

/// Row numbers as places from 0 on, checked.
fn places(indices: &ArrayRef, dtype: DType, rows: usize) -> Result<UInt64Array> {
    with_integer!(
        dtype,
        T,
        _N => {
            let indices = indices.as_primitive::<T>();
            let place = |index| {
                let index = i128::from(index);
                let place = if index < 0 { index + rows as i128 } else { index };
                if (0..rows as i128).contains(&place) {
                    Ok(place as u64)
                } else {
                    invalid(format!("take: there is no row {index} among {rows}"))
                }
            };
            indices.iter().map(|index| index.map(place).transpose()).collect::<Result<UInt64Array>>()
        },
        invalid(format!("take: indices are integers, and not {}", dtype.name()))
    )
}

/// The places of the elements of rows of so many elements each.
fn spread(rows: &UInt64Array, row: usize) -> UInt64Array {
    let elements = rows
        .iter()
        .flat_map(|place| (0..row as u64).map(move |at| place.map(|place| place * row as u64 + at)));
    elements.collect()
}

/// The rows where the mask is true. A mask of the array's own shape chooses elements instead: the result
/// has one dimension then.
///
/// # Errors
/// When the mask is not of bool, or has another length.
pub async fn filter(work: &mut Work, array: &Array, mask: &Array) -> Result<Array> {
    let rows = array.rows()?;
    let is_flat = mask.shape() == array.shape();
    if mask.dtype() != DType::Bool || !(is_flat || mask.shape() == [rows]) {
        return invalid(format!(
            "filter: the mask is {}, and {} needs one of bool[{rows}] or of its own shape",
            mask.described(),
            array.described()
        ));
    }
    let mask = mask.data.as_boolean();
    let (row, rows) = if is_flat { (1, array.len()) } else { (array.row_len(), rows) };
    let mut kept = 0;
    for range in ranges(rows) {
        kept += chosen(mask, range.start, range.len()).true_count();
        work.pause().await;
    }
    let shape = match is_flat {
        true => vec![kept],
        false => std::iter::once(kept).chain(array.shape()[1..].iter().copied()).collect(),
    };
    let mut pieces = Pieces::new(work, array.dtype(), kept * row, 0, "filter")?;
    let step = (PIECE / row.max(1)).max(1);
    for begin in (0..rows).step_by(step) {
        let length = step.min(rows - begin);
        let mask = chosen(mask, begin, length);
        if row > PIECE || array.dtype() == DType::Utf8 {
            let places = mask.values().set_indices().flat_map(|at| {
                let begin = ((begin + at) * row) as u64;
                begin..begin + if row > PIECE { 1 } else { row as u64 }
            });
            let places = UInt64Array::from_iter_values(places);
            match row > PIECE {
                true => {
                    let rows = arrow_arith::arity::unary(&places, |place| place / row as u64);
                    take_wide(work, &mut pieces, array, &rows, row).await?;
                }
                false => pieces.gather(work, &array.data, &places).await?,
            }
            continue;
        }
        let mask = if row == 1 { mask } else { repeated(&mask, row) };
        let elements = array.data.slice(begin * row, length * row);
        pieces.append(&arrow_select::filter::filter(&elements, &mask)?)?;
        work.pause().await;
    }
    pieces.finish(&shape)
}

/// Part of a mask, in which what is missing is false.
fn chosen(mask: &BooleanArray, begin: usize, length: usize) -> BooleanArray {
    let part = mask.slice(begin, length);
    if part.null_count() > 0 { arrow_select::filter::prep_null_mask_filter(&part) } else { part }
}

fn repeated(mask: &BooleanArray, times: usize) -> BooleanArray {
    mask.values().iter().flat_map(|value| std::iter::repeat_n(Some(value), times)).collect()
}

/// Arrays one after another along a dimension, in the type that all of them meet in.
///
/// # Errors
/// When there is none, or their other dimensions differ.
pub async fn concatenate(work: &mut Work, arrays: &[Array], axis: usize) -> Result<Array> {
    let Some(first) = arrays.first() else {
        return invalid("concatenate: there are no arrays");
    };
    let mut shape = first.shape().to_vec();
    if axis >= shape.len() {
        return invalid(format!("concatenate: {} has no dimension {axis}", first.described()));
    }
    let mut dtype = first.dtype();
    shape[axis] = 0;
    let mut text = 0_u64;
    for array in arrays {
        let own = array.shape();
        let fits = own.len() == shape.len() && (0..own.len()).all(|at| at == axis || own[at] == shape[at]);
        if !fits {
            return invalid(format!(
                "concatenate: {} and {} differ in more than dimension {axis}",
                first.described(),
                array.described()
            ));
        }
        dtype = dtype.with(array.dtype())?;
        shape[axis] = shape[axis].saturating_add(own[axis]);
        text = text.saturating_add(
            array.data.as_string_opt::<i32>().map_or(0, |text| text_bytes(text.value_offsets())),
        );
    }
    let Some(length) = crate::array::product(&shape) else {
        return invalid(format!("concatenate: no memory has an array of shape {shape:?}"));
    };
    let outer: usize = shape[..axis].iter().product();
    let mut pieces = Pieces::new(work, dtype, length, text, "concatenate")?;
    for at in 0..outer {
        for array in arrays {
            let block: usize = array.shape()[axis..].iter().product();
            for range in ranges(block) {
                let piece = array.data.slice(at * block + range.start, range.len());
                pieces.append(&converted(&piece, dtype)?)?;
                work.pause().await;
            }
        }
    }
    pieces.finish(&shape)
}

/// The dimensions in another order; with none given, the other way round.
///
/// # Errors
/// When the order does not name each dimension once.
pub async fn transpose(work: &mut Work, array: &Array, axes: &[usize]) -> Result<Array> {
    let dimensions = array.shape().len();
    let axes: Vec<usize> = if axes.is_empty() { (0..dimensions).rev().collect() } else { axes.to_vec() };
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..dimensions) {
        return invalid(format!(
            "transpose: {axes:?} does not name each dimension of {} once",
            array.described()
        ));
    }
    let mut own = vec![1; dimensions];
    for at in (1..dimensions).rev() {
        own[at - 1] = own[at] * array.shape()[at];
    }
    let shape: Vec<usize> = axes.iter().map(|axis| array.shape()[*axis]).collect();
    let strides: Vec<usize> = axes.iter().map(|axis| own[*axis]).collect();
    let text = array.data.as_string_opt::<i32>().map_or(0, |text| text_bytes(text.value_offsets()));
    let mut pieces = Pieces::new(work, array.dtype(), array.len(), text, "transpose")?;
    for range in ranges(array.len()) {
        let places = UInt64Array::from(stretched(range, &shape, &strides));
        pieces.gather(work, &array.data, &places).await?;
    }
    pieces.finish(&shape)
}
