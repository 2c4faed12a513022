//! What a guest can do wrong, and what is said about it.

use engine_core::options::Returns;
use engine_core::work::Entry;
use engine_core::{Error, ErrorCode};
use engine_runtime::Options;

use crate::{Bench, bytes, guests, options};

/// The error of a task that must fail, after which the runtime still serves.
fn error_of(bench: &Bench, component: &[u8]) -> Error {
    let (report, _) = bench.end_of(component);
    let error = report.result.unwrap_err();
    let (report, _) = bench.end_of(&guests::no_op());
    assert!(report.result.is_ok(), "the next task runs");
    error
}

// contract: E1
#[test]
fn a_trap_tells_what_and_where() {
    let bench = Bench::new();
    let component = guests::program(
        "",
        "(func $inner_most unreachable) (func $outer call $inner_most)",
        "call $outer unreachable",
    );
    let error = error_of(&bench, &component);
    assert_eq!(error.code(), ErrorCode::Trapped);
    assert_eq!(error.kind(), Some("trap"));
    assert!(error.message().contains("unreachable"), "{error}");
    let backtrace = error.backtrace().unwrap();
    assert!(backtrace.contains("inner_most") && backtrace.contains("outer"), "{backtrace}");
    assert_eq!(bench.runtime.counters().traps, 1);
}

// contract: E1
#[test]
fn a_panic_tells_its_message() {
    let bench = Bench::new();
    let imports = r#"(import "engine:compute/logging@0.1.0" "panicked" (func $panicked (param i32 i32)))"#;
    let items = r#"(data (i32.const 600) "index out of bounds: the len is 3 but the index is 7")"#;
    let error = error_of(
        &bench,
        &guests::program(imports, items, "(call $panicked (i32.const 600) (i32.const 52)) unreachable"),
    );
    assert_eq!((error.code(), error.kind()), (ErrorCode::Trapped, Some("panic")));
    assert_eq!(error.message(), "index out of bounds: the len is 3 but the index is 7");
    assert!(error.backtrace().is_some_and(|backtrace| backtrace.contains("body")), "{error:?}");
}

#[test]
fn a_trap_without_a_message_shows_the_end_of_stderr() {
    let bench = Bench::new();
    let items = format!("{} (data (i32.const 600) \"fatal: no more ideas\\n\")", guests::WRITERS);
    let component = guests::program_with_wasi(
        guests::WRITES,
        &items,
        "(call $warn (i32.const 600) (i32.const 21)) unreachable",
    );
    let error = error_of(&bench, &component);
    assert!(
        error.message().contains("unreachable") && error.message().ends_with("fatal: no more ideas"),
        "{error}"
    );
}

#[test]
fn each_kind_of_trap_is_named() {
    let bench = Bench::new();
    for (body, what) in [
        ("(drop (i32.div_u (i32.const 1) (i32.const 0))) call $none", "integer divide by zero"),
        ("(drop (i32.load (i32.const -4))) call $none", "out of bounds memory access"),
        ("(call_indirect (type $nothing) (i32.const 9)) call $none", "table"),
        ("(call $deeper) call $none", "stack overflow"),
    ] {
        let items = "(type $nothing (func)) (table 1 funcref) (func $deeper call $deeper call $deeper)";
        let error = error_of(&bench, &guests::program("", items, body));
        assert_eq!((error.code(), error.kind()), (ErrorCode::Trapped, Some("trap")), "{error}");
        assert!(error.message().contains(what), "{error}");
    }
}

// contract: L3
#[test]
fn memory_is_bounded_and_the_limit_named() {
    let bench = Bench::new();
    // Allocates as a guest does that aborts when there is no more.
    let full = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    let items = "(type $nothing (func)) (table 1 funcref)";
    // The second calls a handler of such failures, and there is none.
    for end in ["unreachable", "(call_indirect (type $nothing) (i32.const 0)) call $none"] {
        let error = error_of(&bench, &guests::program("", items, &format!("{full} {end}")));
        assert_eq!(error.code(), ErrorCode::OutOfMemory, "{error}");
        assert!(
            error.message().contains("limit is 64 MiB") && error.message().contains("`memory`"),
            "{error}"
        );
    }
}

#[test]
fn a_guest_that_copes_without_memory_is_not_blamed() {
    let bench = Bench::new();
    let body = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) call $none";
    assert!(bench.end_of(&guests::program("", "", body)).0.result.is_ok());
}

// contract: L3
#[test]
fn a_guest_that_begins_too_large_is_told_what_it_needs() {
    let bench = Bench::new();
    let component = bench.load(&guests::no_op());
    let mut start = bench.of(component, bench.run("f"));
    start.memory_bytes_max = 64 << 10;
    let (report, cause) = bench.end(start);
    let error = report.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OutOfMemory);
    assert!(error.message().contains("128 KiB") && error.message().contains("64 KiB"), "{error}");
    assert!(cause.is_some());
}

// contract: T6
#[test]
fn a_failure_keeps_its_kind_and_message() {
    let bench = Bench::new();
    let items = r#"(data (i32.const 600) "no such word")"#;
    let (report, cause) =
        bench.end_of(&guests::program("", items, "(call $failure (i32.const 600) (i32.const 12))"));
    let error = report.result.unwrap_err();
    assert_eq!(
        (error.code(), error.kind(), error.message()),
        (ErrorCode::TaskFailed, Some("Wrong"), "no such word")
    );
    assert!(cause.is_none(), "the sandbox is well");
}

