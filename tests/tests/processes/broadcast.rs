//! Large objects that many nodes need at once.

use engine_tests::{Up, until};
use serde_json::{Value, json};

use crate::cluster::{home_and_another, process_of, signal};

const NODES: u64 = 5;
const SIZE: u64 = 64 << 20;

fn five() -> Up {
    let nodes = NODES.to_string();
    Up::with(&["--nodes", &nodes, "--cpus", "1", "--store-memory", "512MiB"])
}

/// A node's counter, or that of all.
fn counter(view: &Value, name: &str) -> u64 {
    view["counters"][name].as_u64().unwrap_or_else(|| panic!("{name} is no number: {view:#}"))
}

// contract: O5
#[test]
fn an_object_that_all_nodes_need_is_given_on_by_those_that_get_it() {
    let up = five();
    let rounds = 4;
    let seen = up.scenario(&["broadcast", &SIZE.to_string(), &rounds.to_string()]);
    assert_eq!((&seen["nodes"], &seen["wrong"]), (&json!(NODES - 1), &json!(0)), "{seen}");
    up.wait_until_idle();
    let all = (NODES - 1) * rounds * SIZE;
    // A transfer is counted once its last byte is on its way.
    let (nodes, sent) = until("none of it was sent twice, and all of it once", || {
        let nodes = up.list("nodes", &[]);
        let sent: Vec<u64> = nodes.iter().map(|node| counter(node, "object_bytes_sent")).collect();
        if sent.iter().sum::<u64>() == all { Ok((nodes, sent)) } else { Err(format!("{sent:?}")) }
    });
    for node in &nodes {
        let received = counter(node, "object_bytes_received");
        let expected = if node["node_id"] == seen["home"] { 0 } else { rounds * SIZE };
        assert_eq!(received, expected, "{node:#}");
    }
    let status = up.json(&["status"]);
    assert!(counter(&status, "nodes_sent_on") >= rounds, "{status:#}");
    let home = nodes.iter().find(|node| node["node_id"] == seen["home"]).expect("it is listed");
    let by_home = counter(home, "object_bytes_sent");
    // Two of the four at once; the others too only where one of the first had all of it before they asked.
    assert!(by_home < all, "its own node gave all of them all: {sent:?}");
}

// contract: O5
#[test]
fn a_large_object_comes_from_several_nodes_that_have_it() {
    let up = five();
    let seen = up.scenario(&["relay", &SIZE.to_string()]);
    assert_eq!((&seen["nodes"], &seen["wrong"]), (&json!(NODES - 1), &json!(0)), "{seen}");
    up.wait_until_idle();
    let all = (NODES - 1) * SIZE;
    let (by_home, by_others) = until("all was sent once", || {
        let nodes = up.list("nodes", &[]);
        let sent = |is_home: bool| -> u64 {
            let these = nodes.iter().filter(|node| (node["node_id"] == seen["home"]) == is_home);
            these.map(|node| counter(node, "object_bytes_sent")).sum()
        };
        let (by_home, by_others) = (sent(true), sent(false));
        if by_home + by_others == all {
            Ok((by_home, by_others))
        } else {
            Err(format!("{by_home} {by_others}"))
        }
    });
    // The first had all of it from its home, and gave the others parts of it.
    assert!(by_home >= SIZE && by_others > 0, "{by_home} {by_others}");
    assert_eq!(counter(&up.json(&["status"]), "nodes_sent_on"), 0, "nobody had to wait");
}

// contract: O5, O8
#[test]
fn nodes_get_an_object_though_one_that_gives_it_on_is_killed() {
    let up = five();
    let job = up.submit_no_wait(&[], &["broadcast", &(32 << 20).to_string(), "25"]);
    let (home, _) = home_and_another(&up, &job);
    let giving = until("a node gives on what it got", || {
        let nodes = up.list("nodes", &["state=ALIVE"]);
        let gives = |node: &&Value| node["node_id"] != home && counter(node, "object_bytes_sent") > 0;
        nodes.iter().find(gives).cloned().ok_or_else(|| format!("{nodes:?}"))
    });
    signal(process_of(&up, &giving["node_id"]), "KILL");
    let ended = up.wait_for_end(&job);
    assert_eq!(ended["state"], "SUCCEEDED", "{ended:#}");
    let log = up.engine(&["logs", &job]).exits(0);
    assert!(log.stdout.contains(r#""wrong":0"#), "{log}");
    up.wait_until_idle();
}
