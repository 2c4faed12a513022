//! Bugs that a test can switch on, to see that the simulation finds them. Without tests there are none.

use crate::node::Node;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// A release that comes twice is counted twice.
    ReleaseTwice,
    /// A node that was declared dead is listened to.
    FencedFinish,
    /// After a reconnection messages are numbered from the beginning, those of an actor's calls too.
    SequenceReset,
    /// What a task that is cancelled while it fetches its arguments has pinned stays pinned.
    PinsLeft,
    /// A bundle is committed after its group was removed.
    CommitAfterRemoval,
}

impl Node {
    #[cfg(test)]
    pub(super) fn has_planted(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    #[cfg(not(test))]
    #[inline(always)]
    pub(super) fn has_planted(&self, _bug: Planted) -> bool {
        false
    }
}
