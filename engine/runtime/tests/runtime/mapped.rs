//! Large objects in a guest's memory without a copy, and that nobody else ever sees them there.

use std::sync::Arc;
use std::time::Duration;

use engine_core::options::Returns;
use engine_core::resources::Quantity;
use engine_core::work::{Call, CallReport, Life, StopReason};
use engine_core::{ActorId, Codec, ErrorCode, Handle, ObjectId, TaskId, Value};
use engine_objects::Store;
use engine_runtime::Options;

use crate::{Bench, bytes, guests, options};

const MIB: usize = 1 << 20;

const IMPORTS: &str = r#"
  (import "engine:compute/types@0.1.0" "[method]object.get" (func $get (param i32 i32 i64 i32)))
  (import "engine:compute/types@0.1.0" "[method]object.read" (func $read (param i32 i64 i64 i32 i64 i32)))
  (import "engine:compute/context@0.1.0" "nodes" (func $nodes (param i32)))
"#;

/// The sum of bytes, as 8 bytes at 512; and how many bytes above the first two pages of the memory
/// are not zero, after it has grown by 16 MiB.
const ITEMS: &str = r#"
  (func $sum (param $at i32) (param $len i32) (result i64) (local $end i32) (local $sum i64)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load8_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
    (local.get $sum))
  (func $sums (param $values i32) (param $count i32) (result i32) (local $sum i64)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $sum (i64.add (local.get $sum)
        (call $sum (i32.load offset=4 (local.get $values)) (i32.load offset=8 (local.get $values)))))
      (local.set $values (i32.add (local.get $values) (i32.const 20)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (i64.store (i32.const 512) (local.get $sum))
    (call $one (i32.const 512) (i32.const 8)))
  (func $strange (result i32) (local $at i32) (local $count i64)
    (drop (memory.grow (i32.const 256)))
    (local.set $at (i32.const 131072))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (i32.mul (memory.size) (i32.const 65536))))
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then
        (local.set $count (i64.add (local.get $count) (i64.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next)))
    (i64.store (i32.const 512) (local.get $count))
    (call $one (i32.const 512) (i32.const 8)))
  (func $object_of (param $arguments i32) (result i32)
    (i32.load offset=4 (i32.load offset=12 (local.get $arguments))))
"#;

/// What it does is the first letter of the function's name; it writes into the first byte and the
/// last of its first argument, unless it only looks.
const BODY: &str = r#"
    (local $does i32) (local $at i32)
    (local.set $does (i32.load8_u (local.get $name)))
    (if (i32.eq (local.get $does) (i32.const 115)) (then (return (call $strange)))) ;; s
    (if (i32.eq (local.get $does) (i32.const 110)) (then (return ;; n
      (call $sums (local.get $arguments) (local.get $arguments_len)))))
    (local.set $at (i32.load offset=4 (local.get $arguments)))
    (i32.store8 (local.get $at) (i32.xor (i32.load8_u (local.get $at)) (i32.const 255)))
    (local.set $at (i32.sub (i32.add (local.get $at) (i32.load offset=8 (local.get $arguments))) (i32.const 1)))
    (i32.store8 (local.get $at) (i32.xor (i32.load8_u (local.get $at)) (i32.const 255)))
    (if (i32.eq (local.get $does) (i32.const 101)) (then ;; e
      (return (call $failure (i32.const 16) (i32.const 5)))))
    (if (i32.eq (local.get $does) (i32.const 116)) (then unreachable)) ;; t
    (if (i32.eq (local.get $does) (i32.const 108)) (then (loop $again (br $again)))) ;; l
    (if (i32.eq (local.get $does) (i32.const 112)) (then (call $nodes (i32.const 4096)))) ;; p
    (if (i32.eq (local.get $does) (i32.const 119)) (then ;; w
      (call $get (call $object_of (local.get $arguments)) (i32.const 0) (i64.const 0) (i32.const 4096))))
    (call $sums (local.get $arguments) (local.get $arguments_len))
"#;

fn guest() -> Vec<u8> {
    guests::program(IMPORTS, ITEMS, BODY)
}

/// A runtime with room for one sandbox at a time.
fn one_slot() -> Bench {
    Bench::with(Options { instances_max: 1, ..options() }, |_| {})
}

