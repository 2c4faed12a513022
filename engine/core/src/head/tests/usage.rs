//! What tenants have consumed: counted once, kept, and bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::head::{Change, Head, Key, Limits, Record, UsageLimits, UsageQuery};
use crate::ids::{IdGenerator, NodeId};
use crate::node::tests::simulate::Random;
use crate::node::{Load, NodeInfo};
use crate::quota::LedgerReport;
use crate::resources::Resources;
use crate::tenant::TenantName;
use crate::time::Time;
use crate::usage::{Usage, UsageKind, UsageRecord, UsageReport};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    let usage = UsageLimits { usage_records_max: 100, ..UsageLimits::default() };
    Limits { usage, ..Limits::default() }
}

/// A head with a memory, and nodes that tell what tenants consume.
struct World {
    head: Head,
    now: Time,
    memory: BTreeMap<Key, Record>,
    limits: Limits,
}

fn a() -> TenantName {
    "a".parse().expect("a name")
}

fn sums(tasks: u64) -> Usage {
    let mut usage = Usage::default();
    usage[UsageKind::TasksFinished] = tasks;
    usage[UsageKind::CpuUsedNs] = tasks * 7;
    usage
}

impl World {
    fn new(limits: Limits) -> Self {
        let mut world =
            Self { head: Head::new([0; 16], limits.clone()), now: Time(0), memory: BTreeMap::new(), limits };
        world.comes_back(1);
        world
    }

    /// The head dies, and another goes on with what was written.
    fn comes_back(&mut self, key: u8) {
        let records = self.memory.values().cloned();
        self.head = Head::restore([key; 16], self.limits.clone(), self.now, records, &mut Vec::new());
    }

    fn write(&mut self) {
        for change in self.head.take_changes() {
            match change {
                Change::Put(record) => drop(self.memory.insert(record.key(), record)),
                Change::Delete(key) => drop(self.memory.remove(&key)),
            }
        }
    }

    fn join(&mut self, node: NodeId) {
        let info = NodeInfo { id: node, labels: Vec::new(), total: Resources::default() };
        self.head.node_joins(self.now, info, &mut Vec::new()).expect("room");
    }

    /// A node tells that so many tasks have finished there since it met the tenant.
    fn tells(&mut self, node: NodeId, met: u64, tasks: u64) {
        let usage = vec![UsageReport { tenant: a(), met, sums: sums(tasks) }];
        let report = LedgerReport { is_whole: false, leases: Vec::new(), usage };
        self.head.ledger_report(self.now, node, &report, &mut Vec::new());
    }

    fn records(&self) -> Vec<UsageRecord> {
        self.head.usage(&UsageQuery { limit: usize::MAX, ..UsageQuery::default() })
    }

    fn tasks(&self) -> Vec<u64> {
        self.records().iter().map(|record| record.used[UsageKind::TasksFinished]).collect()
    }

    fn all(&self) -> u64 {
        self.tasks().iter().sum()
    }
}

#[test]
fn what_is_told_goes_into_the_period_in_which_it_is_heard_and_counts_once() {
    let mut world = World::new(limits());
    let node = IdGenerator::new([5; 16]).node();
    world.tells(node, 1, 3);
    assert_eq!(world.tasks(), [], "it is no member");
    world.join(node);
    for _ in 0..3 {
        world.tells(node, 1, 3);
    }
    world.now = world.now + MINUTE;
    world.tells(node, 1, 10);
    // The node had forgotten the tenant, and met it again; an older report does not count.
    world.tells(node, 4, 2);
    world.tells(node, 1, 11);
    // Nothing is consumed: no record.
    world.now = world.now + MINUTE * 2;
    world.tells(node, 4, 2);
    assert_eq!(world.tasks(), [3, 9]);
    let records = world.records();
    assert_eq!((records[1].start, records[1].length_ns), (Time(0) + MINUTE, 60_000_000_000));
    assert_eq!(records[1].used[UsageKind::CpuUsedNs], 63);
    let query = |since: Duration, after: Option<u64>, limit| UsageQuery {
        tenant: Some(a()),
        since: Time(0) + since,
        after: after.map(|minute| (a(), Time(0) + MINUTE * minute as u32)),
        limit,
    };
    let found = |query| world.head.usage(&query).iter().map(|found| found.start).collect::<Vec<_>>();
    assert_eq!(found(query(SECOND, None, 1)), [Time(0)]);
    assert_eq!(found(query(SECOND, Some(0), 9)), [Time(0) + MINUTE]);
    assert_eq!(found(query(MINUTE, None, 9)), [Time(0) + MINUTE]);
    assert_eq!(found(query(SECOND, Some(1), 9)), []);
    assert_eq!(found(UsageQuery { tenant: Some(TenantName::default()), ..query(SECOND, None, 9) }), []);
}

