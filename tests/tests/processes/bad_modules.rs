//! What cannot be run at all: each is refused with what is wrong and what to do, and the engine serves
//! the next job.

use std::fs;
use std::path::PathBuf;

use engine_tests::{Place, Up, guest};

/// A component written by hand.
fn component(place: &Place, name: &str, text: &str) -> PathBuf {
    place.file(name, wat::parse_str(text).expect("a component"))
}

#[test]
fn what_is_not_wasm_is_refused() {
    let mut up = Up::start();
    for (name, bytes) in
        [("notes.txt", &b"These are notes."[..]), ("empty.wasm", b""), ("half.wasm", b"\0as")]
    {
        let file = up.place().file(name, bytes);
        up.submit_file(&file, &[]).run().exits(2).says(&["error:", name, "is not WebAssembly"]);
    }
    let missing = up.place().path("nowhere.wasm");
    up.submit_file(&missing, &[]).run().exits(2).says(&["cannot read", "nowhere.wasm"]);
    up.still_serves();
}

#[test]
fn a_core_module_is_refused_with_the_command_that_makes_a_component_of_it() {
    let mut up = Up::start();
    let module = wat::parse_str(r#"(module (func (export "_start")))"#).expect("a module");
    let file = up.place().file("core.wasm", module);
    up.submit_file(&file, &[]).run().exits(2).says(&["core.wasm is a core module", "`engine build "]);
    up.still_serves();
}

/// What the refusal says to do works, where it can.
#[test]
fn build_makes_a_component_of_a_command_and_refuses_what_says_nothing_of_its_types() {
    let mut up = Up::start();
    let command = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let command = up.place().file("command.wasm", command.expect("a module"));
    let built = up.place().path("built.wasm");
    let words = ["build".as_ref(), command.as_os_str(), "-o".as_ref(), built.as_os_str()];
    up.place().engine(words).run().exits(0);
    up.submit_file(&built, &[]).run().exits(0);

    let silent = wat::parse_str(r#"(module (func (export "add") (param i32 i32) (result i32) i32.const 1))"#);
    let silent = up.place().file("silent.wasm", silent.expect("a module"));
    let words = ["build".as_ref(), silent.as_os_str(), "-o".as_ref(), built.as_os_str()];
    let refused = up.place().engine(words).run();
    assert!([1, 2].contains(&refused.status), "{refused}");
    refused.says(&["add", "no WIT world"]);
    up.still_serves();
}

#[test]
fn a_damaged_component_is_refused() {
    let mut up = Up::start();
    let whole = fs::read(guest("plain-component")).expect("the guest");
    for length in [8 + 3, whole.len() / 2, whole.len() - 1] {
        let file = up.place().file("damaged.wasm", &whole[..length]);
        let outcome = up.submit_file(&file, &["--invoke", "add(1, 2)"]).run().exits(2);
        outcome.says(&["INVALID_COMPONENT", "`engine error INVALID_COMPONENT`"]);
    }
    up.still_serves();
}

#[test]
fn a_component_without_main_says_what_it_exports() {
    let mut up = Up::start();
    let plain = guest("plain-component");
    let outcome = up.submit_file(&plain, &[]).run().exits(1);
    outcome.says(&["INVALID_COMPONENT", "has no main", "--invoke", "add: "]);
    up.still_serves();
}

#[test]
fn a_program_export_of_the_wrong_type_is_refused() {
    let mut up = Up::start();
    let text = r#"(component
        (core module $m (func (export "main") (result i32) i32.const 7))
        (core instance $i (instantiate $m))
        (func $main (result u32) (canon lift (core func $i "main")))
        (instance $program (export "main" (func $main)))
        (export "engine:compute/program@0.1.0" (instance $program)))"#;
    let file = component(up.place(), "wrong.wasm", text);
    let outcome = up.submit_file(&file, &[]).run().exits(2);
    outcome.says(&["INVALID_COMPONENT", "engine:compute@0.1.0", "not with the types"]);
    up.still_serves();
}

#[test]
fn a_component_of_another_version_of_the_wit_package_is_refused() {
    let mut up = Up::start();
    // The real guest, as if it were built against another version. The new name is as long as the old.
    let mut bytes = fs::read(guest("selftest")).expect("the guest");
    let mut renamed = 0;
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let Some(interface) = rest.strip_prefix(b"engine:compute/".as_slice()) else { continue };
        let length = interface.iter().take_while(|byte| byte.is_ascii_lowercase() || **byte == b'-').count();
        if interface[length..].starts_with(b"@0.1.0") {
            let version = at + "engine:compute/".len() + length + 1;
            bytes[version..version + 5].copy_from_slice(b"0.9.3");
            renamed += 1;
        }
    }
    assert!(renamed > 0, "the guest names the package");
    let file = up.place().file("old.wasm", bytes);
    let outcome = up.submit_file(&file, &[]).run().exits(2);
    outcome.says(&[
        "INVALID_COMPONENT",
        "engine:compute@0.9.3",
        "engine:compute@0.1.0",
        "build it with the SDK",
    ]);
    up.still_serves();
}

