//! A second command reaches a running engine.

use std::collections::HashSet;
use std::os::unix::fs::FileTypeExt;

use engine_tests::{Place, Up};
use serde_json::{Value, json};

fn ids(items: &[Value], field: &str) -> Vec<String> {
    items.iter().map(|item| item[field].as_str().expect("an id").to_owned()).collect()
}

// contract: J1
#[test]
fn a_job_is_submitted_listed_followed_and_forgotten() {
    let up = Up::start();
    let id = up.submit_no_wait(&["--submission-id", "first", "--name", "hello"], &["identity", "5"]);
    assert!(id.starts_with("job-"), "{id}");
    let job = up.wait_for_end("first");
    assert_eq!(
        (&job["job_id"], &job["name"], &job["state"]),
        (&json!(id), &json!("hello"), &json!("SUCCEEDED"))
    );
    assert_eq!(job["tasks"]["FINISHED"], 2, "{job:#}");
    for time in ["submit_time", "start_time", "end_time"] {
        assert!(job[time].as_str().is_some_and(|time| time.ends_with('Z')), "{job:#}");
    }

    let listed = up.json(&["job", "list"]);
    assert_eq!((&listed["total"], &listed["items"][0]["job_id"]), (&json!(1), &json!(id)));
    let table = up.engine(&["job", "list"]).exits(0).stdout;
    assert!(table.contains(&id) && table.contains("SUCCEEDED") && table.contains("hello"), "{table}");
    let text = up.engine(&["job", "status", &id]).exits(0).stdout;
    assert!(text.contains(&id) && text.contains("SUCCEEDED"), "{text}");

    let written = up.engine(&["job", "logs", "first"]).exits(0).stdout;
    assert_eq!(written, "{\"value\":5}\n");
    assert_eq!(
        up.engine(&["logs", &id, "-f"]).exits(0).stdout,
        written,
        "it has ended, and so does following it"
    );

    let stopped = up.engine(&["job", "stop", &id]).exits(0);
    assert!(stopped.stdout.contains("had ended before: SUCCEEDED"), "{stopped}");
    up.engine(&["job", "delete", &id]).exits(0);
    up.engine(&["job", "status", &id]).exits(2).says(&["NOT_FOUND", &id]);
    up.engine(&["job", "status", "first"]).exits(2).says(&["NOT_FOUND"]);
    assert_eq!(up.json(&["job", "list"])["total"], 0);
}

// contract: J1
#[test]
fn submitting_twice_with_one_id_runs_one_job() {
    let up = Up::start();
    let first = up.submit_no_wait(&["--submission-id", "once"], &["sleeps", "2", "10"]);
    assert_eq!(up.submit_no_wait(&["--submission-id", "once"], &["sleeps", "2", "10"]), first);
    assert_eq!(up.wait_for_end("once")["state"], "SUCCEEDED");
    assert_eq!(up.submit_no_wait(&["--submission-id", "once"], &["sleeps", "2", "10"]), first);
    // Whoever waits gets the output of the one that ran.
    let again =
        up.place().submit_with("selftest", &["--submission-id", "once"], &["sleeps", "2", "10"]).run();
    assert_eq!(again.exits(0).last_json()["value"], json!([0, 1]));
    assert_eq!(up.json(&["job", "list"])["total"], 1);

    let other = up.place().submit_with("selftest", &["--submission-id", "once"], &["nothing"]).run();
    other.exits(2).says(&["ALREADY_EXISTS", "once", &first]);
    assert_ne!(
        up.submit_no_wait(&[], &["nothing"]),
        up.submit_no_wait(&[], &["nothing"]),
        "without an id they differ"
    );
}

#[test]
fn a_job_that_runs_is_followed_and_not_forgotten() {
    let up = Up::start();
    let id = up.submit_no_wait(&[], &["actor-order", "1000000"]);
    up.wait_for_one("tasks", &["state=RUNNING"]);
    up.engine(&["job", "delete", &id]).exits(2).says(&["INVALID_ARGUMENT", &id]);
    let follower = up.place().engine(["job", "logs", "-f", &id]).start();
    up.engine(&["job", "stop", &id]).exits(0);
    follower.wait().exits(0);
    assert_eq!(up.json(&["job", "status", &id])["state"], "STOPPED");
    up.wait_until_idle();
}

