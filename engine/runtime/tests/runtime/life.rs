//! How sandboxes begin and end.

use std::time::Duration;

use engine_core::options::Returns;
use engine_core::resources::Quantity;
use engine_core::work::{Call, Entry, Life, StopReason};
use engine_core::{ActorId, ErrorCode, InstanceId};
use engine_runtime::Options;

use crate::host::Event;
use crate::{Bench, bytes, guests, options};

fn one(mut call: Call) -> Call {
    call.returns = Returns::Fixed(1);
    call
}

#[test]
fn a_task_runs_and_is_gone() {
    let bench = Bench::new();
    let (report, cause) = bench.end_of(&guests::no_op());
    assert_eq!(bytes(&report), Vec::<Vec<u8>>::new());
    assert!(cause.is_none());
    assert!(report.usage.memory_bytes >= 2 * 65536, "{:?}", report.usage);
    assert!(report.usage.cpu > Duration::ZERO);
    let counters = bench.runtime.counters();
    assert_eq!((counters.instantiations, counters.calls, counters.live_instances), (1, 1, 0));
    bench.events.assert_none();
}

#[test]
fn main_gets_its_arguments_and_returns_a_value() {
    let bench = Bench::new();
    // Gives back the bytes of its first argument.
    let main = "(i32.store8 (i32.const 2048) (i32.const 0))
        (i32.store (i32.const 2052) (i32.const 0))
        (i32.store (i32.const 2056) (i32.load (local.get $arguments)))
        (i32.store (i32.const 2060) (i32.load offset=4 (local.get $arguments)))
        (i64.store (i32.const 2064) (i64.const 0))
        i32.const 2048";
    let component = bench.load(&guests::program_of("", "", "call $none", main, "call $none"));
    let arguments = ["hello".to_owned(), "there".to_owned()];
    let (report, _) = bench.end(bench.of(component, one(bench.call(Entry::Main(arguments.into())))));
    assert_eq!(bytes(&report), [b"hello"]);
}

// contract: T3
#[test]
fn every_task_has_a_fresh_sandbox() {
    let bench = Bench::new();
    let component = bench.load(&guests::counter());
    for _ in 0..20 {
        let (report, _) = bench.end(bench.of(component, one(bench.run("f"))));
        assert_eq!(bytes(&report), [[1, 0, 0, 0]]);
    }
    assert_eq!(bench.runtime.counters().instantiations, 20);
}

// contract: T4
#[test]
fn a_busy_loop_is_stopped() {
    let bench = Bench::new();
    let component = bench.load(&guests::busy_loop());
    let instance = bench.start(bench.of(component, bench.run("f")));
    // It is inside by now, and on a guest thread.
    while bench.runtime.counters().calls == 0 {
        std::thread::yield_now();
    }
    bench.runtime.stop(instance, StopReason::Cancelled);
    let report = bench.events.gone();
    assert_eq!(report.instance, instance);
    assert!(report.calls.is_empty() && report.cause.is_none(), "{report:?}");
    assert_eq!(bench.runtime.counters().live_instances, 0);
    bench.runtime.stop(instance, StopReason::Cancelled);
    bench.events.assert_none();
}

// contract: T4
#[test]
fn a_stop_that_comes_first_ends_the_sandbox_all_the_same() {
    let bench = Bench::with(Options { guest_threads: 1, ..options() }, |_| {});
    let busy = bench.load(&guests::busy_loop());
    let first = bench.start(bench.of(busy, bench.run("f")));
    let second = bench.start(bench.of(busy, bench.run("f")));
    bench.runtime.stop(second, StopReason::Cancelled);
    assert_eq!(bench.events.gone().instance, second);
    bench.runtime.stop(first, StopReason::Cancelled);
    assert_eq!(bench.events.gone().instance, first);
    bench.events.assert_none();
}

