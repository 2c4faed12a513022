//! Guests that misbehave while they run: their error says what happened, and the same engine serves the
//! next job, with nothing left of the bad one.

use engine_tests::Up;
use serde_json::{Value, json};

#[track_caller]
fn holds(error: &Value, field: &str, text: &str) {
    assert!(
        error[field].as_str().is_some_and(|value| value.contains(text)),
        "{field} lacks {text:?}: {error:#}"
    );
}

// contract: E1, T6
#[test]
fn a_panic_carries_its_message_and_the_names_of_functions() {
    let mut up = Up::start();
    let error = up.scenario(&["panic", "the roof is on fire"]);
    assert_eq!((&error["code"], &error["kind"]), (&json!("TRAPPED"), &json!("panic")));
    holds(&error, "message", "the roof is on fire");
    holds(&error, "message", "selftest/src/bad.rs");
    holds(&error, "backtrace", "inner_panic");
    assert_eq!(error["path"], json!(["bad::panics"]));

    let outcome = up.selftest(&["panic-here", "so is the cellar"]).exits(1);
    outcome.says(&[
        "TRAPPED",
        "so is the cellar",
        "backtrace, innermost first",
        "scenario::run",
        "`engine error TRAPPED`",
    ]);
    up.still_serves();
    up.wait_until_idle();
}

// contract: E1
#[test]
fn traps_are_named() {
    let mut up = Up::start();
    let error = up.scenario(&["unreachable"]);
    assert_eq!(error["code"], "TRAPPED");
    holds(&error, "message", "unreachable");
    let error = up.scenario(&["overflow-stack"]);
    assert_eq!(error["code"], "TRAPPED");
    holds(&error, "message", "stack overflow");
    holds(&error, "backtrace", "descend");
    // WASI 0.2 tells only whether the status is 0.
    for (status, told) in [("0", "status 0"), ("3", "status 1")] {
        let outcome = up.selftest(&["exit", status]).exits(1);
        outcome.says(&["TASK_FAILED", "the guest exited with", told, "bad::exit"]);
    }
    up.still_serves();
    up.wait_until_idle();
}

// contract: L3
#[test]
fn what_runs_for_ever_is_stopped_by_its_deadline() {
    let mut up = Up::start();
    for scenario in ["spin-forever", "sleep-forever"] {
        let error = up.scenario(&[scenario, "200"]);
        assert_eq!(error["code"], "DEADLINE_EXCEEDED", "{scenario}: {error}");
    }
    let outcome = up.place().submit_with("selftest", &["--deadline", "200ms"], &["spin-forever-here"]).run();
    outcome.exits(1).says(&["DEADLINE_EXCEEDED"]);
    up.still_serves();
    up.wait_until_idle();
}

// contract: T4
#[test]
fn a_busy_loop_is_stopped_by_job_stop() {
    let mut up = Up::start();
    let job = up.submit_no_wait(&[], &["spin-forever-here"]);
    up.wait_for_one("tasks", &["state=RUNNING"]);
    // It does not keep others from running, even on its own CPU.
    up.still_serves();
    let outcome = up.engine(&["job", "stop", &job]).exits(0);
    assert!(outcome.stdout.contains("STOPPED"), "{outcome}");
    assert_eq!(up.wait_for_end(&job)["state"], "STOPPED");
    up.still_serves();
    up.wait_until_idle();
}

// contract: T4, J2
#[test]
fn ctrl_c_stops_the_job_and_says_so() {
    let mut up = Up::start();
    for arguments in [&["spin-forever-here"][..], &["sleep-forever", "60000"], &["sleeps", "20", "60000"]] {
        let submit = up.place().submit("selftest", arguments).start();
        let task = up.wait_for_one("tasks", &["state=RUNNING"]);
        submit.interrupt();
        let outcome = submit.wait().exits(130);
        let job = task["job_id"].as_str().unwrap();
        outcome.says(&["stopping job-", job, "STOPPED"]);
        assert_eq!(up.wait_for_end(job)["state"], "STOPPED");
        up.wait_until_idle();
    }
    up.still_serves();
}

// contract: L3, T7
#[test]
fn memory_is_bounded() {
    let mut up = Up::start();
    let error = up.scenario(&["allocate-forever"]);
    assert_eq!(error["code"], "OUT_OF_MEMORY");
    holds(&error, "message", "32 MiB");
    holds(&error, "message", "`memory` option");
    let error = up.scenario(&["allocate", "134217728", "67108864"]);
    assert_eq!(error["code"], "OUT_OF_MEMORY");
    holds(&error, "message", "64 MiB");
    // It is not tried again.
    let task = up.wait_for_one("tasks", &["function=bad::allocate"]);
    assert_eq!(task["attempts"].as_array().map(Vec::len), Some(1), "{task}");
    up.still_serves();
    up.wait_until_idle();
}

