//! Components of the concurrent world: calls of one actor that take turns
//! (guest-examples/selftest-concurrent/README.md).

use engine_tests::Up;
use serde_json::json;

// contract: A7
#[test]
fn as_many_calls_are_inside_as_may_be_and_groups_do_not_block_each_other() {
    let mut up = Up::start();
    for (scenario, result) in [
        ("inside", json!({ "calls": 8, "most_inside": 4 })),
        ("one-at-a-time", json!({ "calls": 4, "most_inside": 1 })),
        ("await", json!({ "key": 7, "waited": 7, "sum": 12 })),
        ("groups", json!({ "free": 1, "keys": [3, 3] })),
        ("exclusive", json!({ "counts": [1, 2, 3, 4, 5] })),
        ("panic", json!({ "panicked": "ACTOR_DIED", "waiting": "ACTOR_DIED" })),
    ] {
        let outcome = up.place().submit("selftest-concurrent", &[scenario]).run().exits(0);
        assert_eq!(outcome.last_json(), result, "{scenario}\n{outcome}");
    }
    up.still_serves();
    up.wait_until_idle();
}
