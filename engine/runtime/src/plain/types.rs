//! WIT types that can be passed as data.

use wasmtime::component::Type;
use wasmtime::component::types::ComponentFunc;

/// What in this type is no data: a name for it, for messages.
pub(crate) fn unsupported(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Own(_) | Type::Borrow(_) => Some("a resource"),
        Type::Future(_) => Some("a future"),
        Type::Stream(_) => Some("a stream"),
        Type::ErrorContext => Some("an error context"),
        Type::Map(_) => Some("a map"),
        Type::FixedLengthList(_) => Some("a list of fixed length"),
        Type::List(list) => unsupported(&list.ty()),
        Type::Option(option) => unsupported(&option.ty()),
        Type::Record(record) => record.fields().find_map(|field| unsupported(&field.ty)),
        Type::Tuple(tuple) => tuple.types().find_map(|ty| unsupported(&ty)),
        Type::Variant(variant) => variant.cases().find_map(|case| unsupported(&case.ty?)),
        Type::Result(result) => result.ok().into_iter().chain(result.err()).find_map(|ty| unsupported(&ty)),
        Type::Bool
        | Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64
        | Type::Float32
        | Type::Float64
        | Type::Char
        | Type::String
        | Type::Enum(_)
        | Type::Flags(_) => None,
    }
}

/// The type as WIT writes it.
pub(crate) fn name(ty: &Type) -> String {
    wasmtime::component::wasm_wave::wasm::DisplayType(ty).to_string()
}

/// The type of a function as WIT writes it: `func(a: u32) -> u32`.
pub(crate) fn signature(function: &ComponentFunc) -> String {
    let parameters: Vec<String> =
        function.params().map(|(parameter, ty)| format!("{parameter}: {}", name(&ty))).collect();
    let result: String = function.results().map(|ty| format!(" -> {}", name(&ty))).collect();
    format!("func({}){result}", parameters.join(", "))
}
