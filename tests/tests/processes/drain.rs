//! Nodes that leave in order: real processes, drained by an operator or told to stop.

use engine_tests::{Place, Running, until};
use serde_json::{Value, json};

/// A head, and nodes of one CPU each that joined it.
struct Cluster {
    // Before the head, so that they end before it.
    agents: Vec<Agent>,
    head: Running,
    place: Place,
    at: String,
}

struct Agent {
    id: String,
    running: Running,
}

impl Cluster {
    fn start(nodes: usize) -> Self {
        let place = Place::new();
        let (head, at) = start_head(&place, "127.0.0.1:0");
        let mut cluster = Self { agents: Vec::new(), head, place, at };
        (0..nodes).for_each(|_| cluster.join());
        cluster
    }

    fn join(&mut self) {
        let options = ["agent", "--head", &self.at, "--cpus", "1", "--memory", "4GiB"];
        let mut running = self.place.engine(options).start();
        let said = running.wait_for_stderr("has joined the cluster");
        let line = said.lines().find(|line| line.contains("has joined")).expect("it says who it is");
        let id = line.split_whitespace().next().expect("its id").to_owned();
        self.agents.push(Agent { id, running });
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        self.place.engine(words.iter().chain(&["--format", "json"])).run().exits(0).json()
    }

    #[track_caller]
    fn list(&self, kind: &str, filter: &str) -> Vec<Value> {
        let mut words = vec!["list", kind];
        if !filter.is_empty() {
            words.extend(["--filter", filter]);
        }
        match self.json(&words)["items"].take() {
            Value::Array(items) => items,
            other => panic!("no list: {other}"),
        }
    }

