//! Arrays and tables as Arrow IPC streams, as the Rust SDK writes and reads them too: an array is a column
//! of `fixed_shape_tensor` whose rows are its first dimension.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array as _, ArrayRef, FixedSizeListArray, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamEncoder;
use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::array::product;
use crate::error::{Error, Result, invalid};
use crate::make::of_buffer;
use crate::operand::converted;
use crate::pieces::{Pieces, ranges};
use crate::stream;
use crate::work::{Grant, Work};
use crate::{Array, DType};

/// The name of the column, and of Arrow's type for it.
const COLUMN: &str = "tensor";
const EXTENSION: &str = "arrow.fixed_shape_tensor";

/// What Arrow's type says of itself, in JSON.
#[derive(Serialize, Deserialize)]
struct Layout {
    shape: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    permutation: Option<Vec<usize>>,
}

/// A stream that is ready to be written, in parts.
pub struct Encoded {
    /// One after the other; the large ones are the arrays' own memory.
    pub parts: Vec<Buffer>,
    /// Bytes of all.
    pub size: u64,
    _grant: Grant,
}

/// The stream of an array.
///
/// # Errors
/// When one row has more than 2^31 elements.
pub fn encode_array(work: &Work, array: &Array) -> Result<Encoded> {
    let (rows, inner) = match array.shape().split_first() {
        Some((rows, inner)) => (*rows, inner.to_vec()),
        None => (1, Vec::new()),
    };
    let size = product(&inner).and_then(|size| i32::try_from(size).ok()).ok_or_else(|| {
        Error::Invalid(format!(
            "{inner:?} is too much for one row of an array: make the first dimension larger"
        ))
    })?;
    let layout = serde_json::to_string(&Layout { shape: inner, permutation: None }).unwrap_or_default();
    let item = Field::new("item", array.dtype().arrow(), array.null_count() > 0);
    let list = FixedSizeListArray::try_new_with_length(Arc::new(item), size, array.data.clone(), None, rows)?;
    let field = Field::new(COLUMN, list.data_type().clone(), false).with_metadata(HashMap::from([
        (EXTENSION_TYPE_NAME_KEY.to_owned(), EXTENSION.to_owned()),
        (EXTENSION_TYPE_METADATA_KEY.to_owned(), layout),
    ]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(list)])?;
    encode(work, &batch, &[array])
}

/// The stream of a table of these columns.
///
/// # Errors
/// When the columns have not one dimension and the same length, or two have the same name.
pub fn encode_table(work: &Work, columns: &[(String, Array)]) -> Result<Encoded> {
    let mut fields = Vec::new();
    for (at, (name, array)) in columns.iter().enumerate() {
        if array.shape().len() != 1 || array.len() != columns[0].1.len() {
            return invalid(format!(
                "column `{name}` is {}; the columns of a table have one dimension and the same length",
                array.described()
            ));
        }
        if columns[..at].iter().any(|(other, _)| other == name) {
            return invalid(format!("two columns of a table are named `{name}`"));
        }
        fields.push(Field::new(name, array.dtype().arrow(), true));
    }
    let schema = Arc::new(Schema::new(fields));
    let data = columns.iter().map(|(_, array)| array.data.clone()).collect();
    let batch = match columns {
        [] => RecordBatch::new_empty(schema),
        _ => RecordBatch::try_new(schema, data)?,
    };
    let arrays: Vec<&Array> = columns.iter().map(|(_, array)| array).collect();
    encode(work, &batch, &arrays)
}

fn encode(work: &Work, batch: &RecordBatch, arrays: &[&Array]) -> Result<Encoded> {
    // Of parts of arrays, bits and offsets are moved to their beginning.
    let moved = |array: &&Array| match array.dtype() {
        DType::Bool | DType::Utf8 => array.dtype().room(array.len()),
        _ => 0,
    };
    let nulls = arrays.iter().map(|array| array.len() as u64 / 8).sum::<u64>();
    let grant = work.take(arrays.iter().map(moved).sum::<u64>() + nulls, "writing an object")?;
    let mut encoder = StreamEncoder::try_new(&batch.schema())?;
    let mut parts = encoder.encode(batch)?;
    parts.extend(encoder.finish()?);
    let size = parts.iter().map(|part| part.len() as u64).sum();
    Ok(Encoded { parts, size, _grant: grant })
}

/// What a stream says, and where its bytes are.
struct Stream {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    addresses: Range<usize>,
}

fn decode(bytes: &Buffer) -> Result<Stream> {
    // What the Arrow library makes of damaged bytes must not be the end of whoever reads them.
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stream::read(bytes)));
    let (schema, batches) = match read {
        Ok(read) => {
            read.map_err(|cause| Error::Invalid(format!("the Arrow stream cannot be read: {cause}")))?
        }
        Err(_) => return invalid("the Arrow stream cannot be read: it is damaged"),
    };
    let begin = bytes.as_ptr() as usize;
    Ok(Stream { schema, batches, addresses: begin..begin + bytes.len() })
}

