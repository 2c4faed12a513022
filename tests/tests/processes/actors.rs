//! Actors, as programs and people see them.

use engine_tests::Up;
use serde_json::json;

// contract: A1, A9
#[test]
fn an_actor_counts_fails_streams_and_is_passed_on() {
    let up = Up::start();
    let seen = up.scenario(&["counter", "10"]);
    assert_eq!(seen["sums"], (1..=10).collect::<serde_json::Value>());
    let failed = &seen["failed"];
    assert_eq!((&failed["code"], &failed["kind"]), (&json!("TASK_FAILED"), &json!("Custom")));
    assert!(failed["message"].as_str().unwrap().contains("at 10"), "{failed}");
    assert_eq!(failed["path"], json!(["actors::Counter.fails"]), "{failed}");
    assert_eq!((&seen["through"], &seen["value"]), (&json!(20), &json!(20)));
    assert_eq!(seen["streamed"], json!([20, 21, 22]));
    let unknown = &seen["unknown"];
    assert_eq!(unknown["code"], "NOT_FOUND");
    assert!(unknown["message"].as_str().unwrap().contains("fly"), "{unknown}");
    up.wait_until_idle();
}

// contract: A2, A3
#[test]
fn an_actor_that_panics_is_made_anew_as_often_as_it_may() {
    let up = Up::start();
    let seen = up.scenario(&["actor-restart"]);
    assert_eq!((&seen["before"], &seen["after"]), (&json!(101), &json!(101)), "its state is new");
    assert_eq!(seen["was_restarted"], true);
    let panicked = &seen["panicked"];
    assert!(panicked["message"].as_str().unwrap().contains("once"), "{panicked}");
    assert_eq!(seen["dead"]["code"], "ACTOR_DIED", "{seen}");
    assert!(seen["dead"]["message"].as_str().unwrap().contains("twice"), "it says why: {seen}");
    // Of two incarnations and what both wrote.
    let actor = up.wait_for_one("actors", &["class=actors::Counter"]);
    assert_eq!((&actor["state"], &actor["restarts"]), (&json!("DEAD"), &json!(1)));
    up.wait_until_idle();
}

// contract: A5
#[test]
fn calls_of_an_actor_are_cancelled_queued_or_running() {
    let up = Up::start();
    let seen = up.scenario(&["actor-cancel"]);
    assert_eq!(seen["queued"], "TASK_CANCELLED");
    assert_eq!(seen["running"], json!(null), "it saw the flag, and gave its value");
    assert_eq!(seen["marks"], json!([]), "the queued call never ran, and the actor lives");
    assert!(seen["forced"] == "TASK_CANCELLED" || seen["forced"] == "ACTOR_DIED", "{seen}");
    assert_eq!(seen["dead"], "ACTOR_DIED");
    up.wait_until_idle();
}

// contract: A4, A9
#[test]
fn handles_keep_an_actor_and_kill_ends_it() {
    let up = Up::start();
    let seen = up.scenario(&["actor-handles"]);
    assert_eq!((&seen["kept_alive"], &seen["count"]), (&json!(2), &json!(3)));
    assert_eq!(seen["values"], json!([0, 1, 2]));
    assert_eq!(seen["killed"]["code"], "ACTOR_DIED");
    up.wait_until_idle();
}

// contract: A6
#[test]
fn an_actor_refuses_more_calls_than_may_be_pending() {
    let up = Up::start();
    let seen = up.scenario(&["actor-pending"]);
    assert_eq!(seen["refused"]["code"], "PENDING_CALLS_EXCEEDED", "{seen}");
    let accepted = seen["accepted"].as_u64().unwrap();
    assert!((2..10).contains(&accepted), "{seen}");
    assert_eq!(seen["again"], accepted + 1, "there is room again");
}

// contract: A8
#[test]
fn a_name_is_taken_once_in_its_namespace() {
    let up = Up::start();
    let seen = up.scenario(&["named-actor"]);
    assert_eq!(seen["taken"]["code"], "ALREADY_EXISTS");
    assert!(seen["taken"]["message"].as_str().unwrap().contains("hits"), "{seen}");
    assert_eq!((&seen["same"], &seen["found"]), (&json!(6), &json!(6)));
    assert_eq!(seen["elsewhere"]["code"], "NOT_FOUND");
    // The name went with the job.
    assert_eq!(up.scenario(&["named-actor"])["same"], 6);
}

// contract: A8, I2
#[test]
fn a_detached_actor_outlives_its_job_and_is_found_in_its_namespace_only() {
    let up = Up::start();
    let run = |namespace: &str, arguments: &[&str]| {
        up.place().submit_with("selftest", &["--namespace", namespace], arguments).run().exits(0).last_json()
    };
    assert_eq!(run("ours", &["detach", "keeper"])["value"], 6);
    let actor = up.wait_for_one("actors", &["name=keeper"]);
    assert_eq!((&actor["state"], &actor["detached"]), (&json!("ALIVE"), &json!(true)));
    assert_eq!(run("ours", &["attach", "keeper"])["value"], 7);
    assert_eq!(run("theirs", &["attach", "keeper"])["code"], "NOT_FOUND");
    assert_eq!(run("ours", &["attach", "keeper"])["value"], 8);
    assert_eq!(up.json(&["status"])["counters"]["actors_alive"], 1);
    assert_eq!(run("ours", &["kill-named", "keeper"])["code"], "ACTOR_DIED");
    assert_eq!(run("ours", &["attach", "keeper"])["code"], "NOT_FOUND");
    up.wait_until_idle();
}

#[test]
fn an_actor_that_cannot_be_made_says_why() {
    let up = Up::start();
    let error = up.scenario(&["stillborn"]);
    assert_eq!(error["code"], "ACTOR_DIED", "{error}");
    assert!(error["message"].as_str().unwrap().contains("it cannot be made"), "{error}");
    up.wait_until_idle();
}
