//! Who gives another node the bytes of a large object: this one, or another that got them here.
//!
//! The holder that the owner names hears of everybody who wants the bytes. It gives them to a few at once and
//! sends each further one on to a node that has got them or is about to, a few to each, in the order in which
//! they asked. So a tree arises that this node alone has in mind: whom it sends on finds the bytes where it is
//! sent, and never waits for one that waits for it. What is known of copies may be out of date: whoever finds
//! none there comes back and is served here.

use std::collections::BTreeMap;

use crate::ids::{IdMap, NodeId, ObjectId};
use crate::node::{Limits, Node};
use crate::transfer::Way;
use crate::value::Place;

/// What a node does that is asked for the bytes of an object.
#[derive(Debug)]
pub enum Serve {
    /// It gives them.
    Here {
        /// Where they are.
        place: Place,
        /// How many they are.
        size: u64,
        /// Says which transfer has ended.
        transfer: Transfer,
    },
    /// It sends the asker on to this node.
    Ask(NodeId),
    /// It and these others have them, each can be asked for a part.
    Several(u64, Vec<NodeId>),
}

/// Bytes that another node is being given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    object: ObjectId,
    number: u64,
}

/// To whom this node gives which objects, and who has them from here.
#[derive(Default)]
pub(in crate::node) struct Spread {
    objects: IdMap<ObjectId, Copies>,
    /// By when they were last asked for.
    by_use: BTreeMap<u64, ObjectId>,
    /// Copies that are known, of all objects.
    known: usize,
    /// Of the next transfer, and of the next use.
    number: u64,
}

#[derive(Default)]
struct Copies {
    used: u64,
    /// Transfers from here, at most one to a node.
    serving: Vec<(u64, NodeId)>,
    /// In the order in which they asked.
    known: Vec<Copy>,
}

/// A node that has got the bytes, or is getting them.
struct Copy {
    node: NodeId,
    /// Whom it asks for them.
    from: NodeId,
    /// Nodes that were sent on to it.
    sent_on: usize,
    /// It has all of them.
    is_whole: bool,
}

impl Copies {
    /// The first in line that has been sent fewer than it may give at once, else the one with the fewest; none
    /// that gets its bytes by way of `asker`.
    fn choose(&self, asker: NodeId, each_max: usize) -> Option<usize> {
        let others = || (0..self.known.len()).filter(|index| !self.is_below(*index, asker));
        let free = others().find(|index| self.known[*index].sent_on < each_max);
        free.or_else(|| others().min_by_key(|index| self.known[*index].sent_on))
    }

    /// Whether a copy is at this node, or on its way by way of it.
    fn is_below(&self, index: usize, node: NodeId) -> bool {
        let mut copy = &self.known[index];
        // As many steps as there are copies: the way up does not lead round.
        for _ in 0..=self.known.len() {
            if copy.node == node || (copy.from == node && !copy.is_whole) {
                return true;
            }
            match self.known.iter().find(|above| above.node == copy.from) {
                Some(above) if !copy.is_whole => copy = above,
                _ => return false,
            }
        }
        true
    }
}

impl Spread {
    /// Copies that are known.
    pub fn len(&self) -> usize {
        self.known
    }

    /// Says who serves whom that has come the first time; none: this node does.
    fn send_on(&mut self, object: ObjectId, asker: NodeId, here: NodeId, limits: &Limits) -> Option<NodeId> {
        self.forget_copy(object, asker);
        self.touch(object);
        let copies = self.objects.entry(object).or_default();
        copies.serving.retain(|(_, node)| *node != asker);
        let is_busy = copies.serving.len() >= limits.transfers_per_object_max;
        let chosen = is_busy.then(|| copies.choose(asker, limits.transfers_per_object_max)).flatten();
        let to = chosen.map(|index| {
            copies.known[index].sent_on += 1;
            copies.known[index].node
        });
        self.know(object, asker, to.unwrap_or(here), limits);
        to
    }

    /// A node is about to have the bytes.
    fn know(&mut self, object: ObjectId, node: NodeId, from: NodeId, limits: &Limits) {
        let Some(copies) = self.objects.get_mut(&object) else { return };
        if let Some(copy) = copies.known.iter_mut().find(|copy| copy.node == node) {
            copy.from = from;
            return;
        }
        if copies.known.len() >= limits.copies_known_max {
            return;
        }
        copies.known.push(Copy { node, from, sent_on: 0, is_whole: false });
        self.known += 1;
        while self.known > limits.copies_known_of_all_max
            && let Some((_, oldest)) = self.by_use.first_key_value().map(|(used, id)| (*used, *id))
        {
            self.forget(oldest);
        }
    }

    /// A transfer from here begins.
    fn begin(&mut self, object: ObjectId, asker: NodeId) -> Transfer {
        self.touch(object);
        self.number += 1;
        let number = self.number;
        let copies = self.objects.entry(object).or_default();
        copies.serving.retain(|(_, node)| *node != asker);
        copies.serving.push((number, asker));
        Transfer { object, number }
    }

