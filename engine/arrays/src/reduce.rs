//! Many elements become one: of a whole array, along a dimension, or of each group.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array as _, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};

use crate::array::item;
use crate::error::{Error, Result, invalid};
use crate::operand::converted;
use crate::pieces::{finished, ranges};
use crate::scalar::Scalar;
use crate::work::Work;
use crate::{Array, DType};

/// What becomes of many elements. Those that are missing are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The sum: `i64` of signed integers and truth values, `u64` of unsigned ones, of floats their type.
    Sum,
    /// The mean, a float.
    Mean,
    /// The smallest; nan if there is one.
    Min,
    /// The largest; nan if there is one.
    Max,
    /// The standard deviation of all of them (not of a sample), a float.
    Std,
    /// Its square.
    Var,
    /// How many are there.
    Count,
    /// Whether any is true, or not 0.
    Any,
    /// Whether all are.
    All,
    /// Where the smallest is first.
    ArgMin,
    /// Where the largest is first.
    ArgMax,
}

impl Reduction {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Std => "std",
            Self::Var => "var",
            Self::Count => "count",
            Self::Any => "any",
            Self::All => "all",
            Self::ArgMin => "argmin",
            Self::ArgMax => "argmax",
        }
    }
}

/// Which result each element goes into.
pub(crate) enum Slots<'a> {
    Whole,
    Axis {
        /// Elements along the dimension.
        count: usize,
        /// How far apart they lie.
        inner: usize,
    },
    Groups(&'a [u32]),
}

impl Slots<'_> {
    /// The results of a range of elements, and where among its own each element is.
    fn fill(&self, range: Range<usize>, slots: &mut Vec<usize>, positions: &mut Vec<i64>) {
        slots.clear();
        positions.clear();
        match self {
            Self::Whole => {
                slots.resize(range.len(), 0);
                positions.extend(range.map(|at| at as i64));
            }
            Self::Groups(groups) => {
                slots.extend(groups[range.clone()].iter().map(|group| *group as usize));
                positions.extend(range.map(|at| at as i64));
            }
            Self::Axis { count, inner } => {
                for at in range {
                    let (outer, rest) = (at / (count * inner), at % (count * inner));
                    slots.push(outer * inner + rest % inner);
                    positions.push((rest / inner) as i64);
                }
            }
        }
    }
}

/// The three types that are reckoned in.
trait Number: ArrowPrimitiveType<Native: PartialOrd + Default> {
    const DTYPE: DType;
    fn plus(a: Self::Native, b: Self::Native) -> Option<Self::Native>;
    fn float(a: Self::Native) -> f64;
    fn is_nan(_: Self::Native) -> bool {
        false
    }
}

impl Number for Float64Type {
    const DTYPE: DType = DType::F64;
    fn plus(a: f64, b: f64) -> Option<f64> {
        Some(a + b)
    }
    fn float(a: f64) -> f64 {
        a
    }
    fn is_nan(a: f64) -> bool {
        a.is_nan()
    }
}

impl Number for Int64Type {
    const DTYPE: DType = DType::I64;
    fn plus(a: i64, b: i64) -> Option<i64> {
        a.checked_add(b)
    }
    fn float(a: i64) -> f64 {
        a as f64
    }
}

impl Number for UInt64Type {
    const DTYPE: DType = DType::U64;
    fn plus(a: u64, b: u64) -> Option<u64> {
        a.checked_add(b)
    }
    fn float(a: u64) -> f64 {
        a as f64
    }
}

/// The type that elements of this one are reckoned in.
pub(crate) fn reckoned(dtype: DType) -> DType {
    match dtype {
        DType::F32 | DType::F64 => DType::F64,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => DType::U64,
        _ => DType::I64,
    }
}

/// Shows `see` each element that is there, with its result and its place.
async fn each<N: Number>(
    work: &mut Work,
    array: &Array,
    slots: &Slots<'_>,
    mut see: impl FnMut(usize, i64, N::Native) -> Result<()>,
) -> Result<()> {
    let (mut into, mut positions) = (Vec::new(), Vec::new());
    for range in ranges(array.len()) {
        let piece = converted(&array.data.slice(range.start, range.len()), N::DTYPE)?;
        slots.fill(range, &mut into, &mut positions);
        let values = piece.as_primitive::<N>();
        for (at, value) in values.values().iter().enumerate() {
            if values.is_valid(at) {
                see(into[at], positions[at], *value)?;
            }
        }
        work.pause().await;
    }
    Ok(())
}

