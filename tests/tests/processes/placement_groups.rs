//! Placement groups on one node and on several, some of which die.

use std::collections::HashSet;

use engine_tests::{Up, until};
use serde_json::{Value, json};

fn three() -> Up {
    Up::with(&["--nodes", "3", "--cpus", "2"])
}

fn set(nodes: &Value) -> HashSet<&str> {
    nodes.as_array().expect("a list").iter().map(|node| node.as_str().expect("an id")).collect()
}

/// What the scenario `group` finds whatever the nodes and the strategy are.
#[track_caller]
fn holds(seen: &Value) {
    assert_eq!(seen["nodes"], seen["through"], "a bundle stays where it is: {seen:#}");
    let first = &seen["nodes"][0];
    let family = seen["captured"].as_array().expect("a list");
    assert_eq!(&family[0], first);
    assert!(set(&seen["captured"]).is_subset(&set(&seen["nodes"])), "children run in the group: {seen:#}");
    assert_eq!((&seen["counted"], &seen["twin"]), (&json!(2), &json!("ALREADY_EXISTS")));
    assert_eq!((&seen["found"], &seen["gone"]), (&json!(true), &json!("NOT_FOUND")));
    assert_eq!(seen["beyond"]["code"], "UNSCHEDULABLE", "{seen:#}");
    assert_eq!(seen["too_large"]["code"], "UNSCHEDULABLE", "{seen:#}");
    for of in ["running", "call", "after", "ready"] {
        assert_eq!(seen[of], "PLACEMENT_GROUP_REMOVED", "{of}: {seen:#}");
    }
    assert_eq!(seen["outside"], 7);
}

// contract: P1, P2
#[test]
fn groups_are_reserved_used_and_removed_on_one_node() {
    let up = Up::with(&["--cpus", "4"]);
    for strategy in ["pack", "strict-pack", "spread"] {
        holds(&up.scenario(&["group", strategy, "2"]));
    }
    up.wait_until_idle();
    let groups = up.list("placement-groups", &["state=REMOVED"]);
    assert_eq!(groups.len(), 3, "{groups:?}");
    let shown = up.json(&["get", "placement-group", groups[0]["placement_group_id"].as_str().expect("text")]);
    assert_eq!((&shown["name"], &shown["reason"]), (&json!("ours"), &json!("it was removed")));
    let wrong = up.scenario(&["group-wrong"]);
    for case in ["nothing", "empty", "nameless"] {
        assert_eq!(wrong[case]["code"], "INVALID_ARGUMENT", "{wrong:#}");
    }
    assert_eq!(wrong["many"]["code"], "LIMIT_EXCEEDED", "{wrong:#}");
    assert_eq!(wrong["unknown"]["code"], "NOT_FOUND", "{wrong:#}");
}

// contract: P1, P2
#[test]
fn groups_are_reserved_used_and_removed_on_several_nodes() {
    let up = three();
    for (strategy, nodes) in [("strict-spread", 3), ("spread", 3), ("strict-pack", 1)] {
        let bundles = if strategy == "strict-pack" { "2" } else { "3" };
        let seen = up.scenario(&["group", strategy, bundles]);
        holds(&seen);
        assert_eq!(set(&seen["nodes"]).len(), nodes, "{strategy}: {seen:#}");
    }
    up.wait_until_idle();
}

// contract: P1, P2
#[test]
fn a_group_waits_until_there_is_room_for_all_of_it() {
    let up = three();
    // One bundle for each node, all but one CPU of which others have.
    let first = up.submit_no_wait(&[], &["group-sleeps", "pack", "5", "3600000"]);
    until("the group is there", || match up.list("placement-groups", &["state=CREATED"]).len() {
        1 => Ok(()),
        count => Err(count.to_string()),
    });
    let second = up.submit_no_wait(&[], &["group-waits", "strict-spread", "2"]);
    let waits = until("the second one waits, and says for what", || {
        let groups = up.list("placement-groups", &["state=PENDING"]);
        let reason = groups.first().map(|group| group["reason"].as_str().unwrap_or_default().to_owned());
        reason.filter(|reason| reason.contains("STRICT_SPREAD")).ok_or_else(|| format!("{groups:?}"))
    });
    assert!(waits.contains("1 nodes have room free"), "{waits}");
    // What is reserved nobody else can use: there is one CPU left, which the root task of a job has.
    let job = up.submit_no_wait(&[], &["identity", "7"]);
    up.engine(&["job", "stop", &first]).exits(0);
    for job in [second, job] {
        assert_eq!(up.wait_for_end(&job)["state"], "SUCCEEDED");
    }
    // The job took its group with it.
    up.wait_until_idle();
    let removed = up.list("placement-groups", &["state=REMOVED"]);
    assert_eq!(removed.len(), 2, "{removed:?}");
}

// contract: P3
#[test]
fn the_bundle_of_a_killed_node_is_placed_again_and_its_task_with_it() {
    let up = three();
    let job = up.submit_no_wait(&[], &["group-sleeps", "strict-spread", "2", "2000"]);
    let of_job = format!("job={job}");
    let (home, other) = until("both bundles are in use", || {
        let tasks = up.list("tasks", &[&of_job]);
        let root = tasks.iter().find(|task| task["parent_task_id"] == "").map(|task| &task["node_id"]);
        let slept = |task: &&Value| task["function"] == "groups::sleep_here" && task["state"] == "RUNNING";
        let nodes: Vec<&Value> = tasks.iter().filter(slept).map(|task| &task["node_id"]).collect();
        let other = nodes.iter().find(|node| Some(**node) != root);
        match (nodes.len(), root, other) {
            (2, Some(root), Some(other)) => Ok((root.clone(), (*other).clone())),
            _ => Err(format!("{tasks:?}")),
        }
    });
    let node = up.json(&["get", "node", other.as_str().expect("text")]);
    let process = node["process_id"].as_u64().expect("a number").to_string();
    assert!(
        std::process::Command::new("kill").args(["-KILL", &process]).status().expect("it runs").success()
    );
    let ended = up.wait_for_end(&job);
    assert_eq!(ended["state"], "SUCCEEDED", "{ended:#}");
    let log = up.engine(&["logs", &job]).exits(0);
    let seen: Value = serde_json::from_str(log.stdout.lines().last().expect("a line")).expect("JSON");
    let nodes = set(&seen["value"]);
    assert_eq!(nodes.len(), 2, "each bundle has a node of its own: {seen}");
    assert!(!nodes.contains(other.as_str().expect("text")), "{other} is dead: {seen}");
    assert_ne!(home, other);
    up.wait_until_idle();
}

// contract: P1
#[test]
fn groups_are_there_on_every_node_that_asks_while_jobs_come_and_go() {
    let up = three();
    let jobs: Vec<String> = (0..6)
        .map(|n| {
            up.submit_no_wait(&[], &["group-sleeps", if n % 2 == 0 { "spread" } else { "pack" }, "2", "100"])
        })
        .collect();
    for job in jobs {
        assert_eq!(up.wait_for_end(&job)["state"], "SUCCEEDED");
    }
    up.wait_until_idle();
    assert_eq!(up.list("placement-groups", &["state=REMOVED"]).len(), 6);
}
