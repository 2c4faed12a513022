//! Every good habit of the selftest guest (guest-examples/selftest/README.md), against one engine that
//! goes on, which is as it was at the end.

use engine_tests::{Up, guest, nodes};
use serde_json::{Value, json};

/// A scenario, and its whole result.
struct Case {
    arguments: &'static [&'static str],
    result: Value,
}

fn case(arguments: &'static [&'static str], result: Value) -> Case {
    Case { arguments, result }
}

fn value(arguments: &'static [&'static str], value: Value) -> Case {
    case(arguments, json!({ "value": value }))
}

fn numbers(range: std::ops::Range<u64>) -> Value {
    range.collect()
}

fn digest(size: u64, tail: &[u8]) -> Value {
    json!({
        "size": size, "tail": tail, "length": size, "sum": 3 * size, "own_length": size, "own_sum": size,
    })
}

// contract: T5, O6, J2
/// Those whose result is known to the last digit. The engine has 2 CPUs, so that nested tasks get
/// through only because those that wait give theirs back.
#[test]
fn good_scenarios_give_their_results_and_leave_nothing_behind() {
    let up = Up::start();
    let items = |count| json!({ "items": numbers(0..count), "error": null, "ends_after_error": true });
    let cases = [
        case(&["nothing"], json!({})),
        value(&["identity", "0"], json!(0)),
        value(&["identity", "18446744073709551615"], json!(u64::MAX)),
        case(&["noop", "300"], json!({ "done": 300 })),
        case(&["noop-warm", "300"], json!({ "done": 300 })),
        value(&["sleep", "1"], json!(1)),
        value(&["sleeps", "10", "5"], numbers(0..10)),
        // contract: O3
        case(&["nested", "10"], json!({ "sum": 45, "values": numbers(0..10), "chained": 10 })),
        // contract: T2
        value(&["nest", "30"], json!(30)),
        value(&["fan-out", "100"], json!(4950)),
        // contract: O5
        case(&["bytes", "0"], digest(0, &[])),
        case(&["bytes", "1"], digest(1, &[3])),
        case(&["bytes", "102400"], digest(102_400, &[3, 3])),
        case(&["bytes", "102401"], digest(102_401, &[3, 3])),
        case(&["bytes", "4194304"], digest(4 << 20, &[3, 3])),
        value(&["many-returns", "10"], numbers(0..10)),
        value(&["many-returns", "0"], numbers(0..0)),
        // contract: T3
        case(&["fresh", "10"], json!({ "touched": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1] })),
        case(&["warm", "10"], json!({ "touched": numbers(1..11) })),
        // contract: T4
        case(
            &["cancel"],
            json!({
                "spinning": "TASK_CANCELLED", "pending": "TASK_CANCELLED", "parent": "TASK_CANCELLED",
                "finished": 1,
            }),
        ),
        // contract: T8
        case(&["stream", "10"], items(10)),
        case(&["stream", "0"], items(0)),
        case(&["stream-bounded", "10"], items(10)),
        case(&["stream-drop"], json!({ "first": 0 })),
        // contract: A1
        case(&["actor-order", "20"], json!({ "marks": numbers(0..20) })),
        case(&["actors", "100"], json!({ "actors": 100, "sum": 5050 })),
        case(&["drop-everything", "100"], json!({})),
        // contract: T7
        value(&["flaky", "2"], json!(2)),
        value(&["flaky", "5"], json!(5)),
        value(&["allocate", "1048576", "67108864"], json!(1 << 20)),
        value(&["spawn-many", "100"], json!(100)),
        value(&["hoard", "10", "1048576"], json!(10)),
        value(&["spam-records", "100"], json!(100)),
    ];
    let mut wrong = Vec::new();
    for Case { arguments, result } in cases {
        let outcome = up.selftest(arguments);
        if outcome.status != 0 || outcome.last_json() != result {
            wrong.push(format!("{arguments:?} should give {result}\n{outcome}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    up.wait_until_idle();
}

// contract: O1, O2
#[test]
fn waiting_and_reading_keep_to_the_contract() {
    let up = Up::start();
    let wait = up.scenario(&["wait", "10"]);
    let twice = &wait["twice"];
    assert_eq!(twice["code"], "INVALID_ARGUMENT", "{wait}");
    assert_eq!((&wait["ready"], &wait["rest"]), (&json!(3), &json!(7)));
    assert_eq!((&wait["none"], &wait["all"], &wait["empty"]), (&json!(0), &json!(1), &json!(0)));

    let timeout = up.scenario(&["timeout"]);
    assert_eq!(timeout["early"]["code"], "GET_TIMEOUT", "{timeout}");
    assert_eq!(timeout["value"], 9);

    let tuple = up.scenario(&["tuple"]);
    assert_eq!((&tuple["quotient"], &tuple["rest"]), (&json!(3), &json!(2)));
    assert_eq!(tuple["error"]["code"], "TASK_FAILED");
    assert!(tuple["error"]["message"].as_str().unwrap().contains("1 cannot be divided by 0"), "{tuple}");

    let mut asynchronous = up.scenario(&["async", "10"]);
    assert_eq!(asynchronous["joined"], numbers(0..10));
    assert_eq!(asynchronous["streamed"], numbers(0..10));
    let order = asynchronous["order"].as_array_mut().unwrap();
    order.sort_by_key(Value::as_u64);
    assert_eq!(*order, *numbers(0..10).as_array().unwrap(), "each came once");
    up.wait_until_idle();
}

#[test]
fn a_task_sees_what_it_was_given_and_no_more() {
    let up = Up::start();
    let options = ["--env", "GREETING=hello", "--namespace", "of-the-test"];
    let outcome = up.place().submit_with("selftest", &options, &["context"]).run().exits(0);
    let seen = &outcome.last_json()["value"];
    assert!(seen["job_id"].as_str().unwrap().starts_with("job-"), "{seen}");
    assert!(seen["node_id"].as_str().unwrap().starts_with("node-"), "{seen}");
    assert!(seen["task_id"].as_str().unwrap().starts_with("task-"), "{seen}");
    assert_eq!(seen["namespace"], "of-the-test");
    assert_eq!((&seen["attempt"], &seen["cpus"], &seen["nodes"]), (&json!(0), &json!(1.0), &json!(nodes())));
    assert_eq!(seen["env"], json!([["GREETING", "hello"]]), "nothing of this process's environment");
}

#[test]
fn what_tasks_write_says_whose_it_is() {
    let up = Up::start();
    let outcome = up.place().submit("selftest", &["log"]).env("RUST_LOG", "warn").run().exits(0);
    for line in ["a line of output", "a line that nothing ends"] {
        let whole = outcome.stdout.lines().find(|found| found.ends_with(line));
        let whole = whole.unwrap_or_else(|| panic!("{line:?} is missing\n{outcome}"));
        assert!(whole.starts_with('(') && whole.contains("log_each_level task-"), "{outcome}");
    }
    let outcome =
        outcome.says(&["a line of error output", "INFO an info record", "WARN a warning", "ERROR an error"]);
    assert!(!outcome.stderr.contains("a debug record"), "ENGINE_LOG asks for more\n{outcome}");
    let options = ["--env", "ENGINE_LOG=trace"];
    let outcome = up.place().submit_with("selftest", &options, &["log"]).run().exits(0);
    outcome.says(&["TRACE a trace", "DEBUG a debug record"]);
}

// contract: T8
#[test]
fn a_stream_that_fails_gives_what_was_before_and_then_ends() {
    let up = Up::start();
    for (scenario, code, kind) in
        [("stream-fail", "TASK_FAILED", "Broken"), ("stream-panic", "TRAPPED", "panic")]
    {
        let stream = up.scenario(&[scenario, "3"]);
        assert_eq!(stream["items"], json!([0, 1, 2]), "{stream}");
        assert_eq!((&stream["error"]["code"], &stream["error"]["kind"]), (&json!(code), &json!(kind)));
        assert!(stream["error"]["message"].as_str().unwrap().contains("after 3 items"), "{stream}");
        assert_eq!(stream["ends_after_error"], true);
    }
    up.wait_until_idle();
}

// contract: T3
/// The engine counts sandboxes, so that "fresh" can be checked from outside.
#[test]
fn fresh_tasks_have_a_sandbox_each_and_warm_ones_share() {
    let up = Up::start();
    let started = || up.json(&["status"])["counters"]["instantiations"].as_u64().unwrap() as usize;
    let before = started();
    up.scenario(&["noop", "100"]);
    let fresh = started() - before;
    // One for the root task.
    assert_eq!(fresh, 101);
    up.scenario(&["noop-warm", "100"]);
    let warm = started() - before - fresh;
    assert!((2..=4 * nodes()).contains(&warm), "{warm} sandboxes on {} CPUs", 2 * nodes());
}

// contract: T5
#[test]
fn fractions_of_cpus_are_taken_and_given_back_exactly() {
    let up = Up::with(&["--cpus", "1.5", "--resources", "licence=2.5"]);
    let total = up.json(&["status"])["total"].clone();
    let nodes = nodes() as f64;
    assert_eq!((&total["cpus"], &total["custom"]["licence"]), (&json!(1.5 * nodes), &json!(2.5 * nodes)));
    let job = {
        let module = guest("selftest");
        let module = module.to_str().unwrap();
        let words =
            ["submit", module, "--no-wait", "--cpus", "0.3", "--memory", "100MiB", "--", "spin-forever-here"];
        up.engine(&words).exits(0).stdout.trim().to_owned()
    };
    up.wait_for_one("tasks", &["state=RUNNING"]);
    let available = up.json(&["status"])["available"].clone();
    assert_eq!(available["cpus"], json!((15.0 * nodes - 3.0) / 10.0));
    let taken = total["memory_bytes"].as_u64().unwrap() - available["memory_bytes"].as_u64().unwrap();
    assert_eq!(taken, 100 << 20);
    up.engine(&["job", "stop", &job]).exits(0);
    up.wait_until_idle();
}
