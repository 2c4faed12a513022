//! Faults at rates in what the processes of a cluster say to one another (`engine/net/src/faults/`): what a
//! job gets is exact all the same, and nothing is left of it.
//!
//! Each test makes the methods and messages of one kind faulty, in the processes that take them in. Whether a
//! line breaks just when a node is slow, and the node is declared dead, is up to the machine: then the job is
//! run again, and is to be as exact.

use engine_tests::{Outcome, Place, Running, Up};
use serde_json::{Value, json};

use super::cluster::start_head_with;

const VARIABLE: &str = "ENGINE_TEST_FAULTS";
/// Of runs that are lost with a node.
const RETRIES: [&str; 2] = ["--job-retries", "5"];

/// A head and two nodes with faults.
struct Faulty {
    // Before the head, so that they end before it.
    nodes: Vec<Running>,
    up: Up,
}

impl Faulty {
    fn start(at_head: &str, at_nodes: &str) -> Self {
        let place = Place::new();
        let words = ["head", "--listen", "127.0.0.1:0", "--in-memory"];
        let mut head = place.engine(words).env(VARIABLE, at_head).start();
        let said = head.wait_for_stderr("listening on ");
        let at = engine_tests::how_to_join(&said).swap_remove(1);
        let node = |_| {
            let words = ["agent", "--head", &at, "--cpus", "2", "--memory", "4GiB"];
            let mut node = place.engine(words).env(VARIABLE, at_nodes).start();
            node.wait_for_stderr("has joined the cluster");
            node
        };
        let nodes = (0..2).map(node).collect();
        Self { nodes, up: Up::around(head, place) }
    }

    #[track_caller]
    fn runs(&self, guest: &str, arguments: &[&str]) -> Outcome {
        self.up.place().submit_with(guest, &RETRIES, arguments).run().exits(0)
    }

    /// Trees of tasks, objects, streams, actors whose calls are counted, and placement groups: each checks
    /// all that it gets.
    #[track_caller]
    fn is_exact(&self, seed: &str, rounds: &str) {
        let outcome = self.runs("chaos", &[seed, rounds]);
        assert!(outcome.stdout.contains(&format!("{rounds} rounds of seed {seed} were exact")), "{outcome}");
    }

    /// A name that is taken, found, and free again with its actor.
    #[track_caller]
    fn names_are_exact(&self) {
        for _ in 0..2 {
            let seen = self.runs("selftest", &["named-actor"]).last_json();
            assert_eq!(
                (&seen["taken"]["code"], &seen["found"]),
                (&json!("ALREADY_EXISTS"), &json!(6)),
                "{seen}"
            );
        }
    }

    /// Ends the cluster, once nothing is left of the jobs.
    fn ends(mut self) {
        self.up.wait_until_idle();
        for node in &mut self.nodes {
            assert!(!node.has_ended(), "{}", node.stderr_so_far());
        }
    }
}

/// The same faults for each of these names; with a seed of their own for a longer look.
fn each(names: &[&str], faults: &str) -> String {
    let rules: Vec<String> = names.iter().map(|name| format!("{name}={faults}")).collect();
    let seed = std::env::var("ENGINE_RPC_FAULTS_SEED").unwrap_or_else(|_| "11".to_owned());
    format!("{};seed={seed}", rules.join(";"))
}

#[test]
fn starting_jobs_and_what_their_guests_are_granted() {
    let methods = each(&["Peer.Start", "Peer.Grants"], "request:0.3,reply:0.3,delay:0.2:30ms");
    let cluster = Faulty::start("", &methods);
    for n in 0..4 {
        let seen = cluster.runs("selftest", &["sleeps", "3", "20"]).last_json();
        assert_eq!(seen["value"], (0..3).collect::<Value>(), "job {n}");
    }
    assert_eq!(cluster.up.list("jobs", &["state=SUCCEEDED"]).len(), 4, "each once");
    cluster.ends();
}

#[test]
fn components_and_where_they_come_from() {
    let cluster = Faulty::start(
        &each(&["Cluster.Component"], "request:0.3,reply:0.1"),
        &each(&["Components.Upload"], "request:0.5,reply:0.5"),
    );
    cluster.is_exact("1", "2");
    cluster.names_are_exact();
    cluster.ends();
}

#[test]
fn following_jobs_their_logs_and_how_far_they_are() {
    let methods = ["Jobs.Watch", "Jobs.Logs", "Jobs.Get", "Peer.Progress", "State.List"];
    let cluster = Faulty::start("", &each(&methods, "request:0.3,reply:0.2,delay:0.2:20ms"));
    let shown = cluster.runs("selftest", &["sayings", "3", "30"]);
    for n in 0..3 {
        assert_eq!(shown.stdout.matches(&format!("number {n}")).count(), 1, "each once: {shown}");
    }
    cluster.is_exact("2", "2");
    cluster.ends();
}

#[test]
fn a_job_that_is_told_to_stop_stops() {
    let cluster = Faulty::start("", &each(&["Jobs.Stop"], "request:0.5,reply:0.3"));
    for _ in 0..4 {
        let job = cluster.up.submit_no_wait(&[], &["sleeps", "2", "60000"]);
        cluster.up.engine(&["job", "stop", &job]).exits(0);
        assert_eq!(cluster.up.wait_for_end(&job)["state"], "STOPPED");
    }
    cluster.ends();
}

