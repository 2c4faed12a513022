//! Arrays out of nothing but a few values, bytes or texts.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array, PrimitiveArray, StringArray};
use arrow_buffer::{Buffer, ScalarBuffer};

use crate::array::product;
use crate::dtype::{with_integer, with_number};
use crate::error::{Result, invalid};
use crate::pieces::{PIECE, Pieces, finished, piece_of_texts, ranges, ranges_of};
use crate::scalar::Scalar;
use crate::work::Work;
use crate::{Array, DType};

/// An array of these elements, little-endian, in row-major order; truth values are a byte each.
///
/// # Errors
/// When the bytes are not those of so many elements, and for text.
pub fn from_bytes(work: &Work, dtype: DType, shape: &[usize], bytes: Vec<u8>) -> Result<Array> {
    let grant = work.take(bytes.len() as u64, "an array of bytes")?;
    finished(of_buffer(dtype, shape, Buffer::from_vec(bytes))?, shape, grant)
}

/// The array whose elements these bytes are; a copy is only made of what is not aligned.
pub(crate) fn of_buffer(dtype: DType, shape: &[usize], bytes: Buffer) -> Result<ArrayRef> {
    let Some(width) = dtype.width() else {
        return invalid("an array of utf8 is not made of bytes: give the texts");
    };
    let length = product(shape).and_then(|length| length.checked_mul(width).map(|bytes| (length, bytes)));
    let length = match length {
        Some((length, wanted)) if wanted == bytes.len() => length,
        _ => {
            return invalid(format!(
                "{} bytes are not those of an array of {}{shape:?}, whose elements have {width} each",
                bytes.len(),
                dtype.name()
            ));
        }
    };
    Ok(with_number!(
        dtype,
        T => {
            let is_aligned = bytes.as_ptr().align_offset(width) == 0;
            let bytes = if is_aligned { bytes } else { Buffer::from_slice_ref(bytes.as_slice()) };
            Arc::new(PrimitiveArray::<T>::try_new(ScalarBuffer::new(bytes, 0, length), None)?)
        },
        Arc::new(bytes.iter().map(|byte| Some(*byte != 0)).collect::<BooleanArray>())
    ))
}

/// A one-dimensional array of these texts.
///
/// # Errors
/// When they are more than 2 GiB.
pub fn from_texts(work: &Work, texts: Vec<Option<String>>) -> Result<Array> {
    let bytes: usize = texts.iter().flatten().map(String::len).sum();
    if i32::try_from(bytes).is_err() {
        return invalid(format!("{bytes} bytes of text are more than one array has (2 GiB): make several"));
    }
    let grant = work.take(DType::Utf8.room(texts.len()) + bytes as u64, "an array of texts")?;
    let length = texts.len();
    finished(Arc::new(StringArray::from(texts)), &[length], grant)
}

/// An array of one value.
///
/// # Errors
/// When the value does not fit the type.
pub async fn full(work: &mut Work, dtype: DType, shape: &[usize], value: &Scalar) -> Result<Array> {
    let Some(length) = product(shape) else {
        return invalid(format!("no memory has an array of shape {shape:?}"));
    };
    let (text, step) = match value {
        Scalar::Text(text) => ((text.len() as u64).saturating_mul(length as u64), piece_of_texts(text.len())),
        _ => (0, PIECE),
    };
    let piece = value.repeated(dtype, length.min(step))?;
    let mut pieces = Pieces::new(work, dtype, length, text, "full")?;
    for range in ranges_of(length, step) {
        pieces.append(&piece.slice(0, range.len()))?;
        work.pause().await;
    }
    pieces.finish(shape)
}

/// The numbers from `start` on, `step` apart, up to `stop`, which is not among them.
///
/// # Errors
/// When the step is zero or a number does not fit the type.
pub async fn arange(
    work: &mut Work,
    dtype: DType,
    start: &Scalar,
    stop: &Scalar,
    step: &Scalar,
) -> Result<Array> {
    if dtype.is_float() {
        let (start, stop, step) = (float(start)?, float(stop)?, float(step)?);
        let count = ((stop - start) / step).ceil();
        if step == 0.0 || !count.is_finite() || count > isize::MAX as f64 {
            return invalid(format!("arange: there are no numbers from {start} to {stop}, {step} apart"));
        }
        let length = count.max(0.0) as usize;
        return numbers(work, dtype, length, |at| {
            let values = at.map(|at| start + at as f64 * step);
            Ok(match dtype {
                DType::F32 => Arc::new(Float32Array::from_iter_values(values.map(|value| value as f32))),
                _ => Arc::new(Float64Array::from_iter_values(values)),
            })
        })
        .await;
    }
    let (start, stop, step) = (whole(start)?, whole(stop)?, whole(step)?);
    if step == 0 {
        return invalid("arange: the step is 0");
    }
    let (span, distance) = ((stop - start) * step.signum(), step.abs());
    let count = if span > 0 { (span + distance - 1) / distance } else { 0 };
    let Some(length) = usize::try_from(count).ok().filter(|count| *count <= isize::MAX as usize) else {
        return invalid(format!("arange: no memory has {count} numbers"));
    };
    numbers(work, dtype, length, |at| {
        with_integer!(
            dtype,
            T,
            N => {
                let values = at.map(|at| N::try_from(start + at as i128 * step).ok());
                let made: PrimitiveArray<T> = values.collect();
                match arrow_array::Array::null_count(&made) {
                    0 => Ok(Arc::new(made) as ArrayRef),
                    _ => {
                        let name = dtype.name();
                        invalid(format!("arange: the numbers from {start} to {stop} do not all fit {name}"))
                    }
                }
            },
            invalid(format!("arange makes numbers, and not {}", dtype.name()))
        )
    })
    .await
}

async fn numbers(
    work: &mut Work,
    dtype: DType,
    length: usize,
    make: impl Fn(std::ops::Range<usize>) -> Result<ArrayRef>,
) -> Result<Array> {
    let mut pieces = Pieces::new(work, dtype, length, 0, "arange")?;
    for range in ranges(length) {
        pieces.append(&make(range)?)?;
        work.pause().await;
    }
    pieces.finish(&[length])
}

fn float(scalar: &Scalar) -> Result<f64> {
    match scalar {
        Scalar::Float(value) => Ok(*value),
        other => whole(other).map(|value| value as f64),
    }
}

fn whole(scalar: &Scalar) -> Result<i128> {
    match scalar {
        Scalar::Signed(value) => Ok(i128::from(*value)),
        Scalar::Unsigned(value) => Ok(i128::from(*value)),
        Scalar::Float(value) if value.fract() == 0.0 && value.abs() < 1e30 => Ok(*value as i128),
        other => invalid(format!("arange: {other} is no whole number")),
    }
}
