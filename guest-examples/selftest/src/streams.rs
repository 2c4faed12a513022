//! Streaming tasks.
use engine::prelude::*;
use std::time::Duration;

/// 0, 1, 2, …
#[engine::task]
pub fn count(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

/// [`count`], at most two ahead of its reader; says on standard output how far it is.
#[engine::task(unread_objects_max = 2)]
pub fn count_bounded(n: u64) -> impl Iterator<Item = u64> {
    (0..n).inspect(|n| println!("yielding {n}"))
}

/// Yields so many, then fails with the kind `Broken`.
#[engine::task]
pub fn count_then_fail(n: u64) -> impl Iterator<Item = Result<u64, Failure>> {
    (0..n).map(Ok).chain([Err(Failure::new("Broken", format!("after {n} items")))])
}

/// Yields so many, then panics.
#[engine::task]
pub fn count_then_panic(n: u64) -> impl Iterator<Item = u64> {
    (0..=n).inspect(move |&i| assert!(i < n, "after {n} items"))
}

/// Yields without end, one in so many milliseconds.
#[engine::task]
pub fn tick(milliseconds: u64) -> impl Iterator<Item = u64> {
    (0..).inspect(move |_| std::thread::sleep(Duration::from_millis(milliseconds)))
}
