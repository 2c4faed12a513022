//! Values to bytes and back: MessagePack with named fields, raw bytes for [`Bytes`], Arrow IPC for tables
//! and tensors.
use crate::bindings::engine::compute::types as wit;
use crate::bytes::Bytes;
use crate::code::ErrorCode;
use crate::error::{Error, Result};
use crate::handles::{self, Handle};
use rmp_serde::config::BytesMode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::{Any, TypeId};

/// What can be an argument, a result, or a `put` value: owned data that serde can write and read.
///
/// Derive `serde::Serialize` and `serde::Deserialize` for your own types. References to objects
/// ([`ObjectRef`](crate::ObjectRef)) and actor handles are values too, and keep what they name alive.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between sandboxes",
    label = "not a value that serde can both write and read",
    note = "derive both: `#[derive(serde::Serialize, serde::Deserialize)]`; what borrows cannot travel at all"
)]
pub trait Value: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Value for T {}

/// How the bytes of an object are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// Bytes as they are.
    Raw,
    /// MessagePack.
    Msgpack,
    /// One Arrow IPC stream.
    ArrowIpc,
    /// The Python SDK's own.
    Python,
}

impl Codec {
    pub(crate) fn from_wire(codec: wit::Codec) -> Self {
        match codec {
            wit::Codec::Raw => Codec::Raw,
            wit::Codec::Msgpack => Codec::Msgpack,
            wit::Codec::ArrowIpc => Codec::ArrowIpc,
            wit::Codec::Python => Codec::Python,
        }
    }

    pub(crate) fn into_wire(self) -> wit::Codec {
        match self {
            Codec::Raw => wit::Codec::Raw,
            Codec::Msgpack => wit::Codec::Msgpack,
            Codec::ArrowIpc => wit::Codec::ArrowIpc,
            Codec::Python => wit::Codec::Python,
        }
    }
}

/// A value's bytes, and the handles inside it.
#[derive(Debug)]
pub(crate) struct Encoded {
    codec: wit::Codec,
    bytes: Vec<u8>,
    handles: Vec<Handle>,
}

impl Encoded {
    /// Lends the handles; the bytes are handed over, since the interface takes them so.
    pub(crate) fn lend(&mut self) -> wit::ValueView<'_> {
        wit::ValueView {
            codec: self.codec,
            bytes: std::mem::take(&mut self.bytes),
            handles: self.handles.iter().map(Handle::view).collect(),
        }
    }

    /// As a value of its own, with handles of its own.
    pub(crate) fn into_owned_wire(self) -> wit::Value {
        wit::Value {
            codec: self.codec,
            bytes: self.bytes,
            handles: self.handles.iter().map(Handle::to_wire).collect(),
        }
    }

    fn raw(bytes: Vec<u8>) -> Self {
        Encoded { codec: wit::Codec::Raw, bytes, handles: Vec::new() }
    }
}

/// Encodes a value that stays the caller's.
pub(crate) fn encode<T: Serialize + 'static>(value: &T) -> Result<Encoded> {
    if let Some(bytes) = (value as &dyn Any).downcast_ref::<Bytes>() {
        return Ok(Encoded::raw(bytes.to_vec()));
    }
    #[cfg(feature = "arrow")]
    if let Some(written) = crate::arrow::encode(value) {
        let bytes = written.map_err(unencodable::<T>)?;
        return Ok(Encoded { codec: wit::Codec::ArrowIpc, bytes, handles: Vec::new() });
    }
    encode_msgpack(value)
}

/// Encodes a value that is given away: [`Bytes`] are not copied.
pub(crate) fn encode_owned<T: Serialize + 'static>(value: T) -> Result<Encoded> {
    let mut value = Some(value);
    let any: &mut dyn Any = &mut value;
    if let Some(bytes) = any.downcast_mut::<Option<Bytes>>().and_then(Option::take) {
        return Ok(Encoded::raw(bytes.into_vec()));
    }
    match value {
        Some(value) => encode(&value),
        None => Ok(Encoded::raw(Vec::new())),
    }
}

