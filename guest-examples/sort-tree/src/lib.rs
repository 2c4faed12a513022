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
fn sort(numbers: Bytes, leaf: u64) -> Result<Bytes> {
    let mut numbers = unpacked(&numbers);
    if numbers.len() as u64 <= leaf {
        numbers.sort_unstable();
        return Ok(packed(numbers.into_iter()));
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let left = sort::spawn(packed(left.iter().copied()), leaf)?;
    let right = sort::spawn(packed(right.iter().copied()), leaf)?;
    // The halves are with the tasks now.
    drop(numbers);
    let (left, right) = (left.get()?, right.get()?);
    Ok(packed(merged(unpacked(&left), unpacked(&right))))
}

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let count: u64 = args.first().map_or(Ok(1_000_000), |text| text.parse()).context("COUNT")?;
    let leaf: u64 = args.get(1).map_or(Ok(50_000), |text| text.parse()).context("LEAF")?;
    engine::ensure!(leaf >= 1, "LEAF must be at least 1");

    let mut random = fastrand::Rng::with_seed(count);
    let numbers: Vec<u64> = (0..count).map(|_| random.u64(..)).collect();
    let checksum = numbers.iter().fold(0u64, |sum, &number| sum.wrapping_add(number));
    let tasks = tasks_for(count, leaf);
    println!("sorting {count} numbers with {tasks} tasks");

    let sorted = sort::spawn(packed(numbers.into_iter()), leaf)?.get()?;
    let sorted = unpacked(&sorted);
    let is_sorted = sorted.is_sorted() && sorted.len() as u64 == count;
    let is_same = sorted.iter().fold(0u64, |sum, &number| sum.wrapping_add(number)) == checksum;
    engine::ensure!(is_sorted && is_same, "the numbers that came back are not those that went, sorted");
    let median = sorted.get(sorted.len() / 2);
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

fn unpacked(bytes: &Bytes) -> Vec<u64> {
    let (numbers, _) = bytes.as_chunks::<NUMBER_BYTES>();
    numbers.iter().map(|&number| u64::from_le_bytes(number)).collect()
}

/// Two sorted lists as one.
fn merged(left: Vec<u64>, right: Vec<u64>) -> impl Iterator<Item = u64> {
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(l), Some(r)) if l <= r => left.next(),
        (_, Some(_)) => right.next(),
        (_, None) => left.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_every_number_in_order() {
        let all: Vec<u64> = merged(vec![1, 3, 3, 9], vec![2, 3, 10]).collect();
        assert_eq!(all, [1, 2, 3, 3, 3, 9, 10]);
        assert_eq!(merged(vec![], vec![5]).collect::<Vec<_>>(), [5]);
        assert_eq!(merged(vec![5], vec![]).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn a_leaf_sorts_by_itself() {
        let sorted = sort(packed([3, 1, u64::MAX, 2].into_iter()), 4).unwrap();
        assert_eq!(unpacked(&sorted), [1, 2, 3, u64::MAX]);
    }

    #[test]
    fn the_tree_has_as_many_tasks_as_are_counted() {
        assert_eq!([tasks_for(10, 10), tasks_for(11, 10), tasks_for(100, 25)], [1, 3, 7]);
    }
}