fn store() -> Store {
    let options = engine_objects::Options { arena_bytes_max: 64 << 20, ..engine_objects::Options::default() };
    Store::new(&options).unwrap()
}

/// Bytes none of which is zero, others for each seed.
fn pattern(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|at| ((at / 7 + at / 4096 + seed * 31) % 251) as u8 + 1).collect()
}

fn large(store: &Store, bytes: &[u8]) -> Value {
    Value {
        codec: Codec::Raw,
        size: bytes.len() as u64,
        handles: engine_core::value::no_handles(),
        place: store.place(bytes.to_vec()).unwrap(),
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

fn call(bench: &Bench, name: &str, arguments: Vec<Value>) -> Call {
    let mut call = bench.run(name);
    call.returns = Returns::Fixed(1);
    call.arguments = arguments;
    call
}

fn number(report: &CallReport) -> u64 {
    u64::from_le_bytes(bytes(report)[0].as_slice().try_into().unwrap())
}

/// Runs `name` of [`guest`] to its end.
fn number_of(bench: &Bench, name: &str, arguments: Vec<Value>) -> u64 {
    let component = bench.load(&guest());
    number(&bench.end(bench.of(component, call(bench, name, arguments))).0)
}

fn mapped(bench: &Bench) -> u64 {
    bench.runtime.counters().mapped_objects
}

fn object() -> ObjectId {
    TaskId::from_bits(77, 0).output(0)
}

// contract: O3
#[test]
fn a_large_object_is_mapped_and_what_a_guest_writes_stays_its_own() {
    let (bench, store) = (one_slot(), store());
    for size in [MIB, 8 * MIB, MIB + 1, MIB + 4095, 3 * MIB + 5, 8 * MIB - 1] {
        let before = mapped(&bench);
        let content = pattern(size, size);
        let value = large(&store, &content);
        let mut written = content.clone();
        written[0] ^= 255;
        written[size - 1] ^= 255;
        for _ in 0..2 {
            assert_eq!(number_of(&bench, "read", vec![value.clone()]), sum(&written), "{size}");
            assert_eq!(number_of(&bench, "not", vec![value.clone()]), sum(&content), "{size}");
        }
        assert_eq!(mapped(&bench) - before, 4, "{size}");
        assert!(engine_objects::bytes(&value) == content, "{size}");
    }
}

#[test]
fn small_objects_are_copied() {
    let (bench, store) = (one_slot(), store());
    let content = pattern(MIB - 1, 0);
    assert_eq!(number_of(&bench, "not", vec![large(&store, &content)]), sum(&content));
    assert_eq!(mapped(&bench), 0);
}

/// Runs a call to an end of its kind.
type Ending<'a> = &'a dyn Fn(&Bench, Call);

/// After each way to end, neither the same component nor another one finds anything in the slot.
#[test]
fn however_a_sandbox_ends_the_next_one_sees_nothing_of_its_objects() {
    let store = store();
    let free = store.usage().arena_free_bytes;
    let other = guests::program(IMPORTS, &format!("{ITEMS} (data (i32.const 900) \"x\")"), BODY);
    let endings: [(&str, Ending<'_>); 8] = [
        ("returns", &|bench, call| {
            assert!(bench.end(bench.of(bench.load(&guest()), call)).0.result.is_ok());
        }),
        ("error", &|bench, call| {
            let error = bench.end(bench.of(bench.load(&guest()), call)).0.result.unwrap_err();
            assert_eq!(error.code(), ErrorCode::TaskFailed);
        }),
        ("trap", &|bench, call| {
            let error = bench.end(bench.of(bench.load(&guest()), call)).0.result.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Trapped);
        }),
        ("wait", &|bench, call| {
            let instance = bench.start(bench.of(bench.load(&guest()), call));
            bench.host.until("the guest waits", |state| state.blocked == 1);
            bench.runtime.stop(instance, StopReason::Cancelled);
            assert!(bench.events.gone().calls.is_empty());
        }),
        ("loop", &|bench, call| {
            let instance = bench.start(bench.of(bench.load(&guest()), call));
            while mapped(bench) == 0 {
                std::thread::yield_now();
            }
            bench.runtime.stop(instance, StopReason::Deadline);
            assert!(bench.events.gone().calls.is_empty());
        }),
        ("loop", &|bench, mut call| {
            call.cpu_time = Some(Duration::from_millis(20));
            let error = bench.end(bench.of(bench.load(&guest()), call)).0.result.unwrap_err();
            assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
        }),
        ("panic of the host", &|bench, call| {
            let error = bench.end(bench.of(bench.load(&guest()), call)).0.result.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Internal);
        }),
        ("returns too much", &|bench, mut call| {
            call.returns = Returns::Fixed(9);
            assert!(bench.end(bench.of(bench.load(&guest()), call)).0.result.is_err());
        }),
    ];
    let mut seen = Vec::new();
    for (name, ending) in endings {
        for prober in [&guest(), &other] {
            let bench = one_slot();
            let prober = bench.load(prober);
            let mut argument = large(&store, &pattern(8 * MIB, 0));
            argument.handles = Arc::from([Handle::Object(object())]);
            ending(&bench, call(&bench, name, vec![argument]));
            assert_eq!(mapped(&bench), 1, "{name}");
            assert_eq!(store.usage().arena_free_bytes, free, "{name}: the object is free");
            let words = number(&bench.end(bench.of(prober, call(&bench, "strange", Vec::new()))).0);
            if words > 0 {
                seen.push((name, words));
            }
        }
    }
    assert!(seen.is_empty(), "words of another's object that the next sandbox saw: {seen:?}");
}

#[test]
fn an_object_is_pinned_until_its_sandbox_is_gone() {
    let (bench, store) = (one_slot(), store());
    let free = store.usage().arena_free_bytes;
    // Gets the first object, then waits for the second, then looks at the first.
    let body = r#"
      (local $handles i32) (local $at i32) (local $len i32)
      (local.set $handles (i32.load offset=12 (local.get $arguments)))
      (call $get (i32.load offset=4 (local.get $handles)) (i32.const 0) (i64.const 0) (i32.const 4096))
      (local.set $at (i32.load (i32.const 4104)))
      (local.set $len (i32.load (i32.const 4108)))
      (call $get (i32.load offset=12 (local.get $handles)) (i32.const 0) (i64.const 0) (i32.const 4096))
      (i64.store (i32.const 512) (call $sum (local.get $at) (local.get $len)))
      (call $one (i32.const 512) (i32.const 8))"#;
    let component = bench.load(&guests::program(IMPORTS, ITEMS, body));
    let second = TaskId::from_bits(77, 0).output(1);
    let content = pattern(8 * MIB, 1);
    bench.host.resolve(object(), Ok(large(&store, &content)));
    let mut argument = Value::empty();
    argument.handles = Arc::from([Handle::Object(object()), Handle::Object(second)]);
    bench.start(bench.of(component, call(&bench, "f", vec![argument])));
    bench.host.until("the guest waits", |state| state.blocked == 1);
    assert_eq!(mapped(&bench), 1);
    // The node forgets the object, and stores another one.
    bench.host.state.lock().outcomes.clear();
    let other = large(&store, &pattern(8 * MIB, 2));
    assert_eq!(free - store.usage().arena_free_bytes, 16 * MIB);
    bench.host.resolve(second, Ok(Value::empty()));
    assert_eq!(number(&bench.events.gone().calls[0]), sum(&content));
    drop(other);
    assert_eq!(store.usage().arena_free_bytes, free);
}

#[test]
fn more_objects_than_may_be_mapped_are_copied() {
    let store = store();
    let contents: Vec<_> = (0..6).map(|seed| pattern(MIB + 77, seed)).collect();
    let expected = contents.iter().fold(0, |all: u64, content| all.wrapping_add(sum(content)));
    for (mapped_objects_max, mapped_objects_of_all_max, expected_mapped) in
        [(3, 100, 3), (100, 2, 2), (0, 100, 0), (100, 100, 6)]
    {
        let options = Options { mapped_objects_max, mapped_objects_of_all_max, ..options() };
        let bench = Bench::with(options, |_| {});
        for round in 1..4 {
            let arguments = contents.iter().map(|content| large(&store, content)).collect();
            assert_eq!(number_of(&bench, "not", arguments), expected);
            assert_eq!(mapped(&bench), round * expected_mapped);
        }
    }
}

// contract: O3
#[test]
fn actors_and_warm_sandboxes_get_copies() {
    let (bench, store) = (Bench::new(), store());
    let free = store.usage().arena_free_bytes;
    let component = bench.load(&guest());
    let content = pattern(2 * MIB + 3, 0);
    let actor = Life::Actor {
        actor: ActorId::from_bits(5, 0),
        max_concurrency: 1,
        was_restarted: false,
        cpus: Quantity::ZERO,
    };
    for life in [Life::Warm, actor] {
        let mut start = bench.of(component, call(&bench, "not", vec![large(&store, &content)]));
        start.life = life;
        let instance = bench.start(start);
        assert_eq!(number(&bench.events.finished()), sum(&content));
        assert_eq!(store.usage().arena_free_bytes, free, "nothing is pinned between two calls");
        bench.runtime.stop(instance, StopReason::Retired);
        bench.events.gone();
    }
    assert_eq!(mapped(&bench), 0);
}

/// An allocator that looks at the size alone is legal: nothing may trap for it.
#[test]
fn a_guest_whose_allocator_ignores_the_alignment_gets_copies() {
    let (bench, store) = (one_slot(), store());
    let core = guests::core(IMPORTS, ITEMS, BODY, "call $none", "call $none")
        .replace(guests::ALIGNS, "(local.set $align (i32.const 16))");
    let component = bench.load(&guests::encode("component", &core));
    for seed in 0..3 {
        let content = pattern(2 * MIB + 9, seed);
        let report = bench.end(bench.of(component, call(&bench, "not", vec![large(&store, &content)]))).0;
        assert_eq!(number(&report), sum(&content));
    }
    assert_eq!(mapped(&bench), 0);
}

/// The pool keeps the first image of a memory for the next sandbox of the component: what lies there
/// must come back, whatever buffer a guest names.
#[test]
fn nothing_is_mapped_over_the_first_image_of_a_memory() {
    let (bench, store) = (one_slot(), store());
    let content = pattern(MIB, 0);
    let body = r#"
      (i64.store (i32.const 512) (call $sum (i32.const 1048576) (i32.const 1048576)))
      (i64.store (i32.const 520) (call $sum (i32.load offset=4 (local.get $arguments)) (i32.const 1048576)))
      (call $one (i32.const 512) (i32.const 16))"#;
    // Its own data is where it lets the host write: the second MiB of its memory, which begins with 3.
    let core = guests::core(IMPORTS, ITEMS, body, "call $none", "call $none")
        .replace("(export \"memory\") 2)", "(export \"memory\") 48)")
        .replace(
            guests::ALIGNS,
            "(if (i32.ge_u (local.get $len) (i32.const 1048576)) (then (return (i32.const 1048576))))",
        );
    let letters = "abcdefgh".repeat(MIB / 8);
    let core = core.replace(
        "(data (i32.const 16)",
        &format!("(data (i32.const 1048576) \"{letters}\") (data (i32.const 16)"),
    );
    let component = bench.load(&guests::encode("component", &core));
    let plain = bench.end(bench.of(component, call(&bench, "f", vec![large(&store, b"small")]))).0;
    let own = u64::from_le_bytes(bytes(&plain)[0][..8].try_into().unwrap());
    assert_eq!(own, sum(letters.as_bytes()));
    for _ in 0..2 {
        let report = bench.end(bench.of(component, call(&bench, "f", vec![large(&store, &content)]))).0;
        let both = &bytes(&report)[0];
        assert_eq!(both[..8], sum(&content).to_le_bytes(), "it is there for this guest");
        let report = bench.end(bench.of(component, call(&bench, "f", vec![large(&store, b"small")]))).0;
        assert_eq!(bytes(&report)[0][..8], own.to_le_bytes(), "and not for the next one");
    }
    assert_eq!(mapped(&bench), 0);
}

/// Gets the objects of its argument one after the other into the same buffer; the sums of all.
fn one_buffer() -> Vec<u8> {
    let body = r#"
      (local $sum i64) (local $at i32) (local $left i32) (local $begin i32)
      (local.set $at (i32.load offset=12 (local.get $arguments)))
      (local.set $left (i32.load offset=16 (local.get $arguments)))
      (local.set $begin (i32.add (global.get $heap) (i32.const 4096)))
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (global.set $heap (local.get $begin))
        (call $get (i32.load offset=4 (local.get $at)) (i32.const 0) (i64.const 0) (i32.const 4096))
        (local.set $sum (i64.add (local.get $sum) (call $sum (i32.load (i32.const 4104)) (i32.load (i32.const 4108)))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
      (i64.store (i32.const 512) (local.get $sum))
      (call $one (i32.const 512) (i32.const 8))"#;
    guests::program(IMPORTS, ITEMS, body)
}

#[test]
fn a_buffer_that_the_guest_uses_again_shows_what_was_put_there_last() {
    let store = store();
    let free = store.usage().arena_free_bytes;
    // The third object is larger and the last ones smaller than what lies there already.
    let contents: Vec<_> =
        [2, 2, 5, 1, 2].iter().zip(1..).map(|(size, seed)| pattern(size * MIB + 11, seed)).collect();
    let expected = contents.iter().fold(0, |all: u64, content| all.wrapping_add(sum(content)));
    for (mapped_objects_max, expected_mapped) in [(64, 5), (2, 5), (1, 2)] {
        let bench = Bench::with(Options { mapped_objects_max, instances_max: 1, ..options() }, |_| {});
        let component = bench.load(&one_buffer());
        let ids: Vec<_> = (0..5).map(|index| TaskId::from_bits(78, 0).output(index)).collect();
        for (id, content) in ids.iter().zip(&contents) {
            bench.host.resolve(*id, Ok(large(&store, content)));
        }
        let mut argument = Value::empty();
        argument.handles = ids.iter().map(|id| Handle::Object(*id)).collect();
        let report = bench.end(bench.of(component, call(&bench, "f", vec![argument]))).0;
        assert_eq!(number(&report), expected, "{mapped_objects_max}");
        assert_eq!(mapped(&bench), expected_mapped, "{mapped_objects_max}");
        assert_eq!(number_of(&bench, "strange", Vec::new()), 0);
        bench.host.state.lock().outcomes.clear();
        assert_eq!(store.usage().arena_free_bytes, free);
    }
}

// contract: O3
#[test]
fn ranges_are_read_without_the_whole() {
    let (bench, store) = (one_slot(), store());
    let body = r#"
      (local $ask i32)
      (local.set $ask (i32.load offset=4 (local.get $arguments)))
      (call $read (call $object_of (local.get $arguments)) (i64.load (local.get $ask))
        (i64.load offset=8 (local.get $ask)) (i32.const 0) (i64.const 0) (i32.const 4096))
      (i64.store (i32.const 512) (call $sum (i32.load (i32.const 4100)) (i32.load (i32.const 4104))))
      (call $one (i32.const 512) (i32.const 8))"#;
    let component = bench.load(&guests::program(IMPORTS, ITEMS, body));
    let content = pattern(8 * MIB + 5, 3);
    let end = content.len();
    bench.host.resolve(object(), Ok(large(&store, &content)));
    // Offset, length, and whether whole pages begin there.
    for (offset, length, is_mapped) in [
        (0, end, true),
        (12 << 10, 2 * MIB, true),
        (5, 2 * MIB, false),
        (4096, 100, false),
        (end - 3, 100, false),
        (end + 7, 100, false),
        (4 * MIB, usize::MAX, true),
    ] {
        let before = mapped(&bench);
        let ask: Vec<u8> = [offset as u64, length as u64].iter().flat_map(|n| n.to_le_bytes()).collect();
        let mut argument = large(&store, &ask);
        argument.handles = Arc::from([Handle::Object(object())]);
        let report = bench.end(bench.of(component, call(&bench, "f", vec![argument]))).0;
        let begin = offset.min(end);
        let part = &content[begin..begin.saturating_add(length).min(end)];
        assert_eq!(number(&report), sum(part), "{offset} {length}");
        assert_eq!(mapped(&bench) - before, u64::from(is_mapped), "{offset} {length}");
    }
}