/// The results of so many slots, each of them null where nothing was seen.
pub(crate) async fn accumulate(
    work: &mut Work,
    reduction: Reduction,
    array: &Array,
    slots: &Slots<'_>,
    shape: &[usize],
) -> Result<Array> {
    if reduction == Reduction::Count {
        return count(work, array, slots, shape).await;
    }
    match reckoned(array.dtype()) {
        _ if array.dtype() == DType::Utf8 => {
            let name = reduction.name();
            invalid(format!("{name} is not for {}; of text there is count", array.described()))
        }
        DType::F64 => accumulate_as::<Float64Type>(work, reduction, array, slots, shape).await,
        DType::U64 => accumulate_as::<UInt64Type>(work, reduction, array, slots, shape).await,
        _ => accumulate_as::<Int64Type>(work, reduction, array, slots, shape).await,
    }
}

/// Bytes that one result takes while it is reckoned.
const SLOT_BYTES: u64 = 32;

async fn accumulate_as<N: Number>(
    work: &mut Work,
    reduction: Reduction,
    array: &Array,
    slots: &Slots<'_>,
    shape: &[usize],
) -> Result<Array> {
    let length: usize = shape.iter().product();
    let mut grant = work.take((length as u64).saturating_mul(SLOT_BYTES), reduction.name())?;
    let made: ArrayRef = match reduction {
        Reduction::Sum => {
            let sums = sums::<N>(work, array, slots, length).await?;
            let dtype = if array.dtype() == DType::F32 { DType::F32 } else { N::DTYPE };
            converted(&sums, dtype)?
        }
        Reduction::Min | Reduction::Max | Reduction::ArgMin | Reduction::ArgMax => {
            let (values, places) = extremes::<N>(work, reduction, array, slots, length).await?;
            match reduction {
                Reduction::Min | Reduction::Max => converted(&values, array.dtype())?,
                _ => places,
            }
        }
        Reduction::Mean | Reduction::Std | Reduction::Var => {
            let moments = moments::<N>(work, reduction, array, slots, length).await?;
            let dtype = if array.dtype() == DType::F32 { DType::F32 } else { DType::F64 };
            converted(&moments, dtype)?
        }
        Reduction::Any | Reduction::All => {
            let wanted = reduction == Reduction::Any;
            let mut found = vec![!wanted; length];
            let zero = N::Native::default();
            each::<N>(work, array, slots, |slot, _, value| {
                if (value != zero) == wanted {
                    found[slot] = wanted;
                }
                Ok(())
            })
            .await?;
            Arc::new(BooleanArray::from(found))
        }
        Reduction::Count => return invalid("count is not reckoned"),
    };
    grant.shrink_to(DType::F64.room(length) + (length as u64).div_ceil(8));
    finished(made, shape, grant)
}

async fn sums<N: Number>(
    work: &mut Work,
    array: &Array,
    slots: &Slots<'_>,
    length: usize,
) -> Result<ArrayRef> {
    let mut sums = vec![N::Native::default(); length];
    each::<N>(work, array, slots, |slot, _, value| {
        sums[slot] = N::plus(sums[slot], value).ok_or_else(overflow)?;
        Ok(())
    })
    .await?;
    Ok(Arc::new(PrimitiveArray::<N>::from_iter_values(sums)))
}

fn overflow() -> Error {
    Error::Invalid("sum: the result does not fit 64 bits; cast to f64 first".into())
}

async fn extremes<N: Number>(
    work: &mut Work,
    reduction: Reduction,
    array: &Array,
    slots: &Slots<'_>,
    length: usize,
) -> Result<(ArrayRef, ArrayRef)> {
    let is_min = matches!(reduction, Reduction::Min | Reduction::ArgMin);
    let mut best: Vec<Option<(N::Native, i64)>> = vec![None; length];
    each::<N>(work, array, slots, |slot, place, value| {
        let is_better = match best[slot] {
            None => true,
            Some((known, _)) if N::is_nan(known) => false,
            Some((known, _)) => N::is_nan(value) || if is_min { value < known } else { value > known },
        };
        if is_better {
            best[slot] = Some((value, place));
        }
        Ok(())
    })
    .await?;
    let values: PrimitiveArray<N> = best.iter().map(|best| best.map(|(value, _)| value)).collect();
    let places: PrimitiveArray<Int64Type> = best.iter().map(|best| best.map(|(_, place)| place)).collect();
    Ok((Arc::new(values), Arc::new(places)))
}

async fn moments<N: Number>(
    work: &mut Work,
    reduction: Reduction,
    array: &Array,
    slots: &Slots<'_>,
    length: usize,
) -> Result<ArrayRef> {
    // Count, mean and sum of the squared distances from it, brought up to date with each element.
    let mut moments = vec![(0_u64, 0.0_f64, 0.0_f64); length];
    if reduction == Reduction::Mean {
        each::<N>(work, array, slots, |slot, _, value| {
            let (count, sum, _) = &mut moments[slot];
            *count += 1;
            *sum += N::float(value);
            Ok(())
        })
        .await?;
    } else {
        each::<N>(work, array, slots, |slot, _, value| {
            let (count, mean, squares) = &mut moments[slot];
            *count += 1;
            let distance = N::float(value) - *mean;
            *mean += distance / *count as f64;
            *squares += distance * (N::float(value) - *mean);
            Ok(())
        })
        .await?;
    }
    let values = moments.into_iter().map(|(count, mean, squares)| match reduction {
        _ if count == 0 => None,
        Reduction::Mean => Some(mean / count as f64),
        Reduction::Var => Some(squares / count as f64),
        _ => Some((squares / count as f64).sqrt()),
    });
    Ok(Arc::new(values.collect::<PrimitiveArray<Float64Type>>()))
}

