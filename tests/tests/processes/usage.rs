//! What tenants consume, how fast they may ask for it, and what is told of it.

use std::fs;

use engine_tests::{Outcome, Place, Up, until};
use serde_json::Value;

use super::cluster::start_head_with;
use super::tenants::{Tenant, tenant, usage};

/// What a tenant has consumed in the last hour, by periods.
fn history(place: &Place, name: &str) -> Vec<Value> {
    let words = ["tenant", "usage", name, "--since", "1h", "--format", "json"];
    place.engine(words).run().exits(0).json()["items"].as_array().expect("a list").clone()
}

fn sum(records: &[Value], what: &str) -> f64 {
    records.iter().map(|record| record[what].as_f64().expect("a number")).sum()
}

/// Waits until so many tasks have finished; never are there more.
fn wait_for_tasks(place: &Place, count: f64) -> Vec<Value> {
    until(&format!("{count} tasks have finished"), || {
        let records = history(place, "default");
        let finished = sum(&records, "tasks_finished");
        assert!(finished <= count, "something counts twice: {records:?}");
        match finished == count {
            true => Ok(records),
            false => Err(format!("{finished}")),
        }
    })
}

#[test]
fn what_was_consumed_is_counted_once_by_a_head_that_is_killed() {
    let place = Place::new();
    let folder = place.path("memory");
    let options = ["--data-dir", folder.to_str().expect("text"), "--usage-period", "1s"];
    let (head, at) = start_head_with(&place, "127.0.0.1:0", &options);
    let mut node = place.engine(["agent", "--head", &at, "--cpus", "2", "--memory", "4GiB"]).start();
    node.wait_for_stderr("has joined the cluster");
    let run = || place.submit("selftest", &["noop", "100"]).run().exits(0);
    run();
    // With the root of the job.
    let records = wait_for_tasks(&place, 101.0);
    assert!(records.iter().all(|record| record["seconds"] == 1.0), "{records:?}");
    for what in ["cpu_held_seconds", "cpu_used_seconds", "memory_byte_seconds"] {
        assert!(sum(&records, what) > 0.0, "{what}: {records:?}");
    }
    // More is consumed while no head is there to hear of it.
    let mut longer = place.submit("selftest", &["sayings", "5", "400"]).start();
    longer.wait_for_stdout("4");
    head.kill();
    let (_head, _) = start_head_with(&place, &at, &options);
    longer.wait().exits(0);
    run();
    wait_for_tasks(&place, 101.0 + 101.0 + 6.0);

    let file = place.path("usage.csv");
    let path = file.to_str().expect("text");
    let words = ["tenant", "usage", "--since", "1h", "--format", "csv", "--output", path];
    place.engine(words).run().exits(0);
    let text = fs::read_to_string(&file).expect("it was written");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let column = |name: &str| header.iter().position(|other| *other == name).expect("a column");
    let finished: f64 =
        lines.map(|row| row[column("tasks_finished")].parse::<f64>().expect("a number")).sum();
    assert_eq!(finished, 208.0, "{text}");
    place.engine(["tenant", "usage", "--format", "csv"]).run().exits(2).says(&["--since"]);
}

/// Submits until the engine refuses; what it says then.
fn refused(red: &Tenant<'_>, arguments: &[&str]) -> Outcome {
    until("the engine refuses", || match red.submit(&["--no-wait"], arguments) {
        outcome if outcome.status == 0 => Err(outcome.stdout),
        outcome => Ok(outcome),
    })
}

#[test]
fn jobs_submits_and_log_lines_are_bounded_and_most_of_a_quota_is_told_of() {
    let up = Up::with(&["--cpus", "4"]);
    let place = up.place();
    let set = |terms: &[&str]| {
        let words: Vec<&str> = ["tenant", "set", "red"].iter().chain(terms).copied().collect();
        place.engine(words).run().exits(0)
    };
    set(&["--jobs-max", "1", "--sandboxes-max", "2", "--alert-percent", "50"]);
    let red = tenant(place, None, "red", "submitter");
    let sleeping = red.submitted(&[], &["sleeps", "1", "60000"]);
    refused(&red, &["nothing"]).says(&["QUOTA_EXCEEDED", "1 unfinished jobs", "jobs_max"]);
    until("it is told that most sandboxes are in use", || match usage(place, "red") {
        usage if usage["alerts"] == serde_json::json!(["sandboxes_max"]) => Ok(()),
        usage => Err(usage.to_string()),
    });
    let events = up.list("events", &["kind=QUOTA_ALERT"]);
    let message = events[0]["message"].as_str().expect("text");
    assert!(message.contains("the tenant red uses") && message.contains("sandboxes_max"), "{message}");
    red.engine(&["job", "stop", &sleeping]).exits(0);
    up.wait_for_end(&sleeping);
    until("they are given back", || match usage(place, "red") {
        usage if usage["alerts"] == serde_json::json!([]) => Ok(()),
        usage => Err(usage.to_string()),
    });

    // A flood of lines: some are kept, and the log says how many are not.
    set(&["--log-bytes-per-minute-max", "20KB"]);
    let flood = red.submitted(&[], &["spam-log", "1000", "100"]);
    up.wait_for_end(&flood);
    let log = until("the log says what was dropped", || match red.engine(&["logs", &flood]).exits(0) {
        log if log.stderr.contains("were written and dropped") => Ok(log),
        log => Err(format!("{} lines, {}", log.stdout.lines().count(), log.stderr)),
    });
    log.says(&["the tenant red may write 19.5 KiB a minute", "log_bytes_per_minute_max"]);
    let records = until("the bytes are counted", || match history(place, "red") {
        records if sum(&records, "log_bytes") > 10_000.0 => Ok(records),
        records => Err(format!("{records:?}")),
    });
    // On each node, and a moment's more.
    let most = 30_000.0 * engine_tests::nodes() as f64;
    assert!(sum(&records, "log_bytes") < most, "{records:?}");
    assert!(sum(&records, "refused") >= 1.0, "{records:?}");
    // Its own history is its own to see, and others' is not.
    let seen = red.json(&["tenant", "usage", "--since", "1h"]);
    assert!(seen["items"].as_array().is_some_and(|items| items.iter().all(|item| item["tenant"] == "red")));
    assert!(!seen["items"].as_array().expect("a list").is_empty());
    let others = red.json(&["tenant", "usage", "default", "--since", "1h"]);
    assert_eq!(others["items"], serde_json::json!([]));

    set(&["--submits-per-minute-max", "2"]);
    refused(&red, &["nothing"]).says(&["QUOTA_EXCEEDED", "2 jobs a minute", "try again in"]);
}