// contract: I1, T1
#[test]
fn tasks_actors_objects_and_nodes_are_listed_and_shown() {
    let up = Up::start();
    let job = up.submit_no_wait(&["--name", "sleeper"], &["sleeps", "30", "60000"]);
    up.wait_for_one("tasks", &["state=RUNNING", "function=good::sleep"]);

    let all = up.list("tasks", &[]);
    let sleeping = up.list("tasks", &["function=good::sleep"]);
    assert_eq!(up.list("tasks", &["function!=good::sleep"]).len(), 1, "the root task");
    let distinct: HashSet<String> = ids(&all, "task_id").into_iter().collect();
    assert_eq!(distinct.len(), all.len(), "ids are distinct");
    assert!(distinct.iter().all(|id| id.starts_with("task-")));
    assert!(sleeping.iter().all(|task| task["job_id"] == job));
    let page = up.engine(&["list", "tasks", "--limit", "3"]).exits(0);
    assert_eq!(page.stdout.lines().count(), 1 + 3, "a head and three rows\n{page}");
    page.says(&["3 of ", "--limit"]);

    let running = up.wait_for_one("tasks", &["state=RUNNING", "function=good::sleep"]);
    let one = up.json(&["get", "task", running["task_id"].as_str().unwrap()]);
    assert_eq!((&one["function"], &one["resources"]["cpus"]), (&json!("good::sleep"), &json!(1.0)));
    let text = up.engine(&["get", "task", running["task_id"].as_str().unwrap()]).exits(0).stdout;
    assert!(text.contains("good::sleep") && text.contains("RUNNING"), "{text}");

    let objects = up.list("objects", &["state=PENDING"]);
    assert!(!objects.is_empty());
    let object = up.json(&["get", "object", objects[0]["object_id"].as_str().unwrap()]);
    assert_eq!((&object["state"], &object["put"]), (&json!("PENDING"), &json!(false)));

    let nodes = up.list("nodes", &[]);
    assert_eq!(nodes.len(), engine_tests::nodes());
    let node = up.json(&["get", "node", nodes[0]["node_id"].as_str().unwrap()]);
    assert_eq!((&node["state"], &node["total"]["cpus"]), (&json!("ALIVE"), &json!(2.0)));
    assert_eq!(up.list("jobs", &["state=RUNNING"]).len(), 1);
    assert_eq!(up.list("placement-groups", &[]).len(), 0);

    let table = up.engine(&["status"]).exits(0).stdout;
    for text in ["cpus", "memory", "sandboxes:", "store:"] {
        assert!(table.contains(text), "{text:?} is missing: {table}");
    }

    up.engine(&["list", "tasks", "--filter", "colour=red"]).exits(2).says(&[
        "INVALID_ARGUMENT",
        "colour",
        "function",
    ]);
    up.engine(&["list", "wishes"]).exits(2).says(&["wishes", "tasks"]);
    up.engine(&["get", "task", "task-000000000000000000000000"]).exits(2).says(&["NOT_FOUND"]);
    up.engine(&["get", "task", "job-1"]).exits(2).says(&["INVALID_ARGUMENT"]);

    up.engine(&["job", "stop", &job]).exits(0);
    assert_eq!(up.list("tasks", &["state=RUNNING"]).len(), 0);
    up.wait_until_idle();
}

#[test]
fn actors_are_listed_while_they_live_and_after() {
    let up = Up::start();
    let namespace = ["--namespace", "n"];
    up.place().submit_with("selftest", &namespace, &["detach", "keeper"]).run().exits(0);
    let actor = up.wait_for_one("actors", &["state=ALIVE", "name=keeper"]);
    let one = up.json(&["get", "actor", actor["actor_id"].as_str().unwrap()]);
    assert_eq!((&one["class"], &one["namespace"]), (&json!("actors::Counter"), &json!("n")));
    up.place().submit_with("selftest", &namespace, &["kill-named", "keeper"]).run().exits(0);
    let dead = up.wait_for_one("actors", &["state=DEAD", "name=keeper"]);
    assert_eq!(dead["cause"]["code"], "ACTOR_DIED", "{dead}");
}

