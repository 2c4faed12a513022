//! What guests ask of the node.

use std::sync::Arc;

use engine_core::options::Returns;
use engine_core::resources::Quantity;
use engine_core::work::{Call, Entry, Life, StopReason};
use engine_core::{ActorId, Codec, Error, ErrorCode, Handle, ObjectId, TaskId};

use engine_runtime::Options;

use crate::{Bench, bytes, guests, options, value};

const OBJECT: &str = r#"
  (import "engine:compute/types@0.1.0" "[method]object.get" (func $get (param i32 i32 i64 i32)))
  (import "engine:compute/types@0.1.0" "[resource-drop]object" (func $drop_object (param i32)))
"#;

/// Gets the object inside its first argument; `timeout` as flag and nanoseconds. Returns its bytes, or
/// the message of the error as a failure.
fn getter(timeout: &str) -> Vec<u8> {
    // Argument 0: its handles are at its offset 12; each is a tag and a handle at offset 4.
    let body = format!(
        "(local $object i32)
        (local.set $object (i32.load offset=4 (i32.load offset=12 (local.get $arguments))))
        (call $get (local.get $object) {timeout} (i32.const 4096))
        (if (i32.load8_u (i32.const 4096)) (then
            (return (call $failure (i32.load (i32.const 4116)) (i32.load (i32.const 4120))))))
        (call $one (i32.load (i32.const 4104)) (i32.load (i32.const 4108)))"
    );
    guests::program(OBJECT, "", &body)
}

fn with_reference(bench: &Bench, object: ObjectId) -> Call {
    let mut argument = value(Codec::Msgpack, b"");
    argument.handles = Arc::from([Handle::Object(object)]);
    let mut call = bench.run("f");
    call.returns = Returns::Fixed(1);
    call.arguments = vec![argument];
    call
}

fn object() -> ObjectId {
    TaskId::from_bits(77, 0).output(0)
}

// contract: O1
#[test]
fn get_waits_for_the_value() {
    let bench = Bench::new();
    let component = bench.load(&getter("(i32.const 0) (i64.const 0)"));
    bench.start(bench.of(component, with_reference(&bench, object())));
    bench.host.until("the guest waits", |state| state.blocked == 1);
    bench.host.resolve(object(), Ok(value(Codec::Raw, b"the value")));
    let report = bench.events.gone();
    assert_eq!(bytes(&report.calls[0]), [b"the value"]);
}

// contract: O1
#[test]
fn get_polls_with_a_timeout_of_zero() {
    let bench = Bench::new();
    let component = bench.load(&getter("(i32.const 1) (i64.const 0)"));
    let error = bench.end(bench.of(component, with_reference(&bench, object()))).0.result.unwrap_err();
    assert!(error.message().contains("was not there"), "{error}");
    bench.host.resolve(object(), Ok(value(Codec::Raw, b"now")));
    assert_eq!(bytes(&bench.end(bench.of(component, with_reference(&bench, object()))).0), [b"now"]);
}

// contract: O1
#[test]
fn get_gives_up_at_its_timeout() {
    let bench = Bench::new();
    let component = bench.load(&getter("(i32.const 1) (i64.const 1000000)"));
    let error = bench.end(bench.of(component, with_reference(&bench, object()))).0.result.unwrap_err();
    assert!(error.message().contains("after 1ms"), "{error}");
}

// contract: T6
#[test]
fn get_raises_the_failure_of_what_it_waits_for() {
    let bench = Bench::new();
    let component = bench.load(&getter("(i32.const 0) (i64.const 0)"));
    bench.host.resolve(object(), Err(Arc::new(Error::new(ErrorCode::TaskFailed, "broken upstream"))));
    let error = bench.end(bench.of(component, with_reference(&bench, object()))).0.result.unwrap_err();
    assert_eq!(error.message(), "broken upstream");
}

// contract: T4
#[test]
fn a_guest_that_waits_is_stopped() {
    let bench = Bench::new();
    let component = bench.load(&getter("(i32.const 0) (i64.const 0)"));
    let instance = bench.start(bench.of(component, with_reference(&bench, object())));
    bench.host.until("the guest waits", |state| state.blocked == 1);
    bench.runtime.stop(instance, StopReason::Cancelled);
    let report = bench.events.gone();
    assert!(report.calls.is_empty());
    assert_eq!(bench.runtime.counters().live_instances, 0);
}

