//! One tenant's work and another's, on one engine: what the second does to the first.

use std::hint::black_box;
use std::time::Instant;

use engine::prelude::*;
use serde_json::json;

/// So much to compute: about a millisecond for each million.
#[engine::task]
fn work(rounds: u64) -> u64 {
    compute(rounds)
}

fn compute(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, round| black_box(sum ^ round).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Never ends by itself. Whatever else its tenant has passes it by.
#[engine::task(memory = 16_777_216, priority = -1)]
fn endless() {
    loop {
        compute(1 << 20);
    }
}

/// An actor, which holds no CPUs.
struct Endless;

#[engine::actor(memory = 16_777_216)]
impl Endless {
    pub fn new() -> Self {
        Self
    }

    pub fn compute(&self) {
        loop {
            compute(1 << 20);
        }
    }
}

/// Writes to all the memory that it may have.
#[engine::task(cpus = 0, memory = 134_217_728)]
fn fill() -> u64 {
    let bytes = vec![1_u8; 96 << 20];
    black_box(&bytes).iter().step_by(4096).map(|byte| u64::from(*byte)).sum()
}

/// A flood of one kind, without end.
#[engine::task(cpus = 0, memory = 268_435_456)]
fn flood(kind: String) -> Result<()> {
    match kind.as_str() {
        "memory" => loop {
            // Where a quota is reached, that is what is tried: so below.
            if let Ok(filling) = (0..2).map(|_| fill::spawn()).collect::<Result<Vec<_>>>() {
                drop(engine::get_all(&filling));
            }
        },
        "objects" => {
            let bytes = vec![7_u8; 4 << 20];
            let mut held = std::collections::VecDeque::new();
            loop {
                match engine::put(&Bytes::from(bytes.clone())) {
                    Ok(object) => held.push_back(object),
                    Err(_) => drop(held.pop_front()),
                }
                if held.len() > 128 {
                    held.pop_front();
                }
            }
        }
        "logs" => loop {
            println!("{}", "line ".repeat(40));
        },
        "submits" => {
            let mut held = std::collections::VecDeque::new();
            loop {
                match super::noop::spawn() {
                    Ok(task) => held.push_back(task),
                    Err(_) => drop(held.drain(..held.len() / 2)),
                }
                if held.len() > 50_000 {
                    held.drain(..25_000);
                }
            }
        }
        _ => engine::bail!("there is no flood {kind}"),
    }
}

/// All of them at once, until the job is stopped.
pub(crate) fn hostile() -> Result<()> {
    let tasks = (0..64).map(|_| endless::spawn()).collect::<Result<Vec<_>>>()?;
    let actors = (0..64).map(|_| Endless::spawn()).collect::<Result<Vec<_>>>()?;
    let computing = actors.iter().map(|actor| actor.compute()).collect::<Result<Vec<_>>>()?;
    let floods = ["memory", "objects", "logs", "submits"];
    let floods = floods.map(|kind| flood::spawn(kind.to_owned()));
    println!("READY");
    for flood in floods {
        flood?.get()?;
    }
    drop((computing, tasks));
    Ok(())
}

/// More tasks at once than run, each of so many rounds, until the job is stopped.
pub(crate) fn busy(at_once: u64, rounds: u64) -> Result<()> {
    let mut held = std::collections::VecDeque::new();
    println!("READY");
    loop {
        while (held.len() as u64) < at_once {
            held.push_back(work::spawn(rounds)?);
        }
        if let Some(first) = held.pop_front() {
            first.get()?;
        }
    }
}

/// How long each of so many tasks took that were run one at a time, in microseconds.
pub(crate) fn quiet(count: u64, rounds: u64) -> Result<()> {
    let expected = compute(rounds);
    let mut took = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        engine::ensure!(work::spawn(rounds)?.get()? == expected, "a wrong answer");
        took.push(start.elapsed().as_micros() as u64);
    }
    println!("{}", json!({ "microseconds": took }));
    Ok(())
}
