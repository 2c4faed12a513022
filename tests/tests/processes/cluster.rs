//! Several nodes: real processes, some of which die.

use std::collections::HashSet;

use engine_tests::{Outcome, Place, Running, Up, how_to_join, until};
use serde_json::{Value, json};

/// Three nodes with one CPU each, so that two tasks of a job never share one.
pub(super) fn three() -> Up {
    Up::with(&["--nodes", "3", "--cpus", "1"])
}

/// The process of a node.
pub(super) fn process_of(up: &Up, node: &Value) -> u32 {
    let nodes = up.list("nodes", &[]);
    let found = nodes.iter().find(|view| &view["node_id"] == node).expect("it is listed");
    found["process_id"].as_u64().expect("a number") as u32
}

/// Waits until a job's root has spawned tasks that run on other nodes than its own; both nodes.
pub(super) fn home_and_another(up: &Up, job: &str) -> (Value, Value) {
    let of_job = format!("job={job}");
    until("a task of the job runs on another node than its root", || {
        let tasks = up.list("tasks", &[&of_job]);
        let home = tasks.iter().find(|task| task["parent_task_id"] == "").map(|task| task["node_id"].clone());
        let is_away = |task: &&Value| {
            task["state"] == "RUNNING" && task["node_id"] != "" && Some(&task["node_id"]) != home.as_ref()
        };
        let away = tasks.iter().find(is_away).map(|task| task["node_id"].clone());
        home.zip(away).ok_or_else(|| format!("{tasks:?}"))
    })
}

pub(super) fn signal(process: u32, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(sent.expect("kill runs").success(), "{name} to {process}");
}

