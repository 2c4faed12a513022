//! What may be loaded, and what is said of the rest.

use engine_core::ErrorCode;
use engine_runtime::{ComponentWorld, Options, Runtime};

use crate::{Bench, guests, options};

fn refused(bytes: &[u8]) -> String {
    let bench = Bench::new();
    let error = bench.runtime.load(bytes).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidComponent, "{error}");
    assert!(bench.end_of(&guests::no_op()).0.result.is_ok());
    error.message().to_owned()
}

#[test]
fn what_is_not_wasm_is_refused() {
    let message = refused(b"#!/bin/sh\necho hello");
    assert!(message.contains("not Wasm") && message.contains("#!/bin/s"), "{message}");
    assert!(refused(b"").contains("not Wasm"));
    assert!(refused(b"\0asm").contains("Wasm of a version"));
    let mut cut = guests::no_op();
    cut.truncate(cut.len() / 2);
    assert!(refused(&cut).contains("cannot be read"));
}

#[test]
fn a_core_module_is_refused_with_how_to_make_a_component() {
    let message = refused(&wat::parse_str("(module)").unwrap());
    assert!(message.contains("engine build"), "{message}");
}

#[test]
fn another_version_of_the_package_is_refused_by_both_names() {
    let wit =
        "package engine:compute@0.9.0; interface program { main: func(); } world guest { export program; }";
    let core = r#"(module (func (export "engine:compute/program@0.9.0#main")))"#;
    let message = refused(&guests::plain(wit, core));
    assert!(
        message.contains("engine:compute@0.9.0") && message.contains("engine:compute@0.1.0"),
        "{message}"
    );
}

#[test]
fn an_import_that_there_is_not_is_named() {
    let wit = "package my:things; interface list-of { get: func(); } world guest { import list-of; export run: func(); }";
    let core = r#"(module (import "my:things/list-of" "get" (func $get)) (func (export "run") call $get))"#;
    let message = refused(&guests::plain(wit, core));
    assert!(message.contains("my:things/list-of"), "{message}");
}

#[test]
fn a_wrongly_typed_program_is_refused() {
    // `engine:compute/program@0.1.0` with a `main` of another type.
    let component = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $program (export "main" (func $f)))
        (export "engine:compute/program@0.1.0" (instance $program)))"#;
    let message = refused(&wat::parse_str(component).unwrap());
    assert!(message.contains("program") && message.contains("types"), "{message}");
}

#[test]
fn a_component_too_large_is_refused() {
    let bench = Bench::with(Options { component_bytes_max: 100, ..options() }, |_| {});
    let error = bench.runtime.load(&guests::no_op()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    assert!(error.message().contains("component_bytes_max is 100 bytes"), "{error}");
}

#[test]
fn a_component_is_known_by_its_content() {
    let bench = Bench::new();
    let info = bench.runtime.load(&guests::no_op()).unwrap();
    assert_eq!(info.world, ComponentWorld::Program);
    assert_eq!(info.exports, ["engine:compute/program@0.1.0"]);
    assert_eq!(info.imports, ["engine:compute/types@0.1.0"]);
    assert_eq!(info.initial_memory_bytes, 2 * 65536);
    assert_eq!(bench.runtime.load(&guests::no_op()).unwrap(), info);
    assert_eq!(bench.runtime.counters().compilations, 1, "loaded once");
    assert_eq!(bench.runtime.component(info.id), Some(info.clone()));
    bench.runtime.unload(info.id);
    assert_eq!(bench.runtime.component(info.id), None);
}

#[test]
fn machine_code_is_kept_between_runs_and_damage_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let with_cache = || Options { compile_cache: Some(cache.clone()), ..options() };
    let counters = |runtime: Runtime| {
        let counters = runtime.counters();
        runtime.shutdown();
        (counters.compilations, counters.compile_cache_hits)
    };
    let run = || {
        let bench = Bench::with(with_cache(), |_| {});
        assert!(bench.end_of(&guests::no_op()).0.result.is_ok());
        counters(bench.runtime.clone())
    };
    assert_eq!(run(), (1, 0));
    assert_eq!(run(), (0, 1));
    // Not even the mode lets others read it.
    let files = || std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let code = files().find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&code.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut bytes = std::fs::read(&code).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&code, bytes).unwrap();
    assert_eq!(run(), (1, 0), "damaged code is compiled again");
    assert_eq!(run(), (0, 1));
}

#[test]
fn a_cache_that_others_may_write_to_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let bench =
        Bench::with(Options { compile_cache: Some(directory.path().to_owned()), ..options() }, |_| {});
    assert!(bench.end_of(&guests::no_op()).0.result.is_ok());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_cache_forgets_what_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let options = Options { compile_cache: Some(cache.clone()), compile_cache_bytes_max: 1, ..options() };
    let bench = Bench::with(options, |_| {});
    for component in [guests::no_op(), guests::busy_loop(), guests::counter()] {
        bench.load(&component);
    }
    let files = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let kept = files.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).count();
    assert_eq!(kept, 1, "only the one just made is kept");
}
