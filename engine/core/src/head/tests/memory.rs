//! What the head remembers, and comes back with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::group::{
    Answer, Bundle, BundleId, GroupMessage, GroupNotice, GroupSpec, GroupState, GroupStrategy,
};
use crate::head::{
    Change, Effect, GroupLimits, Head, JobState, Key, Limits, NodeStanding, Notice, Record, Submission,
    Submitted, UsageLimits, UsageQuery, Watch,
};
use crate::ids::{ActorId, IdGenerator, JobId, NodeId, PlacementGroupId};
use crate::node::tests::simulate::{Random, Replay, number};
use crate::node::{JobEnd, Load, NodeInfo, Progress};
use crate::quota::{LedgerReport, QuotaKind};
use crate::resources::{Quantity, Resources};
use crate::tenant::{TenantName, TenantSpec};
use crate::time::Time;
use crate::usage::{Usage, UsageKind, UsageRecord, UsageReport};
use crate::value::Value;

const SECOND: Duration = Duration::from_secs(1);

fn cpus(count: u64) -> Resources {
    Resources { cpus: Quantity::units(count), ..Resources::default() }
}

fn info(id: NodeId) -> NodeInfo {
    NodeInfo { id, labels: vec![("rack".to_owned(), "a".to_owned())], total: cpus(4) }
}

fn load(count: u64) -> Load {
    Load { free: cpus(count), version: 0 }
}

fn submission(id: &str) -> Submission {
    Submission {
        submission_id: id.to_owned(),
        digest: [7; 32],
        name: "n".to_owned(),
        namespace: "default".to_owned(),
        tenant: Default::default(),
        retries: 0,
    }
}

fn limits() -> Limits {
    Limits {
        ended_jobs_max: 3,
        watch: Watch { dead_nodes_max: 3, ..Watch::default() },
        groups: GroupLimits { removed_groups_max: 2, ..GroupLimits::default() },
        usage: UsageLimits { usage_period: SECOND * 2, usage_records_max: 5, ..UsageLimits::default() },
        ..Limits::default()
    }
}

/// What a store holds that was told of every change.
#[derive(Default, Clone)]
struct Memory(BTreeMap<Key, Record>);

impl Memory {
    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(record) => drop(self.0.insert(record.key(), record)),
                Change::Delete(key) => drop(self.0.remove(&key)),
            }
        }
    }

    fn head(&self, key: u8, now: Time) -> Head {
        Head::restore([key; 16], limits(), now, self.0.values().cloned(), &mut Vec::new())
    }
}

fn remembered(key: u8) -> Head {
    Memory::default().head(key, Time(0))
}

/// All that a head has to remember, and what it finds it by.
fn books(head: &Head) -> Vec<String> {
    let mut books: Vec<String> = Vec::new();
    let mut ids: Vec<JobId> = head.jobs.keys().copied().collect();
    ids.sort();
    books.extend(ids.iter().map(|id| format!("{:?}", head.job_record(*id))));
    books.push(format!("submissions {:?}", head.by_submission));
    // Which nodes have answered a head that comes back asks again.
    books.push(format!("between runs {:?}", head.between_runs.keys()));
    // Of those that ended at the same instant any is the oldest.
    let ended = head.ended.iter().map(|id| (head.jobs[id].ended, *id));
    let (order, mut ended): (Vec<_>, Vec<_>) = ended.map(|(at, id)| (at, (at, id))).unzip();
    assert!(order.is_sorted(), "{order:?}");
    ended.sort();
    books.push(format!("ended {ended:?}"));
    books.push(format!("names {:?}", head.names));
    let mut named: Vec<_> = head.named.iter().collect();
    named.sort();
    books.push(format!("named {named:?}"));
    books.extend(head.nodes.books());
    books.extend(head.groups.books());
    books.extend(head.tenants().iter().map(|tenant| format!("{:?}", tenant.spec)));
    books
}

fn usage_of(head: &Head) -> Vec<UsageRecord> {
    head.usage(&UsageQuery { limit: usize::MAX, ..UsageQuery::default() })
}

fn usage_in(memory: &Memory) -> Vec<UsageRecord> {
    let records = memory.0.values().filter_map(|record| match record {
        Record::Usage(usage) => Some(usage.clone()),
        _ => None,
    });
    records.collect()
}