/// MessagePack, whatever the type is (slices and text, which own nothing, come here directly).
pub(crate) fn encode_msgpack<T: Serialize + ?Sized>(value: &T) -> Result<Encoded> {
    let mut bytes = Vec::new();
    let (written, handles) = handles::collecting(|| {
        let mut serializer =
            rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_bytes(BytesMode::ForceIterables);
        value.serialize(&mut serializer)
    });
    written.map_err(unencodable::<T>)?;
    Ok(Encoded { codec: wit::Codec::Msgpack, bytes, handles })
}

fn unencodable<T: ?Sized>(cause: impl std::fmt::Display) -> Error {
    let message = format!("a value of type {} cannot be encoded: {cause}", type_text::<T>());
    Error::coded(ErrorCode::InvalidArgument, message)
}

/// Decodes a value, taking its bytes and handles. The error is the bare reason; the caller knows
/// which value it was.
pub(crate) fn decode<T: Value>(value: wit::Value) -> std::result::Result<T, String> {
    let wit::Value { codec, bytes, handles } = value;
    let wants_bytes = TypeId::of::<T>() == TypeId::of::<Bytes>();
    #[cfg(feature = "arrow")]
    if crate::arrow::is_arrow::<T>() {
        return decode_arrow(codec, bytes);
    }
    match codec {
        wit::Codec::Msgpack => {
            let handles = handles.into_iter().map(Handle::from_wire).collect();
            read_msgpack(&bytes, handles)
        }
        wit::Codec::Raw if wants_bytes => claim(Bytes::from(bytes)),
        wit::Codec::Raw if TypeId::of::<T>() == TypeId::of::<Vec<u8>>() => claim(bytes),
        wit::Codec::ArrowIpc if wants_bytes => claim(Bytes::from(bytes)),
        // What only says that it is there, like a placement group's `ready`, has no bytes.
        wit::Codec::Raw if bytes.is_empty() && TypeId::of::<T>() == TypeId::of::<()>() => claim(()),
        wit::Codec::Raw => Err(expected::<T>("raw bytes", "take it as `engine::Bytes`")),
        wit::Codec::ArrowIpc => Err(expected::<T>(
            "an Arrow table or tensor",
            "take it as `engine::arrow::Table` or `Tensor` (feature `arrow` of engine-sdk), or as `engine::Bytes`",
        )),
        wit::Codec::Python => Err(expected::<T>(PYTHON.0, PYTHON.1)),
    }
}

const PYTHON: (&str, &str) = (
    "a value of the Python SDK's own codec",
    "pass plain data (numbers, text, lists, dicts), which every language reads",
);

/// Decodes a table or a tensor; none has handles.
#[cfg(feature = "arrow")]
fn decode_arrow<T: Value>(codec: wit::Codec, bytes: Vec<u8>) -> std::result::Result<T, String> {
    let (found, advice) = match codec {
        wit::Codec::ArrowIpc => match crate::arrow::decode(bytes) {
            Some(read) => return read,
            None => ("an Arrow table or tensor", "take it as `engine::arrow::Table`"),
        },
        wit::Codec::Msgpack => (
            "plain data (MessagePack)",
            "take it as the type that it was made from, or make it a table where it is made",
        ),
        wit::Codec::Raw => {
            ("raw bytes", "take them as `engine::Bytes`; if they are Arrow IPC, `Table::from_ipc` reads them")
        }
        wit::Codec::Python => PYTHON,
    };
    Err(expected::<T>(found, advice))
}

/// Decodes a value that stays where it is; its handles are duplicated.
pub(crate) fn decode_lent<T: Value>(value: &wit::Value) -> std::result::Result<T, String> {
    let handles = value.handles.iter().map(|handle| match handle {
        wit::Handle::Object(object) => wit::Handle::Object(object.duplicate()),
        wit::Handle::Actor(actor) => wit::Handle::Actor(actor.duplicate()),
        wit::Handle::PlacementGroup(group) => wit::Handle::PlacementGroup(group.duplicate()),
    });
    decode(wit::Value { codec: value.codec, bytes: value.bytes.clone(), handles: handles.collect() })
}

