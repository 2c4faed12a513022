//! Kind 8: random calls of the host, from a component that says what it likes.
//!
//! One component calls what it is told: its argument is a program, made from a seed, of which function to call with
//! which numbers. So handles are of the wrong kind, dropped or nobody's, pointers lie, lengths have no bound, and what
//! the host asks for memory answers anything.

use std::fmt::Write;
use std::path::Path;

use engine_client::messages::{JobLimits, JobSpec, JobState};
use engine_client::{Client, ComponentId, spec};
use engine_tests::Up;
use futures::{StreamExt, stream};
use serde_json::json;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{
    Function, LiftLowerAbi, ManglingAndAbi, Resolve, ResourceIntrinsic, TypeDefKind, WasmExport,
    WasmExportKind, WasmImport, WorldItem, WorldKey,
};

use super::floods::resident_bytes;
use super::ids::Random;
use super::{batches, runtime, two, unharmed};

const MANGLING: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
/// Pages of memory that the component begins with; it may grow.
const PAGES: u64 = 16;
/// Jobs at once.
const LANES: usize = 8;
const SEED: u64 = 2_026;

fn wasm(kind: WasmType) -> &'static str {
    match kind {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

/// The next number of the program, as this type.
fn read(kind: WasmType) -> &'static str {
    match wasm(kind) {
        "i32" => "(i32.wrap_i64 (call $next))",
        "f32" => "(f32.reinterpret_i32 (i32.wrap_i64 (call $next)))",
        "f64" => "(f64.reinterpret_i64 (call $next))",
        _ => "(call $next)",
    }
}

/// A function of the host: where it is, and what it takes and gives.
struct Import {
    module: String,
    name: String,
    takes: Vec<WasmType>,
    gives: Vec<WasmType>,
}

fn imports(resolve: &Resolve, world: wit_parser::WorldId) -> Vec<Import> {
    let mut found = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else { continue };
        for function in resolve.interfaces[*id].functions.values() {
            let import = WasmImport::Func { interface: Some(key), func: function };
            let (module, name) = resolve.wasm_import_name(MANGLING, import);
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            found.push(Import { module, name, takes: signature.params, gives: signature.results });
        }
        for resource in resolve.interfaces[*id].types.values() {
            if matches!(resolve.types[*resource].kind, TypeDefKind::Resource) {
                let intrinsic = ResourceIntrinsic::ImportedDrop;
                let import =
                    WasmImport::ResourceIntrinsic { interface: Some(key), resource: *resource, intrinsic };
                let (module, name) = resolve.wasm_import_name(MANGLING, import);
                found.push(Import { module, name, takes: vec![WasmType::I32], gives: Vec::new() });
            }
        }
    }
    found
}

fn export(resolve: &Resolve, key: &WorldKey, function: &Function, body: &str) -> String {
    let kind = WasmExportKind::Normal;
    let name =
        resolve.wasm_export_name(MANGLING, WasmExport::Func { interface: Some(key), func: function, kind });
    let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
    let list = |what: &str, kinds: &[WasmType]| {
        kinds.iter().map(|kind| format!("({what} {})", wasm(*kind))).collect::<String>()
    };
    format!(
        "(func (export {name:?}) {} {} {body})\n",
        list("param", &signature.params),
        list("result", &signature.results)
    )
}