    /// How a node is listed; empty while it does not answer.
    fn state(&self, node: &str) -> String {
        let listed = self.list("nodes", &format!("id={node}"));
        listed.first().and_then(|view| view["state"].as_str()).unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn submit(&self, guest: &str, arguments: &[&str]) -> String {
        let submitted = self.place.submit_with(guest, &["--no-wait"], arguments).run().exits(0);
        submitted.stdout.trim().to_owned()
    }

    /// Waits until tasks of a job run on so many nodes, and gives the node of its root.
    #[track_caller]
    fn wait_until_on(&self, job: &str, nodes: usize) -> String {
        until("the tasks of the job are on as many nodes as they can be", || {
            let tasks = self.list("tasks", &format!("job={job}"));
            let root = tasks.iter().find(|task| task["parent_task_id"] == "");
            let runs = |task: &&Value| task["state"] == "RUNNING" && task["node_id"] != "";
            let on: std::collections::BTreeSet<String> =
                tasks.iter().filter(runs).map(|task| task["node_id"].to_string()).collect();
            let home = root.and_then(|root| root["node_id"].as_str()).unwrap_or_default().to_owned();
            if on.len() >= nodes && !home.is_empty() { Ok(home) } else { Err(format!("{tasks:?}")) }
        })
    }

    #[track_caller]
    fn succeeds(&self, job: &str) -> String {
        until("the job ends well", || {
            let view = self.json(&["job", "status", job]);
            assert_ne!(view["state"], "FAILED", "{view:#}");
            if view["state"] == "SUCCEEDED" { Ok(()) } else { Err(view.to_string()) }
        });
        self.place.engine(["logs", job]).run().exits(0).stdout
    }

    /// Takes the process of a node that is to have ended by itself, in order.
    #[track_caller]
    fn ended(&mut self, node: &str) {
        let at = self.agents.iter().position(|agent| agent.id == node).expect("a node of ours");
        let outcome = self.agents.remove(at).running.wait().exits(0);
        outcome.says(&[&format!("{node} has left the cluster")]);
        assert_eq!(self.state(node), "LEFT");
    }

    /// How often each task of a job was tried.
    fn attempts(&self, job: &str) -> Vec<u64> {
        let tasks = self.list("tasks", &format!("job={job}"));
        tasks.iter().map(|task| task["attempts"].as_array().expect("a list").len() as u64).collect()
    }

    /// One that is not that of the root.
    fn other(&self, home: &str) -> String {
        self.agents.iter().map(|agent| agent.id.clone()).find(|id| id != home).expect("another node")
    }
}

fn start_head(place: &Place, listen: &str) -> (Running, String) {
    let folder = place.path("memory");
    let options = ["head", "--listen", listen, "--data-dir", folder.to_str().expect("text")];
    let mut head = place.engine(options).start();
    let said = head.wait_for_stderr("listening on ");
    let (_, at) = said.split_once("engine agent --head ").expect("it says how nodes join");
    let at = at.split_whitespace().next().expect("an address").to_owned();
    (head, at)
}

// contract: T7, O8
#[test]
fn a_node_is_drained_while_a_job_runs_and_nothing_is_run_again() {
    let mut cluster = Cluster::start(3);
    // Large arguments and results lie on every node, and some are needed until the end.
    let job = cluster.submit("sort-tree", &["3000000", "100000"]);
    let home = cluster.wait_until_on(&job, 2);
    let node = cluster.other(&home);
    let drained = cluster.place.engine(["drain", &node]).run();
    // What its tasks have made and others hold it keeps until they have it.
    drained.exits(0).prints(&[&format!("{node} has left")]);
    cluster.ended(&node);
    let log = cluster.succeeds(&job);
    assert!(log.contains("\"sorted\":true"), "{log}");
    assert!(cluster.attempts(&job).iter().all(|attempts| *attempts == 1), "nothing was run again");
    let listed = cluster.list("nodes", "");
    assert_eq!(listed.iter().filter(|node| node["state"] == "ALIVE").count(), 2, "{listed:?}");
    // Again it is as it was, and the others serve on.
    let again = cluster.json(&["drain", &node]);
    assert_eq!((&again["state"], &again["nodes_that_stay"]), (&json!("LEFT"), &json!(2)));
    let served = cluster.place.submit("selftest", &["sleeps", "4", "50"]).run().exits(0);
    assert_eq!(served.last_json()["value"], (0..4).collect::<Value>());
}

// contract: T7, H2
#[test]
fn at_its_deadline_tasks_run_elsewhere_though_the_head_was_killed_meanwhile() {
    let cluster = Cluster::start(3);
    let job = cluster.submit("selftest", &["sleeps", "3", "15000"]);
    let home = cluster.wait_until_on(&job, 3);
    let node = cluster.other(&home);
    let drains = cluster.json(&["drain", &node, "--no-wait"]);
    assert_eq!((&drains["state"], &drains["nodes_that_stay"]), (&json!("DRAINING"), &json!(2)));
    until("the node says what is left on it", || match cluster.json(&["get", "node", &node]) {
        view if view["state"] == "DRAINING" && view["drain"]["tasks"] == 1 => Ok(()),
        view => Err(view.to_string()),
    });
    let Cluster { agents, head, place, at } = cluster;
    head.kill();
    let (head, again) = start_head(&place, &at);
    assert_eq!(at, again);
    let mut cluster = Cluster { agents, head, place, at };
    until("the node is back, and drains", || match cluster.list("nodes", "state=DRAINING") {
        nodes if nodes.len() == 1 && nodes[0]["node_id"] == node.as_str() => Ok(()),
        nodes => Err(format!("{nodes:?}")),
    });
    cluster.place.engine(["drain", &node, "--deadline", "0"]).run().exits(0);
    cluster.ended(&node);
    let log = cluster.succeeds(&job);
    assert!(log.contains("[0,1,2]"), "{log}");
    let mut attempts = cluster.attempts(&job);
    attempts.sort();
    assert_eq!(attempts, [1, 1, 1, 2], "one was ended and run elsewhere");
}

// contract: J2
#[test]
fn a_node_that_is_told_to_stop_leaves_when_what_runs_has_ended() {
    let mut cluster = Cluster::start(2);
    let job = cluster.submit("selftest", &["sleeps", "2", "4000"]);
    let home = cluster.wait_until_on(&job, 2);
    let node = cluster.other(&home);
    let agent = cluster.agents.iter_mut().find(|agent| agent.id == node).expect("a node of ours");
    agent.running.terminate();
    agent.running.wait_for_stderr("leaving:");
    until("it drains", || match cluster.state(&node).as_str() {
        "DRAINING" | "LEFT" => Ok(()),
        state => Err(state.to_owned()),
    });
    cluster.ended(&node);
    assert!(cluster.succeeds(&job).contains("[0,1]"));
    assert!(cluster.attempts(&job).iter().all(|attempts| *attempts == 1), "its task has ended there");
    // The last one may be drained too: there is a word of warning, and work waits.
    let last = cluster.place.engine(["drain", &home]).run().exits(0);
    assert!(last.stderr.contains("no other node takes work"), "{last}");
    cluster.ended(&home);
    let refused = cluster.place.submit("selftest", &["nothing"]).run();
    assert_eq!(refused.status, 2, "{refused}");
    assert!(!cluster.head.has_ended());
}

// contract: A3
#[test]
fn an_actor_of_a_node_that_is_drained_is_made_anew_elsewhere() {
    let mut cluster = Cluster::start(3);
    let job = cluster.submit("selftest", &["actor-moves"]);
    let alive = until("its actor lives, and its first call has ended", || {
        let actors = cluster.list("actors", &format!("job={job}"));
        let log = cluster.place.engine(["logs", &job]).run().exits(0).stdout;
        let alive = actors.into_iter().find(|actor| actor["state"] == "ALIVE");
        alive.filter(|_| log.contains("it lives on")).ok_or(log)
    });
    let node = alive["node_id"].as_str().expect("text").to_owned();
    cluster.place.engine(["drain", &node]).run().exits(0);
    cluster.ended(&node);
    let log = cluster.succeeds(&job);
    let seen: Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    assert_eq!(seen["before"], alive["node_id"]);
    assert_ne!(seen["after"], seen["before"]);
    assert_eq!(seen["marks"], json!([6, 6]), "its state is new: {seen}");
}

#[test]
fn what_cannot_be_drained_is_said() {
    let mut cluster = Cluster::start(1);
    let unknown = cluster.place.engine(["drain", "node-000000000000000000000000"]).run();
    assert_eq!(unknown.status, 2, "{unknown}");
    assert!(unknown.stderr.contains("engine list nodes"), "{unknown}");
    let wrong = cluster.place.engine(["drain", "nobody"]).run();
    assert_eq!(wrong.status, 2, "{wrong}");
    let agent = cluster.agents.pop().expect("one node");
    agent.running.kill();
    until("it is dead", || match cluster.state(&agent.id).as_str() {
        "DEAD" => Ok(()),
        state => Err(state.to_owned()),
    });
    let dead = cluster.place.engine(["drain", &agent.id]).run();
    assert_eq!(dead.status, 2, "{dead}");
    assert!(dead.stderr.contains("is dead"), "{dead}");
    // A node of its own is no cluster's.
    let up = engine_tests::Up::start();
    let id = up.list("nodes", &[])[0]["node_id"].as_str().expect("text").to_owned();
    let alone = up.engine(&["drain", &id]);
    assert_eq!(alone.status, 2, "{alone}");
    assert!(alone.stderr.contains("UNSUPPORTED"), "{alone}");
}
