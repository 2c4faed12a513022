//! Random guests on one node, from a seed: they spawn, wait, fail and die in every way, sandboxes
//! are lost, jobs come and go. Whatever happens, the invariants hold, what the checker sees from
//! outside is as the contract says, and once the faults stop everything ends and nothing is left.
//!
//! `ENGINE_SIM_SEEDS=10000 cargo test -p engine-core simulate` runs more of them,
//! `ENGINE_SIM_SEED=17` that one alone.

mod checker;
mod drain;
mod guest;
mod random;
mod simulation;

use simulation::Simulation;

const STEPS: usize = 400;

/// Says how to run a seed again when it fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run it again: ENGINE_SIM_SEED={} cargo test -p engine-core simulate", self.0);
        }
    }
}

fn run(seed: u64, traced: bool) -> Vec<String> {
    let _replay = Replay(seed);
    let mut simulation = Simulation::new(seed);
    if traced {
        simulation.world.trace = Some(Vec::new());
    }
    for _ in 0..STEPS {
        simulation.step();
    }
    simulation.drain()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")))
}

// contract: T2, T4, T5, T7, T8, O1, O2, O6, A1, A2, A3, A4, A5, A7, A9, J2, L1
#[test]
fn random_guests() {
    if let Some(seed) = number("ENGINE_SIM_SEED") {
        run(seed, false);
        return;
    }
    (0..number("ENGINE_SIM_SEEDS").unwrap_or(300)).for_each(|seed| drop(run(seed, false)));
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    for seed in 1_000_000..1_000_020 {
        let (first, second) = (run(seed, true), run(seed, true));
        assert!(first.len() > 100, "seed {seed} did next to nothing");
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs.map(|at| (&first[at], &second[at])), None, "seed {seed}");
        assert_eq!(first.len(), second.len());
    }
}