#[test]
fn logs_can_be_asked_for_in_parts() {
    let up = Up::start();
    let job = up.submit_no_wait(&[], &["spam-log", "50", "20"]);
    up.wait_for_end(&job);
    let lines = |arguments: &[&str]| {
        let words: Vec<&str> = ["logs", &job].iter().chain(arguments).copied().collect();
        up.engine(&words).exits(0).stdout
    };
    assert_eq!(lines(&[]).lines().count(), 51);
    assert_eq!(lines(&["--tail", "3"]).lines().count(), 3);
    let json: Vec<Value> =
        lines(&["--format", "json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (json.len(), &json[0]["source"], &json[0]["text"]),
        (51, &json!("stdout"), &json!("x".repeat(19)))
    );
    assert_eq!(json[0]["function"], "bad::spam_log");
    let task = json[0]["task_id"].as_str().unwrap();
    assert_eq!(lines(&["--task", task]).lines().count(), 50);
}

#[test]
fn many_clients_at_once_get_their_own_answers() {
    let up = Up::start();
    let jobs: Vec<_> = (0..6u64)
        .map(|n| (n, up.place().submit("selftest", &["identity", &n.to_string()]).start()))
        .collect();
    for (n, job) in jobs {
        assert_eq!(job.wait().exits(0).last_json()["value"], n);
    }
    assert_eq!(up.json(&["job", "list"])["total"], 6);
    up.wait_until_idle();
}

#[test]
fn who_follows_a_job_is_told_that_another_stopped_it() {
    let up = Up::start();
    let mut submit = up.place().submit("selftest", &["spin-forever-here"]).start();
    submit.wait_for_stdout("spinning");
    let job = up.wait_for_one("jobs", &["state=RUNNING"]);
    up.engine(&["job", "stop", job["job_id"].as_str().unwrap()]).exits(0);
    submit.wait().exits(1).says(&["TASK_CANCELLED"]);
    up.wait_until_idle();
}

#[test]
fn a_submit_gives_its_job_as_json() {
    let up = Up::start();
    let run = |arguments: &[&str]| up.place().submit_with("selftest", &["--format", "json"], arguments).run();
    let outcome = run(&["identity", "7"]).exits(0);
    assert_eq!(outcome.json()["state"], "SUCCEEDED");
    let outcome = outcome.says(&["{\"value\":7}"]);
    assert!(outcome.json()["error"].is_null(), "{outcome}");
    let failed = run(&["fail-here", "Custom", "on purpose"]).exits(1).json();
    assert_eq!((&failed["state"], &failed["error"]["kind"]), (&json!("FAILED"), &json!("Custom")));
    assert_eq!(failed["error"]["path"][0]["function"], "main");
}

#[test]
fn where_no_engine_runs_commands_say_so() {
    let place = Place::new();
    for arguments in [&["status"][..], &["job", "list"], &["list", "tasks"], &["logs", "some-job"]] {
        place.engine(arguments).run().exits(3).says(&["error:", "engine up"]);
    }
    let address = format!("unix:{}", place.path("nowhere.sock").display());
    place.engine(["status", "--address", &address]).run().exits(3).says(&["nowhere.sock"]);
    place
        .submit_with("selftest", &["--address", &address], &["nothing"])
        .run()
        .exits(3)
        .says(&["nowhere.sock"]);
    place.engine(["status", "--address", "nonsense"]).run().exits(2).says(&["nonsense"]);
    place
        .engine(["status"])
        .env("ENGINE_ADDRESS", "nonsense")
        .run()
        .exits(2)
        .says(&["ENGINE_ADDRESS", "nonsense"]);
    place.engine(["frobnicate"]).run().exits(2).says(&["frobnicate"]);
    place.engine(["submit"]).run().exits(2);
}

#[test]
fn an_engine_that_was_killed_leaves_a_socket_that_the_next_one_replaces() {
    let place = Up::start().kill();
    assert!(
        place.socket().metadata().expect("the socket").file_type().is_socket(),
        "it had no time to remove it"
    );
    place.engine(["status"]).run().exits(3).says(&["engine up"]);
    // A submit is not led astray by it.
    assert_eq!(place.submit("selftest", &["identity", "7"]).run().exits(0).last_json()["value"], 7);

    let mut up = Up::in_place(place, &[]);
    up.still_serves();
    // And two do not run in one place.
    let second = up.place().engine(["up"]).run().exits(2);
    second.says(&["already", up.place().socket().to_str().unwrap()]);
    up.still_serves();
    let (outcome, place) = up.stop();
    outcome.exits(0).says(&["stopping", "stopped"]);
    assert!(!place.socket().exists(), "the socket goes with its engine");
}

// contract: J2
#[test]
fn an_engine_that_is_stopped_takes_its_jobs_along() {
    let up = Up::start();
    let mut submit = up.place().submit("selftest", &["sleeps", "10", "60000"]).start();
    up.wait_for_one("tasks", &["state=RUNNING", "function=good::sleep"]);
    assert!(!submit.has_ended());
    let (outcome, _place) = up.stop();
    outcome.exits(0);
    let outcome = submit.wait();
    assert!([1, 3].contains(&outcome.status) && outcome.stderr.contains("error:"), "{outcome}");
}

#[test]
fn a_loopback_port_serves_as_well() {
    let place = Place::new();
    let mut up = place.engine(["up", "--address", "127.0.0.1:0", "--cpus", "1", "--memory", "1GiB"]).start();
    let said = up.wait_for_stderr("give it work");
    let address = said.lines().find_map(|line| line.strip_prefix("listening on ")).expect("its address");
    assert!(!address.ends_with(":0"), "{address}");
    let submit = place.submit_with("selftest", &["--address", address], &["identity", "7"]).run();
    assert_eq!(submit.exits(0).last_json()["value"], 7);
    place.engine(["status"]).env("ENGINE_ADDRESS", address).run().exits(0);
    place.engine(["up", "--address", "0.0.0.0:0"]).run().exits(2).says(&["loopback"]);
    up.terminate();
    up.wait().exits(0);
}
