//! MessagePack to and from the values of WIT types.

use rmpv::Value as Msgpack;
use wasmtime::component::{Type, Val};

use crate::plain::types::name;

/// One MessagePack value, and nothing after it.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Msgpack, String> {
    let value =
        rmpv::decode::read_value(&mut bytes).map_err(|error| format!("it is not MessagePack: {error}"))?;
    if !bytes.is_empty() {
        return Err(format!("{} bytes follow its MessagePack value", bytes.len()));
    }
    Ok(value)
}

fn short(value: &Msgpack) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { format!("{}…", text.chars().take(60).collect::<String>()) } else { text }
}

/// The value as one of this type.
pub(crate) fn to_val(value: &Msgpack, ty: &Type) -> Result<Val, String> {
    let wrong = || format!("{} is not a {}", short(value), name(ty));
    macro_rules! integer {
        ($case:ident, $get:ident) => {
            value.$get().and_then(|number| number.try_into().ok()).map(Val::$case)
        };
    }
    let converted = match ty {
        Type::Bool => value.as_bool().map(Val::Bool),
        Type::U8 => integer!(U8, as_u64),
        Type::U16 => integer!(U16, as_u64),
        Type::U32 => integer!(U32, as_u64),
        Type::U64 => value.as_u64().map(Val::U64),
        Type::S8 => integer!(S8, as_i64),
        Type::S16 => integer!(S16, as_i64),
        Type::S32 => integer!(S32, as_i64),
        Type::S64 => value.as_i64().map(Val::S64),
        Type::Float32 => value.as_f64().map(|number| Val::Float32(number as f32)),
        Type::Float64 => value.as_f64().map(Val::Float64),
        Type::Char => value.as_str().and_then(|text| {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none()).map(Val::Char)
        }),
        Type::String => match value {
            Msgpack::Binary(bytes) => String::from_utf8(bytes.clone()).ok().map(Val::String),
            _ => value.as_str().map(|text| Val::String(text.to_owned())),
        },
        Type::List(list) => return to_list(value, &list.ty(), wrong),
        Type::Record(record) => {
            let fields = value.as_map().ok_or_else(wrong)?;
            let mut converted = Vec::new();
            for field in record.fields() {
                let found =
                    fields.iter().find(|(key, _)| key.as_str() == Some(field.name)).map(|(_, value)| value);
                let value = found.unwrap_or(&Msgpack::Nil);
                let value =
                    to_val(value, &field.ty).map_err(|reason| format!("field `{}`: {reason}", field.name))?;
                converted.push((field.name.to_owned(), value));
            }
            let known = |key: &Msgpack| converted.iter().any(|(name, _)| key.as_str() == Some(name));
            if let Some((key, _)) = fields.iter().find(|(key, _)| !known(key)) {
                return Err(format!("{} has no field {}", name(ty), short(key)));
            }
            Some(Val::Record(converted))
        }
        Type::Tuple(tuple) => {
            let parts =
                value.as_array().filter(|parts| parts.len() == tuple.types().len()).ok_or_else(wrong)?;
            Some(Val::Tuple(
                parts
                    .iter()
                    .zip(tuple.types())
                    .map(|(part, ty)| to_val(part, &ty))
                    .collect::<Result<_, _>>()?,
            ))
        }
        Type::Variant(variant) => {
            let (case, payload) = case_of(value).ok_or_else(wrong)?;
            let found = variant.cases().find(|known| known.name == case).ok_or_else(wrong)?;
            let payload = payload_of(payload, found.ty.as_ref(), wrong)?;
            Some(Val::Variant(case.to_owned(), payload))
        }
        Type::Enum(cases) => {
            let case =
                value.as_str().filter(|case| cases.names().any(|name| name == *case)).ok_or_else(wrong)?;
            Some(Val::Enum(case.to_owned()))
        }
        Type::Option(option) => Some(Val::Option(match value {
            Msgpack::Nil => None,
            value => Some(Box::new(to_val(value, &option.ty())?)),
        })),
        Type::Result(result) => {
            let (case, payload) = case_of(value).ok_or_else(wrong)?;
            Some(Val::Result(match case {
                "ok" | "Ok" => Ok(payload_of(payload, result.ok().as_ref(), wrong)?),
                "err" | "Err" => Err(payload_of(payload, result.err().as_ref(), wrong)?),
                _ => return Err(wrong()),
            }))
        }
        Type::Flags(flags) => {
            let names = value.as_array().ok_or_else(wrong)?;
            let names = names
                .iter()
                .map(|name| name.as_str().filter(|name| flags.names().any(|known| known == *name)));
            let names =
                names.map(|name| name.map(str::to_owned)).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            Some(Val::Flags(names))
        }
        Type::Own(_)
        | Type::Borrow(_)
        | Type::Future(_)
        | Type::Stream(_)
        | Type::ErrorContext
        | Type::Map(_)
        | Type::FixedLengthList(_) => None,
    };
    converted.ok_or_else(wrong)
}

