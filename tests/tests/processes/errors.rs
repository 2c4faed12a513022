//! Errors: one taxonomy, with causes, paths and pages.

use engine_tests::{Place, Up, nodes, until};
use serde_json::json;

/// The codes of wit/compute.wit, as they are printed.
fn codes() -> Vec<String> {
    let wit = include_str!("../../../wit/compute.wit");
    let (_, rest) = wit.split_once("enum error-code {").expect("the codes");
    let (list, _) = rest.split_once('}').expect("their end");
    let codes: Vec<String> = list
        .split(',')
        .map(|code| code.trim().replace('-', "_").to_uppercase())
        .filter(|code| !code.is_empty())
        .collect();
    assert!(codes.len() >= 30, "{codes:?}");
    codes
}

// contract: E1
#[test]
fn every_code_of_the_wit_has_a_page() {
    let place = Place::new();
    let all = place.engine(["error"]).run().exits(0).stdout;
    let codes = codes();
    assert_eq!(all.lines().count(), codes.len(), "as many as there are\n{all}");
    for code in codes {
        assert!(all.lines().any(|line| line.starts_with(&format!("{code} "))), "{code} is not listed\n{all}");
        let page = place.engine(["error", &code]).run().exits(0).stdout;
        assert_eq!(page.lines().next(), Some(format!("# {code}").as_str()));
        assert!(page.contains("## Cause") && page.contains("## What to do"), "{page}");
    }
    // As people write it.
    assert!(place.engine(["error", "task-failed"]).run().exits(0).stdout.starts_with("# TASK_FAILED"));
    place.engine(["error", "OOPS"]).run().exits(2).says(&["OOPS", "TASK_FAILED"]);
}

// contract: T6, E1
#[test]
fn an_error_keeps_its_kind_and_path_through_tasks_and_arguments() {
    let up = Up::start();
    let error = up.scenario(&["fail-with-kind", "Custom", "on purpose"]);
    assert_eq!((&error["code"], &error["kind"]), (&json!("TASK_FAILED"), &json!("Custom")));
    assert_eq!((&error["message"], &error["path"]), (&json!("on purpose"), &json!(["bad::fail_with_kind"])));

    let error = up.scenario(&["pass-error-on", "Custom"]);
    assert_eq!((&error["code"], &error["kind"]), (&json!("TASK_FAILED"), &json!("Custom")));
    assert_eq!(error["path"], json!(["bad::fail_with_kind", "bad::pass_error_on"]));

    let error = up.scenario(&["error-through-argument"]);
    assert_eq!((&error["code"], &error["message"]), (&json!("TASK_FAILED"), &json!("from an argument")));
    assert_eq!(error["path"], json!(["bad::fail_with_kind", "bad::use_value", "bad::use_value"]));

    assert_eq!(up.scenario(&["weather", "0"])["kind"], "Rain");
    assert_eq!(up.scenario(&["weather", "3"])["kind"], "Snow");
    assert_eq!(up.scenario(&["payload"])["payload"], json!([7, 11]));

    let outcome = up.selftest(&["fail-here", "Custom", "on purpose"]).exits(1);
    outcome.says(&[
        "error: TASK_FAILED",
        "Custom",
        "on purpose",
        "in main (task-",
        "`engine error TASK_FAILED`",
    ]);
    up.selftest(&["no-such-scenario"]).exits(1).says(&["there is no scenario `no-such-scenario`"]);
    up.wait_until_idle();
}