#[test]
fn a_head_that_comes_back_has_what_was_written_and_counts_the_rest_once() {
    let mut world = World::new(limits());
    let mut ids = IdGenerator::new([5; 16]);
    let (first, second) = (ids.node(), ids.node());
    world.join(first);
    world.join(second);
    world.tells(first, 1, 5);
    world.tells(second, 1, 7);
    world.write();
    assert!(!world.memory.keys().any(|key| matches!(key, Key::Usage(..))), "the period has not ended");
    // The period ends with the next sign of life, and what comes after it is in the next.
    world.now = world.now + MINUTE;
    world.head.heard_of(world.now, first, Load::default(), &mut Vec::new());
    world.tells(first, 1, 6);
    world.write();
    world.tells(first, 1, 9);
    // What was not written is not lost while the nodes live, nor is what was written counted again.
    world.comes_back(2);
    assert_eq!(world.all(), 13);
    world.join(first);
    world.join(second);
    world.tells(first, 1, 9);
    world.tells(second, 1, 7);
    assert_eq!(world.tasks(), [12, 4]);
    // What a node has told is written when it dies, and it tells no more.
    world.tells(second, 1, 20);
    world.head.node_leaves(world.now, second, "it is gone", &mut Vec::new());
    world.write();
    world.comes_back(3);
    assert_eq!(world.tasks(), [12, 17]);
    world.tells(second, 1, 21);
    assert_eq!(world.all(), 29);
}

#[test]
fn the_oldest_records_go_first_by_number_and_by_age() {
    let usage = UsageLimits {
        usage_records_max: 5,
        usage_records_of_all_max: 7,
        usage_kept: MINUTE * 30,
        ..UsageLimits::default()
    };
    let mut world = World::new(Limits { usage, ..limits() });
    let node = IdGenerator::new([5; 16]).node();
    world.join(node);
    for minute in 1..=8 {
        world.now = Time(0) + MINUTE * minute;
        world.tells(node, 1, u64::from(minute));
    }
    let other = UsageReport { tenant: TenantName::default(), met: 2, sums: sums(1) };
    for minute in 9..=12 {
        world.now = Time(0) + MINUTE * minute;
        let sums = sums(u64::from(minute));
        let usage = vec![UsageReport { sums, ..other.clone() }];
        let report = LedgerReport { is_whole: false, leases: Vec::new(), usage };
        world.head.ledger_report(world.now, node, &report, &mut Vec::new());
    }
    world.now = world.now + MINUTE;
    world.head.heard_of(world.now, node, Load::default(), &mut Vec::new());
    let starts = |world: &World| -> Vec<u64> {
        world.records().iter().map(|record| record.start.0 / 60_000_000_000).collect()
    };
    assert_eq!(starts(&world), [6, 7, 8, 9, 10, 11, 12]);
    world.write();
    world.comes_back(2);
    assert_eq!(starts(&world), [6, 7, 8, 9, 10, 11, 12], "what was forgotten does not come back");
    world.now = Time(0) + MINUTE * 40;
    world.join(node);
    world.head.heard_of(world.now, node, Load::default(), &mut Vec::new());
    assert_eq!(starts(&world), [10, 11, 12]);
}

/// Reports in any order of events, a store that is slow, heads and nodes that die: nothing counts twice, and
/// only what a dead node had told to nobody whose memory is left is missing.
#[test]
fn whatever_dies_nothing_is_counted_twice() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut world = World::new(limits());
        let mut ids = IdGenerator::new([7; 16]);
        // What each node has done, and may be missing of those that are dead.
        let mut nodes: Vec<(NodeId, u64)> = Vec::new();
        let (mut dead, mut lost) = (0, 0);
        for step in 0..200 {
            if nodes.is_empty() || random.once_in(20) {
                nodes.push((ids.node(), 0));
                world.join(nodes[nodes.len() - 1].0);
            }
            let at = random.below(nodes.len());
            match random.below(8) {
                0 | 1 => nodes[at].1 += random.of([1, 5]),
                2 | 3 => world.tells(nodes[at].0, 1, nodes[at].1),
                4 => world.now = world.now + SECOND * random.of([1, 20, 60]),
                5 => world.write(),
                6 if random.once_in(4) => {
                    world.comes_back(step as u8);
                    nodes.iter().for_each(|(node, _)| world.join(*node));
                }
                7 if random.once_in(4) => {
                    let (node, done) = nodes.swap_remove(at);
                    let is_told = random.once_in(2);
                    if is_told {
                        world.tells(node, 1, done);
                    }
                    world.head.node_leaves(world.now, node, "it is gone", &mut Vec::new());
                    world.write();
                    dead += if is_told { done } else { 0 };
                    lost += if is_told { 0 } else { done };
                }
                _ => {}
            }
            let done: u64 = nodes.iter().map(|(_, done)| done).sum();
            assert!(world.all() <= dead + lost + done, "seed {seed}: something counts twice");
        }
        for (node, done) in &nodes {
            world.tells(*node, 1, *done);
        }
        let done: u64 = nodes.iter().map(|(_, done)| done).sum();
        assert!((dead + done..=dead + done + lost).contains(&world.all()), "seed {seed}");
    }
}
