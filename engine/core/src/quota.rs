//! What tenants may have at once in the cluster as a whole, and how nodes are lent parts of it.
//!
//! A *quota* is an amount that a tenant may have at once, over all nodes. The head keeps the account
//! ([`crate::head`], `ledger`) and lends each node a part, its *lease*, within which the node decides alone:
//! nothing on a task's path waits for the head while the lease lasts. The parts that are lent never make
//! more than the quota, and a node that is to give something back is taken at its word only once it has: so
//! what waits (CPUs, memory, sandboxes) is never used beyond the quota. What is refused instead of waiting
//! (tasks, actors, bytes of objects) may be used beyond it by [`QuotaKind::overdraft_max`] for each node, until the head has
//! answered. Results of tasks that run are kept whatever a quota says: what has been computed is not thrown away.

use std::fmt;
use std::ops::{Index, IndexMut};

use crate::resources::{Quantity, Resources, bytes};
use crate::tenant::{TenantName, TenantSpec};
use crate::usage::UsageReport;

/// A kind of thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaKind {
    /// CPUs that its sandboxes hold, in ten-thousandths. What is over waits.
    Cpus,
    /// Bytes of guest memory that its sandboxes have reserved. What is over waits.
    MemoryBytes,
    /// Sandboxes: of tasks that run, of actors, and warm ones. What is over waits.
    Sandboxes,
    /// Tasks and actor calls that have not ended. What is over is refused.
    QueuedTasks,
    /// Actors that are not dead. What is over is refused.
    Actors,
    /// Bytes of its objects, in memory or on disk, each counted once; small ones too. What is over is
    /// refused: of puts and yields those that do not fit, and of spawns all once there is none left. What
    /// tasks return is kept.
    ObjectBytes,
}

impl QuotaKind {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Cpus, Self::MemoryBytes, Self::Sandboxes, Self::QueuedTasks, Self::Actors, Self::ObjectBytes];

    /// What is refused instead of waiting: lent ahead of what is used, each by itself.
    pub const REFUSED: [Self; 3] = [Self::QueuedTasks, Self::Actors, Self::ObjectBytes];

    /// What a sandbox needs of: lent together, as part of them is of no use.
    pub const OF_A_START: [Self; 3] = [Self::Cpus, Self::MemoryBytes, Self::Sandboxes];

    /// The name of the limit, with its unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpus => "cpus_max",
            Self::MemoryBytes => "memory_bytes_max",
            Self::Sandboxes => "sandboxes_max",
            Self::QueuedTasks => "queued_tasks_max",
            Self::Actors => "actors_max",
            Self::ObjectBytes => "object_bytes_max",
        }
    }

    /// What is counted, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::Cpus => "CPUs",
            Self::MemoryBytes => "guest memory",
            Self::Sandboxes => "sandboxes",
            Self::QueuedTasks => "unfinished tasks and calls",
            Self::Actors => "actors",
            Self::ObjectBytes => "objects",
        }
    }

    /// An amount of it, for people.
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Cpus => Quantity(amount).to_string(),
            Self::MemoryBytes | Self::ObjectBytes => bytes(amount),
            _ => amount.to_string(),
        }
    }

    /// An amount of it with what is counted: "4 CPUs", "97.7 KiB of objects".
    pub fn described(self, amount: u64) -> String {
        let of = if matches!(self, Self::MemoryBytes | Self::ObjectBytes) { "of " } else { "" };
        format!("{} {of}{}", self.amount(amount), self.what())
    }

    /// How much of it a node that uses little wants ahead, of what is refused.
    pub fn ahead_min(self) -> u64 {
        match self {
            Self::ObjectBytes => 64 << 20,
            _ => 1,
        }
    }

    /// By how much one node may exceed its lease while the head has not answered.
    pub fn overdraft_max(self) -> u64 {
        match self {
            Self::QueuedTasks => 1_000,
            Self::Actors => 100,
            Self::ObjectBytes => 1 << 30,
            Self::Cpus | Self::MemoryBytes | Self::Sandboxes => 0,
        }
    }
}

/// An amount of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts([u64; QuotaKind::COUNT]);

impl Index<QuotaKind> for Amounts {
    type Output = u64;

    fn index(&self, kind: QuotaKind) -> &u64 {
        &self.0[kind as usize]
    }
}

impl IndexMut<QuotaKind> for Amounts {
    fn index_mut(&mut self, kind: QuotaKind) -> &mut u64 {
        &mut self.0[kind as usize]
    }
}

