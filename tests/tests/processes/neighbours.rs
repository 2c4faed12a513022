//! What one tenant does leaves another its share: for its correctness alone; how fast it is,
//! `cargo xtask bench neighbour` measures.

use engine_tests::{Invocation, Place, Up, until};

fn token(place: &Place, tenant: &str) -> String {
    let created = place.engine(["token", "create", "--tenant", tenant, "--role", "submitter"]).run();
    created.exits(0).stdout.trim().to_owned()
}

fn submit(place: &Place, token: &str, options: &[&str], arguments: &[&str]) -> Invocation {
    place.submit_with("bench", options, arguments).env("ENGINE_TOKEN", token)
}

/// What a tenant uses of its quotas.
fn used(up: &Up, tenant: &str, what: &str) -> u64 {
    up.json(&["tenant", "usage", tenant])["items"][0]["used"][what].as_u64().expect("a number")
}

#[test]
fn a_hostile_tenant_leaves_another_its_share() {
    let up = Up::with(&["--store-memory", "256MiB"]);
    let place = up.place();
    up.engine(&["tenant", "create", "quiet", "--guaranteed-percent", "50"]).exits(0);
    let other = ["tenant", "create", "other", "--queued-tasks-max", "20000", "--memory-bytes-max", "3GiB"];
    let other: Vec<&str> = other.into_iter().chain(["--object-bytes-max", "512MiB"]).collect();
    up.engine(&other).exits(0);
    let too_much = up.engine(&["tenant", "set", "other", "--guaranteed-percent", "51"]);
    too_much.exits(2).says(&["INVALID_ARGUMENT", "50 % is left"]);
    let (quiet, other) = (token(place, "quiet"), token(place, "other"));

    // It computes in tasks and actors that never end, and floods memory, objects, logs and submissions.
    let hostile = submit(place, &other, &["--no-wait"], &["hostile"]).run().exits(0).stdout.trim().to_owned();
    until("it floods", || match used(&up, "other", "queued_tasks") {
        0..1_000 => Err("few tasks are in line".to_owned()),
        _ => Ok(()),
    });
    let free = || up.json(&["status"])["available"]["cpus"].as_f64().expect("a number");
    until("all CPUs are taken by what never ends", || match free() {
        0.0 => Ok(()),
        free => Err(format!("{free} CPUs are free")),
    });
    // One job after the other has its share of them, each as soon as it comes.
    for _ in 0..10 {
        let ran = submit(place, &quiet, &[], &["quiet", "40", "1000000"]).run().exits(0);
        assert_eq!(ran.last_json()["microseconds"].as_array().expect("a list").len(), 40);
    }
    let counters = up.json(&["status"])["counters"].clone();
    assert!(counters["sandboxes_paused"].as_u64().is_some_and(|paused| paused > 0), "{counters}");
    assert!(used(&up, "other", "memory_bytes") <= 3 << 30);
    assert!(
        used(&up, "other", "object_bytes") <= 2 * (512 << 20),
        "the quota, and a node may exceed it by as much"
    );
    let job = up.json(&["job", "status", &hostile]);
    assert_eq!(job["state"], "RUNNING", "what it did was in nobody's way: {job}");

    up.engine(&["job", "stop", &hostile]).exits(0);
    until("nothing is left of it", || match used(&up, "other", "object_bytes") {
        0 => Ok(()),
        bytes => Err(format!("{bytes} bytes of objects")),
    });
    up.wait_until_idle();
}