// contract: O6
#[test]
fn handles_are_taken_and_given_back() {
    let bench = Bench::new();
    let imports = format!(
        r#"{OBJECT} (import "engine:compute/types@0.1.0" "[method]object.duplicate" (func $duplicate (param i32) (result i32)))"#
    );
    // Duplicates its object and drops both: one handle is taken and, in the end, given back.
    let body = "(local $object i32)
        (local.set $object (i32.load offset=4 (i32.load offset=12 (local.get $arguments))))
        (call $drop_object (call $duplicate (local.get $object)))
        (call $drop_object (local.get $object))
        call $none";
    let component = bench.load(&guests::program(&imports, "", body));
    let mut call = with_reference(&bench, object());
    call.returns = Returns::Fixed(0);
    let mut start = bench.of(component, call);
    start.life = Life::Warm;
    bench.start(start);
    assert!(bench.events.finished().result.is_ok());
    assert_eq!(bench.host.state.lock().held.get(&Handle::Object(object())), Some(&0));
}

#[test]
fn a_reference_that_is_returned_is_the_values_then() {
    let bench = Bench::new();
    // Returns its argument's handles in a value of no bytes.
    let body = "(drop (call $one (i32.const 0) (i32.const 0)))
        (i32.store (i32.const 1036) (i32.load offset=12 (local.get $arguments)))
        (i32.store (i32.const 1040) (i32.load offset=16 (local.get $arguments)))
        i32.const 2048";
    let component = bench.load(&guests::program("", "", body));
    let mut start = bench.of(component, with_reference(&bench, object()));
    start.life = Life::Warm;
    let instance = bench.start(start);
    let report = bench.events.finished();
    let values = report.result.unwrap();
    assert_eq!(&*values[0].handles, &[Handle::Object(object())]);
    bench.runtime.stop(instance, StopReason::Retired);
    bench.events.gone();
    assert_eq!(
        bench.host.state.lock().held.get(&Handle::Object(object())),
        Some(&0),
        "the guest's own is gone"
    );
}

#[test]
fn put_makes_an_object_of_the_bytes() {
    let bench = Bench::new();
    let imports =
        r#"(import "engine:compute/objects@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32 i32)))"#;
    let items = r#"(data (i32.const 600) "some bytes")"#;
    let body = "(call $put (i32.const 0) (i32.const 600) (i32.const 10) (i32.const 0) (i32.const 0) (i32.const 4096)) call $none";
    let (report, _) = bench.end_of(&guests::program(imports, items, body));
    assert!(report.result.is_ok());
    let state = bench.host.state.lock();
    let outcome = state.outcomes.values().next().unwrap().as_ref().unwrap();
    assert_eq!(engine_objects::bytes(outcome), b"some bytes");
}

/// `wait` for the objects inside its first argument; returns the indexes.
fn waiter(num_ready: u32, timeout: &str) -> Vec<u8> {
    let imports =
        r#"(import "engine:compute/objects@0.1.0" "wait" (func $wait (param i32 i32 i32 i32 i64 i32)))"#;
    // A list of handles is a list of waitables: tag 0 is an object in both.
    let body = format!(
        "(call $wait (i32.load offset=12 (local.get $arguments)) (i32.load offset=16 (local.get $arguments))
            (i32.const {num_ready}) {timeout} (i32.const 4096))
        (if (i32.load8_u (i32.const 4096)) (then
            (return (call $failure (i32.load (i32.const 4116)) (i32.load (i32.const 4120))))))
        (call $one (i32.load (i32.const 4100)) (i32.mul (i32.const 4) (i32.load (i32.const 4104))))"
    );
    guests::program(imports, "", &body)
}

fn waiting(bench: &Bench, objects: &[ObjectId], num_ready: u32, timeout: &str) -> Result<Vec<u8>, String> {
    let component = bench.load(&waiter(num_ready, timeout));
    let mut argument = value(Codec::Msgpack, b"");
    argument.handles = objects.iter().map(|object| Handle::Object(*object)).collect();
    let mut call = bench.run("f");
    call.returns = Returns::Fixed(1);
    call.arguments = vec![argument];
    let (report, _) = bench.end(bench.of(component, call));
    match &report.result {
        Ok(_) => Ok(bytes(&report).remove(0).chunks(4).map(|index| index[0]).collect()),
        Err(error) => Err(error.message().to_owned()),
    }
}

