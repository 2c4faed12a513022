//! A cluster whose network drops packets: one way or both, of one node or between two.

use engine_tests::{Network, Place, Running, Up, how_to_join, until};
use serde_json::{Value, json};

use crate::cluster::{home_and_another, slept};

const HEAD: usize = 0;

/// A head and three nodes of one CPU each, every one in a network of its own.
struct Cuttable {
    up: Up,
    nodes: Vec<Running>,
    // After all that run in it.
    network: Network,
}

impl Cuttable {
    fn start() -> Option<Self> {
        let network = Network::new(4)?;
        let place = Place::new();
        let memory = place.path("memory");
        let listen = format!("{}:7420", network.address(HEAD));
        let words = ["head", "--listen", &listen, "--data-dir", memory.to_str().expect("text")];
        let mut head = network.inside(HEAD, place.engine(words)).start();
        let said = head.wait_for_stderr("listening on ");
        let join = how_to_join(&said);
        let sizes = ["agent", "--cpus", "1", "--memory", "4GiB"];
        let node = |member| {
            let words = sizes.into_iter().chain(join.iter().map(String::as_str));
            let mut node = network.inside(member, place.engine(words)).start();
            node.wait_for_stderr("has joined the cluster");
            node
        };
        let nodes = (1..4).map(node).collect();
        Some(Self { up: Up::around(head, place), network, nodes })
    }

    /// Which member a node is.
    fn member(&self, node: &Value) -> usize {
        let listed = self.up.list("nodes", &["state=ALIVE"]);
        let view = listed.iter().find(|view| &view["node_id"] == node).expect("it is listed");
        let is_it = |running: &Running| view["process_id"] == running.id();
        1 + self.nodes.iter().position(is_it).expect("it is one of ours")
    }

    /// Waits until a node that was declared dead is back with another id, and everything works.
    fn is_whole_again(&self, member: usize, before: &Value) {
        assert_eq!(self.up.json(&["get", "node", before.as_str().expect("text")])["state"], "DEAD");
        let process = self.nodes[member - 1].id();
        let fresh = until("the node is back with another id", || {
            let alive = self.up.list("nodes", &["state=ALIVE"]);
            let fresh = alive.iter().find(|node| node["process_id"] == process).cloned();
            fresh.filter(|fresh| &fresh["node_id"] != before).ok_or_else(|| format!("{alive:?}"))
        });
        assert_ne!(&fresh["node_id"], before);
        assert_eq!(self.up.scenario(&["sleeps", "9", "300"])["value"], (0..9).collect::<Value>());
        self.up.wait_until_idle();
    }
}

// contract: H1, H3, T7
#[test]
fn a_node_that_nobody_reaches_is_dead_and_its_tasks_run_elsewhere() {
    let Some(all) = Cuttable::start() else { return };
    let job = all.up.submit_no_wait(&[], &["sleeps", "12", "500"]);
    let (_, other) = home_and_another(&all.up, &job);
    let member = all.member(&other);
    let pairs = || (0..4).filter(|end| *end != member).flat_map(|end| [(member, end), (end, member)]);
    pairs().for_each(|(from, to)| all.network.cut(from, to));
    slept(&all.up, &all.up.wait_for_end(&job), 12);
    pairs().for_each(|(from, to)| all.network.heal(from, to));
    all.is_whole_again(member, &other);
}

// contract: H1, H3
#[test]
fn a_node_that_the_head_does_not_hear_is_dead_whatever_others_hear_of_it() {
    let Some(all) = Cuttable::start() else { return };
    let job = all.up.submit_no_wait(&[], &["sleeps", "24", "500"]);
    let (_, other) = home_and_another(&all.up, &job);
    let member = all.member(&other);
    all.network.cut(member, HEAD);
    slept(&all.up, &all.up.wait_for_end(&job), 24);
    until("it is declared dead", || {
        let view = all.up.json(&["get", "node", other.as_str().expect("text")]);
        if view["state"] == "DEAD" { Ok(()) } else { Err(view.to_string()) }
    });
    all.network.heal(member, HEAD);
    all.is_whole_again(member, &other);
}

// contract: H1, H3
#[test]
fn a_node_that_does_not_hear_the_head_is_dead() {
    let Some(all) = Cuttable::start() else { return };
    let job = all.up.submit_no_wait(&[], &["sleeps", "24", "500"]);
    let (_, other) = home_and_another(&all.up, &job);
    let member = all.member(&other);
    all.network.cut(HEAD, member);
    until("it is declared dead", || {
        let view = all.up.json(&["get", "node", other.as_str().expect("text")]);
        if view["state"] == "DEAD" { Ok(()) } else { Err(view.to_string()) }
    });
    slept(&all.up, &all.up.wait_for_end(&job), 24);
    all.network.heal(HEAD, member);
    all.is_whole_again(member, &other);
}

#[test]
fn what_two_nodes_have_for_one_another_waits_until_they_reach_one_another() {
    let Some(all) = Cuttable::start() else { return };
    let job = all.up.submit_no_wait(&[], &["sleeps", "12", "500"]);
    let (home, other) = home_and_another(&all.up, &job);
    let (one, two) = (all.member(&home), all.member(&other));
    for (from, to) in [(one, two), (two, one)] {
        all.network.cut(from, to);
    }
    let of_job = format!("job={job}");
    until("only what the two have together is left", || {
        let tasks = all.up.list("tasks", &[&of_job]);
        let is_left = |task: &&Value| task["state"] != "FINISHED" && task["parent_task_id"] != "";
        let left: Vec<&Value> = tasks.iter().filter(is_left).collect();
        let is_there = |task: &&Value| task["node_id"] == other;
        if !left.is_empty() && left.iter().all(is_there) { Ok(()) } else { Err(format!("{left:?}")) }
    });
    for (from, to) in [(one, two), (two, one)] {
        all.network.heal(from, to);
    }
    slept(&all.up, &all.up.wait_for_end(&job), 12);
    let tasks = all.up.list("tasks", &[&of_job]);
    assert!(
        tasks.iter().all(|task| task["attempts"].as_array().is_none_or(|all| all.len() <= 1)),
        "{tasks:?}"
    );
    assert_eq!(all.up.list("nodes", &["state=ALIVE"]).len(), 3, "the head hears them all");
    assert_eq!(all.up.json(&["job", "status", &job])["state"], json!("SUCCEEDED"));
    all.up.wait_until_idle();
}
