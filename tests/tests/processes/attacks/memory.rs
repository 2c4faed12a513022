//! Kind 3: memory that was another tenant's, and traps without number.

use engine_tests::{Up, until};
use serde_json::json;

use super::floods::{open_files, resident_bytes};
use super::{batches, two, unharmed};

/// What blue has in memory, as red knows it: masked, so that it is nowhere in red's own.
const MASKED: u64 = 0x1d0c_b0a9_8765_4321;
/// What may be kept of traps: allocators' and histories', which have their bounds.
const SLACK_BYTES: u64 = 96 << 20;

// contract: T3
/// Fresh pages, the tails of objects' pages, and whatever else a task finds in its memory: never another's.
#[test]
fn nothing_of_another_tenant_is_left_in_memory() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    batches("tasks looked for the secret", 6_000, 1_000_000, 3_000, |_, count| {
        // Both at once, and blue first, so that its memory is there to be found.
        blue.attacks("fill", &[json!(200), json!(MASKED)]);
        std::thread::scope(|scope| {
            let filling = scope.spawn(|| blue.attacks("fill", &[json!(count / 4), json!(MASKED)]));
            let looked = red.attacks("search", &[json!(count), json!(MASKED)]);
            assert_eq!((&looked["found"], &looked["dirty"]), (&json!(0), &json!(0)), "{looked}");
            assert_eq!(looked["looked"], count);
            assert_eq!(filling.join().expect("it fills")["ended"], count / 4);
        });
    });
    unharmed(up);
}

/// Who looks finds what is there: the search above is one.
#[test]
fn a_search_finds_what_is_in_its_own_memory() {
    let up = Up::start();
    let [red, _] = two(up.place());
    // Nothing was masked: the word of which memory is full is zero.
    let mask = 0x5a5a_5a5a_a5a5_a5a5_u64;
    let looked = red.attacks("search", &[json!(4), json!(mask)]);
    assert!(looked["found"].as_u64() > Some(4_096), "{looked}");
    unharmed(up);
}

// contract: T5, T6
/// Every way to end badly, over and over: each is told, the neighbour's results are right, and what the engine holds
/// of the machine comes back.
#[test]
fn traps_without_number_harm_nobody() {
    let up = Up::with(&["--cpus", "3"]);
    let [red, blue] = two(up.place());
    let round = |count: u64| {
        std::thread::scope(|scope| {
            let honest = scope.spawn(|| blue.attacks("honest", &[json!(count)]));
            let trapped = red.attacks("traps", &[json!(count)]);
            assert_eq!((&trapped["told"], &trapped["other"]), (&json!(count), &json!([])), "{trapped}");
            assert_eq!(honest.join().expect("it sums up")["right"], count);
        });
    };
    // The first ones fill pools, caches and histories.
    round(500);
    up.wait_until_idle();
    let (files, bytes) = (open_files(up.process_id()), resident_bytes(up.process_id()));
    batches("tasks trapped", 3_000, 1_000_000, 1_500, |_, count| round(count));
    up.wait_until_idle();
    until("open files and memory are those of before", || {
        let now = (open_files(up.process_id()), resident_bytes(up.process_id()));
        match now.0 <= files + 2 && now.1 <= bytes + SLACK_BYTES {
            true => Ok(()),
            false => Err(format!("{now:?} instead of {:?}", (files, bytes))),
        }
    });
    unharmed(up);
}