    /// One has ended; whether the other has all bytes now.
    fn end(&mut self, transfer: Transfer, is_whole: bool) {
        let Transfer { object, number } = transfer;
        let Some(copies) = self.objects.get_mut(&object) else { return };
        let Some(index) = copies.serving.iter().position(|(own, _)| *own == number) else { return };
        let (_, asker) = copies.serving.swap_remove(index);
        if is_whole && let Some(copy) = copies.known.iter_mut().find(|copy| copy.node == asker) {
            copy.is_whole = true;
        }
        self.drop_if_empty(object);
    }

    /// Those that have all bytes, at most `max`.
    fn whole(&self, object: ObjectId, asker: NodeId, max: usize) -> Vec<NodeId> {
        let known = self.objects.get(&object).map_or(&[][..], |copies| &copies.known);
        let whole = known.iter().filter(|copy| copy.is_whole && copy.node != asker);
        whole.map(|copy| copy.node).take(max).collect()
    }

    fn forget_copy(&mut self, object: ObjectId, node: NodeId) {
        let Some(copies) = self.objects.get_mut(&object) else { return };
        let before = copies.known.len();
        copies.known.retain(|copy| copy.node != node);
        self.known -= before - copies.known.len();
        self.drop_if_empty(object);
    }

    /// An object is not here any more.
    pub fn forget(&mut self, object: ObjectId) {
        if let Some(copies) = self.objects.remove(&object) {
            self.by_use.remove(&copies.used);
            self.known -= copies.known.len();
        }
    }

    /// A node is dead.
    pub fn forget_node(&mut self, node: NodeId) {
        let objects: Vec<ObjectId> = self.objects.keys().copied().collect();
        for object in objects {
            if let Some(copies) = self.objects.get_mut(&object) {
                copies.serving.retain(|(_, asker)| *asker != node);
            }
            self.forget_copy(object, node);
            self.drop_if_empty(object);
        }
    }

    fn touch(&mut self, object: ObjectId) {
        self.number += 1;
        let copies = self.objects.entry(object).or_default();
        self.by_use.remove(&copies.used);
        copies.used = self.number;
        self.by_use.insert(self.number, object);
    }

    fn drop_if_empty(&mut self, object: ObjectId) {
        if self
            .objects
            .get(&object)
            .is_some_and(|copies| copies.serving.is_empty() && copies.known.is_empty())
        {
            self.forget(object);
        }
    }

    /// Says what is wrong with the books; none when nothing is.
    pub fn broken_invariant(&self, limits: &Limits, is_here: impl Fn(ObjectId) -> bool) -> Option<String> {
        let known: usize = self.objects.values().map(|copies| copies.known.len()).sum();
        if known != self.known || known > limits.copies_known_of_all_max {
            return Some(format!("{known} copies are known and the books say {}", self.known));
        }
        if self.by_use.len() != self.objects.len() {
            let (uses, objects) = (self.by_use.len(), self.objects.len());
            return Some(format!("{objects} objects were given to others and the order has {uses}"));
        }
        self.objects.iter().find_map(|(id, copies)| {
            let is_full = copies.known.len() > limits.copies_known_max;
            (is_full || !is_here(*id)).then(|| format!("{id} is not here, or has too many copies"))
        })
    }
}

impl Node {
    /// Another node asks for the bytes of an object; none: they are not here. Where the answer is that they
    /// are given, [`Self::served`] says that this has ended.
    pub fn serve(&mut self, object: ObjectId, asker: NodeId, way: Way) -> Option<Serve> {
        let (value, place) = self.bytes_of(object)?;
        let size = value.size;
        let Self { peers, limits, .. } = self;
        let spread = &mut peers.spread_bytes;
        if size < limits.spread_bytes_min || peers.dead.contains(&asker) {
            return Some(Serve::Here { place, size, transfer: Transfer { object, number: 0 } });
        }
        match way {
            Way::First => {
                if let Some(other) = spread.send_on(object, asker, self.id, limits) {
                    self.counters.nodes_sent_on += 1;
                    return Some(Serve::Ask(other));
                }
                if size >= limits.several_bytes_min {
                    let others = spread.whole(object, asker, limits.sources_max.saturating_sub(1));
                    if !others.is_empty() {
                        return Some(Serve::Several(size, others));
                    }
                }
            }
            Way::Back(from) => {
                spread.forget_copy(object, from);
                spread.touch(object);
                spread.know(object, asker, self.id, limits);
            }
            Way::SentOn | Way::Again | Way::Part => {}
        }
        Some(Serve::Here { place, size, transfer: spread.begin(object, asker) })
    }