fn read_msgpack<T: Value>(bytes: &[u8], handles: Vec<Handle>) -> std::result::Result<T, String> {
    handles::offering(handles, || {
        let mut rest = bytes;
        let value = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest));
        match value {
            Ok(value) if rest.is_empty() => Ok(value),
            Ok(_) => {
                Err(format!("expected {}, and {} bytes are left over after it", type_text::<T>(), rest.len()))
            }
            Err(rmp_serde::decode::Error::TypeMismatch(marker)) => {
                Err(format!("expected {}, found {}", type_text::<T>(), noun(&format!("{marker:?}"))))
            }
            Err(cause) => Err(format!("expected {}: {cause}", type_text::<T>())),
        }
    })
}

/// The type as its author would write it: `Vec<String>`, without the paths.
fn type_text<T: ?Sized>() -> String {
    let mut text = String::new();
    let mut rest = std::any::type_name::<T>();
    while let Some(at) = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':')
    {
        let (path, after) = rest.split_at(at);
        text.push_str(path.rsplit("::").next().unwrap_or(path));
        let separator = after.chars().next().map_or(0, char::len_utf8);
        text.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    text.push_str(rest.rsplit("::").next().unwrap_or(rest));
    text
}

/// What a MessagePack marker stands for, in words; by its name, as `FixStr(4)` or `U16`.
fn noun(marker: &str) -> &'static str {
    let name = marker.split('(').next().unwrap_or(marker);
    match name.trim_start_matches("Fix").trim_end_matches(|c: char| c.is_ascii_digit()) {
        "Str" => "text",
        "Array" => "a list",
        "Map" => "a map",
        "Bin" => "bytes",
        "Null" => "nothing (nil)",
        "True" | "False" => "a boolean",
        "F" => "a float",
        "Ext" => "a handle or another extension",
        "Pos" | "Neg" | "U" | "I" => "an integer",
        _ => "something else",
    }
}

fn expected<T>(found: &str, advice: &str) -> String {
    format!("expected {}, found {found}; {advice}", type_text::<T>())
}

