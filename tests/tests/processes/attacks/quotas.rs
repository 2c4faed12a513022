//! Kind 4: ways around what a tenant may have, on one node and on three.

use engine_tests::{Place, Up, until};
use serde_json::{Value, json};

use super::{two, unharmed};
use crate::tenants::{Tenant, usage};

fn terms(place: &Place, options: &[&str]) {
    let words: Vec<&str> = ["tenant", "set", "red"].iter().chain(options).copied().collect();
    place.engine(words).run().exits(0);
}

fn used(place: &Place, field: &str) -> f64 {
    usage(place, "red")["used"][field].as_f64().unwrap_or(0.0)
}

fn stop_all(who: &Tenant<'_>) {
    for job in who.items("jobs") {
        who.engine(&["job", "stop", job["job_id"].as_str().expect("an id")]);
    }
}

/// What was said when it was too much.
fn refused(came: &Value) -> (u64, &str) {
    (came["taken"].as_u64().expect("a number"), came["refused"]["code"].as_str().unwrap_or("none"))
}

// contract: L3
/// By fan-out, by recursion, by many jobs at once, by detached actors: no more than the quota, and nothing is left.
#[test]
fn no_way_around_leads_past_a_quota() {
    let up = Up::with(&["--cpus", "4"]);
    let place = up.place();
    let [red, blue] = two(place);
    terms(place, &["--queued-tasks-max", "50", "--actors-max", "5", "--cpus-max", "2"]);
    let slack = 1_000;
    let came = red.attacks("fan-out", &[json!(5_000)]);
    let (taken, code) = refused(&came);
    assert!(code == "QUOTA_EXCEEDED" && taken <= 50 + slack, "{came}");
    assert!(came["refused"]["message"].as_str().expect("text").contains("queued_tasks_max"), "{came}");
    // Each level waits for the next, and holds one: the line is full before it is deep enough.
    let came = red.attacks("recurse", &[json!(5_000)]);
    assert_eq!(came["code"], "QUOTA_EXCEEDED", "{came}");
    for is_detached in [false, true] {
        until("what was there before is gone", || match usage(place, "red") {
            usage if usage["used"]["actors"] == json!(0) && usage["used"]["queued_tasks"] == json!(0) => {
                Ok(())
            }
            usage => Err(usage.to_string()),
        });
        let came = red.attacks("hold-actors", &[json!(500), json!(is_detached)]);
        let (taken, code) = refused(&came);
        assert!(code == "QUOTA_EXCEEDED" && taken <= 5 + 100, "{came}");
    }
    // Those that outlive their job count as long as they live.
    until("the head has heard of them", || match used(place, "actors") {
        actors if actors >= 5.0 => Ok(()),
        _ => Err(usage(place, "red").to_string()),
    });
    let came = red.attacks("hold-actors", &[json!(500), json!(false)]);
    assert_eq!(refused(&came), (0, "QUOTA_EXCEEDED"), "{came}");
    // Many jobs at once have one quota together.
    let jobs: Vec<String> = (0..6).map(|_| red.attacks_on(&[], "fan-out", &[json!(1_000)])).collect();
    let mut most: f64 = 0.0;
    until("they have ended", || {
        most = most.max(used(place, "cpus"));
        let states: Vec<Value> =
            jobs.iter().map(|job| red.json(&["job", "status", job])["state"].clone()).collect();
        match states.iter().all(|state| state == "SUCCEEDED" || state == "FAILED") {
            true => Ok(()),
            false => Err(format!("{states:?}")),
        }
    });
    assert!(most <= 2.0, "{most} CPUs of 2");
    assert_eq!(blue.attacks("honest", &[json!(200)])["right"], 200, "another tenant has its own");
    stop_all(&red);
    for actor in red.items("actors") {
        let name = actor["name"].as_str().unwrap_or_default();
        if actor["state"] == "ALIVE" && name.starts_with("hoard-") {
            let namespace = actor["namespace"].as_str().expect("text");
            red.submit(&["--namespace", namespace], &["kill-named", name]).exits(0);
        }
    }
    until("nothing of it is left", || match usage(place, "red") {
        usage if usage["used"]["actors"] == json!(0) && usage["used"]["cpus"] == json!(0.0) => Ok(()),
        usage => Err(usage.to_string()),
    });
    unharmed(up);
}

// contract: L3
/// On three nodes at once the bounds of what may be exceeded hold.
#[test]
fn three_nodes_at_once_do_not_lend_more_than_there_is() {
    let up = Up::with(&["--nodes", "3", "--cpus", "2"]);
    let place = up.place();
    let [red, blue] = two(place);
    terms(place, &["--queued-tasks-max", "300", "--actors-max", "10", "--cpus-max", "3"]);
    let jobs: Vec<String> = (0..6).map(|_| red.attacks_on(&[], "fan-out", &[json!(5_000)])).collect();
    let mut most: f64 = 0.0;
    let mut most_tasks: f64 = 0.0;
    until("they have ended", || {
        most = most.max(used(place, "cpus"));
        most_tasks = most_tasks.max(used(place, "queued_tasks"));
        let states: Vec<Value> =
            jobs.iter().map(|job| red.json(&["job", "status", job])["state"].clone()).collect();
        match states.iter().all(|state| state == "SUCCEEDED" || state == "FAILED") {
            true => Ok(()),
            false => Err(format!("{states:?}")),
        }
    });
    assert!(most <= 3.0, "{most} CPUs of 3");
    // By 1 000 for each node, and no more than the quota again.
    assert!(most_tasks <= 600.0, "{most_tasks} tasks of 300");
    let mut refusals = 0;
    for job in &jobs {
        let said = red.engine(&["logs", job]).exits(0).stdout;
        refusals += u32::from(said.contains("QUOTA_EXCEEDED"));
    }
    assert!(refusals > 0, "somebody was refused");
    assert_eq!(blue.attacks("honest", &[json!(200)])["right"], 200);
    stop_all(&red);
    until("nothing of it is left", || match usage(place, "red") {
        usage if usage["used"]["queued_tasks"] == json!(0) && usage["used"]["cpus"] == json!(0.0) => Ok(()),
        usage => Err(usage.to_string()),
    });
    unharmed(up);
}
