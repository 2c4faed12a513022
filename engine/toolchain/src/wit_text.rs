//! WIT types and functions as the text that people write them in.

use wit_parser::{Function, FunctionKind, Handle, Resolve, Type, TypeDefKind};

/// `name(a: s32, b: list<string>) -> result<u64, error>`, with `async` before it if it is.
pub(crate) fn signature(resolve: &Resolve, function: &Function) -> String {
    let is_async = matches!(
        function.kind,
        FunctionKind::AsyncFreestanding | FunctionKind::AsyncMethod(_) | FunctionKind::AsyncStatic(_)
    );
    let mut text = String::from(if is_async { "async " } else { "" });
    text.push_str(&function.name);
    text.push('(');
    for (index, param) in function.params.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&param.name);
        text.push_str(": ");
        text.push_str(&type_text(resolve, &param.ty));
    }
    text.push(')');
    if let Some(result) = &function.result {
        text.push_str(" -> ");
        text.push_str(&type_text(resolve, result));
    }
    text
}

fn optional(resolve: &Resolve, ty: Option<&Type>) -> String {
    ty.map_or_else(|| "_".into(), |ty| type_text(resolve, ty))
}

fn type_text(resolve: &Resolve, ty: &Type) -> String {
    let id = match ty {
        Type::Bool => return "bool".into(),
        Type::U8 => return "u8".into(),
        Type::U16 => return "u16".into(),
        Type::U32 => return "u32".into(),
        Type::U64 => return "u64".into(),
        Type::S8 => return "s8".into(),
        Type::S16 => return "s16".into(),
        Type::S32 => return "s32".into(),
        Type::S64 => return "s64".into(),
        Type::F32 => return "f32".into(),
        Type::F64 => return "f64".into(),
        Type::Char => return "char".into(),
        Type::String => return "string".into(),
        Type::ErrorContext => return "error-context".into(),
        Type::Id(id) => *id,
    };
    let def = &resolve.types[id];
    if let Some(name) = &def.name {
        return name.clone();
    }
    let of = |ty: &Type| type_text(resolve, ty);
    let named =
        |id: &wit_parser::TypeId| resolve.types[*id].name.clone().unwrap_or_else(|| "resource".into());
    match &def.kind {
        TypeDefKind::List(item) => format!("list<{}>", of(item)),
        TypeDefKind::FixedLengthList(item, length) => format!("list<{}, {length}>", of(item)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", of(key), of(value)),
        TypeDefKind::Option(item) => format!("option<{}>", of(item)),
        TypeDefKind::Tuple(tuple) => {
            let items: Vec<_> = tuple.types.iter().map(of).collect();
            format!("tuple<{}>", items.join(", "))
        }
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (None, None) => "result".into(),
            (Some(ok), None) => format!("result<{}>", of(ok)),
            (ok, Some(err)) => format!("result<{}, {}>", optional(resolve, ok.as_ref()), of(err)),
        },
        TypeDefKind::Handle(Handle::Own(id)) => named(id),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", named(id)),
        TypeDefKind::Future(None) => "future".into(),
        TypeDefKind::Future(Some(item)) => format!("future<{}>", of(item)),
        TypeDefKind::Stream(None) => "stream".into(),
        TypeDefKind::Stream(Some(item)) => format!("stream<{}>", of(item)),
        TypeDefKind::Type(alias) => of(alias),
        other => other.as_str().into(),
    }
}

/// Whether values of the function's types can be written as text: no handles, no streams.
pub(crate) fn is_plain(resolve: &Resolve, function: &Function) -> bool {
    matches!(function.kind, FunctionKind::Freestanding | FunctionKind::AsyncFreestanding)
        && function.params.iter().all(|param| is_plain_type(resolve, &param.ty))
        && function.result.as_ref().is_none_or(|ty| is_plain_type(resolve, ty))
}

fn is_plain_type(resolve: &Resolve, ty: &Type) -> bool {
    let id = match ty {
        Type::ErrorContext => return false,
        Type::Id(id) => *id,
        _ => return true,
    };
    let plain = |ty: &Type| is_plain_type(resolve, ty);
    let plain_or_none = |ty: &Option<Type>| ty.as_ref().is_none_or(plain);
    match &resolve.types[id].kind {
        TypeDefKind::Record(record) => record.fields.iter().all(|field| plain(&field.ty)),
        TypeDefKind::Tuple(tuple) => tuple.types.iter().all(plain),
        TypeDefKind::Variant(variant) => variant.cases.iter().all(|case| plain_or_none(&case.ty)),
        TypeDefKind::Flags(_) | TypeDefKind::Enum(_) => true,
        TypeDefKind::Option(item) | TypeDefKind::List(item) | TypeDefKind::Type(item) => plain(item),
        TypeDefKind::FixedLengthList(item, _) => plain(item),
        TypeDefKind::Map(key, value) => plain(key) && plain(value),
        TypeDefKind::Result(result) => plain_or_none(&result.ok) && plain_or_none(&result.err),
        TypeDefKind::Resource
        | TypeDefKind::Handle(_)
        | TypeDefKind::Future(_)
        | TypeDefKind::Stream(_)
        | TypeDefKind::Unknown => false,
    }
}
