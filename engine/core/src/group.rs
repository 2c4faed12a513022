//! Placement groups: what is asked for, and what head and nodes tell each other of them.
//!
//! The head reserves a group in two phases. It has every node of it prepare its bundles; when all have,
//! it commits, else whatever was prepared is given back and the group is tried again. Each attempt has a
//! generation of its own, which every message of it carries. A line between head and node keeps order
//! but may break, with what was on it lost; once it is made anew the node says what it has
//! ([`GroupMessage::Report`]), and whatever is repeated does no harm.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::ids::{JobId, NodeId, PlacementGroupId};
use crate::node::Load;
use crate::options::LabelSelector;
use crate::resources::Resources;

/// How the bundles of a group are laid over nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupStrategy {
    /// On as few nodes as may be.
    #[default]
    Pack,
    /// On as many nodes as may be.
    Spread,
    /// All on one node, or not at all.
    StrictPack,
    /// Each on a node of its own, or not at all.
    StrictSpread,
}

impl GroupStrategy {
    /// The strategy as it is printed: `STRICT_PACK`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pack => "PACK",
            Self::Spread => "SPREAD",
            Self::StrictPack => "STRICT_PACK",
            Self::StrictSpread => "STRICT_SPREAD",
        }
    }
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// Its bundles are not reserved yet.
    Pending,
    /// All of its bundles are reserved.
    Created,
    /// It was created, and bundles that a dead or draining node had are being placed again.
    Rescheduling,
    /// It is gone.
    Removed,
}

impl GroupState {
    /// The state as it is printed: `PENDING`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Created => "CREATED",
            Self::Rescheduling => "RESCHEDULING",
            Self::Removed => "REMOVED",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Resources of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    /// What is reserved. When it has no memory, what runs in it takes its memory of the node.
    pub resources: Resources,
    /// Conditions on the node's labels.
    pub labels: Vec<LabelSelector>,
}

/// A group that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSpec {
    /// Its id.
    pub id: PlacementGroupId,
    /// The job that it ends with.
    pub job: JobId,
    /// The node that asks for it, and that it ends with.
    pub owner: NodeId,
    /// Unique in its namespace.
    pub name: Option<String>,
    /// Where its name is found.
    pub namespace: String,
    /// How its bundles are laid over nodes.
    pub strategy: GroupStrategy,
    /// Its bundles.
    pub bundles: Vec<Bundle>,
}

/// A bundle of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    /// The group.
    pub group: PlacementGroupId,
    /// Which of its bundles.
    pub index: u32,
}

/// What a node tells the head.
#[derive(Debug, Clone)]
pub enum GroupMessage {
    /// A guest asks for a group; the answer is [`GroupNotice::News`] or [`GroupNotice::Denied`].
    Create(Box<GroupSpec>),
    /// A group is to go; the answer is [`GroupNotice::News`].
    Remove(PlacementGroupId),
    /// The node wants to hear what becomes of a group, from now on.
    Watch(PlacementGroupId),
    /// The bundles of this attempt are prepared.
    Prepared(Answer),
    /// The node has no room for the bundles of this attempt.
    Refused(Answer),
    /// The line was made anew: the bundles that the node has.
    Report {
        /// Each with its generation, and whether it was committed.
        bundles: Vec<(BundleId, u64, bool)>,
        /// What the node has free.
        load: Load,
    },
}

/// A node's answer to [`GroupNotice::Prepare`].
#[derive(Debug, Clone)]
pub struct Answer {
    /// The group.
    pub group: PlacementGroupId,
    /// The attempt.
    pub generation: u64,
    /// What the node has free now.
    pub load: Load,
}

/// What the head tells a node.
#[derive(Debug, Clone)]
pub enum GroupNotice {
    /// Reserve these bundles, all of them or none.
    Prepare {
        /// The group.
        group: PlacementGroupId,
        /// The attempt.
        generation: u64,
        /// Which bundles, and what each is.
        bundles: Vec<(u32, Resources)>,
    },
    /// The bundles of this attempt may be used.
    Commit {
        /// The group.
        group: PlacementGroupId,
        /// The attempt.
        generation: u64,
    },
    /// The bundles of this attempt are not wanted: they are given back.
    Return {
        /// The group.
        group: PlacementGroupId,
        /// The attempt.
        generation: u64,
    },
    /// The node drains, and the bundles of this attempt are placed elsewhere: nothing new begins in them, and
    /// they are given back when nothing is in them.
    Vacate {
        /// The group.
        group: PlacementGroupId,
        /// The attempt.
        generation: u64,
    },
    /// A group was not accepted, and why.
    Denied(PlacementGroupId, Error),
    /// Where a group stands. One that is removed gives back what it has on the node.
    News(Arc<GroupNews>),
}

/// Where a group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupNews {
    /// The group.
    pub group: PlacementGroupId,
    /// The node that asked for it; none when the group is not known any more.
    pub owner: Option<NodeId>,
    /// Counts what was said of it: what is older than what was heard has no effect.
    pub version: u64,
    /// Where it stands.
    pub state: GroupState,
    /// Its bundles: what each is, and the node that has it. Empty when it is removed.
    pub bundles: Vec<(Resources, Option<NodeId>)>,
    /// For people: what it waits for, or why it is gone.
    pub why: Arc<str>,
}
