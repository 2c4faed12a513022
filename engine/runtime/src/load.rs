//! From the bytes of a component to something that can be started.

use std::sync::Arc;

use engine_core::{ComponentId, Error, ErrorCode};
use sha2::{Digest, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};
use wit_parser::decoding::{DecodedWasm, decode};

use crate::engine::World;
use crate::guest::Guest;
use crate::info::{ComponentInfo, ComponentWorld, FunctionInfo};
use crate::limiter::WASM_PAGE_BYTES;
use crate::mapped::Allocator;
use crate::plain::signature;
use crate::program::ProgramPre;
use crate::runtime::Inner;

/// The package of `wit/compute.wit`, and its version.
const PACKAGE: &str = "engine:compute";
const VERSION: &str = "0.1.0";

/// A component that can be started.
pub(crate) struct Loaded {
    pub(crate) info: ComponentInfo,
    pub(crate) kind: Kind,
    pub(crate) allocator: Arc<Allocator>,
}

/// How it is started.
pub(crate) enum Kind {
    Program(ProgramPre),
    Concurrent(crate::concurrent::bindings::ConcurrentComponentPre<Guest>),
    Plain(InstancePre<Guest>),
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidComponent, message)
}

/// The id of a component with these bytes.
pub(crate) fn component_id(bytes: &[u8]) -> ComponentId {
    ComponentId(Sha256::digest(bytes).into())
}

/// Validates, compiles (or takes the machine code from the cache) and links.
pub(crate) fn load(runtime: &Inner, bytes: &[u8]) -> Result<Arc<Loaded>, Error> {
    let size_max = runtime.options.component_bytes_max;
    if bytes.len() as u64 > size_max {
        return Err(Error::new(
            ErrorCode::LimitExceeded,
            format!(
                "the component has {}, more than one may (component_bytes_max is {})",
                engine_core::resources::bytes(bytes.len() as u64),
                engine_core::resources::bytes(size_max)
            ),
        ));
    }
    check_format(bytes)?;
    let names = Names::of(bytes)?;
    names.check()?;
    let world = names.world()?;
    let id = component_id(bytes);
    let engine = match world {
        ComponentWorld::Concurrent => runtime.concurrent()?,
        ComponentWorld::Program | ComponentWorld::Plain => &runtime.plain,
    };
    let component = runtime.cache.compile(&engine.engine, id, bytes).map_err(|error| {
        invalid(format!("the component is not valid: {}", crate::errors::bounded(format!("{error:#}"))))
    })?;
    let functions = if world == ComponentWorld::Plain { functions(&component) } else { Vec::new() };
    let initial_memory_bytes = component
        .resources_required()
        .and_then(|required| required.max_initial_memory_size)
        .unwrap_or(0)
        .saturating_mul(WASM_PAGE_BYTES);
    let kind = link(engine, component, world)?;
    let Names { imports, exports } = names;
    let info = ComponentInfo { id, world, imports, exports, functions, initial_memory_bytes };
    Ok(Arc::new(Loaded { info, kind, allocator: Arc::default() }))
}

fn check_format(bytes: &[u8]) -> Result<(), Error> {
    const MAGIC: &[u8] = b"\0asm";
    const CORE_MODULE: &[u8] = &[1, 0, 0, 0];
    const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];
    match (bytes.get(..4), bytes.get(4..8)) {
        (Some(MAGIC), Some(COMPONENT)) => Ok(()),
        (Some(MAGIC), Some(CORE_MODULE)) => Err(invalid(
            "this is a core Wasm module, not a component: turn it into one with `engine build PATH -o out.wasm`",
        )),
        (Some(MAGIC), _) => Err(invalid(
            "this is Wasm of a version that the engine does not know: it runs components (version 0x0d)",
        )),
        _ => Err(invalid(format!(
            "this is not Wasm: it begins with {:?}, and a component with \"\\0asm\"",
            String::from_utf8_lossy(bytes.get(..bytes.len().min(8)).unwrap_or_default())
        ))),
    }
}

