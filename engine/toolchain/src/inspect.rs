//! What a component offers, what it asks for, and what must be granted before it can run.

use crate::componentize::{Kind, chain, kind_of};
use crate::{Error, wit_text};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use wit_parser::decoding::DecodedWasm;
use wit_parser::{Resolve, WorldItem, WorldKey};

/// What was found in a `.wasm` file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Component or core module.
    pub kind: Kind,
    /// Size of the file in bytes.
    pub bytes: usize,
    /// How the engine runs it; none for a core module.
    pub world: Option<World>,
    /// The version of the `engine:compute` package it was built for, if it uses that.
    pub engine_compute: Option<String>,
    /// What it offers, by interface.
    pub exports: Vec<Interface>,
    /// What it asks for, by interface.
    pub imports: Vec<Interface>,
    /// The functions that `--invoke` can call.
    pub invokable: Vec<Function>,
    /// What it may reach once it is granted.
    pub grants: BTreeSet<Grant>,
    /// Whether it imports nothing but types: its results follow from its arguments alone.
    pub pure: bool,
}

/// How the engine runs a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Exports `engine:compute/program`: built with an SDK.
    Program,
    /// Exports `engine:compute/program-async`: an SDK program that interleaves calls.
    ProgramAsync,
    /// Exports plain functions, for `--invoke`.
    Plain,
}

/// One interface, or (with an empty list of the same name) one function at the world's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// `namespace:package/interface@version`, or a plain name.
    pub name: String,
    /// Its functions.
    pub functions: Vec<Function>,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Function {
    /// Its name; with the interface before it (`interface#function`) among the invokable ones.
    pub name: String,
    /// Its name and types as WIT writes them.
    pub signature: String,
}

/// Something a guest reaches only if the job gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Directories (`--dir HOST::GUEST`).
    Directories,
    /// Environment variables (`--env K=V`).
    Environment,
    /// Sockets or HTTP; not granted to any job today.
    Network,
    /// Wall and monotonic clocks; always given.
    Clocks,
    /// Random numbers; always given.
    Random,
    /// Standard input, output and error; output is captured.
    Stdio,
    /// Tasks, actors, objects: the engine itself.
    Compute,
    /// An interface that this engine does not offer: the component will not start.
    Unknown,
}

/// Reads a component or core module. Fails when the bytes are neither, or are damaged.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    match kind_of(bytes) {
        Kind::Component => inspect_component(bytes),
        Kind::CoreModule => inspect_module(bytes),
        Kind::NotWasm => {
            let seen = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            let reason = format!(
                "this is not WebAssembly ({} bytes that begin with {}, and not with 00 61 73 6d)",
                bytes.len(),
                if seen.is_empty() { "nothing".into() } else { seen },
            );
            Err(Error::NotWasm { reason })
        }
    }
}

fn inspect_component(bytes: &[u8]) -> Result<Inspection, Error> {
    let damaged = |reason: String| Error::NotWasm { reason: format!("cannot read this component: {reason}") };
    let decoded = wit_parser::decoding::decode(bytes).map_err(|error| damaged(chain(&error)))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(damaged("it holds a WIT package (interfaces only) and no code".into()));
    };
    let world = &resolve.worlds[world];
    let exports = interfaces(&resolve, &world.exports);
    let imports = interfaces(&resolve, &world.imports);
    let mut grants = BTreeSet::new();
    for import in &imports {
        grants.extend(grant(import));
    }
    let engine_compute = exports
        .iter()
        .chain(&imports)
        .find_map(|interface| interface.name.strip_prefix("engine:compute/"))
        .map(|rest| rest.split_once('@').map_or("unversioned", |(_, version)| version).to_owned());
    let exported = |name: &str| {
        exports.iter().any(|export| {
            export
                .name
                .strip_prefix("engine:compute/")
                .is_some_and(|rest| rest.split('@').next() == Some(name))
        })
    };
    let kind = if exported("program-async") {
        World::ProgramAsync
    } else if exported("program") {
        World::Program
    } else {
        World::Plain
    };
    Ok(Inspection {
        kind: Kind::Component,
        bytes: bytes.len(),
        world: Some(kind),
        engine_compute,
        invokable: invokable(&resolve, &world.exports),
        exports,
        imports,
        pure: grants.is_empty(),
        grants,
    })
}

fn interfaces<'a>(
    resolve: &Resolve,
    items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<Interface> {
    let mut found = Vec::new();
    for (key, item) in items {
        let functions = match item {
            WorldItem::Interface { id, .. } => {
                let functions = resolve.interfaces[*id].functions.values();
                functions.map(|function| described(resolve, function)).collect()
            }
            WorldItem::Function(function) => vec![described(resolve, function)],
            WorldItem::Type { .. } => continue,
        };
        found.push(Interface { name: resolve.name_world_key(key), functions });
    }
    found
}

