//! Sets of ranges of addresses: which pages of the arena the system has given.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither overlap nor touch. Every operation takes time logarithmic in their number,
/// plus the ranges that it removes.
#[derive(Debug, Default)]
pub struct Ranges {
    /// Start to end.
    parts: BTreeMap<usize, usize>,
    length: usize,
}

impl Ranges {
    /// The sum of all lengths.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Adds a range. Answers how much of it was new.
    pub fn insert(&mut self, range: Range<usize>) -> usize {
        if range.is_empty() {
            return 0;
        }
        let before = self.length;
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&part_start, &part_end)) = self.parts.range(..=end).next_back() {
            if part_end < start {
                break;
            }
            self.parts.remove(&part_start);
            self.length -= part_end - part_start;
            start = start.min(part_start);
            end = end.max(part_end);
        }
        self.parts.insert(start, end);
        self.length += end - start;
        self.length - before
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.parts.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.parts.remove(&start);
            self.length -= end - start;
            for (start, end) in [(start, range.start), (range.end, end)] {
                if start < end {
                    self.parts.insert(start, end);
                    self.length += end - start;
                }
            }
            if start <= range.start {
                break;
            }
        }
    }

    /// The first part of `within` that is not in the set.
    pub fn first_gap(&self, within: Range<usize>) -> Option<Range<usize>> {
        let mut start = within.start;
        if let Some((_, &end)) = self.parts.range(..=start).next_back() {
            start = start.max(end);
        }
        let next = self.parts.range(start..).next().map_or(within.end, |(start, _)| *start);
        let end = next.min(within.end);
        (start < end).then_some(start..end)
    }

    /// The highest part of `within` that is in the set.
    pub fn last_part(&self, within: Range<usize>) -> Option<Range<usize>> {
        let (&start, &end) = self.parts.range(..within.end).next_back()?;
        let (start, end) = (start.max(within.start), end.min(within.end));
        (start < end).then_some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            // Miri is a thousand times slower.
            cases: if cfg!(miri) { 3 } else { 2000 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn it_agrees_with_a_vector(
            steps in proptest::collection::vec((any::<bool>(), 0..64_usize, 0..64_usize), 1..60),
            within in (0..64_usize, 0..64_usize),
        ) {
            let mut ranges = Ranges::default();
            let mut model = [false; 64];
            for (add, from, to) in steps {
                let range = from.min(to)..from.max(to);
                let new = model[range.clone()].iter().filter(|held| !**held).count();
                model[range.clone()].fill(add);
                if add {
                    prop_assert_eq!(ranges.insert(range), new);
                } else {
                    ranges.remove(range);
                }
                prop_assert_eq!(ranges.length(), model.iter().filter(|held| **held).count());
            }
            let within = within.0.min(within.1)..within.0.max(within.1);
            let gap = within.clone().find(|at| !model[*at]).map(|start| {
                start..(start..within.end).find(|at| model[*at]).unwrap_or(within.end)
            });
            prop_assert_eq!(ranges.first_gap(within.clone()), gap);
            let last = within.clone().rev().find(|at| model[*at]).map(|last| {
                (within.start..=last).rev().find(|at| !model[*at]).map_or(within.start, |at| at + 1)..last + 1
            });
            prop_assert_eq!(ranges.last_part(within), last);
        }
    }
}
