//! A core module for wasip1 becomes a component by the preview1 adapter.

use crate::{Error, strip};
use serde::Serialize;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER_NAME,
    WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};

/// What some bytes are, by their first eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A component: what the engine runs.
    Component,
    /// A core module: `engine build` makes a component of it.
    CoreModule,
    /// Something else.
    NotWasm,
}

/// What these bytes are; only the header is looked at.
pub fn kind_of(bytes: &[u8]) -> Kind {
    if Parser::is_component(bytes) {
        Kind::Component
    } else if Parser::is_core_wasm(bytes) {
        Kind::CoreModule
    } else {
        Kind::NotWasm
    }
}

/// Makes a component of a core module that carries its WIT world (as wit-bindgen embeds it) or is
/// a WASI command. WASI preview 1 is adapted; function names are kept, debug sections are not.
pub fn componentize(core_module: &[u8]) -> Result<Vec<u8>, Error> {
    if kind_of(core_module) != Kind::CoreModule {
        let reason = "it is not a core WebAssembly module".into();
        return Err(Error::Componentize { reason });
    }
    componentize_with(core_module, false)
}

/// Also takes what is a component already: the wasip2 linker makes them.
pub(crate) fn componentize_with(wasm: &[u8], keep_debug: bool) -> Result<Vec<u8>, Error> {
    let stripped = if keep_debug { None } else { strip::without_debug(wasm) };
    let wasm = stripped.as_deref().unwrap_or(wasm);
    if kind_of(wasm) == Kind::Component {
        return Ok(wasm.to_vec());
    }
    let exports = exports(wasm)?;
    let adapter = if exports.iter().any(|name| name == "_start") { COMMAND_ADAPTER } else { REACTOR_ADAPTER };
    let component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(wasm)
        .and_then(|encoder| encoder.adapter(ADAPTER_NAME, adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Error::Componentize { reason: chain(&error) })?;
    if crate::inspect(&component)?.exports.is_empty() {
        let names = if exports.is_empty() { "nothing".into() } else { exports.join(", ") };
        return Err(Error::Componentize {
            reason: format!(
                "it exports {names} but carries no WIT world that would say what the exports' types are; \
                 build it with the engine's SDK or with wit-bindgen"
            ),
        });
    }
    Ok(component)
}

fn exports(wasm: &[u8]) -> Result<Vec<String>, Error> {
    let damaged = |error: wasmparser::BinaryReaderError| Error::NotWasm {
        reason: format!("this module is damaged: {error}"),
    };
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(section) = payload.map_err(damaged)? {
            for export in section {
                names.push(export.map_err(damaged)?.name.to_owned());
            }
        }
    }
    Ok(names)
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &impl std::fmt::Display) -> String {
    format!("{error:#}").replace('\n', " ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use wit_component::{StringEncoding, embed_component_metadata};
    use wit_parser::Resolve;

    /// A core module that carries the first world of some WIT.
    pub(crate) fn module_of(wit: &str, wat: &str) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("test.wit", wit).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = wat::parse_str(wat).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        module
    }

    const ADDER: &str = "package t:adder; world adder { export add: func(a: s32, b: s32) -> s32; }";

    #[test]
    fn a_module_with_its_world_becomes_a_component() {
        let module = module_of(
            ADDER,
            r#"(module (func $sum (export "add") (param i32 i32) (result i32)
                (i32.add (local.get 0) (local.get 1))))"#,
        );
        let component = componentize(&module).unwrap();
        assert_eq!(kind_of(&component), Kind::Component);
        assert!(component.windows(3).any(|window| window == b"sum"), "function names are kept");
    }

    #[test]
    fn a_wasi_command_gets_the_command_adapter() {
        let module = wat::parse_str(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func (export "_start") (call $exit (i32.const 0))))"#,
        )
        .unwrap();
        let inspection = crate::inspect(&componentize(&module).unwrap()).unwrap();
        assert!(inspection.exports.iter().any(|export| export.name.starts_with("wasi:cli/run@")));
    }

    #[test]
    fn a_module_without_a_world_is_told_what_is_missing() {
        let module = wat::parse_str(r#"(module (func (export "add")))"#).unwrap();
        let text = componentize(&module).unwrap_err().to_string();
        assert!(text.contains("exports add but carries no WIT world"), "{text}");
    }

    #[test]
    fn a_world_that_the_module_does_not_keep_is_named() {
        let module = module_of(ADDER, r#"(module (func (export "subtract")))"#);
        let text = componentize(&module).unwrap_err().to_string();
        assert!(text.contains("add"), "{text}");
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(componentize(b"hello").is_err());
        assert!(componentize(b"\0asm\x01\0\0\0\xff\xff").is_err());
        assert!(componentize(&wat::parse_str("(component)").unwrap()).is_err());
    }
}
