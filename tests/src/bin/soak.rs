//! `cargo xtask soak`: good and bad jobs, one after another and side by side, for minutes; then the
//! engine holds what it held before.

use std::fs;
use std::time::{Duration, Instant};

use engine_tests::Up;

/// Scenarios of guest-examples/selftest, those that go well and those that do not.
const SCENARIOS: [&[&str]; 24] = [
    &["noop", "2000"],
    &["noop-warm", "5000"],
    &["nest", "30"],
    &["fan-out", "200"],
    &["bytes", "5000000"],
    &["wait", "10"],
    &["async", "10"],
    &["cancel"],
    &["stream", "100"],
    &["stream-drop"],
    &["stream-panic"],
    &["counter", "20"],
    &["actor-restart"],
    &["actor-cancel"],
    &["actors", "50"],
    &["panic"],
    &["panic-here"],
    &["overflow-stack"],
    &["allocate-forever"],
    &["spin-forever", "50"],
    &["spam-log", "20000"],
    &["spawn-many", "20000"],
    &["flaky"],
    &["drop-everything", "1000"],
];
/// Jobs side by side.
const LANES: usize = 3;
/// Growth of resident memory that is not called a leak: what allocators keep, and histories that
/// fill up to their bounds.
const MEMORY_SLACK_BYTES: u64 = 64 << 20;

fn main() {
    let minutes: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let up = Up::start();
    let count =
        |folder: &str| fs::read_dir(format!("/proc/{}/{folder}", up.process_id())).map_or(0, Iterator::count);
    // The first minute fills pools, caches and histories; what it leaves is what the rest is held to.
    let warm_up = Duration::from_secs((minutes * 60 / 10).min(60));
    let mut jobs = run_for(&up, warm_up);
    up.wait_until_idle();
    let before = (resident_bytes(up.process_id()), count("fd"), count("task"));
    println!("after {jobs} jobs: {} MiB, {} open files, {} threads", before.0 >> 20, before.1, before.2);
    jobs += run_for(&up, Duration::from_secs(minutes * 60).saturating_sub(warm_up));
    up.wait_until_idle();
    let after = (resident_bytes(up.process_id()), count("fd"), count("task"));
    println!("after {jobs} jobs: {} MiB, {} open files, {} threads", after.0 >> 20, after.1, after.2);
    println!("all CPUs, memory and sandboxes came back");
    assert!(after.1 <= before.1, "open files were left behind");
    assert!(after.0 <= before.0 + MEMORY_SLACK_BYTES, "memory was left behind");
}

/// Runs jobs in every lane for so long; says how many.
fn run_for(up: &Up, length: Duration) -> usize {
    let end = Instant::now() + length;
    let lane = |first: usize| {
        let mut jobs = 0;
        while Instant::now() < end {
            up.selftest(SCENARIOS[(first + jobs) % SCENARIOS.len()]);
            jobs += 1;
        }
        jobs
    };
    let lane = &lane;
    std::thread::scope(|scope| {
        let first = |n: usize| n * SCENARIOS.len() / LANES;
        let lanes: Vec<_> = (0..LANES).map(|n| scope.spawn(move || lane(first(n)))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane does not panic")).sum()
    })
}

fn resident_bytes(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages: u64 = text.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    pages * 4096
}
