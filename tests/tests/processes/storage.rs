//! Objects that memory has no room for, as programs and people see them.

use std::fs;

use engine_tests::{Place, Up, until};
use serde_json::json;

/// An engine with so little memory for objects, which spills to a folder in its own place.
fn small(store_memory: &str) -> Up {
    let place = Place::new();
    let spill = place.path("spill");
    fs::create_dir(&spill).expect("a folder");
    let options = ["--store-memory", store_memory, "--spill-dir", spill.to_str().expect("a path of ours")];
    Up::in_place(place, &options)
}

// contract: O7
#[test]
fn four_times_the_memory_is_sorted_and_nothing_is_left_of_it() {
    let up = small("16MiB");
    let outcome = up.place().submit("external-sort", &["64", "2"]).run().exits(0);
    let result = outcome.last_json();
    assert_eq!((&result["sorted"], &result["bytes"]), (&json!(true), &json!(64 << 20)), "{outcome}");
    up.wait_until_idle();
    until("the spill files are gone", || {
        let files: Vec<_> = fs::read_dir(up.place().path("spill"))
            .expect("the folder")
            .filter_map(|entry| fs::read_dir(entry.expect("an entry").path()).ok())
            .flatten()
            .collect();
        if files.is_empty() { Ok(()) } else { Err(format!("{files:?}")) }
    });
}

// contract: O6
#[test]
fn who_holds_an_object_and_where_it_lies_is_told() {
    let mut up = small("16MiB");
    let job = up.submit_no_wait(&[], &["hold", "20000000"]);
    let object = up.wait_for_one("objects", &["place=SPILLED"]);
    assert_eq!((&object["size_bytes"], &object["holders"]), (&json!(20_000_000), &json!(1)), "{object}");
    assert_eq!(object["held_by"][0]["kind"], "HANDLE", "{object}");
    assert_eq!(object["held_by"][0]["function"], "main", "{object}");
    up.engine(&["memory"]).exits(0).prints(&["on disk only", "SPILLED", "HANDLE of main task-"]);
    up.engine(&["job", "stop", &job]).exits(0);
    up.wait_until_idle();
    up.still_serves();
}

// contract: O7
#[test]
fn a_spill_folder_that_cannot_be_used_is_refused_at_the_start() {
    let place = Place::new();
    let file = place.file("notes.txt", "notes");
    let folder = file.to_str().expect("a path of ours");
    place.engine(["up", "--spill-dir", folder]).run().says(&["notes.txt", "cannot be used"]);
}

// contract: O7
#[test]
fn an_object_larger_than_memory_is_written_in_pieces_and_read_by_ranges() {
    let up = small("16MiB");
    let result = up.scenario(&["write-in-pieces", "100000007", "100000"]);
    let expected = json!({ "size": 100_000_007, "read": 65 * 5_000, "wrong": 0, "past_the_end": 0 });
    assert_eq!(result, expected);
    up.wait_until_idle();
    // One that memory has room for goes there, and a small one is a value like any other.
    for bytes in [3_000_001, 6_000] {
        let result = up.scenario(&["write-in-pieces", &bytes.to_string(), "1000"]);
        assert_eq!((&result["size"], &result["wrong"]), (&json!(bytes), &json!(0)), "{result}");
    }
    up.wait_until_idle();
}

// contract: L1
#[test]
fn nobody_has_the_host_read_more_than_his_memory_takes() {
    let up = small("16MiB");
    assert_eq!(up.scenario(&["read-too-much", "104857600"]), json!({ "code": "LIMIT_EXCEEDED" }));
    up.wait_until_idle();
}

// contract: O3
#[test]
fn ten_thousand_arguments_three_thousand_returns_and_a_get_of_ten_thousand() {
    let up = small("16MiB");
    assert_eq!(up.scenario(&["many-arguments", "10000"]), json!({ "total": 49_995_000 }));
    let returned = up.scenario(&["many-returns", "3000"]);
    assert!(returned["value"] == json!((0..3000).collect::<Vec<u64>>()), "other values were returned");
    assert_eq!(up.scenario(&["get-many", "10000"]), json!({ "got": 10_000, "wrong": 0 }));
    up.wait_until_idle();
}

// contract: L3
#[test]
fn a_million_small_objects_live_at_once() {
    let up = Up::start();
    assert_eq!(up.scenario(&["small-objects", "1000000"]), json!({ "objects": 1_000_000, "wrong": 0 }));
    up.wait_until_idle();
}