#[test]
fn the_lines_of_nodes_break_when_they_join_and_say_what_is_free() {
    let cluster = Faulty::start(
        &each(
            &[
                "NodeMessage.Join",
                "NodeMessage.Load",
                "NodeMessage.WantsLoads",
                "HeadMessage.Welcome",
                "HeadMessage.Loads",
                "HeadMessage.Joined",
            ],
            "request:0.1,reply:0.1,delay:0.2:20ms",
        ),
        "",
    );
    cluster.is_exact("3", "3");
    cluster.ends();
}

#[test]
fn names_and_what_else_nodes_ask_of_the_head() {
    let requests =
        ["ClaimName", "ReleaseName", "LookupName", "JobEnded"].map(|name| format!("NodeRequest.{name}"));
    let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
    let faults = each(&requests, "request:0.2,reply:0.2,delay:0.2:20ms");
    let cluster = Faulty::start(&format!("{faults};HeadMessage.Reply=request:0.1"), "");
    cluster.names_are_exact();
    cluster.names_are_exact();
    cluster.ends();
}

#[test]
fn placement_groups_are_reserved_and_given_back() {
    let messages = ["Create", "Remove", "Watch", "Prepared", "Refused", "Report"];
    let notices = ["Prepare", "Commit", "Return", "Denied", "News"];
    let messages = messages.map(|name| format!("GroupMessage.{name}"));
    let names = messages.into_iter().chain(notices.map(|name| format!("GroupNotice.{name}")));
    let names: Vec<String> = names.collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cluster = Faulty::start(&each(&names, "request:0.1,reply:0.1,delay:0.2:20ms"), "");
    for strategy in ["pack", "spread"] {
        let nodes = cluster.runs("selftest", &["group-sleeps", strategy, "2", "20"]).last_json();
        assert_eq!(nodes["value"].as_array().map(Vec::len), Some(2), "{nodes}");
    }
    cluster.ends();
}

#[test]
fn tasks_and_their_ends_go_over_lines_that_break() {
    let names = ["Run", "Refused", "HasRoom", "Ended", "Emitted", "Read", "Preempted", "Cancel"];
    packets_are_exact(&names, "4");
}

#[test]
fn calls_of_actors_go_over_lines_that_break() {
    let names =
        ["Call", "CancelCall", "KillActor", "EndIncarnation", "IncarnationEnded", "EndScope", "Outcome"];
    packets_are_exact(&names, "5");
}

#[test]
fn references_and_values_go_over_lines_that_break() {
    let names = ["Borrow", "Borrowed", "Received", "Release", "Want", "Missing", "Drop"];
    packets_are_exact(&names, "6");
}

#[test]
fn ends_of_jobs_go_over_lines_that_break() {
    let names = ["JobHere", "EndJob", "JobGone", "SweepJob", "Keeps", "WhatIsHeld", "Held", "LessIsHeld"];
    packets_are_exact(&names, "7");
}

#[track_caller]
fn packets_are_exact(names: &[&str], seed: &str) {
    let names: Vec<String> = names.iter().map(|name| format!("PeerMessage.{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let cluster = Faulty::start("", &each(&names, "request:0.1,reply:0.1,delay:0.2:5ms"));
    cluster.is_exact(seed, "3");
    let seen = cluster.runs("selftest", &["actors-spread", "2"]).last_json();
    assert_eq!((&seen["sums"], &seen["through"]), (&json!([1, 2]), &json!(11)), "{seen}");
    cluster.ends();
}

#[test]
fn any_packet_may_end_a_line() {
    let cluster = Faulty::start("", &each(&["PeerFrame.Packet"], "request:0.03,reply:0.03"));
    cluster.is_exact("8", "3");
    cluster.ends();
}

#[test]
fn bytes_of_objects_come_in_spite_of_connections_that_break() {
    let cluster =
        Faulty::start("", &each(&["Bulk.Request", "Bulk.Chunk"], "request:0.1,reply:0.1,delay:0.1:5ms"));
    let sorted = cluster.runs("sort-tree", &["200000", "20000"]).last_json();
    assert_eq!((&sorted["sorted"], &sorted["count"]), (&json!(true), &json!(200_000)), "{sorted}");
    cluster.ends();
}

#[test]
fn a_variable_that_makes_no_sense_is_refused_with_the_names_that_there_are() {
    let place = Place::new();
    let words = ["head", "--listen", "127.0.0.1:0", "--in-memory"];
    let refused = place.engine(words).env(VARIABLE, "Peer.Begin=request:0.1").run();
    assert_eq!(refused.status, 2, "{refused}");
    for text in [VARIABLE, "\"Peer.Begin\"", "Peer.Start", "NodeRequest.ClaimName"] {
        assert!(refused.stderr.contains(text), "{refused}");
    }
    let (head, _) = start_head_with(&place, "127.0.0.1:0", &["--in-memory"]);
    assert!(!head.stderr_so_far().contains(VARIABLE), "nothing is said of it without the variable");
}
