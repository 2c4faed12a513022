//! Sorting, in pieces: runs that fit into a cache, then merged. Nan is greater than every number, and what
//! is missing comes last.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array as _, ArrayRef, PrimitiveArray};

use crate::error::{Result, invalid};
use crate::operand::converted;
use crate::pieces::{PIECE, Pieces, finished, ranges};
use crate::reduce::reckoned;
use crate::rows::{AllKeys, length};
use crate::scalar::Scalar;
use crate::select::take;
use crate::work::Work;
use crate::{Array, DType};

/// Sorts; elements that are equal may change places.
async fn merge_sort<T: Copy + Send + Sync>(
    work: &mut Work,
    values: Vec<T>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>> {
    let _scratch = work.take((size_of::<T>() * values.len()) as u64, "sorting")?;
    let (mut from, mut to) = (values, Vec::new());
    for run in from.chunks_mut(PIECE) {
        run.sort_unstable_by(&compare);
        work.pause().await;
    }
    to.reserve_exact(from.len());
    let mut width = PIECE;
    while width < from.len() {
        to.clear();
        for begin in (0..from.len()).step_by(2 * width) {
            let middle = from.len().min(begin + width);
            let end = from.len().min(middle + width);
            let (mut left, mut right) = (begin, middle);
            while left < middle || right < end {
                let is_left = right == end
                    || (left < middle && compare(&from[left], &from[right]) != Ordering::Greater);
                let next = if is_left { &mut left } else { &mut right };
                to.push(from[*next]);
                *next += 1;
                if to.len().is_multiple_of(PIECE) {
                    work.pause().await;
                }
            }
        }
        std::mem::swap(&mut from, &mut to);
        width *= 2;
    }
    Ok(from)
}

/// Numbers and truth values as integers of the same order.
fn keys(piece: &ArrayRef, dtype: DType, descending: bool) -> Result<Vec<Option<u64>>> {
    let turned = |key: u64| if descending { !key } else { key };
    let piece = converted(piece, reckoned(dtype))?;
    Ok(match reckoned(dtype) {
        DType::F64 => {
            let key = |x: f64| {
                let bits = (x + 0.0).to_bits();
                match x {
                    _ if x.is_nan() => u64::MAX,
                    _ if bits >> 63 == 1 => !bits,
                    _ => bits | 1 << 63,
                }
            };
            piece.as_primitive::<Float64Type>().iter().map(|x| x.map(|x| turned(key(x)))).collect()
        }
        DType::U64 => piece.as_primitive::<UInt64Type>().iter().map(|x| x.map(turned)).collect(),
        _ => {
            let key = |x: i64| turned(x as u64 ^ 1 << 63);
            piece.as_primitive::<Int64Type>().iter().map(|x| x.map(key)).collect()
        }
    })
}

/// The other way round.
fn of_keys(keys: &[u64], dtype: DType, descending: bool) -> Result<ArrayRef> {
    let keys = keys.iter().map(|key| if descending { !key } else { *key });
    let made: ArrayRef = match reckoned(dtype) {
        DType::F64 => {
            let value = |key: u64| match key {
                u64::MAX => f64::NAN,
                _ if key >> 63 == 1 => f64::from_bits(key & !(1 << 63)),
                _ => f64::from_bits(!key),
            };
            Arc::new(PrimitiveArray::<Float64Type>::from_iter_values(keys.map(value)))
        }
        DType::U64 => Arc::new(PrimitiveArray::<UInt64Type>::from_iter_values(keys)),
        _ => {
            let values = keys.map(|key| (key ^ 1 << 63) as i64);
            Arc::new(PrimitiveArray::<Int64Type>::from_iter_values(values))
        }
    };
    converted(&made, dtype)
}

fn one_dimension(what: &str, array: &Array) -> Result<()> {
    match array.shape() {
        [_] => Ok(()),
        _ => invalid(format!("{what}: {} has not one dimension; reshape it first", array.described())),
    }
}

/// The elements in order.
///
/// # Errors
/// When they have more than one dimension.
pub async fn sort(work: &mut Work, array: &Array, descending: bool) -> Result<Array> {
    one_dimension("sort", array)?;
    if array.dtype() == DType::Utf8 {
        let order = argsort(work, &[(array, descending)]).await?;
        return take(work, array, &order).await;
    }
    in_order(work, array, descending, false).await
}

/// Each element once, in order.
///
/// # Errors
/// When they have more than one dimension.
pub async fn unique(work: &mut Work, array: &Array) -> Result<Array> {
    one_dimension("unique", array)?;
    if array.dtype() != DType::Utf8 {
        return in_order(work, array, false, true).await;
    }
    let order = argsort(work, &[(array, false)]).await?;
    let texts = array.data.as_string::<i32>();
    let text = |place: i64| {
        let place = place as usize;
        texts.is_valid(place).then(|| texts.value(place))
    };
    let grant = work.take(DType::I64.room(order.len()), "unique")?;
    let (mut last, mut firsts) = (None, Vec::new());
    for (at, place) in order.data.as_primitive::<Int64Type>().values().iter().enumerate() {
        if at == 0 || last != text(*place) {
            firsts.push(*place);
            last = text(*place);
        }
        if at.is_multiple_of(PIECE) {
            work.pause().await;
        }
    }
    let count = firsts.len();
    let firsts = finished(Arc::new(PrimitiveArray::<Int64Type>::from(firsts)), &[count], grant)?;
    take(work, array, &firsts).await
}

async fn in_order(work: &mut Work, array: &Array, descending: bool, once: bool) -> Result<Array> {
    let what = if once { "unique" } else { "sort" };
    let there = array.len() - array.null_count();
    let _grant = work.take(DType::U64.room(there), what)?;
    let mut all = Vec::with_capacity(there);
    for range in ranges(array.len()) {
        let piece = array.data.slice(range.start, range.len());
        all.extend(keys(&piece, array.dtype(), descending)?.into_iter().flatten());
        work.pause().await;
    }
    let all = merge_sort(work, all, u64::cmp).await?;
    let nulls = if once { array.null_count().min(1) } else { array.null_count() };
    let mut pieces = Pieces::new(work, array.dtype(), array.len(), 0, what)?;
    let (mut length, mut last) = (nulls, None);
    for range in ranges(all.len()) {
        let piece = &all[range];
        let kept: Vec<u64> = match once {
            true => piece.iter().copied().filter(|key| last.replace(*key) != Some(*key)).collect(),
            false => piece.to_vec(),
        };
        length += kept.len();
        pieces.append(&of_keys(&kept, array.dtype(), descending)?)?;
        work.pause().await;
    }
    for range in ranges(nulls) {
        pieces.append(&Scalar::Null.repeated(array.dtype(), range.len())?)?;
        work.pause().await;
    }
    pieces.finish(&[length])
}

/// Where the rows are in the order of the first column, of equal ones in that of the second, and so on;
/// those that are equal in all stay in order. The result is of `i64`.
///
/// # Errors
/// When the columns have not one dimension and the same length.
pub async fn argsort(work: &mut Work, columns: &[(&Array, bool)]) -> Result<Array> {
    let arrays: Vec<&Array> = columns.iter().map(|(array, _)| *array).collect();
    let rows = length("argsort", &arrays)?;
    let places = match columns {
        [(array, descending)] if array.dtype() != DType::Utf8 => by_number(work, array, *descending).await?,
        _ => by_keys(work, columns, rows).await?,
    };
    let grant = work.take(DType::I64.room(rows), "argsort")?;
    let mut made = Vec::with_capacity(rows);
    for range in ranges(rows) {
        made.extend(places[range].iter().map(|place| i64::from(*place)));
        work.pause().await;
    }
    finished(Arc::new(PrimitiveArray::<Int64Type>::from(made)), &[rows], grant)
}

async fn by_number(work: &mut Work, array: &Array, descending: bool) -> Result<Vec<u32>> {
    let length = array.len();
    // A key and a place each, and the places once more.
    let _grant = work.take(length as u64 * 20, "argsort")?;
    let (mut there, mut missing) = (Vec::with_capacity(length - array.null_count()), Vec::new());
    let mut place = 0_u32;
    for range in ranges(length) {
        for key in keys(&array.data.slice(range.start, range.len()), array.dtype(), descending)? {
            match key {
                Some(key) => there.push((key, place)),
                None => missing.push(place),
            }
            place = place.wrapping_add(1);
        }
        work.pause().await;
    }
    let there = merge_sort(work, there, Ord::cmp).await?;
    let mut places = Vec::with_capacity(length);
    for range in ranges(there.len()) {
        places.extend(there[range].iter().map(|(_, place)| *place));
        work.pause().await;
    }
    places.append(&mut missing);
    Ok(places)
}

async fn by_keys(work: &mut Work, columns: &[(&Array, bool)], rows: usize) -> Result<Vec<u32>> {
    let keys = AllKeys::new(work, columns, rows).await?;
    let _grant = work.take(rows as u64 * 4, "argsort")?;
    let mut places = Vec::with_capacity(rows);
    for range in ranges(rows) {
        places.extend(range.map(|place| place as u32));
        work.pause().await;
    }
    merge_sort(work, places, |a, b| keys.row(*a).cmp(&keys.row(*b)).then(a.cmp(b))).await
}
