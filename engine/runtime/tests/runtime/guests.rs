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

/// Where the allocator of these guests looks at the alignment that it is asked for.
pub(crate) const ALIGNS: &str =
    "(if (i32.lt_u (local.get $align) (i32.const 16)) (then (local.set $align (i32.const 16))))";

/// The core module of [`program_of`].
pub(crate) fn core(imports: &str, items: &str, body: &str, main: &str, create: &str) -> String {
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
    {ALIGNS}
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
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
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A component with exports of its own, from a core module and a world in WIT.
pub(crate) fn plain(wit: &str, core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap_or_else(|error| panic!("{error}\n{core}"));
    let mut resolve = Resolve::default();
    resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).unwrap();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// An SDK's component that may import what of WASI is in [`WASI`] too; `main` has the same body.
pub(crate) fn program_with_wasi(imports: &str, items: &str, body: &str) -> Vec<u8> {
    let world = "world guest {
        include engine:compute/component@0.1.0;
        import wasi:cli/stdout@0.2.0;
        import wasi:cli/stderr@0.2.0;
        import wasi:cli/environment@0.2.0;
        import wasi:cli/exit@0.2.0;
        import wasi:filesystem/preopens@0.2.0;
    }";
    let main = "(call $body (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    let core = core(imports, items, body, main, "call $none");
    plain(&format!("package test:guest;\n{WASI}\n{world}"), &core)
}

/// The parts of WASI that the tests use, as they are in WASI 0.2.0.
pub(crate) const WASI: &str = "
package wasi:io@0.2.0 {
    interface error { resource error; }
    interface streams {
        use error.{error};
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
        variant stream-error { last-operation-failed(error), closed }
    }
}
package wasi:cli@0.2.0 {
    interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
    interface stderr { use wasi:io/streams@0.2.0.{output-stream}; get-stderr: func() -> output-stream; }
    interface environment { get-environment: func() -> list<tuple<string, string>>; get-arguments: func() -> list<string>; }
    interface exit { exit: func(status: result); }
    interface run { run: func() -> result; }
}
package wasi:filesystem@0.2.0 {
    interface types {
        flags descriptor-flags {
            read, write, file-integrity-sync, data-integrity-sync, requested-write-sync, mutate-directory,
        }
        flags path-flags { symlink-follow }
        flags open-flags { create, directory, exclusive, truncate }
        enum error-code {
            access, would-block, already, bad-descriptor, busy, deadlock, quota, exist, file-too-large,
            illegal-byte-sequence, in-progress, interrupted, invalid, io, is-directory, loop,
            too-many-links, message-size, name-too-long, no-device, no-entry, no-lock,
            insufficient-memory, insufficient-space, not-directory, not-empty, not-recoverable,
            unsupported, no-tty, no-such-device, overflow, not-permitted, pipe, read-only, invalid-seek,
            text-file-busy, cross-device,
        }
        resource descriptor {
            open-at: func(path-flags: path-flags, path: string, open-flags: open-flags, %flags: descriptor-flags) -> result<descriptor, error-code>;
        }
    }
    interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }
}
";

/// Core imports to write to standard output and error, and functions that do: `$say` and `$warn`
/// (address, length).
pub(crate) const WRITES: &str = r#"
  (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $get_stdout (result i32)))
  (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $get_stderr (result i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop_stream (param i32)))
"#;

pub(crate) const WRITERS: &str = r#"
  (func $say (param $at i32) (param $len i32) (local $stream i32)
    (local.set $stream (call $get_stdout))
    (call $write (local.get $stream) (local.get $at) (local.get $len) (i32.const 4096))
    (call $drop_stream (local.get $stream)))
  (func $warn (param $at i32) (param $len i32) (local $stream i32)
    (local.set $stream (call $get_stderr))
    (call $write (local.get $stream) (local.get $at) (local.get $len) (i32.const 4096))
    (call $drop_stream (local.get $stream)))
"#;

/// Returns no values.
pub(crate) fn no_op() -> Vec<u8> {
    program("", "", "call $none")
}

/// Never ends.
pub(crate) fn busy_loop() -> Vec<u8> {
    program("", "", "(loop $again (br $again)) unreachable")
}

/// Returns, as a value of 4 bytes, how many calls its sandbox has served.
pub(crate) fn counter() -> Vec<u8> {
    program(
        "",
        "(global $calls (mut i32) (i32.const 0))",
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store (i32.const 512) (global.get $calls))
         (call $one (i32.const 512) (i32.const 4))",
    )
}

/// A guest that does not give the invocation back that was lent to it.
pub(crate) fn core_that_keeps_its_invocation() -> String {
    core("", "", "call $none", "call $none", "call $none")
        .replace("local.get $invocation call $drop_invocation", "")
}