// contract: T1, T7
#[test]
fn every_attempt_of_a_task_is_kept() {
    let up = Up::start();
    assert_eq!(up.scenario(&["flaky", "2"])["value"], 2);
    let task = up.wait_for_one("tasks", &["function=bad::flaky"]);
    let task = up.json(&["get", "task", task["task_id"].as_str().unwrap()]);
    let attempts = task["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3, "{task:#}");
    for (number, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt["number"], number);
        assert!(attempt["start_time"].is_string() && attempt["end_time"].is_string(), "{attempt}");
        assert!(attempt["node_id"].as_str().unwrap().starts_with("node-"), "{attempt}");
    }
    assert_eq!(attempts[0]["cause"]["kind"], "Flaky");
    assert_eq!(attempts[0]["cause"]["message"], "attempt 0 fails");
    assert_eq!(attempts[2]["cause"], json!(null));

    let error = up.scenario(&["flaky-unnamed", "2"]);
    assert_eq!(error["kind"], "Flaky", "another kind is not tried again");
    assert_eq!(up.scenario(&["flaky", "6"])["kind"], "Flaky", "five times and no more");
}

// contract: E2
#[test]
fn what_can_never_be_placed_is_refused_with_the_numbers() {
    let up = Up::start();
    let error = up.scenario(&["huge-request"]);
    assert_eq!(error["code"], "UNSCHEDULABLE");
    let message = error["message"].as_str().unwrap();
    for text in ["cpu", "100000", "2", "node-"] {
        assert!(message.to_lowercase().contains(text), "{text:?} is missing: {message}");
    }
    let outcome = up.place().submit_with("selftest", &["--cpus", "3"], &["nothing"]).run();
    assert!(outcome.status == 1 || outcome.status == 2, "{outcome}");
    outcome.says(&["UNSCHEDULABLE", "3", "2"]);
}

// contract: T2, E2
/// The root task has 256 MiB and each of the others 32, all of which wait for the next. On several nodes
/// none of them sees that alone.
#[test]
fn a_deadlock_on_memory_is_detected_and_named() {
    let mut up = Up::with(&["--memory", "512MiB"]);
    assert_eq!(up.scenario(&["nest", "5"])["value"], 5, "there is enough for six");
    let error = up.scenario(&["nest", &(20 * nodes()).to_string()]);
    assert_eq!(error["code"], "UNSCHEDULABLE");
    let message = error["message"].as_str().unwrap();
    for text in ["deadlock", "memory", "32 MiB wanted", "0 bytes free"] {
        assert!(message.contains(text), "{text:?} is missing: {message}");
    }
    up.still_serves();
    up.wait_until_idle();
}

// contract: E2
#[test]
fn explain_says_what_a_waiting_task_waits_for() {
    let up = Up::with(&["--cpus", "1"]);
    let running: Vec<String> =
        (0..nodes()).map(|_| up.submit_no_wait(&["--cpus", "1"], &["spin-forever-here"])).collect();
    until("all CPUs are taken", || match up.list("tasks", &["state=RUNNING"]).len() {
        all if all == nodes() => Ok(()),
        some => Err(format!("{some} tasks run")),
    });
    let waiting = up.submit_no_wait(&["--cpus", "1"], &["nothing"]);
    let task = up.wait_for_one("tasks", &["state=PENDING_PLACEMENT"]);
    let id = task["task_id"].as_str().unwrap();

    let text = up.engine(&["explain", id]).exits(0).stdout;
    for part in [id, "cpus", "1", "0", "node-"] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    let explained = up.json(&["explain", id]);
    let lack = &explained["lacks"][0];
    assert_eq!(
        (&lack["resource"], &lack["wanted"], &lack["available"]),
        (&json!("cpus"), &json!("1"), &json!("0"))
    );
    assert!(lack["node_id"].as_str().unwrap().starts_with("node-"), "{explained}");
    assert_eq!(up.json(&["status"])["pending"][0]["count"], 1);

    for running in &running {
        up.engine(&["job", "stop", running]).exits(0);
    }
    assert_eq!(up.wait_for_end(&waiting)["state"], "SUCCEEDED", "there was room then");
    let text = up.engine(&["explain", id]).exits(0).stdout;
    assert!(text.contains("has ended: FINISHED"), "{text}");
    up.engine(&["explain", "task-000000000000000000000000"]).exits(2).says(&["NOT_FOUND"]);
    up.engine(&["explain", "nonsense"]).exits(2).says(&["nonsense"]);
}

#[test]
fn explain_names_the_arguments_that_are_missing() {
    let up = Up::start();
    let job = up.submit_no_wait(&[], &["actor-order", "3"]);
    assert_eq!(up.wait_for_end(&job)["state"], "SUCCEEDED");
    // Of a task that has ended nothing is missing.
    let task = up.wait_for_one("tasks", &["function=main"]);
    assert_eq!(up.json(&["explain", task["task_id"].as_str().unwrap()])["missing_arguments"], json!([]));
}