/// The names of a component's imports and exports.
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    fn of(bytes: &[u8]) -> Result<Self, Error> {
        let decoded = decode(bytes).map_err(|error| {
            invalid(format!("the component cannot be read: {}", crate::errors::bounded(format!("{error:#}"))))
        })?;
        let DecodedWasm::Component(resolve, world) = decoded else {
            return Err(invalid(
                "this is a WIT package, a description of interfaces: there is nothing to run in it",
            ));
        };
        let world = &resolve.worlds[world];
        let names = |items: Vec<&wit_parser::WorldKey>| {
            items.into_iter().map(|key| resolve.name_world_key(key)).collect::<Vec<_>>()
        };
        // A type that the world names is no import of its own.
        let imports =
            world.imports.iter().filter(|(_, item)| !matches!(item, wit_parser::WorldItem::Type { .. }));
        Ok(Self {
            imports: names(imports.map(|(key, _)| key).collect()),
            exports: names(world.exports.keys().collect()),
        })
    }

    /// Refuses what is built for another version, or imports what there is not.
    fn check(&self) -> Result<(), Error> {
        for name in self.imports.iter().chain(&self.exports) {
            if let Some(version) = version_of(name)
                && version != VERSION
            {
                return Err(invalid(format!(
                    "the component is built for {PACKAGE}@{version} (it names {name}), and this engine offers {PACKAGE}@{VERSION}: build it with the SDK of this engine"
                )));
            }
        }
        let strange: Vec<&str> =
            self.imports.iter().map(String::as_str).filter(|name| !is_offered(name)).collect();
        if strange.is_empty() {
            return Ok(());
        }
        Err(invalid(format!(
            "the component imports what the engine does not offer: {}. It offers {PACKAGE}@{VERSION} and WASI 0.2 (cli, clocks, filesystem, io, random, sockets)",
            strange.join(", ")
        )))
    }

    fn world(&self) -> Result<ComponentWorld, Error> {
        let exports = |interface: &str| {
            self.exports.iter().any(|name| *name == format!("{PACKAGE}/{interface}@{VERSION}"))
        };
        match (exports("program"), exports("program-async")) {
            (true, true) => Err(invalid(format!(
                "the component exports both {PACKAGE}/program and {PACKAGE}/program-async: it may be of one world only"
            ))),
            (true, false) => Ok(ComponentWorld::Program),
            (false, true) => Ok(ComponentWorld::Concurrent),
            (false, false) => Ok(ComponentWorld::Plain),
        }
    }
}

/// The version of the engine's package in the name of an interface.
fn version_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    Some(rest.split_once('@').map_or("(none)", |(_, version)| version))
}

fn is_offered(name: &str) -> bool {
    const WASI: [&str; 6] =
        ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
    if let Some(interface) = name.strip_prefix(PACKAGE) {
        return interface.starts_with('/');
    }
    let is_version_2 = name.rsplit_once('@').is_some_and(|(_, version)| version.starts_with("0.2."));
    is_version_2 && WASI.iter().any(|prefix| name.starts_with(prefix))
}

fn link(world: &World, component: Component, kind: ComponentWorld) -> Result<Kind, Error> {
    let wrong = |what: &str, error: wasmtime::Error| {
        invalid(format!("{what}: {}", crate::errors::bounded(format!("{error:#}"))))
    };
    let linked = world
        .linker
        .instantiate_pre(&component)
        .map_err(|error| wrong("the component's imports are not what the engine offers", error))?;
    let export = |error| {
        wrong(
            &format!(
                "the component exports `program` of {PACKAGE}@{VERSION}, but not with the types of its WIT"
            ),
            error,
        )
    };
    Ok(match kind {
        ComponentWorld::Program => Kind::Program(ProgramPre::new(linked).map_err(export)?),
        ComponentWorld::Concurrent => Kind::Concurrent(
            crate::concurrent::bindings::ConcurrentComponentPre::new(linked).map_err(export)?,
        ),
        ComponentWorld::Plain => Kind::Plain(linked),
    })
}

/// What a plain component exports that can be called.
fn functions(component: &Component) -> Vec<FunctionInfo> {
    let engine = component.engine();
    let mut functions = Vec::new();
    for (name, item) in component.component_type().exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(function) => functions.push(FunctionInfo {
                interface: None,
                name: name.to_owned(),
                signature: signature(&function),
            }),
            ComponentItem::ComponentInstance(interface) => {
                for (function, item) in interface.exports(engine) {
                    if let ComponentItem::ComponentFunc(ty) = item.ty {
                        functions.push(FunctionInfo {
                            interface: Some(name.to_owned()),
                            name: function.to_owned(),
                            signature: signature(&ty),
                        });
                    }
                }
            }
            _ => {}
        }
    }
    functions
}
