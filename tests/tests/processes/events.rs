//! The log of what has happened, as `engine list events` shows it.

use engine_tests::{Place, Up, until};
use serde_json::{Value, json};

use super::cluster::{home_and_another, process_of, signal, start_head_with, three};

/// What has happened under these conditions, the newest last.
fn log(up: &Up, filters: &[&str]) -> Vec<Value> {
    let mut events = up.list("events", filters);
    events.reverse();
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().expect("text")).collect()
}

fn message(event: &Value) -> &str {
    event["message"].as_str().expect("text")
}

#[test]
fn a_cluster_tells_in_order_who_died_who_left_and_what_became_of_a_job() {
    let up = three();
    let started = log(&up, &[]);
    assert_eq!(kinds(&started), ["HEAD_STARTED", "NODE_JOINED", "NODE_JOINED", "NODE_JOINED"]);
    assert!(message(&started[3]).ends_with("the cluster has 3 members"), "{started:#?}");
    let mut follower = up.place().engine(["list", "events", "--follow"]).start();
    follower.wait_for_stdout("HEAD_STARTED");
    let job = up.submit_no_wait(&["--job-retries", "1", "--name", "told"], &["sleeps", "4", "1500"]);
    let (dead, _) = home_and_another(&up, &job);
    signal(process_of(&up, &dead), "KILL");
    assert_eq!(up.wait_for_end(&job)["state"], "SUCCEEDED");
    let node = up.list("nodes", &["state=ALIVE"])[0]["node_id"].as_str().expect("text").to_owned();
    up.engine(&["drain", &node]).exits(0);

    let of_job = log(&up, &[&format!("job={job}")]);
    let wanted = ["JOB_SUBMITTED", "JOB_RUN_STARTED", "JOB_RUN_LOST", "JOB_RUN_STARTED", "JOB_ENDED"];
    assert_eq!(kinds(&of_job), wanted, "{of_job:#?}");
    assert!(message(&of_job[0]).contains("\"told\""), "{of_job:#?}");
    assert_eq!((&of_job[1]["node_id"], &of_job[2]["node_id"]), (&dead, &dead));
    assert_ne!(of_job[3]["node_id"], dead);
    assert!(message(&of_job[4]).starts_with("it is SUCCEEDED after"), "{of_job:#?}");
    // The job's end, and that the process of the dead one ended, come in between.
    let rest = log(&up, &["kind!=HEAD_STARTED", "kind!=NODE_JOINED", "job="]);
    let rest: Vec<Value> = rest.into_iter().filter(|event| event["actor_id"] == "").collect();
    assert_eq!(kinds(&rest), ["NODE_DISCONNECTED", "NODE_DIED", "NODE_DRAINING", "NODE_LEFT"], "{rest:#?}");
    assert_eq!((&rest[0]["node_id"], &rest[1]["node_id"]), (&dead, &dead));
    assert!(message(&rest[1]).contains("connection broke"), "{rest:#?}");
    assert_eq!((&rest[2]["node_id"], &rest[3]["node_id"]), (&json!(node), &json!(node)));
    assert_eq!(message(&rest[3]), "it was drained, and has left; the cluster has 1 member");
    assert_eq!((&rest[1]["severity"], &rest[3]["severity"]), (&json!("ERROR"), &json!("INFO")));

    // The follower has said the same, and each once.
    let said = follower.wait_for_stdout("NODE_LEFT");
    for kind in ["NODE_DIED", "JOB_RUN_LOST", "JOB_ENDED", "NODE_DRAINING"] {
        assert_eq!(said.matches(kind).count(), 1, "{said}");
    }
    let id = rest[1]["event_id"].as_str().expect("text");
    assert_eq!(up.json(&["get", "event", id])["kind"], "NODE_DIED");
    assert_eq!(up.json(&["list", "events", "-n", "2"])["items"].as_array().expect("a list").len(), 2);
}

#[test]
fn one_node_tells_of_its_jobs_actors_and_groups() {
    let up = Up::start();
    up.scenario(&["actor-restart"]);
    let told = log(&up, &[]);
    let mut of_node: Vec<&str> = kinds(&told);
    of_node.retain(|kind| !kind.starts_with("JOB_"));
    assert_eq!(of_node[..2], ["HEAD_STARTED", "NODE_JOINED"], "{told:#?}");
    assert!(of_node.contains(&"ACTOR_RESTARTED"), "{told:#?}");
    let of_jobs: Vec<&str> = kinds(&told).into_iter().filter(|kind| kind.starts_with("JOB_")).collect();
    assert_eq!(of_jobs, ["JOB_SUBMITTED", "JOB_RUN_STARTED", "JOB_ENDED"]);
    let restarted = told.iter().find(|event| event["kind"] == "ACTOR_RESTARTED").expect("it is there");
    assert_eq!(restarted["severity"], "WARNING");
    assert_ne!((&restarted["actor_id"], &restarted["job_id"]), (&json!(""), &json!("")));
    let id = restarted["event_id"].as_str().expect("text");
    assert_eq!(up.json(&["get", "event", id]), *restarted);
    let table = up.engine(&["list", "events"]).exits(0).stdout;
    assert!(table.starts_with("TIME") && table.contains("ACTOR_RESTARTED"), "{table}");
    let wrong = up.engine(&["list", "events", "--filter", "colour=red"]);
    assert_eq!(wrong.status, 2, "{wrong}");
    assert!(wrong.stderr.contains("severity"), "{wrong}");
    let wrong = up.engine(&["list", "nodes", "--follow"]);
    assert_eq!(wrong.status, 2, "{wrong}");
}

// contract: H2
#[test]
fn a_head_that_was_killed_says_what_it_came_back_with() {
    let place = Place::new();
    let folder = place.path("memory");
    let memory = ["--data-dir", folder.to_str().expect("text")];
    let (head, at) = start_head_with(&place, "127.0.0.1:0", &memory);
    let mut agent = place.engine(["agent", "--head", &at, "--cpus", "1", "--memory", "4GiB"]).start();
    agent.wait_for_stderr("has joined the cluster");
    head.kill();
    let (head, again) = start_head_with(&place, &at, &memory);
    assert_eq!(at, again);
    let up = Up::around(head, place);
    let told = until("the node is back", || {
        let told = log(&up, &[]);
        if told.iter().any(|event| event["kind"] == "NODE_RETURNED") {
            Ok(told)
        } else {
            Err(format!("{told:?}"))
        }
    });
    assert_eq!(kinds(&told), ["HEAD_STARTED", "NODE_RETURNED"]);
    assert!(message(&told[0]).starts_with("it has come back with 1 node, 0 jobs"), "{told:#?}");
}
