//! A parallel merge sort, as a tree of tasks.
//!
//! `engine submit sort_tree.wasm -- [COUNT] [LEAF]`
//!
//! A task with more than LEAF numbers halves them, spawns itself on both halves, waits, and merges.
//! While it waits its CPU is another's, so that the tree may be deeper than there are CPUs.

use engine::prelude::*;
use serde_json::json;

/// The bytes of a number; little end first.
const NUMBER_BYTES: usize = 8;

/// Sorts numbers, by itself when there are few.
#[engine::task]
fn sort(numbers: Bytes, leaf: u64, depth: i32) -> Result<Bytes> {
    let count = numbers.len() / NUMBER_BYTES;
    if count as u64 <= leaf {
        let mut numbers: Vec<u64> = unpacked(&numbers).collect();
        numbers.sort_unstable();
        return Ok(packed(numbers.into_iter()));
    }
    let (left, right) = numbers.split_at(count / 2 * NUMBER_BYTES);
    let left = spawn(Bytes::from(left), leaf, depth + 1)?;
    let right = spawn(Bytes::from(right), leaf, depth + 1)?;
    // The halves are with the tasks now.
    drop(numbers);
    let (left, right) = (left.get()?, right.get()?);
    Ok(packed(merged(unpacked(&left), unpacked(&right))))
}

/// Spawns [`sort`] with the memory that so many numbers need. The deeper tasks go first: a task that
/// waits keeps its memory, so the tree is worked through branch by branch and not level by level.
fn spawn(numbers: Bytes, leaf: u64, depth: i32) -> Result<ObjectRef<Bytes>> {
    const BASE_BYTES: u64 = 16 << 20;
    // The numbers themselves, the halves, and the result, which is not there as long as they are.
    let memory = BASE_BYTES + 4 * numbers.len() as u64;
    sort::options().priority(depth).memory(memory).spawn(numbers, leaf, depth)
}

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let count: u64 = args.first().map_or(Ok(1_000_000), |text| text.parse()).context("COUNT")?;
    let leaf: u64 = args.get(1).map_or(Ok(50_000), |text| text.parse()).context("LEAF")?;
    engine::ensure!(leaf >= 1, "LEAF must be at least 1");

    let mut random = fastrand::Rng::with_seed(count);
    let numbers = packed((0..count).map(|_| random.u64(..)));
    let checksum = checksum_of(&numbers);
    let tasks = tasks_for(count, leaf);
    println!("sorting {count} numbers with {tasks} tasks");

    let sorted = spawn(numbers, leaf, 0)?.get()?;
    let is_sorted = unpacked(&sorted).is_sorted();
    let is_same = sorted.len() as u64 == count * NUMBER_BYTES as u64 && checksum_of(&sorted) == checksum;
    engine::ensure!(is_sorted && is_same, "the numbers that came back are not those that went, sorted");
    let median = unpacked(&sorted).nth(count as usize / 2);
    println!("{}", json!({ "count": count, "tasks": tasks, "sorted": true, "median": median }));
    Ok(())
}

/// How many tasks the tree has.
fn tasks_for(count: u64, leaf: u64) -> u64 {
    if count <= leaf { 1 } else { 1 + tasks_for(count / 2, leaf) + tasks_for(count - count / 2, leaf) }
}

fn packed(numbers: impl Iterator<Item = u64>) -> Bytes {
    let mut bytes = Vec::with_capacity(numbers.size_hint().0 * NUMBER_BYTES);
    numbers.for_each(|number| bytes.extend(number.to_le_bytes()));
    Bytes::from(bytes)
}

fn unpacked(bytes: &Bytes) -> impl ExactSizeIterator<Item = u64> {
    let (numbers, _) = bytes.as_chunks::<NUMBER_BYTES>();
    numbers.iter().map(|&number| u64::from_le_bytes(number))
}

/// The sum, which is the same in whatever order.
fn checksum_of(bytes: &Bytes) -> u64 {
    unpacked(bytes).fold(0, u64::wrapping_add)
}

/// Two sorted lists as one.
fn merged(
    left: impl ExactSizeIterator<Item = u64>,
    right: impl ExactSizeIterator<Item = u64>,
) -> impl Iterator<Item = u64> {
    let rest = left.len() + right.len();
    let (mut left, mut right) = (left.peekable(), right.peekable());
    let next = move || match (left.peek(), right.peek()) {
        (Some(l), Some(r)) if l <= r => left.next(),
        (_, Some(_)) => right.next(),
        (_, None) => left.next(),
    };
    Exactly { next, rest }
}

/// An iterator that knows its length, so that what is packed from it is allocated once.
struct Exactly<F> {
    next: F,
    rest: usize,
}

impl<F: FnMut() -> Option<u64>> Iterator for Exactly<F> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.rest = self.rest.saturating_sub(1);
        (self.next)()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rest, Some(self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(left: &[u64], right: &[u64]) -> Vec<u64> {
        merged(left.iter().copied(), right.iter().copied()).collect()
    }

    #[test]
    fn merging_keeps_every_number_in_order() {
        assert_eq!(merge(&[1, 3, 3, 9], &[2, 3, 10]), [1, 2, 3, 3, 3, 9, 10]);
        assert_eq!(merge(&[], &[5]), [5]);
        assert_eq!(merge(&[5], &[]), [5]);
    }

    #[test]
    fn a_leaf_sorts_by_itself() {
        let sorted = sort(packed([3, 1, u64::MAX, 2].into_iter()), 4, 0).unwrap();
        assert_eq!(unpacked(&sorted).collect::<Vec<_>>(), [1, 2, 3, u64::MAX]);
    }

    #[test]
    fn the_tree_has_as_many_tasks_as_are_counted() {
        assert_eq!([tasks_for(10, 10), tasks_for(11, 10), tasks_for(100, 25)], [1, 3, 7]);
    }
}
