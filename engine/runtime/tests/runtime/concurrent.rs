//! Components of the concurrent world.

use std::sync::Arc;

use engine_core::options::Returns;
use engine_core::resources::Quantity;
use engine_core::work::{Call, Entry, Life, StopReason};
use engine_core::{ActorId, Codec, ErrorCode, Handle, ObjectId, TaskId};
use engine_runtime::ComponentWorld;

use crate::{Bench, bytes, guests, value};

/// An actor whose method `wait` returns the bytes of the object inside its argument once they are
/// there, `trap` traps, and any other returns its own name at once.
fn actor() -> Vec<u8> {
    let call = "(param $invocation i32) (param $name i32) (param $name_len i32) (param $arguments i32) (param $arguments_len i32) (result i32)";
    let core = format!(
        r#"(module $guest
  (import "engine:compute/types@0.1.0" "[resource-drop]invocation" (func $drop_invocation (param i32)))
  (import "engine:compute/types@0.1.0" "[resource-drop]object" (func $drop_object (param i32)))
  (import "engine:compute/objects-async@0.1.0" "[async-lower]get" (func $get (param i32 i32 i64 i32) (result i32)))
  (import "[export]engine:compute/program-async@0.1.0" "[task-return]call" (func $return (param i32)))
  (import "[export]engine:compute/program-async@0.1.0" "[task-return]create" (func $return_create (param i32)))
  (import "engine:compute/logging@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32 i32 i32)))
  (import "$root" "[waitable-set-new]" (func $new_set (result i32)))
  (import "$root" "[waitable-join]" (func $join (param i32 i32)))
  (import "$root" "[waitable-set-drop]" (func $drop_set (param i32)))
  (import "$root" "[subtask-drop]" (func $drop_subtask (param i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (global $returned (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16))))
    (i32.sub (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16))))
  ;; Returns one value from the call in progress.
  (func $one (param $at i32) (param $len i32)
    (call $log (i32.const 2) (local.get $at) (local.get $len) (local.get $at) (local.get $len) (i32.const 0) (i32.const 0))
    (i32.store (i32.const 1024) (i32.const 0))
    (i32.store (i32.const 1028) (local.get $at))
    (i32.store (i32.const 1032) (local.get $len))
    (i64.store (i32.const 1036) (i64.const 0))
    (i32.store (i32.const 2048) (i32.const 0))
    (i32.store (i32.const 2052) (i32.const 1024))
    (i32.store (i32.const 2056) (i32.const 1))
    (call $return (i32.const 2048)))
  ;; The object was got: its result is at the address.
  (func $got (param $object i32) (param $at i32)
    (call $drop_object (local.get $object))
    (call $one (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at))))
  ;; Where what is known of a subtask lies: object, set, address of the result.
  (func $of (param $subtask i32) (result i32) (i32.add (i32.const 20000) (i32.mul (local.get $subtask) (i32.const 16))))
  (func (export "[async-lift]engine:compute/program-async@0.1.0#call") {call} (local $status i32) (local $object i32) (local $at i32)
    (call $drop_invocation (local.get $invocation))
    (if (i32.ne (i32.load (local.get $name)) (i32.const 0x74696177)) (then ;; "wait"
      (if (i32.eq (i32.load (local.get $name)) (i32.const 0x70617274)) (then unreachable)) ;; "trap"
      (call $one (local.get $name) (local.get $name_len))
      (return (i32.const 0))))
    (local.set $object (i32.load offset=4 (i32.load offset=12 (local.get $arguments))))
    (local.set $at (global.get $returned))
    (global.set $returned (i32.add (local.get $at) (i32.const 128)))
    (local.set $status (call $get (local.get $object) (i32.const 0) (i64.const 0) (local.get $at)))
    (if (i32.eq (i32.and (local.get $status) (i32.const 15)) (i32.const 2)) (then
      (call $got (local.get $object) (local.get $at)) (return (i32.const 0))))
    (local.set $status (i32.shr_u (local.get $status) (i32.const 4)))
    (i32.store (call $of (local.get $status)) (local.get $object))
    (i32.store offset=4 (call $of (local.get $status)) (call $new_set))
    (i32.store offset=8 (call $of (local.get $status)) (local.get $at))
    (call $join (local.get $status) (i32.load offset=4 (call $of (local.get $status))))
    (i32.or (i32.const 2) (i32.shl (i32.load offset=4 (call $of (local.get $status))) (i32.const 4))))
  (func (export "[callback][async-lift]engine:compute/program-async@0.1.0#call") (param $event i32) (param $subtask i32) (param $state i32) (result i32)
    (if (i32.ne (local.get $state) (i32.const 2)) (then
      (return (i32.or (i32.const 2) (i32.shl (i32.load offset=4 (call $of (local.get $subtask))) (i32.const 4))))))
    (call $drop_subtask (local.get $subtask))
    (call $drop_set (i32.load offset=4 (call $of (local.get $subtask))))
    (call $got (i32.load (call $of (local.get $subtask))) (i32.load offset=8 (call $of (local.get $subtask))))
    i32.const 0)
  (func (export "[async-lift]engine:compute/program-async@0.1.0#create") {call}
    (call $drop_invocation (local.get $invocation))
    (i64.store (i32.const 2048) (i64.const 0))
    (call $return_create (i32.const 2048))
    i32.const 0)
  (func (export "[callback][async-lift]engine:compute/program-async@0.1.0#create") (param i32 i32 i32) (result i32) unreachable)
  (func (export "engine:compute/program-async@0.1.0#run") {call} unreachable)
  (func (export "engine:compute/program-async@0.1.0#main") (param i32 i32 i32) (result i32) unreachable)
)"#
    );
    guests::encode("concurrent-component", &core)
}

