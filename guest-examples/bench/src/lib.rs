//! What the benchmarks run inside the engine: `cargo xtask bench`.
//!
//! Each scenario times itself by the guest's own clock and prints a JSON object.

mod neighbour;

use std::time::Instant;

use engine::prelude::*;
use engine::{Bundle, GroupStrategy, PlacementGroup, Strategy};
use serde_json::json;

/// Nothing, in a fresh sandbox.
#[engine::task]
fn noop() {}

/// Nothing, in a warm sandbox.
#[engine::task(reuse = job)]
fn noop_warm() {}

/// How many bytes there are.
#[engine::task(memory = 268_435_456)]
fn length(bytes: Bytes) -> u64 {
    bytes.len() as u64
}

/// Takes time and little else.
#[engine::task(cpus = 0.25)]
fn sleep(milliseconds: u64) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}

/// Placement groups of one small bundle, one after another: asked for, there, removed.
#[engine::task(cpus = 0, memory = IDLE_MEMORY)]
fn groups(count: u64) -> Result<()> {
    for _ in 0..count {
        let group = PlacementGroup::create([Bundle::new().cpus(0.0001)], GroupStrategy::Pack, None)?;
        group.ready().get()?;
        group.remove()?;
    }
    Ok(())
}

/// An actor that does nothing.
struct Idle {
    number: u64,
}

#[engine::actor]
impl Idle {
    pub fn new(number: u64) -> Self {
        Self { number }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn nothing(&self) {}
}

/// Bytes of memory that an idle actor may have: its stack and a little more.
const IDLE_MEMORY: u64 = 1_500 << 10;
/// References held at once by the throughput scenarios.
const BATCH: u64 = 10_000;

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let number = |index: usize| args.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let count = number(1);
    let start = Instant::now();
    match args.first().map(String::as_str) {
        Some("fresh") => throughput(count, noop::spawn)?,
        Some("warm") => throughput(count, noop_warm::spawn)?,
        Some("queued") => {
            let refs = (0..count).map(|_| noop_warm::spawn()).collect::<Result<Vec<_>>>()?;
            let spawned = start.elapsed();
            println!("QUEUED");
            engine::get_all(&refs)?;
            println!("spawned in {spawned:?}");
        }
        Some("actor-calls") => {
            let actor = Idle::spawn(1u64)?;
            actor.nothing()?.get()?;
            let start = Instant::now();
            for _ in 0..count {
                actor.nothing()?.get()?;
            }
            let seconds = start.elapsed().as_secs_f64();
            println!("{}", json!({ "count": count, "seconds": seconds }));
            return Ok(());
        }
        Some("actor-calls-async") => {
            let actor = Idle::spawn(1u64)?;
            throughput(count, || actor.nothing())?;
        }
        Some("actors") => {
            let actors = (0..count)
                .map(|id| Idle::options().memory(IDLE_MEMORY).spawn(id))
                .collect::<Result<Vec<_>>>()?;
            let ids = actors.iter().map(|actor| actor.number()).collect::<Result<Vec<_>>>()?;
            let sum: u64 = engine::get_all(&ids)?.iter().sum();
            engine::ensure!(sum == count * count.saturating_sub(1) / 2, "an actor gave a wrong answer");
            println!("ALIVE");
            // The host looks at the memory of the process now.
            std::thread::sleep(std::time::Duration::from_millis(number(2)));
        }
        Some("far-round-trip") => {
            let far = far()?;
            let noop = || noop_warm::options().strategy(far[0].clone()).spawn()?.get();
            (0..100).try_for_each(|_| noop())?;
            let start = Instant::now();
            (0..count).try_for_each(|_| noop())?;
            println!("{}", json!({ "count": count, "seconds": start.elapsed().as_secs_f64() }));
            return Ok(());
        }
        Some("far-warm") => {
            let far = far()?;
            let next = std::cell::Cell::new(0);
            let noop = || {
                next.set((next.get() + 1) % far.len());
                noop_warm::options().strategy(far[next.get()].clone()).spawn()
            };
            throughput(1_000, noop)?;
            let start = Instant::now();
            throughput(count, noop)?;
            println!("{}", json!({ "count": count, "seconds": start.elapsed().as_secs_f64() }));
            return Ok(());
        }
        Some("far-actors") => {
            let spawn = |id| {
                let options = Idle::options().memory(IDLE_MEMORY).strategy(Strategy::Spread);
                options.spawn(id)?.number()
            };
            let ids = (0..count).map(spawn).collect::<Result<Vec<_>>>()?;
            let sum: u64 = engine::get_all(&ids)?.iter().sum();
            engine::ensure!(sum == count * count.saturating_sub(1) / 2, "an actor gave a wrong answer");
        }
        Some("groups") => {
            let each = number(2);
            let askers = (0..count).map(|_| groups::spawn(each)).collect::<Result<Vec<_>>>()?;
            engine::get_all(&askers)?;
        }
        Some("sleeps") => {
            let sleep = |_| sleep::options().strategy(Strategy::Spread).spawn(number(2));
            let sleeping = (0..count).map(sleep).collect::<Result<Vec<_>>>()?;
            engine::get_all(&sleeping)?;
        }
        Some("quiet") => return neighbour::quiet(count, number(2)),
        Some("busy") => return neighbour::busy(count, number(2)),
        Some("hostile") => return neighbour::hostile(),
        Some("far-bytes") => {
            println!("{}", give_to(&far()?[..1], count, number(2))?);
            return Ok(());
        }
        Some("broadcast") => {
            println!("{}", give_to(&far()?, count, number(2))?);
            return Ok(());
        }
        Some("put-get") => {
            for n in 0..count {
                let object = engine::put(&n)?;
                engine::ensure!(object.get()? == n, "another value came back");
            }
        }
        Some("put-get-bytes") => {
            let bytes = Bytes::from(vec![7_u8; number(2) as usize]);
            for _ in 0..count {
                let object = engine::put(&bytes)?;
                engine::ensure!(object.get()?.len() == bytes.len(), "another value came back");
            }
        }
        _ => engine::bail!(
            "use fresh, warm, queued, actor-calls, actor-calls-async, actors, put-get, put-get-bytes, far-round-trip, far-warm, far-actors, far-bytes, broadcast, groups, sleeps, quiet, busy or hostile, and a count"
        ),
    }
    println!("{}", json!({ "count": count, "seconds": start.elapsed().as_secs_f64() }));
    Ok(())
}