// contract: O2
#[test]
fn wait_returns_as_many_as_asked() {
    let bench = Bench::new();
    let objects: Vec<ObjectId> = (0..4).map(|index| TaskId::from_bits(9, 0).output(index)).collect();
    for index in [1, 2, 3] {
        bench.host.resolve(objects[index], Ok(value(Codec::Raw, b"")));
    }
    let forever = "(i32.const 0) (i64.const 0)";
    assert_eq!(
        waiting(&bench, &objects, 2, forever),
        Ok(vec![1, 2]),
        "exactly as many, though more are ready"
    );
    assert_eq!(
        waiting(&bench, &objects, 4, "(i32.const 1) (i64.const 1000000)"),
        Ok(vec![1, 2, 3]),
        "fewer at the timeout"
    );
    assert_eq!(waiting(&bench, &objects, 4, "(i32.const 1) (i64.const 0)"), Ok(vec![1, 2, 3]));
    assert_eq!(waiting(&bench, &[], 0, forever), Ok(vec![]));
    let twice = waiting(&bench, &[objects[0], objects[1], objects[0]], 1, forever).unwrap_err();
    assert!(twice.contains("index 2"), "{twice}");
    for wrong in [0, 5] {
        let error = waiting(&bench, &objects, wrong, forever).unwrap_err();
        assert!(error.contains("num_ready"), "{error}");
    }
}

#[test]
fn a_spawned_task_has_its_outputs() {
    let bench = Bench::new();
    // task-options has more than 16 flat values with the rest: all arguments lie in memory, zeroed but
    // for the function's name (offset 12) and the number of returns.
    let imports = r#"
      (import "engine:compute/tasks@0.1.0" "spawn" (func $spawn (param i32 i32)))
      (import "engine:compute/types@0.1.0" "[method]task.outputs" (func $outputs (param i32 i32)))
      (import "engine:compute/types@0.1.0" "[resource-drop]task" (func $drop_task (param i32)))"#;
    let items = r#"(data (i32.const 600) "word-count")"#;
    let body = "
        (memory.fill (i32.const 8192) (i32.const 0) (i32.const 512))
        (i32.store (i32.const 8204) (i32.const 600)) (i32.store (i32.const 8208) (i32.const 10))
        (call $spawn (i32.const 8192) (i32.const 4096))
        (if (i32.load8_u (i32.const 4096)) (then
            (return (call $failure (i32.load (i32.const 4116)) (i32.load (i32.const 4120))))))
        (call $outputs (i32.load (i32.const 4100)) (i32.const 4200))
        (call $drop_task (i32.load (i32.const 4100)))
        (call $one (i32.const 4204) (i32.const 4))";
    let component = bench.load(&guests::program(imports, items, body));
    let mut call = bench.run("f");
    call.returns = Returns::Fixed(1);
    let (report, _) = bench.end(bench.of(component, call));
    assert_eq!(bytes(&report), [[0, 0, 0, 0]], "no outputs were asked for");
    let state = bench.host.state.lock();
    let (caller, name, arguments, options) = &state.spawned[0];
    assert_eq!((name.as_str(), *arguments), ("word-count", 0));
    assert_eq!(options.returns, Returns::Fixed(0));
    assert_eq!(caller.job, bench.job.job);
}

#[test]
fn names_are_bounded() {
    let bench = Bench::with(Options { option_bytes_per_task_max: 1_000, ..options() }, |_| {});
    let imports = r#"(import "engine:compute/tasks@0.1.0" "spawn" (func $spawn (param i32 i32)))"#;
    let body = "
        (memory.fill (i32.const 8192) (i32.const 0) (i32.const 512))
        (i32.store (i32.const 8204) (i32.const 20000)) (i32.store (i32.const 8208) (i32.const 5000))
        (call $spawn (i32.const 8192) (i32.const 4096))
        (return (call $failure (i32.load (i32.const 4116)) (i32.load (i32.const 4120))))";
    let error = bench.end_of(&guests::program(imports, "", body)).0.result.unwrap_err();
    assert!(error.message().contains("option_bytes_per_task_max is 1000 bytes"), "{error}");
    assert!(bench.host.state.lock().spawned.is_empty());
}

// contract: A5
#[test]
fn a_running_call_sees_that_it_is_cancelled() {
    let bench = Bench::new();
    let imports = r#"(import "engine:compute/types@0.1.0" "[method]invocation.is-cancelled" (func $is_cancelled (param i32) (result i32)))"#;
    let body =
        "(loop $again (br_if $again (i32.eqz (call $is_cancelled (local.get $invocation))))) call $none";
    let component = bench.load(&guests::program(imports, "", body));
    let mut start = bench.of(component, bench.call(Entry::Create("Class".into())));
    start.life = Life::Actor {
        actor: ActorId::from_bits(1, 0),
        was_restarted: false,
        max_concurrency: 1,
        cpus: Quantity::ZERO,
    };
    let instance = bench.start(start);
    bench.events.finished();
    let call = bench.call(Entry::Method("m".into()));
    let task = call.task;
    bench.runtime.deliver(instance, call);
    bench.runtime.interrupt(instance, task);
    assert_eq!(bench.events.finished().task, task);
}

