//! Guests written by hand, so that no guest toolchain is needed.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A component of the world `component`: `run` and `call` have `body`, which gets the locals
/// `$invocation`, `$name`, `$name_len`, `$arguments` and `$arguments_len` and leaves the address of its
/// result; `imports` come before, and `items` beside it. Each value that it may return is made by
/// `$none`, `$one` (address, length) and `$failure` (address, length of the message).
pub(crate) fn program(imports: &str, items: &str, body: &str) -> Vec<u8> {
    program_of(imports, items, body, "call $none", "call $none")
}

/// The same with bodies for `main` (locals `$invocation`, `$arguments`, `$arguments_len`) and `create`.
pub(crate) fn program_of(imports: &str, items: &str, body: &str, main: &str, create: &str) -> Vec<u8> {
    encode("component", &core(imports, items, body, main, create))
}

fn core(imports: &str, items: &str, body: &str, main: &str, create: &str) -> String {
    let call = "(param $invocation i32) (param $name i32) (param $name_len i32) (param $arguments i32) (param $arguments_len i32) (result i32)";
    let done = "local.get $invocation call $drop_invocation";
    format!(
        r#"(module $guest
  (import "engine:compute/types@0.1.0" "[resource-drop]invocation" (func $drop_invocation (param i32)))
  {imports}
  (memory $memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  ;; The list of one value at 1024, the result at 2048.
  (func $cabi_realloc (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.ne (memory.grow (i32.add (i32.shr_u (local.get $len) (i32.const 16)) (i32.const 1))) (i32.const -1)))
      unreachable)
    (local.get $at))
  (func $none (result i32)
    (i64.store (i32.const 2048) (i64.const 0))
    (i64.store (i32.const 2056) (i64.const 0))
    (i64.store (i32.const 2064) (i64.const 0))
    (i32.const 2048))
  (func $one (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 1024) (i32.const 0))
    (i32.store (i32.const 1028) (local.get $at))
    (i32.store (i32.const 1032) (local.get $len))
    (i64.store (i32.const 1036) (i64.const 0))
    (i32.store (i32.const 2048) (i32.const 0))
    (i32.store (i32.const 2052) (i32.const 1024))
    (i32.store (i32.const 2056) (i32.const 1))
    (i32.const 2048))
  (func $failure (param $at i32) (param $len i32) (result i32)
    (memory.fill (i32.const 2048) (i32.const 0) (i32.const 128))
    (i32.store (i32.const 2048) (i32.const 1))
    (i32.store (i32.const 2052) (i32.const 16))
    (i32.store (i32.const 2056) (i32.const 5))
    (i32.store (i32.const 2060) (local.get $at))
    (i32.store (i32.const 2064) (local.get $len))
    (i32.const 2048))
  (data (i32.const 16) "Wrong")
  {items}
  (func $body {call}
    {body})
  (func (export "engine:compute/program@0.1.0#run") {call}
    (call $body (local.get $invocation) (local.get $name) (local.get $name_len) (local.get $arguments) (local.get $arguments_len))
    {done})
  (func (export "engine:compute/program@0.1.0#call") {call}
    (call $body (local.get $invocation) (local.get $name) (local.get $name_len) (local.get $arguments) (local.get $arguments_len))
    {done})
  (func (export "engine:compute/program@0.1.0#create") {call}
    {create}
    {done})
  (func (export "engine:compute/program@0.1.0#main") (param $invocation i32) (param $arguments i32) (param $arguments_len i32) (result i32)
    {main}
    {done})
)"#
    )
}

/// A core module in WAT as a component of a world of `wit/compute.wit`.
pub(crate) fn encode(world: &str, core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap_or_else(|error| panic!("{error}\n{core}"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A component with exports of its own, from a core module and a world in WIT.
pub(crate) fn plain(wit: &str, core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap_or_else(|error| panic!("{error}\n{core}"));
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// Returns no values.
pub(crate) fn no_op() -> Vec<u8> {
    program("", "", "call $none")
}

/// Never ends.
pub(crate) fn busy_loop() -> Vec<u8> {
    program("", "", "(loop $again (br $again)) unreachable")
}