#[test]
fn a_sandbox_that_is_paused_does_nothing_until_it_goes_on() {
    let bench = Bench::with(Options { guest_threads: 1, ..options() }, |_| {});
    let others_run = || {
        for _ in 0..10 {
            let (report, _) = bench.end_of(&guests::no_op());
            assert!(report.result.is_ok());
        }
    };
    let component = bench.load(&guests::counter());
    let mut start = bench.of(component, one(bench.run("f")));
    start.life = Life::Warm;
    let instance = bench.start(start);
    assert_eq!(bytes(&bench.events.finished()), [[1, 0, 0, 0]]);
    bench.runtime.pause(instance);
    // Once others have had its thread, it has left it.
    others_run();
    bench.runtime.deliver(instance, one(bench.run("f")));
    others_run();
    bench.events.assert_none();
    bench.runtime.go_on(instance);
    assert_eq!(bytes(&bench.events.finished()), [[2, 0, 0, 0]]);
    bench.runtime.stop(instance, StopReason::Retired);
    assert_eq!(bench.events.gone().instance, instance);
}

#[test]
fn a_paused_loop_leaves_its_thread_and_is_stopped_all_the_same() {
    let bench = Bench::with(Options { guest_threads: 1, ..options() }, |_| {});
    let busy = bench.load(&guests::busy_loop());
    let loops: Vec<_> = (0..3).map(|_| bench.start(bench.of(busy, bench.run("f")))).collect();
    loops.iter().for_each(|instance| bench.runtime.pause(*instance));
    let (report, _) = bench.end_of(&guests::no_op());
    assert!(report.result.is_ok());
    bench.runtime.go_on(loops[0]);
    for instance in loops {
        bench.runtime.stop(instance, StopReason::JobEnded);
        assert_eq!(bench.events.gone().instance, instance);
    }
}

#[test]
fn busy_loops_starve_nobody() {
    let bench = Bench::with(Options { guest_threads: 1, ..options() }, |_| {});
    let busy = bench.load(&guests::busy_loop());
    let loops: Vec<_> = (0..3).map(|_| bench.start(bench.of(busy, bench.run("f")))).collect();
    for _ in 0..10 {
        let (report, _) = bench.end_of(&guests::no_op());
        assert!(report.result.is_ok());
    }
    for instance in loops {
        bench.runtime.stop(instance, StopReason::JobEnded);
        assert_eq!(bench.events.gone().instance, instance);
    }
}

// contract: L3
#[test]
fn cpu_time_is_bounded() {
    let bench = Bench::new();
    let component = bench.load(&guests::busy_loop());
    let mut call = bench.run("f");
    call.cpu_time = Some(Duration::from_millis(20));
    let task = call.task;
    let (report, cause) = bench.end(bench.of(component, call));
    assert_eq!(report.task, task);
    let error = report.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    assert!(error.message().contains("20ms") && error.message().contains("cpu_time"), "{error}");
    assert!(report.usage.cpu >= Duration::from_millis(20), "{:?}", report.usage);
    assert_eq!(cause.unwrap().code(), ErrorCode::DeadlineExceeded);
}

// contract: T3
#[test]
fn warm_sandboxes_serve_many_calls() {
    let bench = Bench::new();
    let component = bench.load(&guests::counter());
    let mut start = bench.of(component, one(bench.run("f")));
    start.life = Life::Warm;
    let instance = bench.start(start);
    assert_eq!(bytes(&bench.events.finished()), [[1, 0, 0, 0]]);
    for number in 2..6 {
        bench.runtime.deliver(instance, one(bench.run("f")));
        assert_eq!(bytes(&bench.events.finished()), [[number, 0, 0, 0]]);
    }
    bench.runtime.stop(instance, StopReason::Retired);
    assert!(bench.events.gone().calls.is_empty());
    assert_eq!(bench.runtime.counters().instantiations, 1);
}

// contract: T3
#[test]
fn a_worn_sandbox_is_retired_with_its_last_report() {
    let bench = Bench::with(Options { warm_calls_max: 2, ..options() }, |_| {});
    let component = bench.load(&guests::counter());
    let mut start = bench.of(component, one(bench.run("f")));
    start.life = Life::Warm;
    let instance = bench.start(start);
    bench.events.finished();
    bench.runtime.deliver(instance, one(bench.run("f")));
    let report = bench.events.gone();
    assert!(report.cause.is_none());
    assert_eq!(bytes(&report.calls[0]), [[2, 0, 0, 0]]);
}

