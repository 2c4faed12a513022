//! What sessions cost beside the drivers beneath them, in one run: `cargo xtask bench gpu`.
//!
//! Each figure is a ratio to the same work given to the driver directly, the median of several pairs of runs,
//! one after the other. Where a driver has no device, its rows are left out, and that is said.

mod cuda;
mod vulkan;

use std::time::{Duration, Instant};

/// Pairs of runs for each row; the median counts.
const PAIRS: usize = 7;

fn main() {
    println!("| what | ours | the driver directly | ratio | goal |");
    println!("|---|---|---|---|---|");
    vulkan::measure();
    cuda::measure();
}

/// A row: the same work done by us and by the driver directly, `count` times each run.
fn compare(what: &str, goal: &str, count: u32, mut ours: impl FnMut(), mut direct: impl FnMut()) {
    ours();
    direct();
    let mut pairs: Vec<(Duration, Duration)> =
        (0..PAIRS).map(|_| (timed(&mut ours), timed(&mut direct))).collect();
    let ratio = |pair: &(Duration, Duration)| pair.0.as_secs_f64() / pair.1.as_secs_f64().max(1e-12);
    pairs.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let middle = pairs[PAIRS / 2];
    let each = |time: Duration| format!("{:.2} µs", time.as_secs_f64() * 1e6 / f64::from(count));
    println!("| {what} | {} | {} | {:.3} | {goal} |", each(middle.0), each(middle.1), ratio(&middle));
}

fn timed(run: &mut impl FnMut()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}