fn described(resolve: &Resolve, function: &wit_parser::Function) -> Function {
    Function { name: function.name.clone(), signature: wit_text::signature(resolve, function) }
}

fn invokable<'a>(
    resolve: &Resolve,
    exports: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<Function> {
    let mut found = Vec::new();
    for (key, item) in exports {
        match item {
            WorldItem::Function(function) if wit_text::is_plain(resolve, function) => {
                found.push(described(resolve, function));
            }
            WorldItem::Interface { id, .. } => {
                let interface = resolve.name_world_key(key);
                let functions = resolve.interfaces[*id].functions.values();
                for function in functions.filter(|function| wit_text::is_plain(resolve, function)) {
                    let Function { name, signature } = described(resolve, function);
                    found.push(Function { name: format!("{interface}#{name}"), signature });
                }
            }
            _ => {}
        }
    }
    found
}

/// What an import reaches. Interfaces that only carry types or plumbing reach nothing.
fn grant(import: &Interface) -> Option<Grant> {
    let name = import.name.split('@').next().unwrap_or(&import.name);
    let (package, interface) = name.split_once('/').unwrap_or((name, ""));
    if import.functions.is_empty() || package == "wasi:io" {
        return None;
    }
    Some(match (package, interface) {
        ("wasi:filesystem", _) => Grant::Directories,
        ("wasi:cli", "environment") => Grant::Environment,
        ("wasi:cli", _) => Grant::Stdio,
        ("wasi:http" | "wasi:sockets", _) => Grant::Network,
        ("wasi:clocks", _) => Grant::Clocks,
        ("wasi:random", _) => Grant::Random,
        ("engine:compute", "types") => return None,
        ("engine:compute", _) => Grant::Compute,
        _ => Grant::Unknown,
    })
}

