//! What the head remembers: its durable state as records, and which of them have changed.
//!
//! A change and what follows from it come out of the state machine together: [`Effect`](super::Effect)s
//! and answers may leave only once the changes made so far are committed, so that nobody is told what a
//! head that comes back does not know (contract H2). What the nodes have free and who is heard of are no
//! changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::group::{GroupSpec, GroupState};
use crate::head::{Drain, Head, JobRecord};
use crate::ids::{ActorId, JobId, NodeId, PlacementGroupId};
use crate::node::NodeInfo;
use crate::tenant::{TenantName, TenantSpec};
use crate::time::Time;
use crate::usage::{Usage, UsageRecord};

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A job.
    Job(JobId),
    /// An actor's namespace and name.
    Name(String, String),
    /// A node, alive or dead.
    Node(NodeId),
    /// A placement group.
    Group(PlacementGroupId),
    /// A tenant.
    Tenant(TenantName),
    /// What a tenant has consumed in the period that begins then.
    Usage(TenantName, Time),
    /// What nodes have told of what a tenant consumes.
    Meter(TenantName),
}

/// What is remembered of one thing.
#[derive(Debug, Clone)]
pub enum Record {
    /// A job; the value that its root gave back is not part of it.
    Job(Box<JobRecord>),
    /// An actor's name.
    Name(NameRecord),
    /// A node that is a member.
    Node(MemberRecord),
    /// A node that is dead: it stays so.
    Dead(DeadRecord),
    /// A placement group.
    Group(GroupRecord),
    /// A tenant.
    Tenant(TenantSpec),
    /// What a tenant has consumed in one period.
    Usage(UsageRecord),
    /// What of what nodes have told is in the records of usage.
    Meter(MeterRecord),
}

impl Record {
    /// What it is about.
    pub fn key(&self) -> Key {
        match self {
            Self::Job(job) => Key::Job(job.id),
            Self::Name(name) => Key::Name(name.namespace.clone(), name.name.clone()),
            Self::Node(member) => Key::Node(member.info.id),
            Self::Dead(dead) => Key::Node(dead.node),
            Self::Group(group) => Key::Group(group.spec.id),
            Self::Tenant(tenant) => Key::Tenant(tenant.name.clone()),
            Self::Usage(usage) => Key::Usage(usage.tenant.clone(), usage.start),
            Self::Meter(meter) => Key::Meter(meter.tenant.clone()),
        }
    }
}

/// An actor's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRecord {
    /// Where it is found.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Who has it.
    pub actor: ActorId,
    /// Where that lives.
    pub node: NodeId,
}

/// A node that is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// What it has told of itself.
    pub info: NodeInfo,
    /// How it drains, if it does.
    pub drain: Option<Drain>,
}

/// A node that was declared dead, or has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadRecord {
    /// The node.
    pub node: NodeId,
    /// Counts deaths: the oldest is forgotten first.
    pub order: u64,
    /// It was drained and let go.
    pub has_left: bool,
}

/// A placement group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// What was asked for.
    pub spec: Arc<GroupSpec>,
    /// Where it stands.
    pub state: GroupState,
    /// By bundle: the node that has it or is asked to, and the attempt that put it there.
    pub places: Vec<Option<(NodeId, u64)>>,
    /// The last attempt.
    pub generation: u64,
    /// Whether that attempt is under way.
    pub is_tried: bool,
    /// Counts groups, in the order in which they came.
    pub arrival: u64,
    /// When it was asked for.
    pub created: Time,
    /// Counts what was said of it.
    pub version: u64,
    /// Counts removals, when it is removed: the oldest is forgotten first.
    pub removal: u64,
    /// What it waits for, or why it is gone.
    pub why: Arc<str>,
}

/// What nodes that are members have told of what a tenant consumes, as far as it is in the records of usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterRecord {
    /// Whose.
    pub tenant: TenantName,
    /// By node: the how manieth tenant it was there ([`UsageReport`](crate::usage::UsageReport)), and the sums.
    pub nodes: Vec<(NodeId, u64, Usage)>,
}

/// A change of what is remembered.
#[derive(Debug, Clone)]
pub enum Change {
    /// This is so from now on.
    Put(Record),
    /// There is no such thing any more.
    Delete(Key),
}

/// The keys of one table whose records have changed; nothing when nobody keeps them.
#[derive(Debug)]
pub(super) struct Changed<K> {
    is_kept: bool,
    keys: BTreeSet<K>,
}

impl<K> Default for Changed<K> {
    fn default() -> Self {
        Self { is_kept: false, keys: BTreeSet::new() }
    }
}

impl<K: Ord> Changed<K> {
    pub fn kept() -> Self {
        Self { is_kept: true, keys: BTreeSet::new() }
    }

    pub fn note(&mut self, key: K) {
        if self.is_kept {
            self.keys.insert(key);
        }
    }

    pub fn take(&mut self) -> BTreeSet<K> {
        std::mem::take(&mut self.keys)
    }
}

impl Head {
    /// How many records have changed since the changes were last taken. Always none of a head that was
    /// not made by [`Head::restore`].
    pub fn changes_waiting(&self) -> usize {
        self.jobs_changed.keys.len()
            + self.names_changed.keys.len()
            + self.nodes.changed.keys.len()
            + self.groups.changed.keys.len()
            + self.ledger.changed.keys.len()
            + self.usage.meters_changed.keys.len()
            + self.usage.records_changed.keys.len()
    }

    /// What has changed since this was last called, each record once: as it is now.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.changes_waiting());
        let mut note = |key: Key, record: Option<Record>| {
            changes.push(record.map_or(Change::Delete(key), Change::Put));
        };
        for id in self.nodes.changed.take() {
            note(Key::Node(id), self.nodes.record(id));
        }
        for id in self.jobs_changed.take() {
            note(Key::Job(id), self.job_record(id));
        }
        for (namespace, name) in self.names_changed.take() {
            let record = self.name_record(&namespace, &name);
            note(Key::Name(namespace, name), record);
        }
        for id in self.groups.changed.take() {
            note(Key::Group(id), self.groups.record(id));
        }
        for name in self.ledger.changed.take() {
            let record = self.ledger.record(&name);
            note(Key::Tenant(name), record);
        }
        self.usage.take_changes(note);
        changes
    }
}
