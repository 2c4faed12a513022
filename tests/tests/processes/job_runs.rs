//! Jobs whose root tasks are on nodes that are killed: they are run again, or not (contract J2).

use engine_tests::{Place, Up, until};
use serde_json::{Value, json};

use super::cluster::{home_and_another, process_of, signal, start_head_with, three};

/// Waits until a job is at this run, and its root task has begun; the node of that.
fn home_of_run(up: &Up, job: &str, run: u64) -> Value {
    until(&format!("run {run} of {job} has begun"), || {
        let view = up.json(&["get", "job", job]);
        let root = view["root_task_id"].as_str().unwrap_or_default().to_owned();
        if view["run"] != run || view["state"] != "RUNNING" || root.is_empty() {
            return Err(view.to_string());
        }
        let task = up.json(&["get", "task", &root]);
        let is_there = task["node_id"] != "" && !task["node_id"].is_null();
        if is_there { Ok(task["node_id"].clone()) } else { Err(task.to_string()) }
    })
}

// contract: J2
#[test]
fn a_job_whose_root_was_on_a_killed_node_is_run_again_and_its_submitter_sees_it() {
    let up = three();
    let options = ["--job-retries", "1", "--name", "again"];
    let mut submit = up.place().submit_with("selftest", &options, &["sleeps", "6", "2000"]).start();
    let job = up.wait_for_one("jobs", &["name=again"])["job_id"].as_str().expect("text").to_owned();
    let (home, _) = home_and_another(&up, &job);
    signal(process_of(&up, &home), "KILL");
    let said = submit.wait_for_stderr("is run again (run 2 of 2): NODE_DIED");
    assert!(said.contains(home.as_str().expect("text")), "{said}");
    let outcome = submit.wait().exits(0);
    assert_eq!(outcome.last_json()["value"], (0..6).collect::<Value>());
    let view = up.json(&["get", "job", &job]);
    assert_eq!((&view["job_id"], &view["state"]), (&json!(job), &json!("SUCCEEDED")), "{view:#}");
    assert_eq!((&view["run"], &view["job_retries"]), (&json!(1), &json!(1)));
    let [lost] = &view["lost_runs"].as_array().expect("a list")[..] else { panic!("{view:#}") };
    assert_eq!((&lost["node_id"], &lost["error"]["code"]), (&home, &json!("NODE_DIED")));
    assert_eq!(up.list("jobs", &["runs=2"]).len(), 1, "it is one job");
    let log = up.engine(&["logs", &job]).exits(0);
    assert!(log.stdout.contains("[0,1,2,3,4,5]"), "{log}");
    up.wait_until_idle();
}

// contract: J2
#[test]
fn a_job_whose_nodes_are_killed_more_often_than_it_may_be_run_again_fails_with_the_numbers() {
    let up = three();
    let job = up.submit_no_wait(&["--job-retries", "1"], &["sleeps", "6", "60000"]);
    let (first, _) = home_and_another(&up, &job);
    signal(process_of(&up, &first), "KILL");
    let second = home_of_run(&up, &job, 1);
    assert_ne!(first, second);
    signal(process_of(&up, &second), "KILL");
    let ended = up.wait_for_end(&job);
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("FAILED"), &json!("NODE_DIED")));
    let message = ended["error"]["message"].as_str().expect("text");
    for text in ["2 times", "job_retries of 1", second.as_str().expect("text")] {
        assert!(message.contains(text), "{message}");
    }
    assert_eq!(ended["lost_runs"][0]["node_id"], first, "{ended:#}");
    up.wait_until_idle();
    assert_eq!(up.scenario(&["identity", "7"])["value"], 7);
}

// contract: J2
#[test]
fn a_job_that_fails_by_itself_or_is_stopped_is_not_run_again() {
    let up = three();
    let retries = ["--job-retries", "3"];
    let failed = up.place().submit_with("selftest", &retries, &["fail-here", "Custom", "on purpose"]).run();
    failed.exits(1).says(&["Custom", "on purpose"]);
    let job = up.submit_no_wait(&retries, &["sleeps", "6", "60000"]);
    let (home, _) = home_and_another(&up, &job);
    up.engine(&["job", "stop", &job]).exits(0);
    signal(process_of(&up, &home), "KILL");
    until("its node is dead", || {
        let nodes = up.list("nodes", &["state=DEAD"]);
        if nodes.is_empty() { Err("none is".to_owned()) } else { Ok(()) }
    });
    for job in up.list("jobs", &[]) {
        assert_eq!((&job["run"], &job["lost_runs"]), (&json!(0), &json!([])), "{job:#}");
    }
    assert_eq!(up.json(&["get", "job", &job])["state"], "STOPPED");
    up.wait_until_idle();
    let many = up.place().submit_with("selftest", &["--job-retries", "1000"], &["nothing"]).run();
    many.exits(2).says(&["LIMIT_EXCEEDED", "job_retries_max"]);
}

// contract: J2, H2
#[test]
fn a_head_that_is_killed_with_the_jobs_node_runs_it_again_when_it_is_back() {
    let place = Place::new();
    let folder = place.path("memory");
    let memory = ["--data-dir", folder.to_str().expect("text")];
    let (head, at) = start_head_with(&place, "127.0.0.1:0", &memory);
    let mut nodes: Vec<_> = (0..2)
        .map(|_| {
            let mut node = place.engine(["agent", "--head", &at, "--cpus", "1", "--memory", "4GiB"]).start();
            node.wait_for_stderr("has joined the cluster");
            node
        })
        .collect();
    let options = ["--no-wait", "--job-retries", "1"];
    let submit = place.submit_with("selftest", &options, &["sleeps", "4", "1000"]).run().exits(0);
    let job = submit.stdout.trim().to_owned();
    let json = |words: &[&str]| place.engine(words.iter().chain(&["--format", "json"])).run().exits(0).json();
    let home = until("its root task has begun", || {
        let root = json(&["get", "job", &job])["root_task_id"].as_str().unwrap_or_default().to_owned();
        let outcome = place.engine(["get", "task", &root, "--format", "json"]).run();
        let home = if outcome.status == 0 { outcome.json()["node_id"].clone() } else { Value::Null };
        if home.is_null() || home == "" { Err(format!("{root} {outcome}")) } else { Ok(home) }
    });
    let listed = json(&["list", "nodes"]);
    let listed = listed["items"].as_array().expect("a list");
    let process =
        listed.iter().find(|node| node["node_id"] == home).expect("it is listed")["process_id"].clone();
    let index = nodes.iter().position(|node| json!(node.id()) == process).expect("one of ours");
    head.kill();
    nodes.remove(index).kill();
    let (_head, again) = start_head_with(&place, &at, &memory);
    assert_eq!(again, at);
    let ended = until("the job ends", || {
        let view = json(&["get", "job", &job]);
        if view["state"] == "SUCCEEDED" { Ok(view) } else { Err(view.to_string()) }
    });
    assert_eq!((&ended["run"], &ended["lost_runs"][0]["node_id"]), (&json!(1), &home), "{ended:#}");
    let log = place.engine(["logs", &job]).run().exits(0);
    assert!(log.stdout.contains("[0,1,2,3]"), "{log}");
}