/// A head, the store behind it, and nodes and clients that do what comes to their minds.
struct History {
    random: Random,
    ids: IdGenerator,
    now: Time,
    head: Head,
    memory: Memory,
    nodes: Vec<NodeId>,
    actors: Vec<ActorId>,
    jobs: Vec<JobId>,
    groups: Vec<PlacementGroupId>,
    /// What nodes were asked to prepare.
    asked: Vec<(NodeId, PlacementGroupId, u64)>,
    restarts: usize,
    left: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            ids: IdGenerator::new([3; 16]),
            now: Time(0),
            head: remembered(1),
            memory: Memory::default(),
            nodes: Vec::new(),
            actors: Vec::new(),
            jobs: Vec::new(),
            groups: Vec::new(),
            asked: Vec::new(),
            restarts: 0,
            left: 0,
        }
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(self.random.of([1, 10, 100, 900]));
        let mut fx = Vec::new();
        match self.random.below(33) {
            0..=2 => self.join(&mut fx),
            3..=4 => self.submit(),
            5 => self.start_job(),
            6..=7 => self.end_job(),
            8 => drop(self.random.pick(&self.jobs).map(|job| self.head.delete_job(job))),
            9..=11 => self.claim(),
            12 => drop(self.random.pick(&self.actors).map(|actor| self.head.release_name(actor))),
            13 => {
                if let Some(node) = self.random.pick(&self.nodes) {
                    self.head.node_leaves(self.now, node, "it was told to", &mut fx);
                }
            }
            14..=15 => self.ask_for_group(&mut fx),
            16 => {
                if let Some(group) = self.random.pick(&self.groups) {
                    self.head.remove_group(self.now, group, "it was removed", &mut fx);
                }
            }
            17..=19 => self.answer(&mut fx),
            20 => self.report(&mut fx),
            21..=22 => self.beat(&mut fx),
            23 if self.random.once_in(3) => {
                if let Some(job) = self.random.pick(&self.jobs) {
                    self.head.stop_job(self.now, job, &mut fx);
                }
            }
            24..=25 => self.run_is_gone(&mut fx),
            26 => self.drain(&mut fx),
            27 => self.let_go(&mut fx),
            28..=29 => self.tenant(&mut fx),
            30..=31 => self.consume(&mut fx),
            _ => self.head.timer(self.now, &mut fx),
        }
        for effect in fx {
            if let Effect::Tell(node, Notice::Group(GroupNotice::Prepare { group, generation, .. })) = effect
            {
                self.asked.push((node, group, generation));
            }
        }
    }

    fn join(&mut self, fx: &mut Vec<Effect>) {
        let known = self.random.pick(&self.nodes).filter(|_| self.random.once_in(3));
        let id = known.unwrap_or_else(|| self.ids.node());
        if self.head.node_joins(self.now, info(id), fx).is_ok() && known.is_none() {
            self.nodes.push(id);
        }
    }

    fn submit(&mut self) {
        let id = self.random.of(["", "a", "b", "c", "d"]);
        let submission = Submission { retries: self.random.of([0, 1, 5]), ..submission(id) };
        let Ok(Submitted::New(job)) = self.head.submit(self.now, submission) else { return };
        self.jobs.push(job);
        let _ = self.head.place_job(job);
    }

    fn tenant(&mut self, fx: &mut Vec<Effect>) {
        let name: TenantName = self.random.of(["a", "b", "c", "default"]).parse().expect("a name");
        if self.random.once_in(3) {
            return drop(self.head.delete_tenant(&name, fx));
        }
        let mut spec = TenantSpec { weight: self.random.of([1, 7]), ..TenantSpec::new(name) };
        spec.quotas[QuotaKind::Actors] = self.random.of([None, Some(5)]);
        self.head.set_tenant(spec, false, fx).expect("room");
    }

    /// A node tells what a tenant has consumed there until now.
    fn consume(&mut self, fx: &mut Vec<Effect>) {
        let Some(node) = self.random.pick(&self.nodes) else { return };
        let tenant = self.random.of(["a", "b"]).parse().expect("a name");
        let mut sums = Usage::default();
        sums[UsageKind::CpuUsedNs] = self.now.0;
        let usage = vec![UsageReport { tenant, met: 1, sums }];
        let report = LedgerReport { is_whole: false, leases: Vec::new(), usage };
        self.head.ledger_report(self.now, node, &report, fx);
    }

    fn start_job(&mut self) {
        let (job, home) = (self.random.pick(&self.jobs), self.random.pick(&self.nodes));
        if let (Some(job), Some(home)) = (job, home) {
            match self.random.once_in(2) {
                true => self.head.job_started(self.now, self.run_of(job)),
                false => drop(self.head.job_is_known(self.now, self.ids.job(), submission(""), home)),
            }
        }
    }

    fn end_job(&mut self) {
        let Some(job) = self.random.pick(&self.jobs) else { return };
        let failure = || Err(Arc::new(Error::new(ErrorCode::TaskFailed, "oops")));
        let result = if self.random.once_in(2) { Ok(Value::empty()) } else { failure() };
        let end = JobEnd { result, stopped: self.random.once_in(3), progress: Progress::default() };
        self.head.job_ended(self.now, self.run_of(job), end);
    }

    /// The run that a job is at.
    fn run_of(&self, job: JobId) -> JobId {
        self.head.job(job).map_or(job, |record| record.run_id())
    }

    /// Nodes say that nothing of a lost run is left there.
    fn run_is_gone(&mut self, fx: &mut Vec<Effect>) {
        let Some(job) = self.random.pick(&self.jobs) else { return };
        let lost = job.at_run(self.run_of(job).run().saturating_sub(1));
        for node in self.nodes.clone() {
            if !self.random.once_in(4) {
                self.head.run_is_gone(node, lost, fx);
            }
        }
    }

    fn claim(&mut self) {
        let Some(node) = self.random.pick(&self.nodes) else { return };
        let actor = self.ids.actor();
        let (namespace, name) = (self.random.of(["x", "y"]), self.random.of(["a", "b", "c"]));
        if self.head.claim_name(namespace, name, (actor, node), false).is_ok() {
            self.actors.push(actor);
        }
    }

    fn ask_for_group(&mut self, fx: &mut Vec<Effect>) {
        let Some(owner) = self.random.pick(&self.nodes) else { return };
        let count = self.random.of([1, 2, 3]);
        let bundle = Bundle { resources: cpus(self.random.of([1, 3])), labels: Vec::new() };
        let spec = GroupSpec {
            id: self.ids.placement_group(),
            job: self.ids.job(),
            owner,
            name: self.random.of([None, Some("g")]).map(str::to_owned),
            namespace: "x".to_owned(),
            strategy: self.random.of([GroupStrategy::Pack, GroupStrategy::StrictSpread]),
            bundles: vec![bundle; count],
        };
        self.groups.push(spec.id);
        let _ = self.head.create_group(self.now, spec, fx);
    }

    fn answer(&mut self, fx: &mut Vec<Effect>) {
        let at = self.random.below(self.asked.len());
        if at == self.asked.len() {
            return;
        }
        let (node, group, generation) = self.asked.swap_remove(at);
        let answer = Answer { group, generation, load: load(self.random.of([0, 2, 4])) };
        let message = match self.random.once_in(4) {
            true => GroupMessage::Refused(answer),
            false => GroupMessage::Prepared(answer),
        };
        self.head.group_message(self.now, node, message, fx);
    }

    /// A node says on a new line what it has: whatever it was asked for lately, or not.
    fn report(&mut self, fx: &mut Vec<Effect>) {
        let Some(node) = self.random.pick(&self.nodes) else { return };
        let mut bundles = Vec::new();
        for group in self.head.groups() {
            if self.random.once_in(2) {
                continue;
            }
            let Some(Record::Group(record)) = self.head.groups.record(group.spec.id) else { continue };
            for (index, place) in (0..).zip(&record.places) {
                if let Some((_, generation)) = place.filter(|(at, _)| *at == node) {
                    let bundle = BundleId { group: group.spec.id, index };
                    bundles.push((bundle, generation, self.random.once_in(2)));
                }
            }
        }
        let load = load(self.random.of([0, 4]));
        self.head.group_message(self.now, node, GroupMessage::Report { bundles, load }, fx);
    }

    fn drain(&mut self, fx: &mut Vec<Effect>) {
        let Some(node) = self.random.pick(&self.nodes) else { return };
        let deadline = self.random.of([None, Some(SECOND), Some(SECOND * 9)]);
        drop(self.head.drain(self.now, node, deadline, fx));
    }

    fn let_go(&mut self, fx: &mut Vec<Effect>) {
        let nodes = self.nodes.iter().copied();
        let drains = |id: &NodeId| matches!(self.head.standing(*id), Some(NodeStanding::Draining(_)));
        let draining: Vec<NodeId> = nodes.filter(drains).collect();
        if let Some(node) = self.random.pick(&draining) {
            let in_order = self.random.once_in(2);
            self.left += usize::from(self.head.let_go(self.now, node, in_order, fx));
        }
    }

    fn beat(&mut self, fx: &mut Vec<Effect>) {
        for node in self.nodes.clone() {
            if !self.random.once_in(4) {
                let load = load(self.random.of([0, 2, 4]));
                self.head.heard_of(self.now, node, load, fx);
            }
        }
    }

    /// The head that has lived on and one that comes back now know the same.
    fn check(&mut self) {
        let waiting = self.head.changes_waiting();
        let changes = self.head.take_changes();
        // With what was heard of usage the last record goes, also when it waits for nothing itself.
        assert!(waiting <= changes.len() && self.head.changes_waiting() == 0, "{waiting} {}", changes.len());
        assert_eq!(waiting == 0, changes.is_empty());
        self.memory.apply(changes);
        // Each has a key of its own, as it must.
        let mut back = self.memory.head(self.restarts as u8 + 100, self.now);
        for (back, lived_on) in books(&back).iter().zip(&books(&self.head)) {
            assert_eq!(back, lived_on);
        }
        assert_eq!(books(&back).len(), books(&self.head).len());
        assert_eq!(back.take_changes().len(), 0, "coming back changes nothing");
        let written = usage_in(&self.memory);
        assert_eq!(usage_of(&back), written);
        let known = usage_of(&self.head);
        assert!(written.iter().all(|record| known.iter().any(|other| other.start == record.start)));
        if self.random.once_in(20) {
            self.head = back;
            self.restarts += 1;
        }
    }
}

