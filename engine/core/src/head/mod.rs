//! The state machine of the head: which jobs there are and how they ended, which actor has which name,
//! which nodes live, and where placement groups are.

mod drain;
mod groups;
mod jobs;
mod names;
mod nodes;
mod record;
mod restore;
#[cfg(test)]
mod tests;

pub use drain::Drain;
pub use groups::{GroupLimits, GroupView};
pub use jobs::{JobRecord, JobState, Submission, Submitted};
pub use names::Claim;
pub use nodes::{Effect, NodeStanding, Notice, Watch};
pub use record::{Change, DeadRecord, GroupRecord, Key, MemberRecord, NameRecord, Record};

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{ActorId, IdGenerator, IdMap, JobId, NodeId};

/// What the head's tables are bounded by.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Jobs that have not ended.
    pub jobs_max: usize,
    /// Jobs that have ended and can still be looked at; the oldest is forgotten first.
    pub ended_jobs_max: usize,
    /// Names of actors.
    pub names_max: usize,
    /// Bytes of a name, a namespace or a submission id.
    pub name_bytes_max: usize,
    /// How nodes are watched.
    pub watch: Watch,
    /// What bounds placement groups.
    pub groups: GroupLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs_max: 10_000,
            ended_jobs_max: 1_000,
            names_max: 1_000_000,
            name_bytes_max: 512,
            watch: Watch::default(),
            groups: GroupLimits::default(),
        }
    }
}

/// The state machine of the head.
pub struct Head {
    limits: Limits,
    ids: IdGenerator,
    jobs: IdMap<JobId, JobRecord>,
    by_submission: BTreeMap<String, JobId>,
    /// Jobs that have ended, in the order in which they did.
    ended: VecDeque<JobId>,
    names: BTreeMap<(String, String), (ActorId, NodeId)>,
    named: IdMap<ActorId, (String, String)>,
    nodes: nodes::Nodes,
    groups: groups::Groups,
    jobs_changed: record::Changed<JobId>,
    names_changed: record::Changed<(String, String)>,
}

impl Head {
    /// A head with nothing in it, that nobody remembers. `id_key`: fresh random bits, so that ids cannot be guessed.
    pub fn new(id_key: [u8; 16], limits: Limits) -> Self {
        Self {
            limits,
            ids: IdGenerator::new(id_key),
            jobs: IdMap::default(),
            by_submission: BTreeMap::new(),
            ended: VecDeque::new(),
            names: BTreeMap::new(),
            named: IdMap::default(),
            nodes: nodes::Nodes::default(),
            groups: groups::Groups::default(),
            jobs_changed: record::Changed::default(),
            names_changed: record::Changed::default(),
        }
    }
}
