//! What a batch says of itself, checked before the Arrow library reads it: it panics at some of what is
//! refused here.
use arrow_ipc::{Buffer, FieldNode, RecordBatch};
use arrow_schema::{DataType, Field, Fields};

/// Refuses types that cannot be read.
pub(super) fn check_types(fields: &Fields) -> Result<(), String> {
    fields.iter().try_for_each(|field| {
        check_type(field.data_type()).map_err(|cause| format!("column `{}`: {cause}", field.name()))
    })
}

fn check_type(data_type: &DataType) -> Result<(), String> {
    match data_type {
        DataType::Union(..) | DataType::LargeListView(_) => {
            Err(format!("{data_type} is not supported; make it a struct or a large list"))
        }
        DataType::FixedSizeBinary(size) | DataType::FixedSizeList(_, size) if *size < 0 => {
            Err(format!("{size} is no size"))
        }
        DataType::Dictionary(_, values) => check_type(values),
        _ => children(data_type).iter().try_for_each(|child| check_type(child.data_type())),
    }
}

/// The fields below one of this type, in the order in which their arrays are sent.
fn children(data_type: &DataType) -> Vec<&Field> {
    match data_type {
        DataType::List(child)
        | DataType::LargeList(child)
        | DataType::ListView(child)
        | DataType::FixedSizeList(child, _)
        | DataType::Map(child, _) => vec![child.as_ref()],
        DataType::Struct(fields) => fields.iter().map(AsRef::as_ref).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.as_ref(), values.as_ref()],
        _ => Vec::new(),
    }
}

/// How long the elements of each buffer of this type are, in the order in which they are sent; 1 where a
/// buffer of any length will do. The first is the map of nulls, where there is one.
fn element_bytes(data_type: &DataType) -> &'static [usize] {
    match data_type {
        DataType::Null | DataType::RunEndEncoded(..) => &[],
        DataType::Struct(_) | DataType::FixedSizeList(..) => &[1],
        DataType::Utf8 | DataType::Binary => &[1, 4, 1],
        DataType::LargeUtf8 | DataType::LargeBinary => &[1, 8, 1],
        DataType::List(_) | DataType::Map(..) => &[1, 4],
        DataType::LargeList(_) => &[1, 8],
        DataType::ListView(_) => &[1, 4, 4],
        DataType::Utf8View | DataType::BinaryView => &[1, 16],
        DataType::Dictionary(keys, _) => element_bytes(keys),
        // Wider ones are read as bytes.
        other => match other.primitive_width() {
            Some(2) => &[1, 2],
            Some(4) => &[1, 4],
            Some(8) => &[1, 8],
            _ => &[1, 1],
        },
    }
}

/// Refuses a batch whose buffers are not inside its body or do not fit their types, or whose lengths no
/// memory could hold.
pub(super) fn check(batch: RecordBatch<'_>, fields: &Fields, body_bytes: usize) -> Result<(), String> {
    if batch.compression().is_some() {
        return Err("it is compressed; write it without compression".into());
    }
    length(batch.length())?;
    for buffer in batch.buffers().into_iter().flatten() {
        let end = length(buffer.offset())?.checked_add(length(buffer.length())?);
        if end.is_none_or(|end| end > body_bytes) {
            return Err("a buffer of a batch reaches beyond its end".into());
        }
    }
    let mut rest = Rest {
        nodes: batch.nodes().into_iter().flatten(),
        buffers: batch.buffers().into_iter().flatten(),
        data_buffers: batch.variadicBufferCounts().into_iter().flatten(),
    };
    fields.iter().try_for_each(|field| rest.check(field))
}

/// What of a batch has not been looked at yet.
struct Rest<N, B, C> {
    nodes: N,
    buffers: B,
    /// How many buffers of text each column of views has.
    data_buffers: C,
}

impl<'a, N, B, C> Rest<N, B, C>
where
    N: Iterator<Item = &'a FieldNode>,
    B: Iterator<Item = &'a Buffer>,
    C: Iterator<Item = i64>,
{
    fn check(&mut self, field: &Field) -> Result<(), String> {
        let data_type = field.data_type();
        let missing = || format!("a batch has no column `{}`", field.name());
        let node = self.nodes.next().ok_or_else(missing)?;
        let rows = length(node.length())?;
        if length(node.null_count())? > rows {
            return Err(format!("column `{}` has more nulls than rows", field.name()));
        }
        if let DataType::FixedSizeBinary(size) | DataType::FixedSizeList(_, size) = data_type {
            let all = rows.checked_mul(length(i64::from(*size))?);
            length(all.and_then(|all| i64::try_from(all).ok()).unwrap_or(-1))?;
        }
        for bytes in element_bytes(data_type) {
            let buffer = self.buffers.next().ok_or_else(missing)?;
            if length(buffer.length())? % bytes != 0 {
                return Err(format!("column `{}` has part of an element at its end", field.name()));
            }
        }
        if let DataType::Utf8View | DataType::BinaryView = data_type {
            for _ in 0..length(self.data_buffers.next().ok_or_else(missing)?)? {
                self.buffers.next().ok_or_else(missing)?;
            }
        }
        children(data_type).into_iter().try_for_each(|child| self.check(child))
    }
}

/// No array is longer than memory could be.
fn length(length: i64) -> Result<usize, String> {
    match isize::try_from(length).map(usize::try_from) {
        Ok(Ok(length)) => Ok(length),
        _ => Err(format!("{length} is no length")),
    }
}
