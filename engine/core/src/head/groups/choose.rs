//! On which nodes the bundles of a group go, all of them or none.
//!
//! Finding the fewest nodes is bin packing: what is done is first to fit the largest bundle, with a
//! second look by the tightest fit where the strategy's own way finds nothing. `strict-spread` is exact:
//! a matching of bundles and nodes.

use std::cmp::Reverse;

use crate::group::{Bundle, GroupStrategy};
use crate::ids::NodeId;
use crate::options::LabelSelector;
use crate::resources::Resources;

/// A node, and what it is thought to have free.
#[derive(Clone)]
pub(super) struct Room {
    pub node: NodeId,
    pub labels: Vec<(String, String)>,
    pub total: Resources,
    pub free: Resources,
}

/// What a group lacks.
pub(super) struct Wanted<'a> {
    pub strategy: GroupStrategy,
    /// Bundles that have no node.
    pub bundles: Vec<&'a Bundle>,
    /// The nodes of those that have one, which they keep.
    pub kept: Vec<NodeId>,
}

/// Empty nodes that are compared with one another for the next bundles of a group that is packed.
const OPENED_LOOKAHEAD: usize = 64;

/// A node for each of the bundles; none when there is not room for all of them.
pub(super) fn choose(wanted: &Wanted<'_>, rooms: &[Room]) -> Option<Vec<NodeId>> {
    let chosen = match wanted.strategy {
        GroupStrategy::StrictPack => strict_pack(wanted, rooms),
        GroupStrategy::StrictSpread => strict_spread(wanted, rooms),
        GroupStrategy::Pack => Layout::new(wanted, rooms).lay(pack).or_else(|| tight(wanted, rooms)),
        GroupStrategy::Spread => Layout::new(wanted, rooms).lay(spread).or_else(|| tight(wanted, rooms)),
    }?;
    Some(chosen.into_iter().map(|at| rooms[at].node).collect())
}

pub(super) fn accepts(labels: &[LabelSelector], room: &Room) -> bool {
    labels.iter().all(|selector| !selector.hard || selector.matches(&room.labels))
}

fn likes(bundle: &Bundle, room: &Room) -> usize {
    bundle.labels.iter().filter(|selector| !selector.hard && selector.matches(&room.labels)).count()
}

/// The sum of what bundles ask for.
pub(super) fn sum<'a>(bundles: impl IntoIterator<Item = &'a Bundle>) -> Resources {
    let mut sum = Resources::default();
    bundles.into_iter().for_each(|bundle| sum.give(&bundle.resources));
    sum
}

/// The bundles by size, the largest first.
fn by_size(bundles: &[&Bundle]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..bundles.len()).collect();
    order.sort_by_key(|at| {
        let resources = &bundles[*at].resources;
        let custom = resources.custom().iter().map(|(_, quantity)| quantity.0).max();
        Reverse((resources.gpus, custom, resources.cpus, resources.memory))
    });
    order
}

/// Bundles that are being laid, one after another.
struct Layout<'a> {
    wanted: &'a Wanted<'a>,
    rooms: &'a [Room],
    free: Vec<Resources>,
    /// How many bundles of the group each node has.
    used: Vec<usize>,
    /// Those to come.
    left: Vec<usize>,
}

impl<'a> Layout<'a> {
    fn new(wanted: &'a Wanted<'a>, rooms: &'a [Room]) -> Self {
        let kept = |room: &Room| wanted.kept.iter().filter(|node| **node == room.node).count();
        let mut left = by_size(&wanted.bundles);
        left.reverse();
        Self {
            wanted,
            rooms,
            free: rooms.iter().map(|room| room.free.clone()).collect(),
            used: rooms.iter().map(kept).collect(),
            left,
        }
    }

    fn fits(&self, bundle: &Bundle, at: usize) -> bool {
        self.free[at].covers(&bundle.resources) && accepts(&bundle.labels, &self.rooms[at])
    }

    fn lay(mut self, next: fn(&Self, &Bundle) -> Option<usize>) -> Option<Vec<usize>> {
        let mut chosen = vec![0; self.wanted.bundles.len()];
        while let Some(bundle) = self.left.pop() {
            let wanted = self.wanted.bundles[bundle];
            let at = next(&self, wanted)?;
            self.free[at].take(&wanted.resources);
            self.used[at] += 1;
            chosen[bundle] = at;
        }
        Some(chosen)
    }

    /// In use once the bundle is there, in thousandths.
    fn fill(&self, bundle: &Bundle, at: usize) -> u64 {
        self.rooms[at].total.used_with(&self.free[at], &bundle.resources)
    }

    /// How many of the bundles to come, and this one, a node could take.
    fn takes(&self, bundle: &Bundle, at: usize) -> usize {
        let mut free = self.free[at].clone();
        free.take(&bundle.resources);
        let to_come = self.left.iter().rev().map(|at| self.wanted.bundles[*at]);
        let fits = to_come.filter(|next| {
            let fits = free.covers(&next.resources) && accepts(&next.labels, &self.rooms[at]);
            if fits {
                free.take(&next.resources);
            }
            fits
        });
        1 + fits.count()
    }
}