fn object() -> ObjectId {
    TaskId::from_bits(77, 0).output(0)
}

fn method(bench: &Bench, name: &str) -> Call {
    let mut argument = value(Codec::Msgpack, b"");
    argument.handles = Arc::from([Handle::Object(object())]);
    let mut call = bench.call(Entry::Method(name.into()));
    call.returns = Returns::Fixed(1);
    if name == "wait" {
        call.arguments = vec![argument];
    }
    call
}

fn start(bench: &Bench) -> engine_core::InstanceId {
    let component = bench.load(&actor());
    assert_eq!(bench.runtime.component(component).unwrap().world, ComponentWorld::Concurrent);
    let mut start = bench.of(component, bench.call(Entry::Create("Class".into())));
    start.life = Life::Actor {
        actor: ActorId::from_bits(1, 0),
        was_restarted: false,
        max_concurrency: 8,
        cpus: Quantity::ZERO,
    };
    let instance = bench.start(start);
    assert!(bench.events.finished().result.is_ok());
    instance
}

// contract: A7
#[test]
fn a_call_that_waits_does_not_hold_up_the_others() {
    let bench = Bench::new();
    let instance = start(&bench);
    let waiting = method(&bench, "wait");
    let waiting_task = waiting.task;
    bench.runtime.deliver(instance, waiting);
    bench.host.until("the first call waits", |state| state.blocked == 1);
    let mut expected = Vec::new();
    for name in ["one1", "two2", "three"] {
        let call = method(&bench, name);
        expected.push((call.task, name.to_owned()));
        bench.runtime.deliver(instance, call);
        assert_eq!(bytes(&bench.events.finished()), [name.as_bytes()]);
    }
    bench.host.resolve(object(), Ok(value(Codec::Raw, b"at last")));
    let report = bench.events.finished();
    assert_eq!(report.task, waiting_task);
    assert_eq!(bytes(&report), [b"at last"]);
    // What a call does is its own, also after others were served while it waited.
    expected.push((waiting_task, "at last".to_owned()));
    let logged: Vec<_> =
        bench.host.state.lock().logs.iter().map(|line| (line.task, line.text.clone())).collect();
    assert_eq!(logged, expected);
    bench.runtime.stop(instance, StopReason::ActorEnded);
    assert!(bench.events.gone().calls.is_empty());
    assert_eq!(bench.host.state.lock().held.get(&Handle::Object(object())), Some(&0));
}

#[test]
fn what_a_call_does_is_its_own() {
    let bench = Bench::new();
    let instance = start(&bench);
    let other = TaskId::from_bits(78, 0).output(0);
    let (first, mut second) = (method(&bench, "wait"), method(&bench, "wait"));
    second.arguments[0].handles = Arc::from([Handle::Object(other)]);
    let tasks = [first.task, second.task];
    bench.runtime.deliver(instance, first);
    bench.runtime.deliver(instance, second);
    bench.host.until("both calls wait", |state| state.blocked == 2);
    // The one that goes on is not the one that was entered last.
    bench.host.resolve(object(), Ok(value(Codec::Raw, b"first")));
    assert_eq!(bench.events.finished().task, tasks[0]);
    bench.host.resolve(other, Ok(value(Codec::Raw, b"second")));
    assert_eq!(bench.events.finished().task, tasks[1]);
    let logged: Vec<_> =
        bench.host.state.lock().logs.iter().map(|line| (line.task, line.text.clone())).collect();
    assert_eq!(logged, [(tasks[0], "first".to_owned()), (tasks[1], "second".to_owned())]);
}

#[test]
fn a_trap_ends_the_whole_sandbox() {
    let bench = Bench::new();
    let instance = start(&bench);
    bench.runtime.deliver(instance, method(&bench, "wait"));
    bench.host.until("the first call waits", |state| state.blocked == 1);
    bench.runtime.deliver(instance, method(&bench, "trap"));
    let report = bench.events.gone();
    assert_eq!(report.cause.unwrap().code(), ErrorCode::Trapped);
    bench.events.assert_none();
    assert_eq!(bench.runtime.counters().live_instances, 0);
}

// contract: T4
#[test]
fn a_sandbox_that_waits_is_stopped() {
    let bench = Bench::new();
    let instance = start(&bench);
    bench.runtime.deliver(instance, method(&bench, "wait"));
    bench.host.until("the call waits", |state| state.blocked == 1);
    bench.runtime.stop(instance, StopReason::ActorEnded);
    assert!(bench.events.gone().calls.is_empty());
}