// contract: L1
#[test]
fn a_reservation_that_the_node_can_never_meet_is_refused() {
    let mut up = Up::start();
    let outcome = up.place().submit_with("selftest", &["--memory", "5GiB"], &["nothing"]).run().exits(1);
    outcome.says(&["UNSCHEDULABLE", "memory", "5 GiB", "4 GiB"]);
    up.still_serves();
}

// contract: L3
/// A gigabyte in lines of 64 KiB, which the engine cuts.
#[test]
fn a_gigabyte_of_log_is_cut_short() {
    let mut up = Up::start();
    let outcome = up.selftest(&["spam-log", "16384", "65536"]).exits(0);
    assert_eq!(outcome.last_json()["value"], 16_384, "the guest itself goes on");
    assert!(outcome.stdout.len() < 64 << 20, "{} bytes were shown", outcome.stdout.len());
    assert!(outcome.stdout.contains("xxxx"));
    assert!(
        outcome.stdout.contains("dropped") || outcome.stderr.contains("dropped"),
        "it says so\n{outcome}"
    );
    let resident = resident_bytes(up.process_id());
    assert!(resident < 1 << 30, "the engine has {resident} bytes resident");
    up.still_serves();
    up.wait_until_idle();
}

/// Its resident memory.
fn resident_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// They are all accepted; what has not run when the job ends goes with it.
// contract: J2
#[test]
fn a_million_tasks_at_once_are_taken() {
    let mut up = Up::start();
    assert_eq!(up.scenario(&["spawn-many", "1000000"])["value"], 1_000_000);
    up.still_serves();
    up.wait_until_idle();
}

// contract: L3
#[test]
fn a_million_tasks_at_once_are_refused_where_the_job_is_limited() {
    let mut up = Up::start();
    let limited = ["--queued-tasks-max", "1000"];
    let outcome = up.place().submit_with("selftest", &limited, &["spawn-many", "1000000"]).run().exits(0);
    let error = outcome.last_json();
    assert_eq!(error["code"], "QUOTA_EXCEEDED");
    holds(&error, "message", "1000 unfinished tasks");
    // The root task, too, is told.
    let outcome = up.place().submit_with("selftest", &limited, &["drop-everything", "100000"]).run().exits(1);
    outcome.says(&["QUOTA_EXCEEDED"]);
    up.still_serves();
    up.wait_until_idle();
}

// contract: T4
#[test]
fn a_fork_bomb_is_stopped_from_outside() {
    let mut up = Up::start();
    let job = up.submit_no_wait(&[], &["fork-bomb"]);
    let outcome = up.engine(&["job", "stop", &job]).exits(0);
    assert!(outcome.stdout.contains(&job), "{outcome}");
    up.still_serves();
    let limited = ["--queued-tasks-max", "100", "--deadline", "1s"];
    up.place().submit_with("selftest", &limited, &["fork-bomb"]).run();
    up.still_serves();
    up.wait_until_idle();
}

#[test]
fn arguments_and_results_that_do_not_fit_are_named() {
    let mut up = Up::start();
    let error = up.scenario(&["wrong-argument"]);
    assert_eq!(error["code"], "INVALID_ARGUMENT");
    holds(&error, "message", "good::identity");
    holds(&error, "message", "u64");
    let error = up.scenario(&["wrong-count"]);
    assert_eq!(error["code"], "INVALID_ARGUMENT");
    holds(&error, "message", "good::add");
    let error = up.scenario(&["wrong-result"]);
    assert_eq!(error["code"], "INVALID_ARGUMENT");
    let error = up.scenario(&["unknown-function"]);
    assert_eq!(error["code"], "NOT_FOUND");
    holds(&error, "message", "no_such_task");
    holds(&error, "message", "bad::allocate");
    let error = up.scenario(&["too-few"]);
    holds(&error, "message", "3");
    up.still_serves();
    up.wait_until_idle();
}

// contract: J2, O6
#[test]
fn a_guest_that_drops_everything_and_ends_leaves_nothing() {
    let mut up = Up::start();
    assert_eq!(up.scenario(&["drop-everything", "5000"]), json!({}));
    up.wait_until_idle();
    up.still_serves();
}
