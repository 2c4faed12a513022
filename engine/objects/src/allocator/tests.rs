use proptest::prelude::*;

use super::*;

#[test]
fn what_is_released_joins_its_neighbours() {
    let mut allocator = Allocator::new(10 * EXTENT_BYTES);
    let parts: Vec<usize> = (0..10).map(|_| allocator.allocate(1).expect("room")).collect();
    assert_eq!((allocator.allocate(1), allocator.free_parts()), (None, 0));
    for part in [3, 5, 4] {
        allocator.release(parts[part], 1);
    }
    assert_eq!((allocator.largest_free(), allocator.free_parts()), (3 * EXTENT_BYTES, 1));
    assert_eq!(allocator.allocate(2 * EXTENT_BYTES + 1), Some(parts[3]));
}

#[test]
fn more_than_there_is_is_refused() {
    let mut allocator = Allocator::new(EXTENT_BYTES);
    assert_eq!(allocator.allocate(usize::MAX), None);
    assert_eq!(allocator.allocate(EXTENT_BYTES + 1), None);
    assert_eq!(allocator.allocate(EXTENT_BYTES), Some(0));
    assert_eq!(Allocator::new(0).allocate(1), None);
}

/// A vector of pages, each owned or free.
struct Model(Vec<bool>);

impl Model {
    /// Runs of free pages: start and length.
    fn runs(&self) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let mut start = None;
        for (page, taken) in self.0.iter().chain([&true]).enumerate() {
            match (taken, start) {
                (false, None) => start = Some(page),
                (true, Some(from)) => {
                    runs.push((from, page - from));
                    start = None;
                }
                _ => {}
            }
        }
        runs
    }

    /// Where best fit with the lowest address puts so many pages.
    fn best(&self, pages: usize) -> Option<usize> {
        let fits = self.runs().into_iter().filter(|(_, length)| *length >= pages);
        fits.min_by_key(|(start, length)| (*length, *start)).map(|(start, _)| start)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Allocate(usize),
    Release(usize),
    /// Of a live extent, so many pages are kept.
    Shrink(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..12_usize).prop_map(Step::Allocate),
        3 => any::<usize>().prop_map(Step::Release),
        1 => (any::<usize>(), 1..12_usize).prop_map(|(which, keep)| Step::Shrink(which, keep)),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Miri is a thousand times slower.
        cases: if cfg!(miri) { 3 } else { 200 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn it_agrees_with_a_simple_model(pages in 1..96_usize, steps in steps()) {
        let mut allocator = Allocator::new(pages * EXTENT_BYTES);
        let mut model = Model(vec![false; pages]);
        let mut live: Vec<(usize, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Allocate(count) => {
                    let given = allocator.allocate(count * EXTENT_BYTES - 7).map(|at| at / EXTENT_BYTES);
                    prop_assert_eq!(given, model.best(count));
                    if let Some(at) = given {
                        model.0[at..at + count].fill(true);
                        live.push((at, count));
                    }
                }
                Step::Release(which) if !live.is_empty() => {
                    let (at, count) = live.swap_remove(which % live.len());
                    model.0[at..at + count].fill(false);
                    allocator.release(at * EXTENT_BYTES, count * EXTENT_BYTES);
                }
                Step::Shrink(which, keep) if !live.is_empty() => {
                    let which = which % live.len();
                    let (at, count) = live[which];
                    if keep < count {
                        model.0[at + keep..at + count].fill(false);
                        allocator.release((at + keep) * EXTENT_BYTES, (count - keep) * EXTENT_BYTES);
                        live[which].1 = keep;
                    }
                }
                Step::Release(_) | Step::Shrink(..) => {}
            }
            let runs = model.runs();
            let free: usize = runs.iter().map(|(_, length)| length).sum();
            let largest = runs.iter().map(|(_, length)| *length).max().unwrap_or(0);
            let used_end = model.0.iter().rposition(|taken| *taken).map_or(0, |page| page + 1);
            prop_assert_eq!(allocator.free(), free * EXTENT_BYTES);
            prop_assert_eq!(allocator.free_parts(), runs.len());
            prop_assert_eq!(allocator.largest_free(), largest * EXTENT_BYTES);
            prop_assert_eq!(allocator.used_end(), used_end * EXTENT_BYTES);
        }
    }
}

/// Sizes spread evenly over their logarithms, as objects' are; old ones go in no order. The share in
/// use when the first request is refused is what fragmentation leaves of the arena.
#[test]
#[cfg_attr(miri, ignore = "it would take minutes")]
fn fragmentation_leaves_most_of_the_arena_usable() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let total = 1 << 30;
    let mut allocator = Allocator::new(total);
    let mut live = Vec::new();
    let mut in_use_when_refused = Vec::new();
    for _ in 0..50_000 {
        let size = (100 << 10) << next(8);
        let size = size + next(size);
        match allocator.allocate(size) {
            Some(offset) => live.push((offset, size)),
            None => {
                in_use_when_refused.push((total - allocator.free()) as f64 / total as f64);
                for _ in 0..live.len() / 20 {
                    let (offset, size) = live.swap_remove(next(live.len()));
                    allocator.release(offset, size);
                }
            }
        }
    }
    let mean = in_use_when_refused.iter().sum::<f64>() / in_use_when_refused.len() as f64;
    println!("{:.1} % in use when refused, {} refusals", mean * 100.0, in_use_when_refused.len());
    assert!(mean > 0.8, "{mean}");
}
