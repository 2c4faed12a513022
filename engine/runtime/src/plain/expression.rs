//! `f(1, "x")`: WAVE text of a call.

use engine_core::Error;
use rmpv::Value as Msgpack;
use wasmtime::component::wasm_wave::ast::{Node, NodeType};
use wasmtime::component::wasm_wave::parser::ParserError;
use wasmtime::component::wasm_wave::untyped::UntypedFuncCall;
use wasmtime::component::{Type, Val};

/// Bytes of an expression.
const EXPRESSION_BYTES_MAX: usize = 16 << 20;

/// The name of the function, and its arguments in their parentheses.
pub(crate) fn split(text: &str) -> Result<(&str, &str), Error> {
    let text = text.trim();
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(Error::invalid_argument("the expression is longer than 16 MiB: pass a file instead"));
    }
    match text.find('(') {
        Some(at) if at > 0 => Ok((text[..at].trim(), &text[at..])),
        _ => Err(Error::invalid_argument(format!(
            "`{}` is not a call: write it like `f(1, \"x\")`, with parentheses even when there are no arguments",
            text.chars().take(200).collect::<String>()
        ))),
    }
}

/// WAVE's parser wants a name before the arguments.
const NAME: &str = "f";

fn explained(error: &ParserError, arguments: &str) -> String {
    let span = error.span();
    let (begin, end) = (span.start.saturating_sub(NAME.len()), span.end.saturating_sub(NAME.len()));
    let at = arguments.get(begin..end).filter(|at| !at.is_empty());
    let at = at.map(|at| at.chars().take(80).collect::<String>());
    let what = match (error.detail(), std::error::Error::source(error)) {
        (Some(detail), _) => format!("{}: {detail}", error.kind()),
        (None, Some(source)) => format!("{}: {source}", error.kind()),
        (None, None) => error.kind().to_string(),
    };
    match at {
        Some(at) => format!("the arguments are wrong at `{at}`: {what}"),
        None => {
            format!("the arguments `{}` are wrong: {what}", arguments.chars().take(200).collect::<String>())
        }
    }
}

/// The arguments as values of these types.
pub(crate) fn typed_arguments(arguments: &str, types: &[Type]) -> Result<Vec<Val>, String> {
    let text = format!("{NAME}{arguments}");
    let call = UntypedFuncCall::parse(&text).map_err(|error| explained(&error, arguments))?;
    let values: Vec<Val> = call.to_wasm_params(types).map_err(|error| explained(&error, arguments))?;
    if values.len() != types.len() {
        return Err(format!("{} arguments were given and {} are expected", values.len(), types.len()));
    }
    Ok(values)
}

/// A call of an SDK's function, whose types are not known: the arguments become MessagePack as they
/// stand.
pub(crate) fn untyped_call(text: &str) -> Result<(String, Vec<Vec<u8>>), Error> {
    let (name, arguments) = split(text)?;
    let wrong = |error: &ParserError| Error::invalid_argument(explained(error, arguments));
    let source = format!("{NAME}{arguments}");
    let call = UntypedFuncCall::parse(&source).map_err(|error| wrong(&error))?;
    let mut values = Vec::new();
    if let Some(node) = call.params_node() {
        for node in node.as_tuple().map_err(|error| wrong(&error))? {
            let value = untyped(node, &source).map_err(|error| wrong(&error))?;
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value)
                .map_err(|error| Error::internal(format!("an argument cannot be written: {error}")))?;
            values.push(bytes);
        }
    }
    Ok((name.to_owned(), values))
}

fn untyped(node: &Node, source: &str) -> Result<Msgpack, ParserError> {
    let all = |nodes: &mut dyn Iterator<Item = &Node>| {
        nodes.map(|node| untyped(node, source)).collect::<Result<Vec<_>, _>>().map(Msgpack::Array)
    };
    let of_case = |name: &str, payload: Option<&Node>| -> Result<Msgpack, ParserError> {
        let payload = payload.map_or(Ok(Msgpack::Nil), |node| untyped(node, source))?;
        Ok(Msgpack::Map(vec![(name.into(), payload)]))
    };
    Ok(match node.ty() {
        NodeType::BoolTrue => true.into(),
        NodeType::BoolFalse => false.into(),
        NodeType::Number => match (node.as_number::<u64>(source), node.as_number::<i64>(source)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => node.as_number::<f64>(source)?.into(),
        },
        NodeType::Char => node.as_char(source)?.to_string().into(),
        NodeType::String | NodeType::MultilineString => node.as_str(source)?.into_owned().into(),
        NodeType::Tuple => all(&mut node.as_tuple()?)?,
        NodeType::List => all(&mut node.as_list()?)?,
        NodeType::Record => {
            let fields = node.as_record(source)?;
            let fields = fields.map(|(name, node)| Ok((name.into(), untyped(node, source)?)));
            Msgpack::Map(fields.collect::<Result<_, ParserError>>()?)
        }
        NodeType::Label => node.as_enum(source)?.into(),
        NodeType::VariantWithPayload => {
            let (name, payload) = node.as_variant(source)?;
            of_case(name, payload)?
        }
        NodeType::OptionSome | NodeType::OptionNone => match node.as_option()? {
            Some(node) => untyped(node, source)?,
            None => Msgpack::Nil,
        },
        NodeType::ResultOk | NodeType::ResultErr => match node.as_result()? {
            Ok(payload) => of_case("Ok", payload)?,
            Err(payload) => of_case("Err", payload)?,
        },
        NodeType::Flags => Msgpack::Array(node.as_flags(source)?.map(Msgpack::from).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Vec<Msgpack> {
        let (name, values) = untyped_call(text).unwrap();
        assert_eq!(name, "f");
        values.iter().map(|value| rmpv::decode::read_value(&mut value.as_slice()).unwrap()).collect()
    }

    #[test]
    fn arguments_without_types_become_messagepack() {
        assert_eq!(decoded("f()"), Vec::<Msgpack>::new());
        assert_eq!(
            decoded(r#" f ( 1, -2, 1.5, "x", [true], none) "#),
            vec![
                1.into(),
                (-2).into(),
                1.5.into(),
                "x".into(),
                Msgpack::Array(vec![true.into()]),
                Msgpack::Nil
            ]
        );
        assert_eq!(decoded("f({a: 1})"), vec![Msgpack::Map(vec![("a".into(), 1.into())])]);
    }

    #[test]
    fn what_is_not_a_call_is_refused_with_how_to_write_it() {
        for text in ["", "f", "(1)", "f(", "f(1", "f(1,,2)"] {
            let error = untyped_call(text).unwrap_err();
            assert!(!error.message().is_empty(), "{text}: {error}");
        }
        assert!(untyped_call("f").unwrap_err().message().contains("f(1, \"x\")"));
    }
}
