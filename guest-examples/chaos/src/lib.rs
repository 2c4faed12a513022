//! A mix of everything that checks itself: `engine submit chaos.wasm -- SEED ROUNDS`.
//!
//! Nodes may die while it runs, except the one of its root task: whatever it gets must be exact all the
//! same. What is not ends the job with an error that says what was expected.

use std::time::Duration;

use engine::prelude::*;
use engine::{Bundle, GroupStrategy, PlacementGroup, Strategy};
use fastrand::Rng;

/// How often a task is run again when its node has died: as often as need be.
const WITHOUT_END: i32 = -1;

/// The leaves of a tree of tasks.
#[engine::task(cpus = 0.5, max_retries = -1)]
fn tree(depth: u32, width: u32) -> Result<u64> {
    if depth == 0 {
        return Ok(1);
    }
    let children = (0..width).map(|_| tree::spawn(depth - 1, width)).collect::<Result<Vec<_>>>()?;
    Ok(engine::get_all(&children)?.iter().sum())
}

fn pattern(length: u64, seed: u64) -> Vec<u8> {
    let mut random = Rng::with_seed(seed);
    let mut bytes = vec![0; length as usize];
    random.fill(&mut bytes);
    bytes
}

fn digest_of(bytes: &[u8]) -> u64 {
    // FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[engine::task(cpus = 0.5, max_retries = -1)]
fn make(length: u64, seed: u64) -> Bytes {
    Bytes::from(pattern(length, seed))
}

#[engine::task(cpus = 0.5, max_retries = -1)]
fn digest(bytes: Bytes, milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    digest_of(&bytes)
}

#[engine::task(cpus = 0.5, max_retries = -1)]
fn count(until: u64, milliseconds: u64) -> impl Iterator<Item = u64> {
    (0..until).inspect(move |_| std::thread::sleep(Duration::from_millis(milliseconds)))
}

#[engine::task(cpus = 0.1, max_retries = -1)]
fn double(value: u64, milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    2 * value
}

/// Counts its calls: those of this incarnation.
struct Calls(u64);

#[engine::actor]
impl Calls {
    pub fn new() -> Self {
        Self(0)
    }

    pub fn call(&mut self, milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.0 += 1;
        self.0
    }
}

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let number = |index: usize| args.get(index).map_or(Ok(1), |text| text.parse::<u64>());
    let (seed, rounds) = (number(0)?, number(1)?);
    let mut random = Rng::with_seed(seed);
    for _ in 0..rounds {
        match random.u32(..6) {
            0 => trees(&mut random)?,
            1 => objects(&mut random)?,
            2 => streams(&mut random)?,
            3 => calls_with_retries(&mut random)?,
            4 => calls_without_retries(&mut random)?,
            _ => groups(&mut random)?,
        }
    }
    println!("{rounds} rounds of seed {seed} were exact");
    Ok(())
}

fn trees(random: &mut Rng) -> Result<()> {
    let (depth, width) = (random.u32(1..4), random.u32(1..4));
    let leaves = tree::spawn(depth, width)?.get()?;
    engine::ensure!(leaves == u64::from(width).pow(depth), "{leaves} leaves of {width} to the {depth}");
    Ok(())
}

fn objects(random: &mut Rng) -> Result<()> {
    let parts: Vec<(u64, u64)> = (0..4).map(|_| (random.u64(1..1 << 20), random.u64(..))).collect();
    let made = parts.iter().map(|(length, seed)| make::spawn(*length, *seed)).collect::<Result<Vec<_>>>()?;
    let own = engine::put_bytes(pattern(300_000, 7))?;
    // Long enough that a node may die that has the bytes, or the one that reads them.
    let digests = made.iter().map(|bytes| digest::spawn(bytes, random.u64(..200)));
    let digests = engine::get_all(&digests.collect::<Result<Vec<_>>>()?)?;
    for ((length, seed), digest) in parts.iter().zip(digests) {
        engine::ensure!(digest == digest_of(&pattern(*length, *seed)), "{length} bytes of {seed} are wrong");
    }
    let seen = digest::spawn(&own, 0)?.get()?;
    engine::ensure!(seen == digest_of(&pattern(300_000, 7)), "what was put is wrong");
    Ok(())
}

fn streams(random: &mut Rng) -> Result<()> {
    let until = random.u64(1..60);
    let items = count::spawn(until, random.u64(..20))?.collect::<Result<Vec<u64>>>()?;
    engine::ensure!(items.iter().copied().eq(0..until), "a stream until {until} gave {items:?}");
    Ok(())
}

fn calls_with_retries(random: &mut Rng) -> Result<()> {
    let options = Calls::options().cpus(0.1).strategy(Strategy::Spread);
    let actor = options.max_restarts(WITHOUT_END).max_task_retries(WITHOUT_END).spawn()?;
    let mut last = 0;
    for _ in 0..random.u32(1..30) {
        let now = actor.call(random.u64(..20))?.get()?;
        engine::ensure!(now == last + 1 || now == 1, "call {now} of an incarnation after call {last}");
        last = now;
    }
    Ok(())
}

fn calls_without_retries(random: &mut Rng) -> Result<()> {
    let options = Calls::options().cpus(0.1).strategy(Strategy::Spread);
    let actor = options.max_restarts(WITHOUT_END).spawn()?;
    let mut last = 0;
    for _ in 0..random.u32(1..30) {
        match actor.call(random.u64(..20))?.get() {
            Ok(now) => {
                engine::ensure!(
                    now == last + 1 || now == 1,
                    "call {now} of an incarnation after call {last}"
                );
                last = now;
            }
            Err(error) if error.code() == ErrorCode::ActorDied => {}
            Err(error) => return Err(error).context("a call of an actor that may be made anew"),
        }
    }
    Ok(())
}

fn groups(random: &mut Rng) -> Result<()> {
    let strategies = [GroupStrategy::Pack, GroupStrategy::Spread, GroupStrategy::StrictPack];
    let bundles = (0..random.usize(1..4)).map(|_| Bundle::new().cpus(0.2)).collect::<Vec<_>>();
    let count = bundles.len() as u32;
    let group = PlacementGroup::create(bundles, strategies[random.usize(..strategies.len())], None)?;
    group.ready().get()?;
    let spawn = |n: u64| {
        let bundle = Some(n as u32 % count);
        let place = Strategy::PlacementGroup { group: group.clone(), bundle, capture_children: false };
        double::options().strategy(place).spawn(n, 50)
    };
    let doubled = engine::get_all(&(0..8).map(spawn).collect::<Result<Vec<_>>>()?)?;
    engine::ensure!(doubled.iter().copied().eq((0..8).map(|n| 2 * n)), "a group gave {doubled:?}");
    if random.bool() {
        group.remove()?;
    }
    Ok(())
}