/// Checks that a job of `sleeps` has ended well, with what each of its tasks gave.
#[track_caller]
pub(super) fn slept(up: &Up, ended: &Value, count: u64) {
    assert_eq!(ended["state"], "SUCCEEDED", "{ended:#}");
    // Its main gives nothing: what it found it wrote.
    let log = up.engine(&["logs", ended["job_id"].as_str().expect("text")]).exits(0);
    let values = (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert!(log.stdout.contains(&format!("[{values}]")), "{log}");
}

#[test]
fn a_job_uses_every_node_and_leaves_nothing() {
    let up = three();
    let seen = up.scenario(&["sleeps", "9", "300"]);
    assert_eq!(seen["value"], (0..9).collect::<Value>());
    let nodes: HashSet<String> = up
        .list("tasks", &["function=good::sleep"])
        .iter()
        .map(|task| task["node_id"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    let counted = up.json(&["status"])["tasks"]["FINISHED"].clone();
    assert_eq!(counted, 10, "each task once, and the root");
    up.wait_until_idle();
}

#[test]
fn what_guests_write_on_other_nodes_is_in_the_jobs_log() {
    let up = three();
    let shown = up.selftest(&["sayings", "3", "300"]).exits(0);
    for n in 0..3 {
        assert!(shown.stdout.contains(&format!("number {n}")), "each is shown: {shown}");
    }
    let job = up.list("jobs", &[])[0]["job_id"].as_str().expect("text").to_owned();
    let lines: Vec<Value> = up
        .engine(&["logs", &job, "--format", "json"])
        .exits(0)
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let nodes: HashSet<&str> = lines.iter().filter_map(|line| line["node_id"].as_str()).collect();
    assert_eq!(nodes.len(), 3, "{lines:?}");
}

// contract: O5
#[test]
fn large_objects_go_where_they_are_needed() {
    let up = three();
    let seen = up.scenario(&["bytes", "3000000"]);
    assert_eq!((&seen["length"], &seen["sum"]), (&json!(3_000_000), &json!(9_000_000)), "{seen}");
    let sorted = up.place().submit("sort-tree", &[]).run().exits(0).last_json();
    assert_eq!((&sorted["sorted"], &sorted["count"]), (&json!(true), &json!(1_000_000)));
    up.wait_until_idle();
}

// contract: T7, O8
#[test]
fn tasks_of_a_node_that_is_killed_run_elsewhere() {
    let up = three();
    let job = up.submit_no_wait(&[], &["sleeps", "12", "500"]);
    let (_, other) = home_and_another(&up, &job);
    signal(process_of(&up, &other), "KILL");
    let ended = up.wait_for_end(&job);
    slept(&up, &ended, 12);
    let again = up.list("tasks", &[&format!("job={job}"), "attempts=2"]);
    assert!(!again.is_empty(), "what ran there ran again");
    assert!(again.iter().all(|task| task["attempts"][0]["cause"]["code"] == "NODE_DIED"), "{again:?}");
    let nodes = up.list("nodes", &[]);
    let states: Vec<&Value> = nodes.iter().map(|node| &node["state"]).collect();
    assert_eq!(states.iter().filter(|state| **state == "DEAD").count(), 1, "{nodes:?}");
    up.wait_until_idle();
}

// contract: J2, O9
#[test]
fn a_job_whose_root_was_on_a_killed_node_fails_and_leaves_nothing_elsewhere() {
    let up = three();
    let job = up.submit_no_wait(&[], &["sleeps", "6", "60000"]);
    let (home, _) = home_and_another(&up, &job);
    signal(process_of(&up, &home), "KILL");
    let ended = up.wait_for_end(&job);
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("FAILED"), &json!("NODE_DIED")));
    up.wait_until_idle();
    assert_eq!(up.scenario(&["identity", "7"])["value"], 7);
}

// contract: H1, H3
#[test]
fn a_frozen_node_is_dead_and_starts_afresh_when_it_thaws() {
    let up = three();
    let job = up.submit_no_wait(&[], &["sleeps", "12", "500"]);
    let (_, other) = home_and_another(&up, &job);
    let process = process_of(&up, &other);
    signal(process, "STOP");
    let ended = up.wait_for_end(&job);
    slept(&up, &ended, 12);
    assert_eq!(up.json(&["get", "node", other.as_str().expect("text")])["state"], "DEAD");
    signal(process, "CONT");
    let fresh = until("the node is back with another id", || {
        let alive = up.list("nodes", &["state=ALIVE"]);
        let fresh = alive.iter().find(|node| node["process_id"] == process).cloned();
        fresh.ok_or_else(|| format!("{alive:?}"))
    });
    assert_ne!(fresh["node_id"], other);
    assert_eq!(up.scenario(&["sleeps", "9", "300"])["value"], (0..9).collect::<Value>());
    up.wait_until_idle();
}

/// A head, and nodes that joined it.
struct Parts {
    head: Running,
    // After the head, so that it ends after it.
    _nodes: Vec<Running>,
    place: Place,
    at: String,
}

fn start_head(place: &Place, listen: &str) -> (Running, String) {
    start_head_with(place, listen, &["--in-memory"])
}

pub(super) fn start_head_with(place: &Place, listen: &str, options: &[&str]) -> (Running, String) {
    let mut head = place.engine(["head", "--listen", listen].iter().chain(options)).start();
    let said = head.wait_for_stderr("listening on ");
    (head, how_to_join(&said).swap_remove(1))
}

fn parts(nodes: usize) -> Parts {
    let place = Place::new();
    let (head, at) = start_head(&place, "127.0.0.1:0");
    let node = || {
        let mut node = place.engine(["agent", "--head", &at, "--cpus", "1", "--memory", "4GiB"]).start();
        node.wait_for_stderr("has joined the cluster");
        node
    };
    let nodes = (0..nodes).map(|_| node()).collect();
    Parts { head, _nodes: nodes, place, at }
}

impl Parts {
    fn run(&self, words: &[&str]) -> Outcome {
        self.place.engine(words).run()
    }
}

// contract: H2
#[test]
fn work_goes_on_while_the_head_is_away_and_nodes_come_back_to_it() {
    let Parts { head, _nodes, place, at } = parts(2);
    let submit = place.submit_with("selftest", &["--no-wait"], &["sleeps", "6", "500"]);
    let job = submit.run().exits(0).stdout.trim().to_owned();
    until("its tasks run on both nodes", || {
        let running = ["list", "tasks", "--filter", "function=good::sleep", "--filter", "state=RUNNING"];
        let running = place.engine(running.iter().chain(&["--format", "json"])).run().exits(0).json();
        if running["total"] == 2 { Ok(()) } else { Err(format!("{job}: {running}")) }
    });
    let named = place.submit_with("selftest", &["--namespace", "ours"], &["detach", "keeper"]);
    assert_eq!(named.run().exits(0).last_json()["value"], 6);
    head.kill();
    let (_head, again) = start_head(&place, &at);
    assert_eq!(again, at);
    until("both nodes are back, with the ids that they had", || {
        let nodes = place.engine(["list", "nodes", "--format", "json"]).run().exits(0).json();
        if nodes["total"] == 2 { Ok(()) } else { Err(nodes.to_string()) }
    });
    // The job went on, and the head knows it again, and who has which name.
    let ended = until("the job ends", || {
        let view = place.engine(["job", "status", &job, "--format", "json"]).run().exits(0).json();
        if view["state"] == "SUCCEEDED" { Ok(view) } else { Err(view.to_string()) }
    });
    assert_eq!(ended["job_id"], job.as_str());
    let log = place.engine(["logs", &job]).run().exits(0);
    assert!(log.stdout.contains("[0,1,2,3,4,5]"), "{log}");
    let named = place.submit_with("selftest", &["--namespace", "ours"], &["attach", "keeper"]);
    assert_eq!(named.run().exits(0).last_json()["value"], 7);
    let outcome = place.submit("selftest", &["sleeps", "6", "100"]).run().exits(0);
    assert_eq!(outcome.last_json()["value"], (0..6).collect::<Value>());
}

// contract: H2, J1
#[test]
fn a_head_that_is_killed_comes_back_with_what_it_knew() {
    let place = Place::new();
    let folder = place.path("memory");
    let memory = ["--data-dir", folder.to_str().expect("text")];
    let (head, at) = start_head_with(&place, "127.0.0.1:0", &memory);
    let mut node = place.engine(["agent", "--head", &at, "--cpus", "1", "--memory", "4GiB"]).start();
    node.wait_for_stderr("has joined the cluster");
    let done = place.submit_with("selftest", &["--submission-id", "once"], &["sleeps", "2", "10"]).run();
    assert_eq!(done.exits(0).last_json()["value"], (0..2).collect::<Value>());
    let status = || place.engine(["job", "status", "once", "--format", "json"]).run();
    let before = status().exits(0).json();
    assert_eq!(before["state"], "SUCCEEDED", "{before}");
    // The node knows of the job too: only the head does once it is gone.
    head.kill();
    node.kill();
    let (_head, again) = start_head_with(&place, &at, &memory);
    assert_eq!(again, at);
    let after = status().exits(0).json();
    assert_eq!((&after["job_id"], &after["state"]), (&before["job_id"], &before["state"]), "{after}");
    let other = Place::new().engine(["head", "--listen", "127.0.0.1:0"].iter().chain(&memory)).run();
    assert_eq!(other.status, 1, "{other}");
    assert!(other.stderr.contains("in use by another process"), "{other}");
}

#[test]
fn a_head_and_nodes_are_started_one_by_one() {
    let parts = parts(2);
    let listed = parts.run(&["list", "nodes", "--format", "json"]).exits(0).json();
    assert_eq!(listed["total"], 2, "{listed:#}");
    let done = parts.place.submit("selftest", &["sleeps", "4", "100"]).run().exits(0);
    assert_eq!(done.last_json()["value"], (0..4).collect::<Value>());
}

#[test]
fn a_cluster_without_nodes_says_what_to_do() {
    let parts = parts(0);
    let outcome = parts.place.submit("selftest", &["nothing"]).run();
    assert_eq!(outcome.status, 2, "{outcome}");
    assert!(outcome.stderr.contains("engine agent --head"), "{outcome}");
}

// contract: A8, A9
#[test]
fn a_named_actor_is_found_from_another_node() {
    let up = three();
    let run = |namespace: &str, scenario: &[&str]| {
        let namespace = ["--namespace", namespace];
        up.place().submit_with("selftest", &namespace, scenario).run().exits(0).last_json()
    };
    assert_eq!(run("ours", &["detach", "keeper"])["value"], 6);
    let keeper = up.wait_for_one("actors", &["name=keeper"]);
    // Each job that runs makes the next one begin on another node.
    let busy: Vec<String> = (0..2).map(|_| up.submit_no_wait(&[], &["sleeps", "1", "60000"])).collect();
    assert_eq!(run("ours", &["attach", "keeper"])["value"], 7);
    assert_eq!(run("theirs", &["attach", "keeper"])["code"], "NOT_FOUND");
    let jobs = up.list("jobs", &["state=SUCCEEDED"]);
    let homes: HashSet<String> = jobs
        .iter()
        .map(|job| {
            up.json(&["get", "task", job["root_task_id"].as_str().expect("text")])["node_id"].to_string()
        })
        .collect();
    assert!(homes.len() > 1, "they ran on several nodes: {homes:?}");
    assert!(homes.contains(&keeper["node_id"].to_string()), "{keeper}");
    assert_eq!(run("ours", &["kill-named", "keeper"])["code"], "ACTOR_DIED");
    assert_eq!(run("ours", &["attach", "keeper"])["code"], "NOT_FOUND");
    for job in busy {
        up.engine(&["job", "stop", &job]).exits(0);
    }
    up.wait_until_idle();
}

// contract: A1, A9
#[test]
fn actors_live_on_every_node() {
    let up = three();
    let seen = up.scenario(&["actors-spread", "6"]);
    let nodes: HashSet<String> =
        seen["nodes"].as_array().expect("a list").iter().map(Value::to_string).collect();
    assert_eq!(nodes.len(), 3, "{seen:#}");
    assert_eq!(seen["sums"], (1..=6).collect::<Value>());
    assert_eq!((&seen["through"], &seen["streamed"]), (&json!(11), &json!([11, 12, 13])), "{seen:#}");
    up.wait_until_idle();
}

// contract: A3, T7
#[test]
fn an_actor_whose_node_is_killed_is_made_anew_elsewhere() {
    let up = three();
    let job = up.submit_no_wait(&[], &["actor-moves"]);
    let alive = up.wait_for_one("actors", &["state=ALIVE", &format!("job={job}")]);
    until("its first call has ended", || {
        let log = up.engine(&["logs", &job]).exits(0);
        if log.stdout.contains("it lives on") { Ok(()) } else { Err(log.stdout) }
    });
    signal(process_of(&up, &alive["node_id"]), "KILL");
    let ended = up.wait_for_end(&job);
    assert_eq!(ended["state"], "SUCCEEDED", "{ended:#}");
    let log = up.engine(&["logs", &job]).exits(0);
    let seen: Value = serde_json::from_str(log.stdout.lines().last().expect("a line")).expect("JSON");
    assert_eq!(seen["before"], alive["node_id"]);
    assert_ne!(seen["after"], seen["before"]);
    assert_eq!(seen["marks"], json!([6, 6]), "its state is new: {seen}");
    up.wait_until_idle();
}

// contract: A3, A8
#[test]
fn a_detached_actor_outlives_its_job_on_another_node_and_is_made_anew_there() {
    let up = three();
    let run = |scenario: &[&str]| {
        let namespace = ["--namespace", "ours"];
        up.place().submit_with("selftest", &namespace, scenario).run().exits(0).last_json()
    };
    let made = run(&["detach-elsewhere", "keeper"]);
    assert_eq!(made["value"], 6);
    let keeper = up.wait_for_one("actors", &["name=keeper", "state=ALIVE"]);
    assert_eq!(keeper["node_id"], made["node"]);
    assert_eq!(run(&["attach", "keeper"])["value"], 7);
    // The node that it lives on is not that of its owner, which has its restart budget.
    signal(process_of(&up, &keeper["node_id"]), "KILL");
    let again = until("it lives elsewhere", || {
        let now = up.list("actors", &["name=keeper", "state=ALIVE"]);
        let moved = now.iter().find(|actor| actor["node_id"] != keeper["node_id"]).cloned();
        moved.ok_or_else(|| format!("{now:?}"))
    });
    assert_eq!(again["restarts"], 1, "{again}");
    assert_eq!(run(&["attach", "keeper"])["value"], 6, "its state is new");
    assert_eq!(run(&["kill-named", "keeper"])["code"], "ACTOR_DIED");
    up.wait_until_idle();
}