#[test]
fn an_import_that_nobody_offers_is_named() {
    let mut up = Up::start();
    let text = r#"(component (import "acme:rockets/launch@1.0.0" (instance (export "go" (func)))))"#;
    let file = component(up.place(), "rockets.wasm", text);
    let outcome = up.submit_file(&file, &["--invoke", "go()"]).run().exits(2);
    outcome.says(&["INVALID_COMPONENT", "acme:rockets/launch@1.0.0", "does not offer"]);
    up.still_serves();
}

// contract: I2
/// A handle is an index into a table that the host keeps: a made-up one names nothing.
#[test]
fn a_guest_cannot_make_up_a_handle() {
    let mut up = Up::start();
    let text = r#"(component
        (import "engine:compute/types@0.1.0" (instance $types
            (export "object" (type $object (sub resource)))
            (export "[method]object.id" (func (param "self" (borrow $object)) (result string)))))
        (alias export $types "[method]object.id" (func $id))
        (core module $memory
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
        (core instance $memory (instantiate $memory))
        (core func $id
            (canon lower (func $id) (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
        (core module $guest
            (import "host" "id" (func $id (param i32 i32)))
            (func (export "forge") (param i32) local.get 0 i32.const 0 call $id))
        (core instance $guest
            (instantiate $guest (with "host" (instance (export "id" (func $id))))))
        (func (export "forge") (param "handle" u32) (canon lift (core func $guest "forge"))))"#;
    let file = component(up.place(), "forger.wasm", text);
    for handle in ["0", "1", "7", "4294967295"] {
        let call = format!("forge({handle})");
        let outcome = up.submit_file(&file, &["--invoke", &call]).run().exits(1);
        outcome.says(&["TRAPPED", "handle"]);
    }
    let forged = up.scenario(&["forge"]);
    assert_eq!(forged["code"], "INVALID_ARGUMENT", "{forged}");
    up.still_serves();
    up.wait_until_idle();
}

/// Its results are wherever it says, and it lies.
#[test]
fn a_component_that_returns_rubbish_fails_its_job_only() {
    let mut up = Up::start();
    let rubbish = |pointer: &str, length: &str| {
        format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 1)
                    (data (i32.const 64) "\ff\fe\fd\fc")
                    (func (export "speak") (result i32)
                        (i32.store (i32.const 16) (i32.const {pointer}))
                        (i32.store (i32.const 20) (i32.const {length}))
                        (i32.const 16)))
                (core instance $i (instantiate $m))
                (func (export "speak") (result string)
                    (canon lift (core func $i "speak") (memory (core memory $i "memory")))))"#
        )
    };
    for (pointer, length, said) in
        [("64", "4", "utf-8"), ("65000", "70000", "out of bounds"), ("-1", "-1", "")]
    {
        let file = component(up.place(), "rubbish.wasm", &rubbish(pointer, length));
        up.submit_file(&file, &["--invoke", "speak()"]).run().exits(1).says(&["TRAPPED", said]);
    }
    up.still_serves();
    up.wait_until_idle();
}
