//! How the bytes of a large object travel from nodes that have them to one that needs them: what the one
//! says when it asks, and whom it asks next. What the others answer is decided in
//! [`Node::serve`](crate::node::Node::serve).

use std::collections::VecDeque;
use std::ops::Range;

use crate::error::{Error, ErrorCode};
use crate::ids::NodeId;

/// Bytes that one of several sources is asked for at a time.
pub const RANGE_BYTES: u64 = 8 << 20;

/// How it comes that a node is asked for the bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The owner has named it as the holder: it may send the asker on.
    First,
    /// The holder has sent the asker here, where they are or are about to come. Nobody is sent on twice.
    SentOn,
    /// The holder has sent the asker to this node, which did not give them: it gives them itself.
    Back(NodeId),
    /// A transfer from it broke and goes on.
    Again,
    /// Only a part is wanted.
    Part,
}

impl Way {
    /// Whether bytes that are still on their way to the node that is asked will do. The holder that an owner
    /// has named has to have them: two that wait for one another would get nothing.
    pub fn takes_what_is_coming(self) -> bool {
        matches!(self, Self::SentOn | Self::Again)
    }
}

/// Whom a node asks for the bytes of one object, one after another: the holder, the node that this sends it
/// on to, and the holder again.
#[derive(Debug)]
pub struct Route {
    holder: NodeId,
    next: (NodeId, Way),
}

impl Route {
    /// To the bytes that this node has.
    pub fn new(holder: NodeId) -> Self {
        Self { holder, next: (holder, Way::First) }
    }

    /// Who is to be asked now.
    pub fn next(&self) -> (NodeId, Way) {
        self.next
    }

    /// Whoever was asked sends the asker on. False when nobody else is to be asked.
    #[must_use]
    pub fn sent_on(&mut self, to: NodeId) -> bool {
        match self.next {
            (_, Way::First) if to != self.holder => self.next = (to, Way::SentOn),
            (_, Way::First) => self.next = (to, Way::Back(to)),
            (from, Way::SentOn) => self.next = (self.holder, Way::Back(from)),
            _ => return false,
        }
        true
    }

    /// Whoever was asked did not give them. False when nobody else is to be asked.
    #[must_use]
    pub fn failed(&mut self, error: &Error) -> bool {
        match self.next {
            (from, Way::SentOn) if error.code() != ErrorCode::StoreFull => {
                self.next = (self.holder, Way::Back(from));
                true
            }
            _ => false,
        }
    }
}

/// What several sources are asked for: each for one range after another. What one does not give another is
/// asked for.
#[derive(Debug)]
pub struct Parts {
    waiting: VecDeque<Range<u64>>,
    /// Sources that were given a range and have not answered.
    busy: usize,
    /// Sources that may be asked.
    sources: usize,
}

/// What a source is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Give these bytes.
    Take(Range<u64>),
    /// Nothing, until another has answered.
    Wait,
    /// Nothing any more.
    Over,
}

impl Parts {
    /// Of an object of `size` bytes that so many nodes have.
    pub fn new(size: u64, sources: usize) -> Self {
        let starts = (0..size).step_by(RANGE_BYTES as usize);
        let waiting = starts.map(|start| start..(start + RANGE_BYTES).min(size)).collect();
        Self { waiting, busy: 0, sources }
    }

    /// What a source that is idle does.
    pub fn turn(&mut self) -> Turn {
        match self.waiting.pop_front() {
            Some(range) => {
                self.busy += 1;
                Turn::Take(range)
            }
            None if self.busy > 0 => Turn::Wait,
            None => Turn::Over,
        }
    }

    /// A source has given its range.
    pub fn given(&mut self) {
        self.busy -= 1;
    }

    /// A source has not given this rest of its range, and is not asked any more.
    pub fn broke(&mut self, rest: Range<u64>) {
        self.busy -= 1;
        self.sources -= 1;
        if !rest.is_empty() {
            // First of all: whoever reads along waits for it.
            self.waiting.push_front(rest);
        }
    }

    /// Whether all of it was given. When not, and nobody is busy, no source is left.
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty() && self.busy == 0
    }

    /// Sources that may be asked.
    pub fn sources(&self) -> usize {
        self.sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u64) -> NodeId {
        NodeId::from_bits(n, 0)
    }

    fn lost() -> Error {
        Error::new(ErrorCode::ObjectLost, "it is away")
    }

    #[test]
    fn whoever_is_sent_on_in_vain_comes_back_once() {
        let mut route = Route::new(node(1));
        assert_eq!(route.next(), (node(1), Way::First));
        assert!(route.sent_on(node(2)));
        assert_eq!(route.next(), (node(2), Way::SentOn));
        assert!(route.failed(&lost()));
        assert_eq!(route.next(), (node(1), Way::Back(node(2))));
        assert!(!route.sent_on(node(3)), "it is served, or it is lost");
        assert!(!route.failed(&lost()));
    }

    #[test]
    fn nobody_is_sent_on_twice_or_in_a_circle() {
        let mut route = Route::new(node(1));
        assert!(route.sent_on(node(2)) && route.sent_on(node(3)));
        assert_eq!(route.next(), (node(1), Way::Back(node(2))));
        let mut route = Route::new(node(1));
        assert!(route.sent_on(node(1)));
        assert_eq!(route.next(), (node(1), Way::Back(node(1))));
        assert!(!route.sent_on(node(1)));
    }

    #[test]
    fn no_room_here_is_nobodys_fault() {
        let mut route = Route::new(node(1));
        assert!(route.sent_on(node(2)));
        assert!(!route.failed(&Error::new(ErrorCode::StoreFull, "full")));
    }

    #[test]
    fn a_range_that_one_source_does_not_give_another_is_asked_for() {
        let size = 2 * RANGE_BYTES + 5;
        let mut parts = Parts::new(size, 2);
        assert_eq!(parts.turn(), Turn::Take(0..RANGE_BYTES));
        assert_eq!(parts.turn(), Turn::Take(RANGE_BYTES..2 * RANGE_BYTES));
        parts.broke(100..RANGE_BYTES);
        assert_eq!(parts.sources(), 1);
        parts.given();
        assert_eq!(parts.turn(), Turn::Take(100..RANGE_BYTES));
        parts.given();
        assert_eq!(parts.turn(), Turn::Take(2 * RANGE_BYTES..size));
        assert_eq!(parts.turn(), Turn::Wait);
        assert!(!parts.is_complete());
        parts.given();
        assert_eq!((parts.turn(), parts.is_complete()), (Turn::Over, true));
        let mut parts = Parts::new(10, 1);
        assert_eq!(parts.turn(), Turn::Take(0..10));
        parts.broke(3..10);
        assert_eq!((parts.is_complete(), parts.sources()), (false, 0));
        assert!(Parts::new(0, 1).is_complete());
    }
}
