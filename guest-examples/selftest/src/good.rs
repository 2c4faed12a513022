//! Tasks that do what is asked of them.
use engine::prelude::*;
use std::time::{Duration, Instant};

/// The value, as it came.
#[engine::task]
pub fn identity(value: u64) -> u64 {
    value
}

/// Nothing at all: what a task costs.
#[engine::task]
pub fn noop() {}

/// [`noop`] by warm instances.
#[engine::task(reuse = job)]
pub fn noop_warm() {}

#[engine::task]
pub fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[engine::task]
pub fn sum(values: Vec<u64>) -> u64 {
    values.into_iter().sum()
}

/// The sum of the values of references that lie inside a value.
#[engine::task]
pub fn sum_nested(refs: Vec<ObjectRef<u64>>) -> Result<u64> {
    Ok(engine::get_all(&refs)?.into_iter().sum())
}

/// The reference that lies inside a value, handed back inside another.
#[engine::task]
pub fn pass_on(refs: Vec<ObjectRef<u64>>) -> Vec<ObjectRef<u64>> {
    refs
}

/// Sleeps without using the CPU, and gives the value.
#[engine::task]
pub fn say(milliseconds: u64, n: u64) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    println!("number {n}");
    n
}

#[engine::task]
pub fn sleep(milliseconds: u64, value: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    value
}

/// Uses the CPU for so long.
#[engine::task]
pub fn spin(milliseconds: u64) -> u64 {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let mut turns = 0;
    while Instant::now() < end {
        turns += 1;
    }
    turns
}

/// Some bytes, all the same.
#[engine::task]
pub fn bytes(size: u64, byte: u8) -> Bytes {
    Bytes::from(vec![byte; size as usize])
}

/// The length of some bytes, and their sum modulo 2^64.
#[engine::task]
pub fn digest(bytes: Bytes) -> (u64, u64) {
    (bytes.len() as u64, bytes.iter().map(|&byte| u64::from(byte)).sum())
}

#[engine::task(num_returns = 2)]
pub fn divide(a: u64, b: u64) -> Result<(u64, u64)> {
    engine::ensure!(b != 0, "{a} cannot be divided by 0");
    Ok((a / b, a % b))
}

/// As many objects as asked for with `num_returns`: 0, 1, 2, …
#[engine::task(num_returns = 1)]
pub fn many(count: u64) -> Vec<u64> {
    (0..count).collect()
}

/// Spawns itself to a depth, waiting at each level.
#[engine::task]
pub fn nest(depth: u64) -> Result<u64> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(nest::spawn(depth - 1)?.get()? + 1)
}

/// Spawns so many tasks and waits for all.
#[engine::task]
pub fn fan_out(count: u64) -> Result<u64> {
    let refs = (0..count).map(identity::spawn).collect::<Result<Vec<_>>>()?;
    Ok(engine::get_all(&refs)?.into_iter().sum())
}

/// Spawns children that sleep, and sleeps itself: cancelling it should end them all.
#[engine::task]
pub fn parent(children: u64, milliseconds: u64) -> Result<u64> {
    let refs = (0..children).map(|n| sleep::spawn(milliseconds, n)).collect::<Result<Vec<_>>>()?;
    Ok(engine::get_all(&refs)?.into_iter().sum())
}

/// Counts what earlier tasks left in this instance: always 1 in a fresh one.
#[engine::task]
pub fn touch() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TOUCHED: AtomicU64 = AtomicU64::new(0);
    TOUCHED.fetch_add(1, Ordering::Relaxed) + 1
}

/// Adds to a counter that was passed as a handle.
#[engine::task]
pub fn add_through(counter: crate::actors::CounterHandle, n: u64) -> Result<u64> {
    counter.add(n)?.get()
}

/// Runs once something else is done.
#[engine::task]
pub fn after(_done: ()) -> u64 {
    1
}