fn to_list(value: &Msgpack, ty: &Type, wrong: impl Fn() -> String) -> Result<Val, String> {
    if let (Msgpack::Binary(bytes), Type::U8) = (value, ty) {
        return Ok(Val::List(bytes.iter().copied().map(Val::U8).collect()));
    }
    let items = value.as_array().ok_or_else(wrong)?;
    let mut converted = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        converted.push(to_val(item, ty).map_err(|reason| format!("item {index}: {reason}"))?);
    }
    Ok(Val::List(converted))
}

/// A case: its name alone, or a map of its name to its payload.
fn case_of(value: &Msgpack) -> Option<(&str, Option<&Msgpack>)> {
    match value {
        Msgpack::Map(entries) => match entries.as_slice() {
            [(case, payload)] => Some((case.as_str()?, Some(payload))),
            _ => None,
        },
        value => Some((value.as_str()?, None)),
    }
}

fn payload_of(
    payload: Option<&Msgpack>,
    ty: Option<&Type>,
    wrong: impl Fn() -> String,
) -> Result<Option<Box<Val>>, String> {
    match (payload, ty) {
        (None | Some(Msgpack::Nil), None) => Ok(None),
        (payload, Some(ty)) => Ok(Some(Box::new(to_val(payload.unwrap_or(&Msgpack::Nil), ty)?))),
        (Some(_), None) => Err(wrong()),
    }
}

/// A result as MessagePack; nil when there is none.
pub(crate) fn encode(value: Option<&Val>) -> Result<Vec<u8>, String> {
    let value = value.map_or(Ok(Msgpack::Nil), from_val)?;
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &value).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn from_val(value: &Val) -> Result<Msgpack, String> {
    let case = |name: &str, payload: &Option<Box<Val>>| -> Result<Msgpack, String> {
        let payload = payload.as_deref().map_or(Ok(Msgpack::Nil), from_val)?;
        Ok(Msgpack::Map(vec![(name.into(), payload)]))
    };
    Ok(match value {
        Val::Bool(value) => (*value).into(),
        Val::S8(value) => (*value).into(),
        Val::U8(value) => (*value).into(),
        Val::S16(value) => (*value).into(),
        Val::U16(value) => (*value).into(),
        Val::S32(value) => (*value).into(),
        Val::U32(value) => (*value).into(),
        Val::S64(value) => (*value).into(),
        Val::U64(value) => (*value).into(),
        Val::Float32(value) => (*value).into(),
        Val::Float64(value) => (*value).into(),
        Val::Char(value) => value.to_string().into(),
        Val::String(value) => value.as_str().into(),
        Val::List(items) => match bytes_of(items) {
            Some(bytes) => Msgpack::Binary(bytes),
            None => Msgpack::Array(items.iter().map(from_val).collect::<Result<_, _>>()?),
        },
        Val::Tuple(items) => Msgpack::Array(items.iter().map(from_val).collect::<Result<_, _>>()?),
        Val::Record(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok((name.as_str().into(), from_val(value)?)));
            Msgpack::Map(fields.collect::<Result<_, String>>()?)
        }
        Val::Variant(name, None) => name.as_str().into(),
        Val::Variant(name, payload) => case(name, payload)?,
        Val::Enum(name) => name.as_str().into(),
        Val::Option(value) => value.as_deref().map_or(Ok(Msgpack::Nil), from_val)?,
        Val::Result(Ok(payload)) => case("ok", payload)?,
        Val::Result(Err(payload)) => case("err", payload)?,
        Val::Flags(names) => Msgpack::Array(names.iter().map(|name| name.as_str().into()).collect()),
        Val::Map(_)
        | Val::Resource(_)
        | Val::Future(_)
        | Val::Stream(_)
        | Val::ErrorContext(_)
        | Val::FixedLengthList(_) => return Err("it is not data".to_owned()),
    })
}

fn bytes_of(items: &[Val]) -> Option<Vec<u8>> {
    if items.is_empty() {
        return None;
    }
    items.iter().map(|item| if let Val::U8(byte) = item { Some(*byte) } else { None }).collect()
}