// contract: H2
#[test]
fn a_head_that_comes_back_knows_what_it_knew_at_every_instant() {
    let mut kinds = [0; 8];
    let (mut restarts, mut left) = (0, 0);
    for seed in 0..number("ENGINE_SIM_SEEDS").unwrap_or(300).max(300) {
        let _replay = Replay::new(seed, "a_head_that_comes_back");
        let mut history = History::new(seed);
        for _ in 0..150 {
            history.step();
            history.check();
        }
        restarts += history.restarts;
        left += history.left;
        for record in history.memory.0.values() {
            kinds[match record {
                Record::Job(_) => 0,
                Record::Name(_) => 1,
                Record::Node(_) => 2,
                Record::Dead(_) => 3,
                Record::Group(_) => 4,
                Record::Tenant(_) => 5,
                Record::Usage(_) => 6,
                Record::Meter(_) => 7,
            }] += 1;
        }
    }
    let is_enough = kinds.iter().all(|count| *count > 50) && restarts > 50 && left > 50;
    assert!(is_enough, "{kinds:?}, {restarts} restarts, {left} have left");
}

#[test]
fn what_nodes_have_free_is_no_change() {
    let mut head = remembered(1);
    let node = IdGenerator::new([5; 16]).node();
    let mut fx = Vec::new();
    head.node_joins(Time(0), info(node), &mut fx).expect("room");
    assert_eq!(head.take_changes().len(), 1);
    for second in 1..10 {
        assert!(head.heard_of(Time(0) + SECOND * second, node, load(u64::from(second) % 4), &mut fx));
        head.timer(Time(0) + SECOND * second, &mut fx);
    }
    head.connection_broke(Time(0) + SECOND * 9, node, &mut fx);
    head.node_joins(Time(0) + SECOND * 9, info(node), &mut fx).expect("again");
    assert_eq!(head.changes_waiting(), 0);
    let mut forgetful = Head::new([1; 16], Limits::default());
    forgetful.node_joins(Time(0), info(node), &mut fx).expect("room");
    assert_eq!(forgetful.changes_waiting(), 0, "nobody would ever take them");
}

