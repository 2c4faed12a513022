//! The state machine of the head: which jobs there are and how they ended, which actor has which name,
//! which nodes live, and where placement groups are.

mod alerts;
mod deadlines;
mod drain;
mod events;
mod groups;
mod jobs;
mod ledger;
mod names;
mod news;
mod nodes;
mod record;
mod restore;
mod runs;
mod standstill;
mod submits;
#[cfg(test)]
mod tests;
mod usage;

pub use drain::Drain;
pub use groups::{GroupLimits, GroupView};
pub use jobs::{JobRecord, JobState, LostRun, Submission, Submitted, unknown_job, unknown_submission};
pub use ledger::TenantView;
pub use names::Claim;
pub use nodes::{Effect, NodeStanding, Notice, Watch};
pub use record::{Change, DeadRecord, GroupRecord, Key, MemberRecord, MeterRecord, NameRecord, Record};
pub use usage::{UsageLimits, UsageQuery};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::events::Events;
use crate::ids::{ActorId, IdGenerator, IdMap, JobId, NodeId};
use crate::tenant::TenantName;

/// What the head's tables are bounded by.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Jobs that have not ended.
    pub jobs_max: usize,
    /// Jobs that have ended and can still be looked at; the oldest is forgotten first.
    pub ended_jobs_max: usize,
    /// How often one job may be run again when the node of its root task dies, in runs.
    pub job_retries_max: u32,
    /// Names of actors.
    pub names_max: usize,
    /// Tenants.
    pub tenants_max: usize,
    /// Bytes of a name, a namespace or a submission id.
    pub name_bytes_max: usize,
    /// Events that are kept; the oldest is forgotten first.
    pub events_max: usize,
    /// How nodes are watched.
    pub watch: Watch,
    /// What bounds placement groups.
    pub groups: GroupLimits,
    /// What is kept of what tenants consume.
    pub usage: UsageLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs_max: 10_000,
            ended_jobs_max: 1_000,
            job_retries_max: 100,
            names_max: 1_000_000,
            tenants_max: 1_000,
            name_bytes_max: crate::options::NAME_BYTES_MAX,
            events_max: 10_000,
            watch: Watch::default(),
            groups: GroupLimits::default(),
            usage: UsageLimits::default(),
        }
    }
}

/// The state machine of the head.
pub struct Head {
    limits: Limits,
    ids: IdGenerator,
    jobs: IdMap<JobId, JobRecord>,
    by_submission: BTreeMap<(TenantName, String), JobId>,
    /// Jobs that have ended, in the order in which they did.
    ended: VecDeque<JobId>,
    /// Jobs of which a run was lost and the next was not started, and the nodes that have yet to say that
    /// nothing of it is left there.
    between_runs: BTreeMap<JobId, BTreeSet<NodeId>>,
    names: BTreeMap<(String, String), (ActorId, NodeId)>,
    named: IdMap<ActorId, (String, String)>,
    nodes: nodes::Nodes,
    groups: groups::Groups,
    standstills: standstill::Standstills,
    ledger: ledger::Ledger,
    usage: usage::UsageBooks,
    events: Events,
    jobs_changed: record::Changed<JobId>,
    names_changed: record::Changed<(String, String)>,
}

impl Head {
    /// A head with nothing in it, that nobody remembers. `id_key`: fresh random bits, so that ids cannot be guessed.
    pub fn new(id_key: [u8; 16], limits: Limits) -> Self {
        Self {
            events: Events::new(id_key, limits.events_max),
            usage: usage::UsageBooks::new(limits.usage.clone()),
            limits,
            ids: IdGenerator::new(id_key),
            jobs: IdMap::default(),
            by_submission: BTreeMap::new(),
            ended: VecDeque::new(),
            between_runs: BTreeMap::new(),
            names: BTreeMap::new(),
            named: IdMap::default(),
            nodes: nodes::Nodes::default(),
            groups: groups::Groups::default(),
            standstills: standstill::Standstills::default(),
            ledger: ledger::Ledger::default(),
            jobs_changed: record::Changed::default(),
            names_changed: record::Changed::default(),
        }
    }
}
