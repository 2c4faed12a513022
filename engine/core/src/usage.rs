//! What tenants consume over time: kept by the head in records of one period each, for history and billing.
//!
//! Each node adds up what it sees ([`crate::node`], `metering`) and tells the head its sums since it began
//! ([`UsageReport`]). Sums only grow, and the head adds what a node says beyond what it had said before
//! ([`crate::head`], `usage`): so nothing is counted twice, however often it is told, and nothing is lost when
//! a report is.

use std::ops::{Index, IndexMut};

use crate::tenant::TenantName;
use crate::time::Time;

/// What is consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageKind {
    /// CPUs that its sandboxes held, times nanoseconds.
    CpuHeldNs,
    /// What its sandboxes used of the processors, in nanoseconds. Told when a call ends.
    CpuUsedNs,
    /// Guest memory that its sandboxes had reserved, in mebibytes, times milliseconds.
    MemoryMibMs,
    /// Bytes of its objects, as quotas count them, in mebibytes, times milliseconds.
    ObjectMibMs,
    /// Tasks and calls that ended well.
    TasksFinished,
    /// Tasks and calls that failed or were cancelled.
    TasksFailed,
    /// What was refused for a quota or a rate of its tenant: jobs, spawns, actors, puts, yields.
    Refused,
    /// Bytes that its guests have written to their logs, and that were kept or passed on.
    LogBytes,
}

impl UsageKind {
    /// How many there are.
    pub const COUNT: usize = 8;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::CpuHeldNs,
        Self::CpuUsedNs,
        Self::MemoryMibMs,
        Self::ObjectMibMs,
        Self::TasksFinished,
        Self::TasksFailed,
        Self::Refused,
        Self::LogBytes,
    ];

    /// Its name in exports, with the unit of [`UsageKind::exported`].
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuHeldNs => "cpu_held_seconds",
            Self::CpuUsedNs => "cpu_used_seconds",
            Self::MemoryMibMs => "memory_byte_seconds",
            Self::ObjectMibMs => "object_byte_seconds",
            Self::TasksFinished => "tasks_finished",
            Self::TasksFailed => "tasks_failed",
            Self::Refused => "refused",
            Self::LogBytes => "log_bytes",
        }
    }

    /// An amount in the unit of [`UsageKind::name`].
    pub fn exported(self, amount: u64) -> Exported {
        match self {
            Self::CpuHeldNs | Self::CpuUsedNs => Exported::Seconds(amount as f64 / 1e9),
            Self::MemoryMibMs | Self::ObjectMibMs => Exported::Whole(u128::from(amount) * (1 << 20) / 1_000),
            _ => Exported::Whole(u128::from(amount)),
        }
    }
}

/// An amount as it is exported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exported {
    /// Seconds.
    Seconds(f64),
    /// A count of whatever the name says.
    Whole(u128),
}

/// An amount of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage([u64; UsageKind::COUNT]);

impl Index<UsageKind> for Usage {
    type Output = u64;

    fn index(&self, kind: UsageKind) -> &u64 {
        &self.0[kind as usize]
    }
}

impl IndexMut<UsageKind> for Usage {
    fn index_mut(&mut self, kind: UsageKind) -> &mut u64 {
        &mut self.0[kind as usize]
    }
}

impl Usage {
    /// Adds, up to the largest amount there is.
    pub fn add(&mut self, more: &Self) {
        for kind in UsageKind::ALL {
            self[kind] = self[kind].saturating_add(more[kind]);
        }
    }

    /// What sums have grown by since they were `before`.
    pub fn since(&self, before: &Self) -> Self {
        let mut grown = Self::default();
        for kind in UsageKind::ALL {
            grown[kind] = self[kind].saturating_sub(before[kind]);
        }
        grown
    }

    /// Raises each to what `other` has of it, where that is more.
    pub fn raise_to(&mut self, other: &Self) {
        for kind in UsageKind::ALL {
            self[kind] = self[kind].max(other[kind]);
        }
    }

    /// Whether nothing was consumed.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What a node has seen a tenant consume, all since it met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    /// Whose.
    pub tenant: TenantName,
    /// The how manieth tenant it is that the node has met: a node that has forgotten one begins anew with it.
    pub met: u64,
    /// The sums.
    pub sums: Usage,
}

/// What a tenant has consumed in one period, on all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    /// Whose.
    pub tenant: TenantName,
    /// When the period begins.
    pub start: Time,
    /// How long it is, in nanoseconds.
    pub length_ns: u64,
    /// What was consumed, as far as nodes have told while it lasted.
    pub used: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_grow_and_never_wrap() {
        let mut sums = Usage::default();
        assert!(sums.is_nothing());
        sums[UsageKind::Refused] = 3;
        let before = sums;
        sums.add(&before);
        assert_eq!(sums.since(&before), before);
        assert!(before.since(&sums).is_nothing());
        sums[UsageKind::LogBytes] = u64::MAX;
        let all = sums;
        sums.add(&all);
        assert_eq!((sums[UsageKind::LogBytes], sums[UsageKind::Refused]), (u64::MAX, 12));
    }

    #[test]
    fn amounts_are_exported_in_the_units_of_their_names() {
        assert_eq!(UsageKind::CpuHeldNs.exported(1_500_000_000), Exported::Seconds(1.5));
        // A gibibyte for two seconds.
        assert_eq!(UsageKind::MemoryMibMs.exported(1_024 * 2_000), Exported::Whole(2 << 30));
        assert_eq!(UsageKind::TasksFailed.exported(7), Exported::Whole(7));
        assert!(
            matches!(UsageKind::ObjectMibMs.exported(u64::MAX), Exported::Whole(bytes) if bytes > 1 << 70)
        );
    }
}