fn pack(layout: &Layout<'_>, bundle: &Bundle) -> Option<usize> {
    let fit: Vec<usize> = (0..layout.rooms.len()).filter(|at| layout.fits(bundle, *at)).collect();
    let liked = fit.iter().map(|at| likes(bundle, &layout.rooms[*at])).max()?;
    let fit = || fit.iter().copied().filter(|at| likes(bundle, &layout.rooms[*at]) == liked);
    let used = fit().filter(|at| layout.used[*at] > 0);
    if let Some(fullest) = used.max_by_key(|at| (layout.fill(bundle, *at), Reverse(*at))) {
        return Some(fullest);
    }
    let mut empty: Vec<usize> = fit().collect();
    empty.sort_by_key(|at| (layout.fill(bundle, *at), *at));
    let opened = empty.into_iter().take(OPENED_LOOKAHEAD);
    opened.max_by_key(|at| (layout.takes(bundle, *at), layout.fill(bundle, *at), Reverse(*at)))
}

fn spread(layout: &Layout<'_>, bundle: &Bundle) -> Option<usize> {
    let fit = (0..layout.rooms.len()).filter(|at| layout.fits(bundle, *at));
    fit.min_by_key(|at| {
        let liked = likes(bundle, &layout.rooms[*at]);
        (Reverse(liked), layout.used[*at], layout.fill(bundle, *at), *at)
    })
}

/// Each bundle where the least is left: it wastes no large room on a small bundle.
fn tight(wanted: &Wanted<'_>, rooms: &[Room]) -> Option<Vec<usize>> {
    Layout::new(wanted, rooms).lay(|layout, bundle| {
        let fit = (0..layout.rooms.len()).filter(|at| layout.fits(bundle, *at));
        fit.max_by_key(|at| (layout.fill(bundle, *at), Reverse(*at)))
    })
}

fn strict_pack(wanted: &Wanted<'_>, rooms: &[Room]) -> Option<Vec<usize>> {
    let sum = sum(wanted.bundles.iter().copied());
    let fits = |at: &usize| {
        let room = &rooms[*at];
        wanted.kept.iter().all(|node| *node == room.node)
            && room.free.covers(&sum)
            && wanted.bundles.iter().all(|bundle| accepts(&bundle.labels, room))
    };
    let best = (0..rooms.len()).filter(fits).max_by_key(|at| {
        let room = &rooms[*at];
        let liked: usize = wanted.bundles.iter().map(|bundle| likes(bundle, room)).sum();
        (liked, room.total.used_with(&room.free, &sum), Reverse(*at))
    })?;
    Some(vec![best; wanted.bundles.len()])
}

fn strict_spread(wanted: &Wanted<'_>, rooms: &[Room]) -> Option<Vec<usize>> {
    let choices: Vec<Vec<usize>> =
        wanted.bundles.iter().map(|bundle| alone_on(bundle, wanted, rooms)).collect();
    // Whose bundle a node has.
    let mut taken: Vec<Option<usize>> = vec![None; rooms.len()];
    for bundle in by_size(&wanted.bundles) {
        let mut seen = vec![false; rooms.len()];
        if !find_room(bundle, &choices, &mut taken, &mut seen) {
            return None;
        }
    }
    let mut chosen = vec![0; wanted.bundles.len()];
    for (at, bundle) in taken.iter().enumerate() {
        if let Some(bundle) = bundle {
            chosen[*bundle] = at;
        }
    }
    Some(chosen)
}

/// The nodes that a bundle may have for itself, the best first.
fn alone_on(bundle: &Bundle, wanted: &Wanted<'_>, rooms: &[Room]) -> Vec<usize> {
    let fits = |at: &usize| {
        let room = &rooms[*at];
        room.free.covers(&bundle.resources)
            && accepts(&bundle.labels, room)
            && !wanted.kept.contains(&room.node)
    };
    let mut fit: Vec<usize> = (0..rooms.len()).filter(fits).collect();
    fit.sort_by_key(|at| {
        let room = &rooms[*at];
        (Reverse(likes(bundle, room)), room.total.used_with(&room.free, &bundle.resources), *at)
    });
    fit
}

/// Finds a node for a bundle, where needed by moving others: a path of alternations (Kuhn).
///
/// The path is kept on a stack of its own, as it may be as long as there are bundles.
fn find_room(bundle: usize, choices: &[Vec<usize>], taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    // Each step: a bundle that looks for a node, and which of its choices is looked at next.
    let mut path = vec![(bundle, 0)];
    while let Some((bundle, next)) = path.last_mut() {
        let Some(at) = choices[*bundle].get(*next).copied() else {
            path.pop();
            continue;
        };
        *next += 1;
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        match taken[at] {
            Some(other) => path.push((other, 0)),
            None => {
                for (bundle, next) in path {
                    taken[choices[bundle][next - 1]] = Some(bundle);
                }
                return true;
            }
        }
    }
    false
}