async fn count(work: &mut Work, array: &Array, slots: &Slots<'_>, shape: &[usize]) -> Result<Array> {
    let length: usize = shape.iter().product();
    let grant = work.take(DType::I64.room(length), "count")?;
    let mut counts = vec![0_i64; length];
    let (mut into, mut positions) = (Vec::new(), Vec::new());
    for range in ranges(array.len()) {
        slots.fill(range.clone(), &mut into, &mut positions);
        for (at, slot) in range.zip(&into) {
            counts[*slot] += i64::from(array.data.is_valid(at));
        }
        work.pause().await;
    }
    finished(Arc::new(PrimitiveArray::<Int64Type>::from(counts)), shape, grant)
}

/// One value of all elements; null where there is none.
///
/// # Errors
/// For types that it is not for, and sums that do not fit.
pub async fn reduce(work: &mut Work, reduction: Reduction, array: &Array) -> Result<Scalar> {
    match (reduction, array.dtype()) {
        (Reduction::Count, _) => return Ok(Scalar::Signed((array.len() - array.null_count()) as i64)),
        (Reduction::Min | Reduction::Max, DType::Utf8) => return extreme_text(work, reduction, array).await,
        (Reduction::Sum | Reduction::Mean, dtype) if dtype != DType::Utf8 => {
            return quick_sum(work, reduction, array).await;
        }
        _ => {}
    }
    let made = accumulate(work, reduction, array, &Slots::Whole, &[]).await?;
    Ok(item(&made.data, made.dtype(), 0))
}

/// Sum and mean of a whole array, with Arrow's kernels.
async fn quick_sum(work: &mut Work, reduction: Reduction, array: &Array) -> Result<Scalar> {
    use arrow_arith::aggregate;
    let is_mean = reduction == Reduction::Mean;
    let dtype = if is_mean { DType::F64 } else { reckoned(array.dtype()) };
    let (mut float, mut signed, mut unsigned) = (0.0_f64, 0_i64, 0_u64);
    for range in ranges(array.len()) {
        let piece = converted(&array.data.slice(range.start, range.len()), dtype)?;
        match dtype {
            DType::F64 => float += aggregate::sum(piece.as_primitive::<Float64Type>()).unwrap_or(0.0),
            DType::U64 => {
                let sum =
                    aggregate::sum_checked(piece.as_primitive::<UInt64Type>()).map_err(|_| overflow())?;
                unsigned = unsigned.checked_add(sum.unwrap_or(0)).ok_or_else(overflow)?;
            }
            _ => {
                let sum =
                    aggregate::sum_checked(piece.as_primitive::<Int64Type>()).map_err(|_| overflow())?;
                signed = signed.checked_add(sum.unwrap_or(0)).ok_or_else(overflow)?;
            }
        }
        work.pause().await;
    }
    let count = array.len() - array.null_count();
    Ok(match dtype {
        _ if is_mean && count == 0 => Scalar::Null,
        _ if is_mean => Scalar::Float(float / count as f64),
        DType::F64 => Scalar::Float(float),
        DType::U64 => Scalar::Unsigned(unsigned),
        _ => Scalar::Signed(signed),
    })
}

async fn extreme_text(work: &mut Work, reduction: Reduction, array: &Array) -> Result<Scalar> {
    let texts = array.data.as_string::<i32>();
    let mut best: Option<&str> = None;
    for range in ranges(array.len()) {
        let there = range.filter(|at| texts.is_valid(*at)).map(|at| texts.value(at)).chain(best);
        best = if reduction == Reduction::Min { there.min() } else { there.max() };
        work.pause().await;
    }
    Ok(best.map_or(Scalar::Null, |text| Scalar::Text(text.to_owned())))
}

/// The values along one dimension become one each: the result has a dimension less.
///
/// # Errors
/// As [`reduce`], and when there is no such dimension.
pub async fn reduce_axis(work: &mut Work, reduction: Reduction, array: &Array, axis: usize) -> Result<Array> {
    let Some(count) = array.shape().get(axis).copied() else {
        return invalid(format!("{}: {} has no dimension {axis}", reduction.name(), array.described()));
    };
    let mut shape = array.shape().to_vec();
    shape.remove(axis);
    let inner = shape[axis..].iter().product();
    accumulate(work, reduction, array, &Slots::Axis { count, inner }, &shape).await
}
