//! Elements on their way out, as bytes or texts.

use arrow_array::Array as _;
use arrow_array::cast::AsArray;

use crate::dtype::with_number;
use crate::error::{Result, invalid};
use crate::pieces::PIECE;
use crate::work::Work;
use crate::{Array, DType};

/// The range of elements that there are.
fn clipped(array: &Array, offset: u64, length: u64) -> (usize, usize) {
    let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(array.len());
    (begin, usize::try_from(length).unwrap_or(usize::MAX).min(array.len() - begin))
}

/// `length` elements from `offset` on, fewer at the end: little-endian, truth values a byte each. What
/// stands for a missing element is nothing to rely on.
///
/// # Errors
/// For text.
pub async fn read_bytes(work: &mut Work, array: &Array, offset: u64, length: u64) -> Result<Vec<u8>> {
    let Some(width) = array.dtype().width() else {
        return invalid(format!("{} has no bytes of one width: read its texts", array.described()));
    };
    let (begin, length) = clipped(array, offset, length);
    // For as long as it is on its way; the guest's own memory has it then.
    let _grant = work.take((length * width) as u64, "reading elements")?;
    let mut bytes = Vec::with_capacity(length * width);
    let elements = array.data.slice(begin, length);
    with_number!(
        array.dtype(),
        T => {
            let all = elements.as_primitive::<T>().values().inner().as_slice();
            for part in all.chunks(PIECE * 8) {
                bytes.extend_from_slice(part);
                work.pause().await;
            }
        },
        for value in elements.as_boolean().values() {
            bytes.push(u8::from(value));
        }
    );
    Ok(bytes)
}

/// The same of text.
///
/// # Errors
/// For everything else.
pub fn read_texts(work: &Work, array: &Array, offset: u64, length: u64) -> Result<Vec<Option<String>>> {
    if array.dtype() != DType::Utf8 {
        return invalid(format!("{} is no text: read its bytes", array.described()));
    }
    let (begin, length) = clipped(array, offset, length);
    let texts = array.data.slice(begin, length);
    let texts = texts.as_string::<i32>();
    let bytes = crate::array::text_bytes(texts.value_offsets());
    let _grant = work.take(bytes + 24 * length as u64, "reading texts")?;
    Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
}
