//! `Table`: record batches of one schema.
use super::{ArrowValue, nested, stream};
use crate::argument::{Argument, IntoArgument};
use crate::bytes::Bytes;
use crate::code::ErrorCode;
use crate::error::{Error, Result};
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Record batches of one schema; any number of them, none too.
///
/// Where a task takes a `Table`, a `RecordBatch` can be passed.
///
/// ```
/// use engine::arrow::Table;
/// use engine::arrow::array::record_batch;
/// # fn main() -> engine::Result<()> {
/// let table = Table::from(record_batch!(("id", Int64, [1, 2, 3]))?);
/// assert_eq!(table.num_rows(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Table {
    /// A table of these batches.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when a batch is of another schema.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        let of_schema = |(index, batch): (usize, RecordBatch)| {
            batch.with_schema(Arc::clone(&schema)).map_err(|cause| {
                Error::coded(ErrorCode::InvalidArgument, format!("batch {index} of a table: {cause}"))
            })
        };
        let batches = batches.into_iter().enumerate().map(of_schema).collect::<Result<_>>()?;
        Ok(Table { schema, batches })
    }

    /// Reads the bytes of an Arrow IPC stream (not of a file), in place.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when they are none, and for what is [not read](crate::arrow#what-is-not-read).
    pub fn from_ipc(bytes: impl Into<Bytes>) -> Result<Self> {
        Self::read(Buffer::from_vec(bytes.into().into_vec()))
            .map_err(|cause| Error::coded(ErrorCode::InvalidArgument, cause))
    }

    /// As the bytes of an Arrow IPC stream.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for the types that are [not read](crate::arrow#what-is-not-read).
    pub fn to_ipc(&self) -> Result<Bytes> {
        self.write().map(Bytes::from).map_err(|cause| Error::coded(ErrorCode::InvalidArgument, cause))
    }

    /// The names and types of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches, in order.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Gives up the table and keeps the batches.
    pub fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }

    /// All rows as one batch: the only one as it is, several copied together.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when they are too much for one batch, as with text of more than 2 GiB.
    pub fn into_batch(mut self) -> Result<RecordBatch> {
        if self.batches.len() == 1
            && let Some(batch) = self.batches.pop()
        {
            return Ok(batch);
        }
        arrow_select::concat::concat_batches(&self.schema, &self.batches)
            .map_err(|cause| Error::coded(ErrorCode::InvalidArgument, cause.to_string()))
    }

    /// How many rows the batches have together.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

impl From<RecordBatch> for Table {
    fn from(batch: RecordBatch) -> Self {
        Table { schema: batch.schema(), batches: vec![batch] }
    }
}

impl IntoArgument<Table> for RecordBatch {
    fn into_argument(self) -> Result<Argument> {
        Table::from(self).into_argument()
    }
}

impl IntoArgument<Table> for &RecordBatch {
    fn into_argument(self) -> Result<Argument> {
        Table::from(self.clone()).into_argument()
    }
}

impl ArrowValue for Table {
    fn write(&self) -> Result<Vec<u8>, String> {
        stream::write(&self.schema, &self.batches)
    }

    fn read(bytes: Buffer) -> Result<Self, String> {
        let (schema, batches) =
            stream::read(&bytes).map_err(|cause| format!("the Arrow stream cannot be read: {cause}"))?;
        Ok(Table { schema, batches })
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        nested::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        nested::deserialize(deserializer)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} rows in {} batches", self.num_rows(), self.batches.len())?;
        for field in self.schema.fields() {
            write!(f, ", {}: {}", field.name(), field.data_type())?;
        }
        f.write_str(")")
    }
}