/// The nodes but this one.
fn far() -> Result<Vec<Strategy>> {
    let context = engine::context();
    let here = context.node_id();
    let others = context.nodes()?.into_iter().filter(|node| node.id != here);
    let far: Vec<Strategy> = others.map(|node| Strategy::Node { id: node.id, soft: false }).collect();
    engine::ensure!(!far.is_empty(), "there is no other node: use engine up --nodes 2");
    Ok(far)
}

/// Gives each of so many objects to a task on each of these nodes at once; how long each took.
fn give_to(nodes: &[Strategy], count: u64, size: u64) -> Result<serde_json::Value> {
    let bytes = vec![7_u8; size as usize];
    let mut seconds = Vec::new();
    for _ in 0..count {
        let object = engine::put(&Bytes::from(bytes.clone()))?;
        let start = Instant::now();
        let spawn = |node: &Strategy| length::options().strategy(node.clone()).spawn(&object);
        let lengths = engine::get_all(&nodes.iter().map(spawn).collect::<Result<Vec<_>>>()?)?;
        engine::ensure!(lengths.iter().all(|length| *length == size), "bytes are missing");
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(json!({ "bytes": size, "seconds": seconds }))
}

/// Spawns and gets, so many at once as a caller would hold.
fn throughput(count: u64, spawn: impl Fn() -> Result<ObjectRef<()>>) -> Result<()> {
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        let refs = (0..batch).map(|_| spawn()).collect::<Result<Vec<_>>>()?;
        engine::get_all(&refs)?;
        left -= batch;
    }
    Ok(())
}
