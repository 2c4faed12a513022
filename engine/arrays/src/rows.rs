//! Several columns as one key for each row, whose bytes compare as the rows do.

use std::sync::Arc;

use arrow_arith::arity;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, PrimitiveArray};
use arrow_row::{Row, RowConverter, Rows, SortField};
use arrow_schema::SortOptions;

use crate::Array;
use crate::DType;
use crate::error::{Result, invalid};
use crate::kernels::with_float;
use crate::pieces::PIECE;
use crate::work::{Grant, Work};

/// How many rows columns have, all of which have one dimension and the same length.
pub(crate) fn length(what: &str, columns: &[&Array]) -> Result<usize> {
    let Some(first) = columns.first() else {
        return invalid(format!("{what}: there are no keys"));
    };
    for column in columns {
        if column.shape().len() != 1 || column.len() != first.len() {
            return invalid(format!(
                "{what}: columns have one dimension and the same length, and not {} and {}",
                first.described(),
                column.described()
            ));
        }
    }
    match u32::try_from(first.len()) {
        Ok(_) => Ok(first.len()),
        Err(_) => invalid(format!("{what}: {} rows are more than 2^32: work on parts", first.len())),
    }
}

/// Makes keys.
pub(crate) struct Keys {
    converter: RowConverter,
}

impl Keys {
    /// Of columns, each of them falling or not. What is missing comes last, nan before that.
    pub(crate) fn new(columns: &[(&Array, bool)]) -> Result<Self> {
        let field = |(column, descending): &(&Array, bool)| {
            let options = SortOptions { descending: *descending, nulls_first: false };
            SortField::new_with_options(column.dtype().arrow(), options)
        };
        Ok(Self { converter: RowConverter::new(columns.iter().map(field).collect())? })
    }

    /// The keys of a range of the columns' rows.
    pub(crate) fn of(&self, columns: &[&Array], range: std::ops::Range<usize>) -> Result<Rows> {
        let parts: Vec<ArrayRef> = columns
            .iter()
            .map(|column| canonical(&column.data.slice(range.start, range.len()), column.dtype()))
            .collect();
        Ok(self.converter.convert_columns(&parts)?)
    }
}

/// Equal floats with equal bytes.
fn canonical(piece: &ArrayRef, dtype: DType) -> ArrayRef {
    with_float!(
        dtype,
        T,
        N => {
            let same = |x: N| if x.is_nan() { N::NAN } else { x + 0.0 };
            let made: PrimitiveArray<T> = arity::unary(piece.as_primitive::<T>(), same);
            Arc::new(made)
        },
        piece.clone()
    )
}

/// The keys of all rows.
pub(crate) struct AllKeys {
    pieces: Vec<Rows>,
    _grant: Grant,
}

impl AllKeys {
    pub(crate) async fn new(work: &mut Work, columns: &[(&Array, bool)], length: usize) -> Result<Self> {
        let keys = Keys::new(columns)?;
        let columns: Vec<&Array> = columns.iter().map(|(column, _)| *column).collect();
        let (mut pieces, mut grant) = (Vec::new(), work.take(0, "sort keys")?);
        for range in crate::pieces::ranges(length) {
            let rows = keys.of(&columns, range)?;
            grant.grow(rows.size() as u64, "sort keys")?;
            pieces.push(rows);
            work.pause().await;
        }
        Ok(Self { pieces, _grant: grant })
    }

    pub(crate) fn row(&self, index: u32) -> Row<'_> {
        self.pieces[index as usize / PIECE].row(index as usize % PIECE)
    }
}