    /// Another node was given so many bytes, and no more are under way. `is_whole`: to the object's end, so
    /// that it has all of them. No transfer: they were on their way here.
    pub fn served(&mut self, transfer: Option<Transfer>, bytes: u64, is_whole: bool) {
        self.counters.bytes_sent += bytes;
        if let Some(transfer) = transfer {
            self.peers.spread_bytes.end(transfer, is_whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u64 = 1_000_000;

    fn node(n: u64) -> NodeId {
        NodeId::from_bits(n, 0)
    }

    fn object(n: u64) -> ObjectId {
        ObjectId::from_bits(n, 7)
    }

    fn check(spread: &Spread, limits: &Limits) {
        assert_eq!(spread.broken_invariant(limits, |_| true), None);
    }

    /// A node asks for the first time; whom it was sent to.
    fn ask(spread: &mut Spread, asker: u64, limits: &Limits) -> Option<NodeId> {
        let to = spread.send_on(object(1), node(asker), node(HERE), limits);
        if to.is_none() {
            spread.begin(object(1), node(asker));
        }
        check(spread, limits);
        to
    }

    #[test]
    fn many_that_ask_at_once_become_a_tree_of_degree_two() {
        let (mut spread, limits) = (Spread::default(), Limits::default());
        let from: Vec<Option<NodeId>> = (1..=62).map(|n| ask(&mut spread, n, &limits)).collect();
        assert_eq!(from[..2], [None, None]);
        for (index, from) in from.iter().enumerate().skip(2) {
            assert_eq!(*from, Some(node(index as u64 / 2)), "in the order in which they asked");
        }
        let depth = std::iter::successors(Some(62), |n| (*n > 2).then(|| (n - 1) / 2)).count();
        assert_eq!(depth, 5);
    }

    #[test]
    fn whoever_has_ended_makes_room_here_and_stays_known() {
        let (mut spread, limits) = (Spread::default(), Limits::default());
        let first = spread.begin(object(1), node(1));
        assert_eq!(spread.send_on(object(1), node(2), node(HERE), &limits), None);
        let second = spread.begin(object(1), node(2));
        assert_eq!(ask(&mut spread, 3, &limits), Some(node(2)), "the other did not ask in this way");
        spread.end(second, true);
        spread.end(second, false);
        assert_eq!(ask(&mut spread, 4, &limits), None, "there is room again");
        assert_eq!(spread.whole(object(1), node(9), 3), [node(2)]);
        assert_eq!(spread.whole(object(1), node(2), 3), []);
        spread.end(first, false);
        spread.forget(object(1));
        assert_eq!((spread.len(), spread.objects.len(), spread.by_use.len()), (0, 0, 0));
        spread.end(first, true);
        check(&spread, &limits);
    }

    #[test]
    fn nobody_is_sent_to_one_that_waits_for_it() {
        let (mut spread, limits) = (Spread::default(), Limits::default());
        for n in 1..=6 {
            ask(&mut spread, n, &limits);
        }
        // 3 and 4 wait for 1, and 1 has lost what it had and asks anew, while 2 and 7 are served.
        spread.begin(object(1), node(7));
        assert_eq!(ask(&mut spread, 1, &limits), Some(node(5)), "not 3 or 4; 2 gives to 5 and 6");
        let below: Vec<u64> = (2..=6)
            .filter(|n| {
                let copies = &spread.objects[&object(1)];
                let index = copies.known.iter().position(|copy| copy.node == node(*n)).unwrap();
                copies.is_below(index, node(1))
            })
            .collect();
        assert_eq!(below, [3, 4]);
    }

    #[test]
    fn a_node_that_asks_again_takes_one_place() {
        let (mut spread, limits) = (Spread::default(), Limits::default());
        for _ in 0..5 {
            assert_eq!(ask(&mut spread, 1, &limits), None);
        }
        assert_eq!((spread.len(), spread.objects[&object(1)].serving.len()), (1, 1));
        assert_eq!(ask(&mut spread, 2, &limits), None);
        spread.forget_node(node(1));
        assert_eq!(spread.len(), 1);
        assert_eq!(ask(&mut spread, 3, &limits), None, "the dead one made room");
        spread.forget_node(node(2));
        spread.forget_node(node(3));
        assert!(spread.objects.is_empty());
    }

    #[test]
    fn what_is_known_is_bounded() {
        let limits = Limits { copies_known_max: 3, copies_known_of_all_max: 5, ..Limits::default() };
        let mut spread = Spread::default();
        let sent: Vec<_> = (1..=8).map(|n| ask(&mut spread, n, &limits)).collect();
        assert_eq!(spread.len(), 3);
        let to = |n: u64| sent.iter().filter(|to| **to == Some(node(n))).count();
        assert_eq!([to(1), to(2), to(3)], [2, 2, 2], "as many to each: {sent:?}");
        for n in 2..5 {
            spread.send_on(object(n), node(1), node(HERE), &limits);
            check(&spread, &limits);
        }
        assert_eq!(spread.len(), 3, "the object that was asked for longest ago is forgotten");
        assert!(!spread.objects.contains_key(&object(1)));
    }
}
