//! One Arrow IPC stream: a schema, dictionaries and batches, and the mark at its end.
use super::layout;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::writer::StreamEncoder;
use arrow_ipc::{Endianness, Message, MessageHeader, MetadataVersion};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Stands before the length of each message.
const CONTINUATION: u32 = u32::MAX;

/// Writes the stream: every buffer is copied once, into bytes of just the length that is needed. Each
/// begins at a multiple of 64 bytes.
pub(super) fn write(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>, String> {
    layout::check_types(schema.fields())?;
    let pieces = pieces(schema, batches).map_err(|cause| cause.to_string())?;
    let mut bytes = Vec::with_capacity(pieces.iter().map(Buffer::len).sum());
    for piece in &pieces {
        bytes.extend_from_slice(piece);
    }
    Ok(bytes)
}

/// The pieces of the stream, of which the large ones are the arrays' own buffers.
fn pieces(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<Buffer>, ArrowError> {
    let mut encoder = StreamEncoder::try_new(schema)?;
    let mut pieces = Vec::new();
    for batch in batches {
        pieces.extend(encoder.encode(batch)?);
    }
    pieces.extend(encoder.finish()?);
    Ok(pieces)
}

/// Reads a whole stream; the arrays of the batches point into `bytes`, but for buffers that are not
/// aligned as their type asks, which are copied.
pub(super) fn read(bytes: &Buffer) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let mut messages = Messages { bytes, at: 0 };
    let Some((first, _)) = messages.next()? else {
        return Err("it has no schema".into());
    };
    let mut reader = Reader { schema: read_schema(first)?, dictionaries: HashMap::new() };
    let mut batches = Vec::new();
    while let Some((message, body)) = messages.next()? {
        batches.extend(reader.take(message, &body)?);
    }
    Ok((reader.schema, batches))
}

struct Reader {
    schema: SchemaRef,
    /// The values of dictionary columns, by the number that the stream gives them.
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Reader {
    /// Takes a dictionary, or a batch, which it gives.
    fn take(&mut self, message: Message<'_>, body: &Buffer) -> Result<Option<RecordBatch>, String> {
        let version = message.version();
        let read = match message.header_type() {
            MessageHeader::RecordBatch => {
                let header = message.header_as_record_batch().ok_or(DAMAGED)?;
                layout::check(header, self.schema.fields(), body.len())?;
                let schema = Arc::clone(&self.schema);
                RecordBatchDecoder::try_new(body, header, schema, &self.dictionaries, &version)
                    .and_then(|decoder| decoder.with_require_alignment(false).read_record_batch())
                    .map(Some)
            }
            MessageHeader::DictionaryBatch => {
                let header = message.header_as_dictionary_batch().ok_or(DAMAGED)?;
                let values = self.values_of(header.id())?;
                layout::check(header.data().ok_or(DAMAGED)?, &values, body.len())?;
                read_dictionary(body, header, &self.schema, &mut self.dictionaries, &version).map(|()| None)
            }
            MessageHeader::Schema => return Err("it has a second schema".into()),
            _ => return Err("it has a message that is neither a batch nor a dictionary".into()),
        };
        read.map_err(|cause| cause.to_string())
    }

    /// The values of a dictionary, as the one column that they are sent as.
    fn values_of(&self, dictionary: i64) -> Result<Fields, String> {
        #[expect(deprecated, reason = "the library's own reader finds it so, and there is no other way")]
        let fields = self.schema.fields_with_dict_id(dictionary);
        match fields.first().map(|field| field.data_type()) {
            Some(DataType::Dictionary(_, values)) => {
                Ok(Fields::from(vec![Field::new("values of a dictionary", values.as_ref().clone(), true)]))
            }
            _ => Err(format!("it has a dictionary, number {dictionary}, that no column uses")),
        }
    }
}

const DAMAGED: &str = "a message of it is damaged";

fn read_schema(message: Message<'_>) -> Result<SchemaRef, String> {
    let schema = message.header_as_schema().ok_or("it does not begin with a schema")?;
    if schema.endianness() != Endianness::Little {
        return Err("its numbers are big-endian; write it on a little-endian machine".into());
    }
    let schema = try_fb_to_schema(schema).map_err(|cause| cause.to_string())?;
    layout::check_types(schema.fields())?;
    Ok(Arc::new(schema))
}

/// The messages of a stream, each with its body.
struct Messages<'a> {
    bytes: &'a Buffer,
    at: usize,
}

impl<'a> Messages<'a> {
    /// The next message; none after the last.
    fn next(&mut self) -> Result<Option<(Message<'a>, Buffer)>, String> {
        let mut length = self.word()?;
        if length == CONTINUATION {
            length = self.word()?;
        }
        if length == 0 {
            let rest = self.bytes.len() - self.at;
            return if rest == 0 {
                Ok(None)
            } else {
                Err(format!("{rest} bytes are left over after its end"))
            };
        }
        let metadata = self.take(usize::try_from(length).ok())?;
        let message = arrow_ipc::root_as_message(&self.bytes.as_slice()[metadata]).map_err(|_| DAMAGED)?;
        if message.version() < MetadataVersion::V4 {
            return Err("it is of a version of Arrow before 0.8; write it with a newer one".into());
        }
        let body = self.take(usize::try_from(message.bodyLength()).ok())?;
        Ok(Some((message, self.bytes.slice_with_length(body.start, body.len()))))
    }

    fn word(&mut self) -> Result<u32, String> {
        let mut word = [0; 4];
        let at = self.take(Some(word.len()))?;
        word.copy_from_slice(&self.bytes[at]);
        Ok(u32::from_le_bytes(word))
    }

    fn take(&mut self, length: Option<usize>) -> Result<Range<usize>, String> {
        let begin = self.at;
        let end = length.and_then(|length| begin.checked_add(length));
        match end.filter(|end| *end <= self.bytes.len()) {
            Some(end) => {
                self.at = end;
                Ok(begin..end)
            }
            None => Err(format!("its {} bytes end before the stream does", self.bytes.len())),
        }
    }
}