// contract: T8
#[test]
fn a_streaming_call_yields_its_objects() {
    let bench = Bench::new();
    let imports = r#"(import "engine:compute/types@0.1.0" "[method]invocation.emit" (func $emit (param i32 i32 i32 i32 i32 i32 i32)))"#;
    let items = r#"(data (i32.const 600) "abc")"#;
    let body = "
        (call $emit (local.get $invocation) (i32.const 0) (i32.const 600) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 4096))
        (call $emit (local.get $invocation) (i32.const 0) (i32.const 601) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 4096))
        (if (i32.load8_u (i32.const 4096)) (then
            (return (call $failure (i32.load (i32.const 4116)) (i32.load (i32.const 4120))))))
        call $none";
    let component = bench.load(&guests::program(imports, items, body));
    let mut call = bench.run("f");
    call.returns = Returns::Streaming(None);
    assert!(bench.end(bench.of(component, call)).0.result.is_ok());
    assert_eq!(bench.host.state.lock().emitted, [&b"a"[..], &b"bc"[..]]);
    let error = bench.end(bench.of(component, bench.run("f"))).0.result.unwrap_err();
    assert!(error.message().contains("does not stream"), "{error}");
}

// contract: P2
#[test]
fn a_placement_group_is_found_by_its_name_and_removed_through_its_handle() {
    let bench = Bench::new();
    let imports = r#"
        (import "engine:compute/placement-groups@0.1.0" "lookup" (func $lookup (param i32 i32 i32)))
        (import "engine:compute/types@0.1.0" "[method]placement-group.remove" (func $remove (param i32 i32)))"#;
    let items = r#"(data (i32.const 600) "ours")"#;
    let body = |name_length: u32| {
        format!(
            "(call $lookup (i32.const 600) (i32.const {name_length}) (i32.const 4096))
            (if (i32.load8_u (i32.const 4096)) (then
                (return (call $failure (i32.load (i32.const 4116)) (i32.load (i32.const 4120))))))
            (call $remove (i32.load (i32.const 4100)) (i32.const 4096))
            call $none"
        )
    };
    assert!(bench.end_of(&guests::program(imports, items, &body(4))).0.result.is_ok());
    let group = {
        let state = bench.host.state.lock();
        assert_eq!(state.removed_groups.len(), 1);
        state.removed_groups[0]
    };
    assert_eq!(bench.host.state.lock().held[&Handle::PlacementGroup(group)], 1);
    let error = bench.end_of(&guests::program(imports, items, &body(3))).0.result.unwrap_err();
    assert!(error.message().contains("no placement group is named our"), "{error}");
}

// contract: O1
#[test]
fn get_all_keeps_the_order_and_accepts_duplicates() {
    let bench = Bench::new();
    let imports =
        r#"(import "engine:compute/objects@0.1.0" "get-all" (func $get_all (param i32 i32 i32 i64 i32)))"#;
    // The objects inside its first argument, and the first once more; the last value's bytes come back
    // with the number of values before them.
    let body = "(local $from i32) (local $list i32) (local $last i32)
        (local.set $from (i32.load offset=12 (local.get $arguments)))
        (i32.store (i32.const 700) (i32.load offset=4 (local.get $from)))
        (i32.store (i32.const 704) (i32.load offset=12 (local.get $from)))
        (i32.store (i32.const 708) (i32.load offset=4 (local.get $from)))
        (call $get_all (i32.const 700) (i32.const 3) (i32.const 0) (i64.const 0) (i32.const 4096))
        (if (i32.load8_u (i32.const 4096)) (then
            (return (call $failure (i32.load (i32.const 4116)) (i32.load (i32.const 4120))))))
        (local.set $list (i32.load (i32.const 4100)))
        (local.set $last (i32.add (local.get $list) (i32.const 40)))
        (i32.store8 (i32.const 800) (i32.load (i32.const 4104)))
        (i32.store8 (i32.const 801) (i32.load8_u (i32.load offset=4 (local.get $list))))
        (i32.store8 (i32.const 802) (i32.load8_u (i32.load offset=24 (local.get $list))))
        (i32.store8 (i32.const 803) (i32.load8_u (i32.load offset=4 (local.get $last))))
        (call $one (i32.const 800) (i32.const 4))";
    let component = bench.load(&guests::program(imports, "", body));
    let objects = [object(), TaskId::from_bits(78, 0).output(0)];
    let start = || {
        let mut call = with_reference(&bench, object());
        call.arguments[0].handles = objects.iter().map(|object| Handle::Object(*object)).collect();
        bench.of(component, call)
    };
    bench.host.resolve(objects[1], Ok(value(Codec::Raw, b"b")));
    bench.start(start());
    bench.host.until("the guest waits", |state| state.blocked == 1);
    bench.host.resolve(objects[0], Ok(value(Codec::Raw, b"a")));
    assert_eq!(bytes(&bench.events.gone().calls[0]), [[3, b'a', b'b', b'a']]);
    bench.host.resolve(objects[1], Err(Arc::new(Error::new(ErrorCode::TaskFailed, "the second failed"))));
    let error = bench.end(start()).0.result.unwrap_err();
    assert_eq!(error.message(), "the second failed");
}

