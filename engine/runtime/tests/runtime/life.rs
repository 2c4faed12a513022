//! How sandboxes begin and end.

use std::time::Duration;

use engine_core::ErrorCode;
use engine_core::options::Returns;
use engine_core::work::{Life, StopReason};

use crate::{Bench, bytes, guests, options};

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

// contract: T3
#[test]
fn every_task_has_a_fresh_sandbox() {
    let bench = Bench::new();
    // Counts its calls in a global.
    let component = bench.load(&guests::program(
        "",
        "(global $calls (mut i32) (i32.const 0))",
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store (i32.const 512) (global.get $calls))
         (call $one (i32.const 512) (i32.const 4))",
    ));
    for _ in 0..20 {
        let mut call = bench.run("f");
        call.returns = Returns::Fixed(1);
        let (report, _) = bench.end(bench.of(component, call));
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
    bench.runtime.stop(instance, StopReason::Cancelled);
    let report = bench.events.gone();
    assert_eq!(report.instance, instance);
    assert!(report.calls.is_empty() && report.cause.is_none(), "{report:?}");
    assert_eq!(bench.runtime.counters().live_instances, 0);
    bench.runtime.stop(instance, StopReason::Cancelled);
    bench.events.assert_none();
}

#[test]
fn busy_loops_starve_nobody() {
    let bench = Bench::with(engine_runtime::Options { guest_threads: 1, ..options() }, |_| {});
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

#[test]
fn a_trap_tells_what_and_where() {
    let bench = Bench::new();
    let (report, cause) = bench.end_of(&guests::program(
        "",
        "(func $inner_most unreachable) (func $outer call $inner_most)",
        "call $outer unreachable",
    ));
    let error = report.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Trapped);
    assert_eq!(error.kind(), Some("trap"));
    assert!(error.message().contains("unreachable"), "{error}");
    let backtrace = error.backtrace().unwrap();
    assert!(backtrace.contains("inner_most") && backtrace.contains("outer"), "{backtrace}");
    assert_eq!(cause.unwrap().code(), ErrorCode::Trapped);
    assert_eq!(bench.runtime.counters().traps, 1);
}

#[test]
fn warm_sandboxes_serve_many_calls() {
    let bench = Bench::new();
    let component = bench.load(&guests::program(
        "",
        "(global $calls (mut i32) (i32.const 0))",
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (i32.store (i32.const 512) (global.get $calls))
         (call $one (i32.const 512) (i32.const 4))",
    ));
    let run = || {
        let mut call = bench.run("f");
        call.returns = Returns::Fixed(1);
        call
    };
    let mut start = bench.of(component, run());
    start.life = Life::Warm;
    let instance = bench.start(start);
    assert_eq!(bytes(&bench.events.finished()), [[1, 0, 0, 0]]);
    for number in 2..6 {
        bench.runtime.deliver(instance, run());
        assert_eq!(bytes(&bench.events.finished()), [[number, 0, 0, 0]]);
    }
    bench.runtime.stop(instance, StopReason::Retired);
    assert!(bench.events.gone().calls.is_empty());
}