// contract: T6
#[test]
fn a_failure_with_a_cause_keeps_the_causes_code_and_path() {
    let bench = Bench::new();
    // failure.cause is at 2052 + 52: code 26 (invalid-argument), kind none, message empty, path of one
    // frame whose attempt is 3, no backtrace, no payload.
    let items = r#"(data (i32.const 600) "passed on") (data (i32.const 700) "task-1")"#;
    let body = "(drop (call $failure (i32.const 600) (i32.const 9)))
        (i32.store8 (i32.const 2104) (i32.const 1))
        (i32.store8 (i32.const 2108) (i32.const 26))
        (i32.store (i32.const 2132) (i32.const 720))
        (i32.store (i32.const 2136) (i32.const 1))
        (i32.store (i32.const 720) (i32.const 700)) (i32.store (i32.const 724) (i32.const 6))
        (i32.store (i32.const 744) (i32.const 3))
        i32.const 2048";
    let error = bench.end_of(&guests::program("", items, body)).0.result.unwrap_err();
    assert_eq!(
        (error.code(), error.kind(), error.message()),
        (ErrorCode::InvalidArgument, None, "passed on")
    );
    assert_eq!(error.path().len(), 1, "{error:?}");
    assert_eq!((error.path()[0].task.as_str(), error.path()[0].attempt), ("task-1", 3));
}

#[test]
fn a_wrong_number_of_values_is_refused() {
    let bench = Bench::new();
    let component = bench.load(&guests::counter());
    let mut call = bench.run("f");
    call.returns = Returns::Fixed(3);
    let error = bench.end(bench.of(component, call)).0.result.unwrap_err();
    assert_eq!((error.code(), error.kind()), (ErrorCode::TaskFailed, Some("returns")));
    assert!(error.message().contains("`f` returned 1 values, and 3 are expected"), "{error}");
    let mut call = bench.run("f");
    call.returns = Returns::Streaming(None);
    let error = bench.end(bench.of(component, call)).0.result.unwrap_err();
    assert!(error.message().contains("streamed"), "{error}");
}

#[test]
fn rubbish_in_place_of_a_result_is_a_trap() {
    let bench = Bench::new();
    // A list of values that lies outside of its memory; and a result that is neither ok nor error.
    let far = "(i32.store (i32.const 2048) (i32.const 0)) (i32.store (i32.const 2052) (i32.const -1000))
        (i32.store (i32.const 2056) (i32.const 7)) i32.const 2048";
    let neither = "(i32.store (i32.const 2048) (i32.const 9)) i32.const 2048";
    for body in [far, neither, "i32.const -1"] {
        let error = error_of(&bench, &guests::program("", "", body));
        assert_eq!(error.code(), ErrorCode::Trapped, "{error}");
    }
}

// contract: L3
#[test]
fn returned_bytes_are_bounded() {
    let bench = Bench::with(Options { returned_bytes_per_task_max: 3, ..options() }, |_| {});
    let component = bench.load(&guests::counter());
    let mut call = bench.run("f");
    call.returns = Returns::Fixed(1);
    let error = bench.end(bench.of(component, call)).0.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    assert!(error.message().contains("4 bytes") && error.message().contains("3 bytes"), "{error}");
}

#[test]
fn a_guest_that_exits_says_so() {
    let bench = Bench::new();
    let imports = r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#;
    let (report, _) =
        bench.end_of(&guests::program_with_wasi(imports, "", "(call $exit (i32.const 1)) unreachable"));
    let error = report.result.unwrap_err();
    assert_eq!((error.code(), error.kind()), (ErrorCode::TaskFailed, Some("exit")));
    assert!(error.message().contains("status 1"), "{error}");
}

#[test]
fn a_main_that_exits_well_has_succeeded() {
    let bench = Bench::new();
    let imports = r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#;
    for (status, succeeds) in [(0, true), (1, false)] {
        let body = format!("(call $exit (i32.const {status})) unreachable");
        let component = bench.load(&guests::program_with_wasi(imports, "", &body));
        let (report, _) = bench.end(bench.of(component, bench.call(Entry::Main([].into()))));
        assert_eq!(report.result.is_ok(), succeeds, "{report:?}");
    }
}

#[test]
fn a_borrowed_invocation_that_is_kept_is_a_trap() {
    let bench = Bench::new();
    let component = bench.load(&guests::encode("component", &guests::core_that_keeps_its_invocation()));
    let error = bench.end(bench.of(component, bench.call(Entry::Run("f".into())))).0.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Trapped);
    assert!(error.message().contains("borrow"), "{error}");
    assert!(bytes(&bench.end_of(&guests::no_op()).0).is_empty());
}

#[test]
fn a_panic_of_the_host_ends_the_guest_and_not_the_node() {
    let bench = Bench::new();
    let imports = r#"(import "engine:compute/context@0.1.0" "nodes" (func $nodes (param i32)))"#;
    let error = error_of(&bench, &guests::program(imports, "", "(call $nodes (i32.const 4096)) call $none"));
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(error.message().contains("the list of nodes is broken"), "{error}");
    assert_eq!(bench.runtime.counters().live_instances, 0);
}