#[test]
fn an_object_is_written_piece_by_piece() {
    let bench = Bench::new();
    let imports = r#"
      (import "engine:compute/objects@0.1.0" "[constructor]writer" (func $new (param i32) (result i32)))
      (import "engine:compute/objects@0.1.0" "[method]writer.write" (func $write (param i32 i32 i32 i32)))
      (import "engine:compute/objects@0.1.0" "[static]writer.finish" (func $finish (param i32 i32 i32 i32)))"#;
    let items = r#"(data (i32.const 600) "one, two")"#;
    let body = "(local $writer i32)
        (local.set $writer (call $new (i32.const 1)))
        (call $write (local.get $writer) (i32.const 600) (i32.const 5) (i32.const 4096))
        (call $write (local.get $writer) (i32.const 605) (i32.const 3) (i32.const 4096))
        (call $finish (local.get $writer) (i32.const 0) (i32.const 0) (i32.const 4096))
        call $none";
    assert!(bench.end_of(&guests::program(imports, items, body)).0.result.is_ok());
    let state = bench.host.state.lock();
    let written = state.outcomes.values().next().unwrap().as_ref().unwrap();
    assert_eq!((written.codec, engine_objects::bytes(written)), (Codec::Msgpack, &b"one, two"[..]));
}

// contract: A1
#[test]
fn a_handle_and_its_duplicate_are_one_queue() {
    let bench = Bench::new();
    let imports = r#"
      (import "engine:compute/actors@0.1.0" "create" (func $create (param i32 i32)))
      (import "engine:compute/types@0.1.0" "[method]actor.duplicate" (func $duplicate (param i32) (result i32)))
      (import "engine:compute/types@0.1.0" "[method]actor.call" (func $call (param i32 i32)))"#;
    // All arguments lie in memory: zeroed, with the method's name and the handle for a call.
    let items = r#"(data (i32.const 600) "abc")
      (func $make (result i32)
        (memory.fill (i32.const 8192) (i32.const 0) (i32.const 512))
        (call $create (i32.const 8192) (i32.const 4096))
        (i32.load (i32.const 4100)))
      (func $ask (param $actor i32) (param $name i32)
        (memory.fill (i32.const 8192) (i32.const 0) (i32.const 512))
        (i32.store (i32.const 8192) (local.get $actor))
        (i32.store (i32.const 8196) (local.get $name)) (i32.store (i32.const 8200) (i32.const 1))
        (call $call (i32.const 8192) (i32.const 4096)))"#;
    let body = "(local $actor i32)
        (local.set $actor (call $make))
        (call $ask (local.get $actor) (i32.const 600))
        (call $ask (call $duplicate (local.get $actor)) (i32.const 601))
        (call $ask (call $make) (i32.const 602))
        call $none";
    assert!(bench.end_of(&guests::program(imports, items, body)).0.result.is_ok());
    let state = bench.host.state.lock();
    let (first, second, other) = (&state.calls[0], &state.calls[1], &state.calls[2]);
    assert_eq!((first.2.as_str(), second.2.as_str(), other.2.as_str()), ("a", "b", "c"));
    assert_eq!((first.0, first.1), (second.0, second.1), "one actor, one lane");
    assert_ne!(first.1, other.1, "another handle is independent");
}