/// `value` as the `T` that it is known to be.
pub(crate) fn claim<T: 'static, U: 'static>(value: U) -> std::result::Result<T, String> {
    let mut value = Some(value);
    let any: &mut dyn Any = &mut value;
    match any.downcast_mut::<Option<T>>().and_then(Option::take) {
        Some(value) => Ok(value),
        None => Err(expected::<T>(&type_text::<U>(), "these are different types")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: f64,
        tags: Vec<String>,
        blob: Vec<u8>,
        kind: Kind,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Plain,
        Weighted { by: u32 },
        Pair(i8, Option<bool>),
    }

    fn trip<T: Value>(value: &T) -> T {
        decode(encode(value).unwrap().into_owned_wire()).unwrap()
    }

    /// Bytes of any kind, and those of values with some changed, are a value or an error: no panic, and no
    /// memory taken for what the bytes only claim to hold.
    #[test]
    fn damaged_values_are_refused_or_are_others() {
        type Nested = BTreeMap<String, Vec<(Option<u64>, Point)>>;
        let mut random = 1u64;
        let mut next = move |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        let point =
            |n: usize| Point { x: 1.5, tags: vec!["tag".into(); n], blob: vec![7; n], kind: Kind::Plain };
        let value: Nested = [("a".into(), vec![(Some(1), point(2)), (None, point(0))])].into();
        let whole = encode(&value).unwrap().bytes;
        let (mut refused, mut others) = (0, 0);
        for _ in 0..20_000 {
            let mut bytes = match next(3) {
                0 => (0..next(64)).map(|_| next(256) as u8).collect(),
                _ => whole.clone(),
            };
            for _ in 0..1 + next(4) {
                if !bytes.is_empty() {
                    let at = next(bytes.len());
                    bytes[at] = next(256) as u8;
                }
            }
            bytes.truncate(bytes.len() - next(bytes.len() + 1) * usize::from(next(4) == 0));
            match read_msgpack::<Nested>(&bytes, Vec::new()) {
                Ok(_) => others += 1,
                Err(why) => {
                    assert!(why.starts_with("expected BTreeMap<String, "), "{why}: {}", bytes.escape_ascii());
                    refused += 1;
                }
            }
            let _ = read_msgpack::<crate::ObjectRef<u8>>(&bytes, Vec::new());
            let _ = read_msgpack::<Vec<Bytes>>(&bytes, Vec::new());
        }
        assert!(refused > 10_000 && others > 300, "{refused} refused, {others} were others");
    }

    // contract: O4
    #[test]
    fn plain_values_come_back_as_they_were() {
        for kind in [Kind::Plain, Kind::Weighted { by: 7 }, Kind::Pair(-3, Some(true))] {
            let point = Point { x: -0.5, tags: vec!["a".into(), "ü".into()], blob: vec![0, 255], kind };
            assert_eq!(trip(&point), point);
        }
        let map: BTreeMap<String, (u64, Option<i32>)> = [("k".into(), (u64::MAX, None))].into();
        assert_eq!(trip(&map), map);
        trip(&());
    }

    #[test]
    fn fields_are_named_and_bytes_are_bin() {
        #[derive(Serialize)]
        struct Named {
            n: u8,
            b: Vec<u8>,
        }
        let encoded = encode(&Named { n: 5, b: vec![1, 2] }).unwrap();
        // {"n": 5, "b": bin(01 02)}
        assert_eq!(encoded.bytes, [0x82, 0xa1, b'n', 5, 0xa1, b'b', 0xc4, 2, 1, 2]);
    }

    #[test]
    fn bytes_on_their_own_are_not_encoded_and_inside_a_value_are_bin() {
        let bytes = Bytes::from(vec![1, 2, 3]);
        let encoded = encode(&bytes).unwrap();
        assert_eq!((encoded.codec, &encoded.bytes[..]), (wit::Codec::Raw, &[1, 2, 3][..]));
        assert_eq!(encode_owned(bytes.clone()).unwrap().bytes, [1, 2, 3]);
        assert_eq!(trip(&bytes), bytes);
        assert_eq!(trip(&vec![bytes.clone()]), [bytes]);
    }

    #[test]
    fn what_does_not_fit_says_what_was_expected() {
        let text = encode(&"four".to_owned()).unwrap().into_owned_wire();
        let error = decode::<u64>(text).unwrap_err();
        assert_eq!(error, "expected u64, found text");

        let number = encode(&1u8).unwrap().into_owned_wire();
        let error = decode::<BTreeMap<String, (u8, [Vec<f64>; 2])>>(number).unwrap_err();
        assert!(error.starts_with("expected BTreeMap<String, (u8, [Vec<f64>; 2])>: "), "{error}");
        let list = encode(&vec![1u16]).unwrap().into_owned_wire();
        assert_eq!(decode::<bool>(list).unwrap_err(), "expected bool, found a list");
        let float = encode(&0.5f64).unwrap().into_owned_wire();
        assert!(decode::<u8>(float).unwrap_err().contains("floating point `0.5`"));

        let raw = encode(&Bytes::from(vec![9])).unwrap().into_owned_wire();
        assert!(decode::<u64>(raw).unwrap_err().contains("found raw bytes"));
        let raw = encode(&Bytes::from(vec![9])).unwrap().into_owned_wire();
        assert!(decode::<()>(raw).unwrap_err().contains("found raw bytes"));
        let nothing = encode(&Bytes::default()).unwrap().into_owned_wire();
        assert_eq!(decode::<()>(nothing), Ok(()));

        let mut two = encode(&1u8).unwrap().into_owned_wire();
        two.bytes.push(2);
        assert!(decode::<u8>(two).unwrap_err().contains("1 bytes are left over"));
    }

    #[test]
    fn a_handle_outside_engines_own_encoding_is_refused_and_an_unknown_index_too() {
        let bytes = [0xd6, 1, 0, 0, 0, 3];
        let value = wit::Value { codec: wit::Codec::Msgpack, bytes: bytes.to_vec(), handles: Vec::new() };
        let error = decode::<crate::ObjectRef<u8>>(value).unwrap_err();
        assert!(error.contains("names handle 3, which did not come with it"), "{error}");
    }
}