fn inspect_module(bytes: &[u8]) -> Result<Inspection, Error> {
    use wasmparser::{Parser, Payload};
    let damaged = |error: wasmparser::BinaryReaderError| Error::NotWasm {
        reason: format!("this module is damaged: {error}"),
    };
    let mut imports = Vec::<Interface>::new();
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(damaged)?;
                    let function = Function {
                        name: import.name.to_owned(),
                        signature: format!("{}: {:?}", import.name, import.ty),
                    };
                    match imports.iter_mut().find(|interface| interface.name == import.module) {
                        Some(interface) => interface.functions.push(function),
                        None => imports
                            .push(Interface { name: import.module.to_owned(), functions: vec![function] }),
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(damaged)?;
                    let signature = format!("{}: {:?}", export.name, export.kind).to_lowercase();
                    exports.push(Function { name: export.name.to_owned(), signature });
                }
            }
            _ => {}
        }
    }
    Ok(Inspection {
        kind: Kind::CoreModule,
        bytes: bytes.len(),
        world: None,
        engine_compute: None,
        pure: imports.is_empty(),
        exports: exports
            .into_iter()
            .map(|function| Interface { name: function.name.clone(), functions: vec![function] })
            .collect(),
        imports,
        invokable: Vec::new(),
        grants: BTreeSet::new(),
    })
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Grant::Directories => "directories (--dir HOST::GUEST)",
            Grant::Environment => "environment (--env K=V)",
            Grant::Network => "network (not granted to any job today)",
            Grant::Clocks => "clocks (always given)",
            Grant::Random => "random numbers (always given)",
            Grant::Stdio => "standard streams (output is captured)",
            Grant::Compute => "the engine's tasks, actors and objects",
            Grant::Unknown => "interfaces that this engine does not offer: it will not start",
        })
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.kind, self.world) {
            (Kind::CoreModule, _) => "core module (make a component of it with `engine build`)",
            (_, Some(World::Program)) => "component, SDK program",
            (_, Some(World::ProgramAsync)) => "component, SDK program (concurrent)",
            _ => "component, plain functions",
        };
        writeln!(f, "kind       {kind}")?;
        writeln!(f, "size       {} bytes", self.bytes)?;
        if let Some(version) = &self.engine_compute {
            writeln!(f, "compute    engine:compute@{version}")?;
        }
        if self.kind == Kind::Component {
            writeln!(f, "pure       {}", if self.pure { "yes" } else { "no" })?;
        }
        for (title, interfaces) in [("exports", &self.exports), ("imports", &self.imports)] {
            if !interfaces.is_empty() {
                writeln!(f, "{title}")?;
            }
            for interface in interfaces {
                let at_root = matches!(interface.functions.as_slice(), [one] if one.name == interface.name);
                if !at_root {
                    writeln!(f, "  {}", interface.name)?;
                }
                for function in &interface.functions {
                    let indent = if at_root { "  " } else { "    " };
                    writeln!(f, "{indent}{}", function.signature)?;
                }
            }
        }
        if !self.invokable.is_empty() {
            writeln!(f, "callable by --invoke")?;
            for function in &self.invokable {
                let interface = function.name.split_once('#').map(|(interface, _)| interface);
                match interface {
                    Some(interface) => writeln!(f, "  {}  ({interface})", function.signature)?,
                    None => writeln!(f, "  {}", function.signature)?,
                }
            }
        }
        if !self.grants.is_empty() {
            writeln!(f, "needs")?;
            for grant in &self.grants {
                writeln!(f, "  {grant}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::componentize;
    use crate::componentize::tests::module_of;

    fn inspected(wit: &str, wat: &str) -> Inspection {
        inspect(&componentize(&module_of(wit, wat)).unwrap()).unwrap()
    }

    #[test]
    fn a_plain_function_is_pure_and_invokable() {
        let inspection = inspected(
            "package t:adder; world adder { export add: func(a: s32, b: s32) -> s32; }",
            r#"(module (func (export "add") (param i32 i32) (result i32) (i32.const 0)))"#,
        );
        assert_eq!(inspection.world, Some(World::Plain));
        assert!(inspection.pure && inspection.grants.is_empty());
        assert_eq!(inspection.invokable[0].signature, "add(a: s32, b: s32) -> s32");
        assert!(inspection.to_string().contains("add(a: s32, b: s32) -> s32"));
    }

    #[test]
    fn a_resource_cannot_be_written_as_text() {
        let inspection = inspected(
            "package t:r@1.2.0; interface i { resource r; make: func() -> r; \
             record p { x: u8, y: option<tuple<string, f64>> } show: func(p: p) -> list<u8>; } world w { export i; }",
            r#"(module
                (import "[export]t:r/i@1.2.0" "[resource-new]r" (func (param i32) (result i32)))
                (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
                (func (export "t:r/i@1.2.0#make") (result i32) (i32.const 0))
                (func (export "t:r/i@1.2.0#show") (param i32 i32 i32 i32 f64) (result i32) (i32.const 0)))"#,
        );
        let names: Vec<_> = inspection.invokable.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["t:r/i@1.2.0#show"]);
        assert_eq!(inspection.invokable[0].signature, "show(p: p) -> list<u8>");
    }

    #[test]
    fn imports_say_what_must_be_granted() {
        let reaching = |interface: &str| {
            let name = interface.into();
            let signature = "f()".into();
            grant(&Interface { name, functions: vec![Function { name: "f".into(), signature }] })
        };
        assert_eq!(reaching("wasi:filesystem/types@0.2.6"), Some(Grant::Directories));
        assert_eq!(reaching("wasi:sockets/tcp@0.2.6"), Some(Grant::Network));
        assert_eq!(reaching("wasi:http/outgoing-handler@0.2.6"), Some(Grant::Network));
        assert_eq!(reaching("wasi:cli/environment@0.2.6"), Some(Grant::Environment));
        assert_eq!(reaching("wasi:io/streams@0.2.6"), None);
        assert_eq!(reaching("engine:compute/types@0.1.0"), None);
        assert_eq!(reaching("engine:compute/tasks@0.1.0"), Some(Grant::Compute));
        assert_eq!(reaching("other:thing/x"), Some(Grant::Unknown));
    }

    #[test]
    fn an_sdk_program_is_recognised_with_its_version() {
        let inspection = inspected(
            "package engine:compute@0.1.0; interface program { main: func() -> u32; } \
             interface logging { log: func(x: u32); } world w { import logging; export program; }",
            r#"(module
                (import "engine:compute/logging@0.1.0" "log" (func (param i32)))
                (func (export "engine:compute/program@0.1.0#main") (result i32) (i32.const 0)))"#,
        );
        assert_eq!(inspection.world, Some(World::Program));
        assert_eq!(inspection.engine_compute.as_deref(), Some("0.1.0"));
        assert!(!inspection.pure && inspection.grants.contains(&Grant::Compute));
    }

    #[test]
    fn core_modules_and_rubbish_are_told_apart() {
        let module = wat::parse_str(r#"(module (import "a" "f" (func)) (func (export "go")))"#).unwrap();
        let inspection = inspect(&module).unwrap();
        assert_eq!(inspection.kind, Kind::CoreModule);
        assert_eq!((inspection.exports[0].name.as_str(), inspection.imports[0].name.as_str()), ("go", "a"));
        assert!(inspection.to_string().contains("engine build"));
        assert!(inspect(b"hello").unwrap_err().to_string().contains("68 65 6c 6c 6f"));
        assert!(inspect(b"").unwrap_err().to_string().contains("begin with nothing"));
        assert!(inspect(b"\0asm\x0d\0\x01\0\xff\xff").is_err());
    }
}
