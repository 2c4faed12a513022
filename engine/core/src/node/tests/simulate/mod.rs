//! Random guests on one node, from a seed: they spawn, wait, fail and die in every way, sandboxes
//! are lost, jobs come and go. Whatever happens, the invariants hold, what the checker sees from
//! outside is as the contract says, and once the faults stop everything ends and nothing is left.
//!
//! `ENGINE_SIM_SEEDS=10000 cargo test -p engine-core random_guests` runs more of them,
//! `ENGINE_SIM_SEED=17` that one alone.

mod checker;
mod drain;
mod guest;
mod random;
mod simulation;

use std::collections::BTreeSet;

use crate::error::ErrorCode;
use crate::node::tests::trace::Trace;
use drain::Summary;
pub use random::Random;
use simulation::Simulation;

const STEPS: usize = 1_000;

/// Says how to run a seed again when it fails.
pub struct Replay {
    seed: u64,
    test: &'static str,
    /// Of a seed that is run alone.
    pub trace: Option<Trace>,
}

/// So many lines of its trace are shown when a seed fails.
const TRACE_SHOWN_MAX: usize = 400;

impl Replay {
    pub fn new(seed: u64, test: &'static str) -> Self {
        Self { seed, test, trace: number("ENGINE_SIM_SEED").map(|_| Trace::default()) }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, test, trace } = self;
            let lines = trace.as_ref().map(Trace::lines).unwrap_or_default();
            for line in lines.iter().skip(lines.len().saturating_sub(TRACE_SHOWN_MAX)) {
                eprintln!("{line}");
            }
            eprintln!("run it again: cargo xtask sim --seed {seed} ({test})");
        }
    }
}

fn run(seed: u64) -> Summary {
    run_with(Replay::new(seed, "random_guests"))
}

fn run_with(replay: Replay) -> Summary {
    let mut simulation = Simulation::new(replay.seed);
    simulation.world.trace = replay.trace.clone();
    for _ in 0..STEPS {
        simulation.step();
    }
    simulation.drain()
}

pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")))
}

// contract: T2, T4, T5, T7, T8, O1, O2, O6, O7, O8, A1, A2, A3, A4, A5, A7, A9, J2, L1
#[test]
fn random_guests() {
    if let Some(seed) = number("ENGINE_SIM_SEED") {
        run(seed);
        return;
    }
    let mut seen = Seen::default();
    for seed in 0..number("ENGINE_SIM_SEEDS").unwrap_or(500).max(100) {
        seen.add(&run(seed));
    }
    seen.assert_all();
}

/// What happened over many runs: a simulation in which nothing goes wrong shows nothing.
#[derive(Default)]
struct Seen {
    finished: u64,
    cancelled: u64,
    retried: u64,
    restarted: u64,
    /// Calls that a warm sandbox served after its first.
    reused: u64,
    deadlocks: usize,
    spilled: u64,
    restored: u64,
    rebuilt: u64,
    paused: u64,
    codes: BTreeSet<ErrorCode>,
}

impl Seen {
    fn add(&mut self, run: &Summary) {
        let counters = &run.counters;
        self.finished += counters.tasks_finished;
        self.cancelled += counters.tasks_cancelled;
        self.retried += counters.attempts_retried;
        self.restarted += counters.actors_restarted;
        self.reused += run.reused;
        self.spilled += counters.objects_spilled;
        self.restored += counters.objects_restored;
        self.rebuilt += counters.tasks_rebuilt;
        self.paused += counters.sandboxes_paused;
        self.deadlocks += run.deadlocks;
        self.codes.extend(&run.codes);
    }

    fn assert_all(&self) {
        let Self { finished, cancelled, retried, restarted, reused, deadlocks, .. } = self;
        let Self { spilled, restored, rebuilt, paused, codes, .. } = self;
        println!(
            "{finished} finished, {cancelled} cancelled, {retried} retried, {restarted} restarted, {reused} reused, {deadlocks} deadlocks, {spilled} spilled, {restored} restored, {rebuilt} rebuilt, {paused} paused"
        );
        let counts = [*finished, *cancelled, *retried, *restarted, *reused, *deadlocks as u64];
        let counts = counts.into_iter().chain([*spilled, *restored, *rebuilt, *paused]).collect::<Vec<_>>();
        assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
        let expected = [
            ErrorCode::ActorDied,
            ErrorCode::DeadlineExceeded,
            ErrorCode::LimitExceeded,
            ErrorCode::ObjectLost,
            ErrorCode::OutOfDisk,
            ErrorCode::OutOfMemory,
            ErrorCode::PendingCallsExceeded,
            ErrorCode::QuotaExceeded,
            ErrorCode::StoreFull,
            ErrorCode::TaskCancelled,
            ErrorCode::TaskFailed,
            ErrorCode::Trapped,
            ErrorCode::Unschedulable,
            ErrorCode::WorkerDied,
        ];
        for code in expected {
            assert!(codes.contains(&code), "{code} was never seen");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    let mut effects = 0;
    for seed in 1_000_000..1_000_020 {
        let [first, second] = [(), ()].map(|()| {
            let trace = Trace::default();
            run_with(Replay { seed, test: "random_guests", trace: Some(trace.clone()) });
            trace.lines()
        });
        effects += first.len();
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs.map(|at| (&first[at], &second[at])), None, "seed {seed}");
        assert_eq!(first.len(), second.len());
    }
    assert!(effects > 2_000, "{effects} effects: the guests did next to nothing");
}