#[test]
fn a_call_delivered_from_within_the_report_is_served() {
    let bench = Bench::new();
    let component = bench.load(&guests::counter());
    let next: Vec<Call> = (0..3).map(|_| one(bench.run("f"))).collect();
    let next = parking_lot::Mutex::new(next);
    *bench.host.on_finished.lock() = Some((
        bench.runtime.clone(),
        Box::new(move |runtime, instance, _| {
            if let Some(call) = next.lock().pop() {
                runtime.deliver(instance, call);
            }
        }),
    ));
    let mut start = bench.of(component, one(bench.run("f")));
    start.life = Life::Warm;
    let instance = bench.start(start);
    for number in 1..5 {
        assert_eq!(bytes(&bench.events.finished()), [[number, 0, 0, 0]]);
    }
    bench.runtime.stop(instance, StopReason::Retired);
    bench.events.gone();
}

// contract: A1
#[test]
fn an_actor_serves_its_calls_in_order() {
    let bench = Bench::new();
    // Returns the name of the method.
    let component =
        bench.load(&guests::program("", "", "(call $one (local.get $name) (local.get $name_len))"));
    let mut start = bench.of(component, bench.call(Entry::Create("Class".into())));
    start.life = Life::Actor {
        actor: ActorId::from_bits(1, 0),
        was_restarted: false,
        max_concurrency: 1,
        cpus: Quantity::ZERO,
    };
    let instance = bench.start(start);
    let names: Vec<String> = (0..100).map(|number| format!("method-{number}")).collect();
    for name in &names {
        bench.runtime.deliver(instance, one(bench.call(Entry::Method(name.as_str().into()))));
    }
    bench.events.finished();
    for name in &names {
        assert_eq!(bytes(&bench.events.finished()), [name.as_bytes()]);
    }
    bench.runtime.stop(instance, StopReason::ActorEnded);
    bench.events.gone();
}

#[test]
fn a_trap_ends_an_actor_with_the_report_of_its_call() {
    let bench = Bench::new();
    let component = bench.load(&guests::program("", "", "unreachable"));
    let mut start = bench.of(component, bench.call(Entry::Create("Class".into())));
    start.life = Life::Actor {
        actor: ActorId::from_bits(1, 0),
        was_restarted: false,
        max_concurrency: 1,
        cpus: Quantity::ZERO,
    };
    let instance = bench.start(start);
    assert!(bench.events.finished().result.is_ok());
    let (fatal, never) = (bench.call(Entry::Method("m".into())), bench.call(Entry::Method("m".into())));
    let task = fatal.task;
    bench.runtime.deliver(instance, fatal);
    bench.runtime.deliver(instance, never);
    let report = bench.events.gone();
    assert_eq!(report.calls.len(), 1);
    assert_eq!(report.calls[0].task, task);
    assert_eq!(report.cause.unwrap().code(), ErrorCode::Trapped);
    bench.events.assert_none();
}

#[test]
fn without_room_in_the_pool_a_task_is_told_so_and_the_next_runs() {
    let bench = Bench::with(Options { instances_max: 2, ..options() }, |_| {});
    let busy = bench.load(&guests::busy_loop());
    let held: Vec<InstanceId> = (0..2).map(|_| bench.start(bench.of(busy, bench.run("f")))).collect();
    while bench.runtime.counters().calls < 2 {
        std::thread::yield_now();
    }
    let (report, cause) = bench.end(bench.of(busy, bench.run("f")));
    let error = report.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::WorkerDied);
    assert!(error.message().contains("no room"), "{error}");
    assert!(cause.is_some());
    for instance in held {
        bench.runtime.stop(instance, StopReason::JobEnded);
        bench.events.gone();
    }
    assert!(bench.end_of(&guests::no_op()).0.result.is_ok());
}

#[test]
fn many_sandboxes_wait_without_threads() {
    let bench = Bench::new();
    let component = bench.load(&guests::program("", "", "call $none"));
    let instances: Vec<InstanceId> = (0..50)
        .map(|_| {
            let mut start = bench.of(component, bench.run("f"));
            start.life = Life::Warm;
            bench.start(start)
        })
        .collect();
    for _ in &instances {
        bench.events.finished();
    }
    assert_eq!(bench.runtime.counters().live_instances, 50);
    for instance in &instances {
        bench.runtime.deliver(*instance, bench.run("f"));
    }
    for _ in &instances {
        assert!(matches!(bench.events.next(), Event::Finished(report) if report.result.is_ok()));
    }
}