// contract: H1, H2, H3
#[test]
fn nodes_are_expected_back_and_the_dead_stay_dead() {
    let mut ids = IdGenerator::new([5; 16]);
    let (back, silent, dead, fresh) = (ids.node(), ids.node(), ids.node(), ids.node());
    let mut fx = Vec::new();
    let mut head = remembered(1);
    for node in [back, silent, dead] {
        head.node_joins(Time(0), info(node), &mut fx).expect("room");
    }
    head.node_leaves(Time(1), dead, "it was told to", &mut fx);
    let Ok(Submitted::New(job)) = head.submit(Time(1), submission("once")) else { panic!("it is new") };
    let home = head.place_job(job).expect("nodes");
    head.job_started(Time(1), job);
    let mut memory = Memory::default();
    memory.apply(head.take_changes());

    // Hours later, by the clock of the records.
    let start = Time(0) + SECOND * 10_000;
    let mut fx = Vec::new();
    let mut head = Head::restore([2; 16], limits(), start, memory.0.into_values(), &mut fx);
    let Some(Effect::ArmTimer(at)) = fx.last() else { panic!("somebody is watched: {fx:?}") };
    let watch = Watch::default();
    assert_eq!(*at, start + watch.silence_max + watch.return_max);
    assert_eq!((head.nodes().count(), head.nodes_expected()), (2, 2));
    assert_eq!(head.job(job).expect("kept").state, JobState::Running, "running work goes on");
    assert_eq!(head.submit(start, submission("once")).expect("known"), Submitted::Known(job));
    let error = head.least_busy_node().expect_err("nobody is there yet");
    assert_eq!(error.code(), ErrorCode::Unschedulable);

    assert_eq!(head.node_joins(start, info(dead), &mut fx).expect_err("fenced").code(), ErrorCode::NodeDied);
    assert_eq!(head.check_return(dead).expect_err("fenced").code(), ErrorCode::NodeDied);
    assert_eq!(head.check_return(fresh).expect_err("forgotten").code(), ErrorCode::NodeDied);
    head.check_return(back).expect("it is a member");
    head.node_joins(start + SECOND, info(back), &mut fx).expect("with its old id");
    assert_eq!(head.least_busy_node().expect("one is there"), back);
    assert!(head.heard_of(start + SECOND * 12, back, load(4), &mut fx));
    assert_eq!(head.nodes_expected(), 1);
    head.timer(start + SECOND * 12, &mut fx);
    assert!(head.is_alive(silent), "its time is not over");
    fx.clear();
    head.timer(start + SECOND * 13, &mut fx);
    assert!(!head.is_alive(silent) && head.is_alive(back));
    let died = |effect: &Effect| matches!(effect, Effect::Died(id, why) if *id == silent && why.contains("came back"));
    assert!(fx.iter().any(died), "{fx:?}");
    let is_lost = head.job(job).expect("kept").state == JobState::Failed;
    assert_eq!(is_lost, home == silent);
}