/// What the host is given when it asks for memory, by the mode that the program has chosen: room, nothing, room that
/// is not aligned, what is beyond all memory, a trap, or a call of the host from within.
const REALLOC: &str = r#"
    (func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
        (local $at i32)
        (if (i32.eq (global.get $mode) (i32.const 1)) (then (return (i32.const 0))))
        (if (i32.eq (global.get $mode) (i32.const 2)) (then (return (i32.const 4099))))
        (if (i32.eq (global.get $mode) (i32.const 3)) (then (return (i32.const -8))))
        (if (i32.eq (global.get $mode) (i32.const 4)) (then unreachable))
        (if (i32.eq (global.get $mode) (i32.const 5)) (then (call $within (i32.const 1) (i32.const 64))))
        (if (i32.eq (global.get $mode) (i32.const 6)) (then (drop (memory.grow (i32.const 1)))))
        (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
        (global.set $heap (i32.add (local.get $at) (local.get $new)))
        (local.get $at))"#;

/// The component, and what it can call.
fn component() -> (Vec<u8>, Vec<Import>) {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/compute.wit");
    let mut resolve = Resolve::default();
    let package = resolve.push_file(wit).expect("the WIT of the engine");
    let world = resolve.select_world(&[package], Some("component")).expect("its world");
    let imports = imports(&resolve, world);
    let mut text = String::from("(module\n");
    for (at, import) in imports.iter().enumerate() {
        let list = |what: &str, kinds: &[WasmType]| {
            kinds.iter().map(|kind| format!("({what} {})", wasm(*kind))).collect::<String>()
        };
        let Import { module, name, takes, gives } = import;
        let (takes, gives) = (list("param", takes), list("result", gives));
        let _ = writeln!(text, "(import {module:?} {name:?} (func $f{at} {takes} {gives}))");
    }
    let within = imports.iter().position(|import| import.name == "[method]object.id").expect("it is there");
    let _ = writeln!(text, "(memory (export \"memory\") {PAGES} 400)");
    text.push_str(
        r#"(global $at (mut i32) (i32.const 0)) (global $heap (mut i32) (i32.const 65536))
        (global $mode (mut i32) (i32.const 0))
        (func $next (result i64) (local $n i64) (local $digits i32)
            (local.set $digits (i32.const 16))
            (loop $more
                (local.set $n (i64.or (i64.shl (local.get $n) (i64.const 4))
                    (i64.extend_i32_u (i32.sub (i32.load8_u (global.get $at)) (i32.const 97)))))
                (global.set $at (i32.add (global.get $at) (i32.const 1)))
                (local.set $digits (i32.sub (local.get $digits) (i32.const 1)))
                (br_if $more (local.get $digits)))
            (local.get $n))
"#,
    );
    let _ = writeln!(text, "(func $within (param i32 i32) (call $f{within} (local.get 0) (local.get 1)))");
    text.push_str(REALLOC);
    // One call of the program: a table of all of them.
    text.push_str("(func $step\n");
    for at in (0..=imports.len()).rev() {
        let _ = writeln!(text, "(block $b{at}");
    }
    let table: String = (0..=imports.len()).map(|at| format!("$b{at} ")).collect();
    let _ = writeln!(text, "(br_table {table} (i32.wrap_i64 (call $next)))");
    for (at, import) in imports.iter().enumerate() {
        let takes: String = import.takes.iter().map(|kind| read(*kind)).collect();
        let dropped = "drop ".repeat(import.gives.len());
        let _ = writeln!(text, ") (call $f{at} {takes}) {dropped} return");
    }
    // One more, which chooses how memory is given.
    text.push_str(") (global.set $mode (i32.wrap_i64 (call $next))))\n");
    for (key, item) in &resolve.worlds[world].exports {
        let WorldItem::Interface { id, .. } = item else { continue };
        for function in resolve.interfaces[*id].functions.values() {
            let body = match function.name.as_str() {
                // The first argument is the program: how many calls, and each of them.
                "main" => {
                    "(local $left i64)
                    (global.set $at (i32.load (local.get 1)))
                    (local.set $left (call $next))
                    (block $end (loop $again
                        (br_if $end (i64.eqz (local.get $left)))
                        (local.set $left (i64.sub (local.get $left) (i64.const 1)))
                        (call $step)
                        (br $again)))
                    (memory.fill (i32.const 0) (i32.const 0) (i32.const 256))
                    (i32.const 0)"
                }
                _ => "unreachable",
            };
            text.push_str(&export(&resolve, key, function, body));
        }
    }
    text.push(')');
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("its types");
    let encoder = ComponentEncoder::default().module(&module).expect("a module");
    (encoder.validate(true).encode().expect("a component"), imports)
}

/// A number that may be a handle, a pointer, a length, a flag, or a time.
fn number(random: &mut Random) -> u64 {
    let end = PAGES << 16;
    match random.below(12) {
        0..4 => random.below(8),
        4 => random.below(64),
        5 => random.one_of(&[0, 8, 1_024, 4_096, 4_097, 70_000]),
        6 => end - random.below(24),
        7 => random.below(end),
        8 => random.one_of(&[
            u64::from(u32::MAX),
            u64::MAX,
            1 << 31,
            1 << 63,
            u64::from(u32::MAX) - 7,
            1 << 40,
        ]),
        9 => random.below(1 << 20),
        10 => u64::from(random.next() as u32),
        _ => random.next(),
    }
}

fn program(seed: u64, imports: &[Import]) -> String {
    let mut random = Random(seed);
    let calls = 1 + random.below(10);
    let mut numbers = vec![calls];
    for _ in 0..calls {
        let function = random.below(imports.len() as u64 + 1);
        numbers.push(function);
        match imports.get(function as usize) {
            Some(import) => numbers.extend(import.takes.iter().map(|_| number(&mut random))),
            None => numbers.push(random.below(8)),
        }
    }
    let digits = numbers.iter().map(|number| format!("{number:016x}")).collect::<String>();
    digits.chars().map(|digit| char::from(b'a' + digit.to_digit(16).expect("a digit") as u8)).collect()
}

/// How a job may end that does what it likes: not by a fault of the engine.
const ENDS: [&str; 8] = [
    "TRAPPED",
    "TASK_FAILED",
    "OUT_OF_MEMORY",
    "DEADLINE_EXCEEDED",
    "INVALID_ARGUMENT",
    "LIMIT_EXCEEDED",
    "QUOTA_EXCEEDED",
    "STORE_FULL",
];

async fn run(client: &Client, component: ComponentId, program: String, seed: u64) {
    let deadline = engine_proto::convert::duration(std::time::Duration::from_secs(2));
    let limits = JobLimits { deadline: Some(deadline), ..JobLimits::default() };
    let spec = JobSpec { limits: Some(limits), ..spec::run(component, [program]) };
    let view = client.submit(spec).await.expect("it is taken").wait().await.expect("it ends");
    let code = view.error.as_ref().map_or("", |error| error.code.as_str());
    let is_named = view.state() == JobState::Succeeded || ENDS.contains(&code);
    assert!(is_named, "seed {seed}: {view:?}");
}

// contract: E2, I2
#[test]
fn random_calls_of_the_host_end_in_named_ways_and_harm_nobody() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let (bytes, imports) = component();
    let before = resident_bytes(up.process_id());
    let runtime = runtime();
    let client = runtime.block_on(red.client());
    let component = runtime.block_on(client.upload(bytes)).expect("it is taken");
    batches("programs of random calls ran", 800, 1_000_000, 400, |first, count| {
        runtime.block_on(async {
            let seeds = (first..first + count).map(|n| SEED.wrapping_mul(1_000_003).wrapping_add(n));
            let runs = seeds.map(|seed| run(&client, component, program(seed, &imports), seed));
            stream::iter(runs).buffer_unordered(LANES).collect::<Vec<()>>().await;
        });
        assert_eq!(blue.attacks("honest", &[json!(20)])["right"], 20);
    });
    let grown = resident_bytes(up.process_id()).saturating_sub(before);
    assert!(grown < 1 << 30, "the engine took {grown} bytes");
    unharmed(up);
}
