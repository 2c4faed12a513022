//! Estimates pi by random points, and shows the estimate as it gets better.
//!
//! `engine submit pi.wasm -- [SAMPLES] [TASKS]`
//!
//! Each task throws its share of the points into the unit square from a seed of its own, so that the
//! result is the same every time; the main function takes the counts in the order in which they come.

use engine::prelude::*;
use serde_json::json;

/// Throws points into the unit square; how many fall into the quarter circle.
#[engine::task]
fn throw(seed: u64, samples: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let inside = (0..samples).filter(|_| {
        let (x, y) = (random.f64(), random.f64());
        x * x + y * y < 1.0
    });
    inside.count() as u64
}

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let samples: u64 = args.first().map_or(Ok(100_000_000), |text| text.parse()).context("SAMPLES")?;
    let tasks: u64 = args.get(1).map_or(Ok(100), |text| text.parse()).context("TASKS")?;
    engine::ensure!((1..=samples).contains(&tasks), "TASKS must be at least 1 and at most SAMPLES");

    // Two tasks of different shares would have to be told apart when they come back.
    let share = samples / tasks;
    let mut pending = (0..tasks).map(|seed| throw::spawn(seed, share)).collect::<Result<Vec<_>>>()?;
    let (mut thrown, mut inside) = (0, 0);
    let mut shown = Progress::default();
    while !pending.is_empty() {
        let (ready, rest) = engine::wait(&pending, 1, None)?;
        for count in engine::get_all(&ready)? {
            thrown += share;
            inside += count;
        }
        pending = rest;
        if shown.is_due(thrown, share * tasks) {
            println!("{thrown:>12} points: pi is about {:.6}", estimate(inside, thrown));
        }
    }
    let pi = estimate(inside, thrown);
    println!("{}", json!({ "pi": pi, "samples": thrown, "inside": inside, "tasks": tasks }));
    Ok(())
}

fn estimate(inside: u64, thrown: u64) -> f64 {
    4.0 * inside as f64 / thrown as f64
}

/// Says when a further tenth is done.
#[derive(Default)]
struct Progress {
    tenths: u64,
}

impl Progress {
    fn is_due(&mut self, done: u64, all: u64) -> bool {
        let tenths = done * 10 / all;
        let is_due = tenths > self.tenths;
        self.tenths = tenths;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_points_come_close_to_pi_and_always_the_same() {
        let inside = throw(1, 1_000_000);
        assert!((estimate(inside, 1_000_000) - std::f64::consts::PI).abs() < 0.01);
        assert_eq!(inside, throw(1, 1_000_000));
        assert_ne!(inside, throw(2, 1_000_000));
    }

    #[test]
    fn progress_is_shown_once_for_each_tenth() {
        let mut progress = Progress::default();
        let due: Vec<u64> = (1..=30).filter(|&done| progress.is_due(done, 30)).collect();
        assert_eq!(due, [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]);
    }
}