#[test]
fn the_dead_are_bounded_and_the_oldest_is_forgotten() {
    let mut head = remembered(1);
    let mut ids = IdGenerator::new([5; 16]);
    let mut memory = Memory::default();
    let nodes: Vec<NodeId> = (0..5).map(|_| ids.node()).collect();
    for node in &nodes {
        head.node_joins(Time(0), info(*node), &mut Vec::new()).expect("room");
        head.node_leaves(Time(1), *node, "it was told to", &mut Vec::new());
        memory.apply(head.take_changes());
    }
    for head in [&head, &memory.head(2, Time(2))] {
        let fenced: Vec<bool> = nodes.iter().map(|node| head.check_join(*node).is_err()).collect();
        assert_eq!(fenced, [false, false, true, true, true]);
        assert!(nodes.iter().all(|node| head.check_return(*node).is_err()), "who was welcomed is refused");
    }
    assert_eq!(memory.0.len(), 3);
}

// contract: H2, P1
#[test]
fn an_attempt_that_was_under_way_goes_on_with_the_reports_of_the_nodes() {
    let mut ids = IdGenerator::new([5; 16]);
    let nodes = [ids.node(), ids.node()];
    let mut head = remembered(1);
    for node in nodes {
        head.node_joins(Time(0), info(node), &mut Vec::new()).expect("room");
    }
    let group = ids.placement_group();
    let spec = GroupSpec {
        id: group,
        job: ids.job(),
        owner: nodes[0],
        name: Some("g".to_owned()),
        namespace: "x".to_owned(),
        strategy: GroupStrategy::StrictSpread,
        bundles: vec![Bundle { resources: cpus(2), labels: Vec::new() }; 2],
    };
    head.create_group(Time(1), spec, &mut Vec::new()).expect("accepted");
    let mut memory = Memory::default();
    memory.apply(head.take_changes());
    let mut head = memory.head(2, Time(2));
    let mut fx = Vec::new();
    let mut prepared = Vec::new();
    for (index, node) in (0..).zip(nodes) {
        head.node_joins(Time(3), info(node), &mut fx).expect("it is back");
        let Some(Record::Group(record)) = head.groups.record(group) else { panic!("it is remembered") };
        let (_, generation) = record.places[index as usize].expect("it was asked");
        let has_it = record.places[index as usize].is_some_and(|(at, _)| at == node);
        prepared.push(has_it);
        let bundles = vec![(BundleId { group, index }, generation, false)];
        let report = GroupMessage::Report { bundles, load: load(2) };
        head.group_message(Time(3), node, report, &mut fx);
    }
    let view = head.group(group).expect("it is there");
    assert_eq!(view.state, GroupState::Created, "{prepared:?} {fx:?}");
    let commits = fx
        .iter()
        .filter(|effect| matches!(effect, Effect::Tell(_, Notice::Group(GroupNotice::Commit { .. }))));
    assert_eq!(commits.count(), 2);
    assert_eq!(head.lookup_group("x", "g").expect("its name"), group);
}