/// Reads the stream of an array: a tensor, or a table of one column. It lies in `bytes` where it can.
///
/// # Errors
/// When it is no such stream.
pub async fn read_array(work: &mut Work, bytes: Buffer) -> Result<Array> {
    let stream = decode(&bytes)?;
    let fields = stream.schema.fields();
    let [field] = &fields[..] else {
        return invalid(format!("it is a table of {} columns: read it as such", fields.len()));
    };
    let columns: Vec<ArrayRef> = stream.batches.iter().map(|batch| batch.column(0).clone()).collect();
    if columns.iter().any(|column| column.null_count() > 0)
        && matches!(field.data_type(), DataType::FixedSizeList(..))
    {
        return invalid("rows of the tensor are missing (null), which an array cannot have");
    }
    let (inner, parts) = match field.data_type() {
        DataType::FixedSizeList(..) => {
            let values = |column: &ArrayRef| column.as_fixed_size_list().values().clone();
            (inner_shape(field)?, columns.iter().map(values).collect())
        }
        _ => (Vec::new(), columns.clone()),
    };
    let rows = columns.iter().map(|column| column.len()).sum();
    let shape: Vec<usize> = std::iter::once(rows).chain(inner).collect();
    import(work, field.name(), parts, item_type(field.data_type()), &shape, &stream.addresses).await
}

fn item_type(column: &DataType) -> &DataType {
    match column {
        DataType::FixedSizeList(item, _) => item.data_type(),
        other => other,
    }
}

/// Reads the stream of a table: all columns, or those of these names in their order.
///
/// # Errors
/// When it is no such stream, or has no such column, and for columns of types that arrays do not have.
pub async fn read_table(
    work: &mut Work,
    bytes: Buffer,
    wanted: Option<&[String]>,
) -> Result<Vec<(String, Array)>> {
    let stream = decode(&bytes)?;
    let fields = stream.schema.fields();
    let mut found = Vec::new();
    match wanted {
        None => found.extend(0..fields.len()),
        Some(names) => {
            for name in names {
                let Some(at) = fields.iter().position(|field| field.name() == name) else {
                    let all: Vec<_> = fields.iter().map(|field| format!("`{}`", field.name())).collect();
                    return invalid(format!("the table has no column `{name}`; it has {}", all.join(", ")));
                };
                found.push(at);
            }
        }
    }
    let mut columns = Vec::new();
    for at in found {
        let parts: Vec<ArrayRef> = stream.batches.iter().map(|batch| batch.column(at).clone()).collect();
        let rows = parts.iter().map(|part| part.len()).sum();
        let (name, dtype) = (fields[at].name(), fields[at].data_type());
        let array = import(work, name, parts, dtype, &[rows], &stream.addresses).await?;
        columns.push((name.clone(), array));
    }
    Ok(columns)
}

/// An array of raw bytes, in place where they are aligned.
///
/// # Errors
/// When they are not the bytes of such an array.
pub fn read_raw(work: &Work, dtype: DType, shape: &[usize], bytes: Buffer) -> Result<Array> {
    let addresses = bytes.as_ptr() as usize..bytes.as_ptr() as usize + bytes.len();
    let data = of_buffer(dtype, shape, bytes)?;
    let grant = outside(work, &data, &addresses)?;
    Array::new(data, shape, grant)
}

/// The dimensions behind the first, of a column of lists of one size.
fn inner_shape(field: &Field) -> Result<Vec<usize>> {
    if field.extension_type_name() != Some(EXTENSION) {
        let DataType::FixedSizeList(_, size) = field.data_type() else { return Ok(Vec::new()) };
        return Ok(usize::try_from(*size).into_iter().collect());
    }
    let text = field.extension_type_metadata().unwrap_or_default();
    let layout: Layout = serde_json::from_str(text)
        .map_err(|cause| Error::Invalid(format!("the tensor says of its shape `{text}`: {cause}")))?;
    match layout.permutation {
        Some(order) if !order.iter().copied().eq(0..order.len()) => invalid(
            "the tensor has its dimensions in another order than that of rows; copy it into that order first",
        ),
        _ => Ok(layout.shape),
    }
}

/// The type that a column is worked on as.
fn own_type(name: &str, found: &DataType) -> Result<DType> {
    match found {
        DataType::LargeUtf8 | DataType::Utf8View => Ok(DType::Utf8),
        DataType::Float16 => Ok(DType::F32),
        DataType::Dictionary(_, values) => own_type(name, values),
        other => DType::of(other).ok_or_else(|| {
            Error::Invalid(format!(
                "column `{name}` is of {other}, which arrays do not have: cast it to numbers, bool or text before, or leave it out"
            ))
        }),
    }
}

async fn import(
    work: &mut Work,
    name: &str,
    parts: Vec<ArrayRef>,
    found: &DataType,
    shape: &[usize],
    addresses: &Range<usize>,
) -> Result<Array> {
    let dtype = own_type(name, found)?;
    if let [part] = &parts[..]
        && part.data_type() == &dtype.arrow()
    {
        let grant = outside(work, part, addresses)?;
        return Array::new(part.clone(), shape, grant);
    }
    let length = parts.iter().map(|part| part.len()).sum();
    let mut pieces = Pieces::new(work, dtype, length, 0, "reading an object")?;
    for part in &parts {
        for range in ranges(part.len()) {
            pieces.append(&converted(&part.slice(range.start, range.len()), dtype)?)?;
            work.pause().await;
        }
    }
    pieces.finish(shape)
}

/// Takes what of the data does not lie in place, such as what had to be aligned.
fn outside(work: &Work, data: &ArrayRef, addresses: &Range<usize>) -> Result<Option<Arc<Grant>>> {
    let data = data.to_data();
    let buffers = data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer()));
    let copied: usize = buffers
        .filter(|buffer| !buffer.is_empty() && !addresses.contains(&(buffer.as_ptr() as usize)))
        .map(Buffer::len)
        .sum();
    match copied {
        0 => Ok(None),
        copied => Ok(Some(Arc::new(work.take(copied as u64, "reading an object")?))),
    }
}
