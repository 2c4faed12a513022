//! Results that are made piece by piece, into memory that was taken before.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef, UInt64Array};

use crate::array::text_bytes;
use crate::dtype::with_number;
use crate::error::{Error, Result};
use crate::work::{Grant, Work};
use crate::{Array, DType};

/// Elements of a piece: few enough that three pieces of numbers stay in a core's cache.
pub(crate) const PIECE: usize = 16 << 10;

/// Bytes of text that are made at once, unless a single one has more.
pub(crate) const PIECE_TEXT: usize = 1 << 20;

/// The ranges of so many elements, a piece each.
pub(crate) fn ranges(length: usize) -> impl Iterator<Item = Range<usize>> {
    ranges_of(length, PIECE)
}

/// The same in pieces of so many.
pub(crate) fn ranges_of(length: usize, piece: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(piece).map(move |begin| begin..length.min(begin + piece))
}

/// How many texts of so many bytes are made at once.
pub(crate) fn piece_of_texts(bytes: usize) -> usize {
    (PIECE_TEXT / bytes.max(1)).clamp(1, PIECE)
}

/// An array that is being made.
pub(crate) struct Pieces {
    dtype: DType,
    builder: Box<dyn ArrayBuilder>,
    grant: Grant,
    /// Bytes of text that there is no room for yet once this is used up.
    text_left: u64,
    what: &'static str,
}

impl Pieces {
    /// Room for so many elements and bytes of text (more is taken as it comes); `what` is made, for the error.
    pub(crate) fn new(
        work: &Work,
        dtype: DType,
        length: usize,
        text: u64,
        what: &'static str,
    ) -> Result<Self> {
        let nulls = (length as u64).div_ceil(8);
        let grant = work.take(dtype.room(length).saturating_add(text).saturating_add(nulls), what)?;
        let (text_left, text) = (text, usize::try_from(text).unwrap_or(usize::MAX));
        let builder: Box<dyn ArrayBuilder> = with_number!(
            dtype,
            T => Box::new(PrimitiveBuilder::<T>::with_capacity(length)),
            match dtype {
                DType::Bool => Box::new(BooleanBuilder::with_capacity(length)),
                _ => Box::new(StringBuilder::with_capacity(length, text)),
            }
        );
        Ok(Self { dtype, builder, grant, text_left, what })
    }

    /// Takes what so many bytes of text need beyond what was taken for text that has not come yet.
    fn expect_text(&mut self, bytes: u64) -> Result<()> {
        let more = bytes.saturating_sub(self.text_left);
        self.grant.grow(more, self.what)?;
        self.text_left += more;
        Ok(())
    }

    /// Adds the elements at these places of `data`, which has them. However often a long text is among
    /// them, what it takes is taken first.
    pub(crate) async fn gather(
        &mut self,
        work: &mut Work,
        data: &ArrayRef,
        places: &UInt64Array,
    ) -> Result<()> {
        let Some(texts) = data.as_string_opt::<i32>() else {
            self.append(&arrow_select::take::take(data, places, None)?)?;
            work.pause().await;
            return Ok(());
        };
        let (mut begin, mut bytes) = (0, 0);
        for at in 0..places.len() {
            let own =
                if places.is_null(at) { 0 } else { texts.value_length(places.value(at) as usize) as usize };
            if at > begin && bytes + own > PIECE_TEXT {
                self.expect_text(bytes as u64)?;
                self.append(&arrow_select::take::take(data, &places.slice(begin, at - begin), None)?)?;
                work.pause().await;
                (begin, bytes) = (at, 0);
            }
            bytes += own;
        }
        self.expect_text(bytes as u64)?;
        self.append(&arrow_select::take::take(data, &places.slice(begin, places.len() - begin), None)?)?;
        work.pause().await;
        Ok(())
    }

    /// Adds a range of the elements of `data`.
    pub(crate) async fn copy(&mut self, work: &mut Work, data: &ArrayRef, from: Range<usize>) -> Result<()> {
        for range in ranges(from.len()) {
            self.append(&data.slice(from.start + range.start, range.len()))?;
            work.pause().await;
        }
        Ok(())
    }

    /// Adds elements of the type that is made.
    pub(crate) fn append(&mut self, piece: &ArrayRef) -> Result<()> {
        if let Some(text) = piece.as_string_opt::<i32>() {
            let bytes = text_bytes(text.value_offsets());
            self.expect_text(bytes)?;
            self.text_left -= bytes;
        }
        let builder = self.builder.as_any_mut();
        let fits = piece.data_type() == &self.dtype.arrow();
        let appended = with_number!(
            self.dtype,
            T => builder
                .downcast_mut::<PrimitiveBuilder<T>>()
                .filter(|_| fits)
                .map(|builder| builder.append_array(piece.as_primitive::<T>())),
            match self.dtype {
                DType::Bool => builder
                    .downcast_mut::<BooleanBuilder>()
                    .filter(|_| fits)
                    .map(|builder| builder.append_array(piece.as_boolean())),
                _ => builder
                    .downcast_mut::<StringBuilder>()
                    .filter(|_| fits)
                    .map(|builder| builder.append_array(piece.as_string::<i32>()))
                    .transpose()?,
            }
        );
        appended.ok_or_else(|| {
            Error::Invalid(format!(
                "a piece of {} came where {} is made",
                piece.data_type(),
                self.dtype.name()
            ))
        })
    }

    /// The whole, in this shape.
    pub(crate) fn finish(mut self, shape: &[usize]) -> Result<Array> {
        let data = self.builder.finish();
        let text = data.as_string_opt::<i32>().map_or(0, |text| text_bytes(text.value_offsets()));
        let nulls = if data.null_count() > 0 { (data.len() as u64).div_ceil(8) } else { 0 };
        self.grant.shrink_to(self.dtype.room(data.len()) + text + nulls);
        Array::new(data, shape, Some(Arc::new(self.grant)))
    }
}

/// Makes an array of numbers that are known already.
pub(crate) fn finished(data: ArrayRef, shape: &[usize], grant: Grant) -> Result<Array> {
    Array::new(data, shape, Some(Arc::new(grant)))
}