impl Amounts {
    /// What one sandbox that holds so much takes.
    pub fn of_sandbox(needs: &Resources) -> Self {
        let mut amounts = Self::of_resources(needs);
        amounts[QuotaKind::Sandboxes] = 1;
        amounts
    }

    /// What resources count as.
    pub fn of_resources(resources: &Resources) -> Self {
        let mut amounts = Self::default();
        amounts[QuotaKind::Cpus] = resources.cpus.0;
        amounts[QuotaKind::MemoryBytes] = resources.memory;
        amounts
    }

    /// Adds, up to the largest amount there is.
    pub fn add(&mut self, more: &Self) {
        for kind in QuotaKind::ALL {
            self[kind] = self[kind].saturating_add(more[kind]);
        }
    }

    /// Raises each to what `other` has of it, where that is more.
    pub fn raise_to(&mut self, other: &Self) {
        for kind in QuotaKind::ALL {
            self[kind] = self[kind].max(other[kind]);
        }
    }

    /// Whether it is nothing of these kinds.
    pub fn is_nothing(&self, kinds: &[QuotaKind]) -> bool {
        kinds.iter().all(|kind| self[*kind] == 0)
    }
}

/// What a tenant may have at once; of what is none there is no bound but the cluster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas([Option<u64>; QuotaKind::COUNT]);

impl Index<QuotaKind> for Quotas {
    type Output = Option<u64>;

    fn index(&self, kind: QuotaKind) -> &Option<u64> {
        &self.0[kind as usize]
    }
}

impl IndexMut<QuotaKind> for Quotas {
    fn index_mut(&mut self, kind: QuotaKind) -> &mut Option<u64> {
        &mut self.0[kind as usize]
    }
}

impl Quotas {
    /// Whether nothing is bounded.
    pub fn is_none(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// What a node says of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseReport {
    /// Whose.
    pub tenant: TenantName,
    /// Counts what the node has said of it on this line.
    pub number: u64,
    /// Of the news that it has heard last.
    pub version: u64,
    /// What it uses at most until it hears more: its lease, or what it uses where that is more.
    pub keeps: Amounts,
    /// What it uses.
    pub used: Amounts,
    /// What it wants beyond `keeps`.
    pub wants: Amounts,
    /// What its sandboxes have used of the processors since the node began, in nanoseconds.
    pub cpu_time_ns: u64,
    /// Tasks and calls that have ended on the node since it began.
    pub tasks_ended: u64,
}

/// What a node says of its leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerReport {
    /// Whether this is all there is: the first on each line.
    pub is_whole: bool,
    /// Each of them.
    pub leases: Vec<LeaseReport>,
    /// What tenants have consumed, of whom there is news.
    pub usage: Vec<UsageReport>,
}

/// What the head says of a tenant to a node, which answers with a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantNews {
    /// What it may have.
    pub spec: TenantSpec,
    /// Counts what the head has said of it to this node.
    pub version: u64,
    /// What the node may use, of the kinds that have a quota.
    pub granted: Amounts,
    /// The number of the report that was heard last.
    pub heard: u64,
    /// Whether others wait for some of it: what is not used is told soon.
    pub is_wanted: bool,
}

impl fmt::Display for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = QuotaKind::ALL.into_iter().filter_map(|kind| Some((kind, self[kind]?)));
        let text: Vec<String> =
            limits.map(|(kind, max)| format!("{}={}", kind.name(), kind.amount(max))).collect();
        f.write_str(if text.is_empty() { "none" } else { "" })?;
        f.write_str(&text.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_printed_with_their_units() {
        let mut quotas = Quotas::default();
        assert_eq!((quotas.to_string(), quotas.is_none()), ("none".to_owned(), true));
        quotas[QuotaKind::Cpus] = Some(15_000);
        quotas[QuotaKind::MemoryBytes] = Some(1 << 30);
        assert_eq!(quotas.to_string(), "cpus_max=1.5 memory_bytes_max=1 GiB");
        assert!(!quotas.is_none());
    }

    #[test]
    fn amounts_are_described_as_people_say_them() {
        assert_eq!(QuotaKind::Cpus.described(40_000), "4 CPUs");
        assert_eq!(QuotaKind::MemoryBytes.described(1 << 30), "1 GiB of guest memory");
        assert_eq!(QuotaKind::ObjectBytes.described(100_000), "97.7 KiB of objects");
        assert_eq!(QuotaKind::QueuedTasks.described(10), "10 unfinished tasks and calls");
    }
}
