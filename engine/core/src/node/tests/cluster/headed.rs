//! Several nodes with a head, and lines between them that a test works by hand.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Cluster;
use crate::error::{Error, ErrorCode};
use crate::group::{Bundle, GroupMessage, GroupNotice, GroupState, GroupStrategy};
use crate::head::{self, Head, Notice};
use crate::ids::{JobId, NodeId, PlacementGroupId};
use crate::node::tests::harness::{cpus, options};
use crate::node::{Caller, GroupRequest, Limits, NodeInfo};
use crate::options::{Strategy, TaskOptions};
use crate::quota::LedgerReport;
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::Handle;

/// What a node tells the head.
pub enum Said {
    Group(GroupMessage),
    RunGone(JobId),
    Ledger(LedgerReport),
}

/// What is on the line between a node and the head.
#[derive(Default)]
pub struct Line {
    pub up: VecDeque<Said>,
    pub down: VecDeque<Notice>,
    /// Nothing is delivered.
    pub is_held: bool,
}

pub struct Headed {
    pub cluster: Cluster,
    pub head: Head,
    pub lines: BTreeMap<usize, Line>,
    timer: Option<Time>,
    /// Runs of jobs that the head wants to be started, and where.
    pub to_start: Vec<(JobId, NodeId)>,
}

pub fn bundle(count: u64) -> Bundle {
    let resources = Resources { cpus: Quantity::units(count), ..Resources::default() };
    Bundle { resources, labels: Vec::new() }
}

/// Options of a task in a group.
pub fn inside(group: PlacementGroupId, bundle: Option<u32>) -> TaskOptions {
    let mut options = options();
    options.placement.strategy = Strategy::PlacementGroup { group, bundle, capture_children: false };
    options
}

impl Headed {
    pub fn new(counts: &[u64]) -> Self {
        Self::of(counts, &Limits::default())
    }

    pub fn of(counts: &[u64], limits: &Limits) -> Self {
        let nodes: Vec<Resources> = counts.iter().map(|count| cpus(*count)).collect();
        Self::of_nodes(&nodes, limits)
    }

    pub fn of_nodes(nodes: &[Resources], limits: &Limits) -> Self {
        let cluster = Cluster::of(nodes, limits);
        let head = Head::new([9; 16], head::Limits::default());
        let mut all = Self { cluster, head, lines: BTreeMap::new(), timer: None, to_start: Vec::new() };
        for index in 0..nodes.len() {
            all.join(index);
        }
        all.settle();
        all
    }

    fn join(&mut self, index: usize) {
        let node = &self.cluster.worlds[index].node;
        let labels = node.labels().to_vec();
        let info = NodeInfo { id: node.id(), labels, total: node.ledger().0.clone() };
        self.event(|head, now, fx| head.node_joins(now, info, fx)).expect("room");
        self.beat(index);
    }

    pub fn now(&self) -> Time {
        self.cluster.worlds[0].now
    }

    pub fn event<R>(&mut self, event: impl FnOnce(&mut Head, Time, &mut Vec<head::Effect>) -> R) -> R {
        let mut fx = Vec::new();
        let now = self.now();
        let result = event(&mut self.head, now, &mut fx);
        for effect in fx {
            match effect {
                head::Effect::ArmTimer(at) => self.timer = Some(at),
                head::Effect::Died(..) | head::Effect::JobForgotten(_) | head::Effect::Alert(_) => {}
                head::Effect::StartRun(run, home) => self.to_start.push((run, home)),
                head::Effect::Tell(to, notice) => {
                    let to = self.cluster.index(to);
                    self.lines.entry(to).or_default().down.push_back(notice);
                }
            }
        }
        result
    }

    /// A node says what it has free.
    pub fn beat(&mut self, index: usize) {
        if !self.cluster.alive[index] {
            return;
        }
        let load = self.cluster.worlds[index].node.load();
        let id = self.cluster.id(index);
        let still = self.cluster.worlds[index].node.standstill();
        let asks = std::mem::take(&mut self.cluster.worlds[index].asks_for_loads);
        self.event(|head, now, fx| {
            asks.into_iter().for_each(|wants| head.wants_loads(id, wants, fx));
            head.heard_of(now, id, load, fx);
            if let Some(still) = still {
                head.stands_still(now, id, still, fx);
            }
        });
    }

    /// Moves what the nodes have to say to the head onto their lines.
    pub fn collect(&mut self) {
        for (index, world) in self.cluster.worlds.iter_mut().enumerate() {
            let messages = std::mem::take(&mut world.to_head).into_iter().map(Said::Group);
            let gone = std::mem::take(&mut world.runs_gone).into_iter().map(Said::RunGone);
            let gone = gone.chain(std::mem::take(&mut world.to_ledger).into_iter().map(Said::Ledger));
            if self.cluster.alive[index] {
                self.lines.entry(index).or_default().up.extend(messages.chain(gone));
            }
        }
    }

    /// Delivers one thing on a line; false when there is none.
    pub fn up(&mut self, index: usize) -> bool {
        let Some(message) = self.lines.get_mut(&index).and_then(|line| line.up.pop_front()) else {
            return false;
        };
        let id = self.cluster.id(index);
        self.event(|head, now, fx| match message {
            Said::Group(message) => head.group_message(now, id, message, fx),
            Said::RunGone(run) => head.run_is_gone(id, run, fx),
            Said::Ledger(report) => head.ledger_report(now, id, &report, fx),
        });
        true
    }

    pub fn down(&mut self, index: usize) -> bool {
        let Some(notice) = self.lines.get_mut(&index).and_then(|line| line.down.pop_front()) else {
            return false;
        };
        if self.cluster.alive[index] {
            self.deliver(index, notice);
        }
        true
    }

    fn deliver(&mut self, index: usize, notice: Notice) {
        self.cluster.worlds[index].event(|node, now, fx| match notice {
            Notice::Joined(infos) => infos.iter().for_each(|info| node.node_joined(now, info.clone(), fx)),
            Notice::Dead(id, _) => node.node_dead(now, id, fx),
            Notice::Loads(loads) => {
                loads.iter().for_each(|(id, load)| node.node_load(now, *id, load.clone(), fx));
            }
            Notice::Group(notice) => node.group_notice(now, notice, fx),
            Notice::EndRun(run) => node.end_run(now, run, fx),
            Notice::BreakDeadlock(changes) => drop(node.break_standstill(now, changes, fx)),
            Notice::Draining(id, deadline) => node.node_drains(now, id, deadline, fx),
            Notice::Left(id, _) => node.node_left(now, id, fx),
            Notice::Tenant(news) => node.tenant_news(now, *news, fx),
        });
    }

    /// Says something of a group to a node again, as if it came late.
    pub fn repeat(&mut self, index: usize, notice: GroupNotice) {
        self.deliver(index, Notice::Group(notice));
    }

    /// Delivers everything but on lines that are held.
    pub fn settle(&mut self) {
        loop {
            self.cluster.settle();
            self.collect();
            let open: Vec<usize> =
                self.lines.iter().filter(|(_, line)| !line.is_held).map(|(index, _)| *index).collect();
            let mut moved = false;
            for index in open {
                moved |= self.up(index) || self.down(index);
            }
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass in small steps, with beats of all nodes whose lines are open.
    pub fn advance(&mut self, by: Duration) {
        let step = Duration::from_millis(50);
        let steps = by.as_millis().div_ceil(step.as_millis());
        for _ in 0..steps {
            self.cluster.advance(step);
            for index in 0..self.cluster.worlds.len() {
                if !self.lines.entry(index).or_default().is_held {
                    self.beat(index);
                }
            }
            if self.timer.is_some_and(|at| at <= self.now()) {
                self.timer = None;
                self.event(|head, now, fx| head.timer(now, fx));
            }
            self.settle();
        }
    }

    pub fn hold(&mut self, index: usize) {
        self.lines.entry(index).or_default().is_held = true;
    }

    pub fn release(&mut self, index: usize) {
        self.lines.entry(index).or_default().is_held = false;
        self.settle();
    }

    /// A line breaks, with what was on it, and is made anew.
    pub fn break_line(&mut self, index: usize) {
        self.collect();
        *self.lines.entry(index).or_default() = Line::default();
        self.cluster.worlds[index].event(|node, _, _| node.head_line_anew());
    }

    /// A node is dead, and everyone hears of it.
    pub fn kill(&mut self, index: usize) {
        let id = self.cluster.id(index);
        self.cluster.alive[index] = false;
        self.cluster.flying.retain(|packet| packet.from != id && packet.to != id);
        self.event(|head, now, fx| head.node_leaves(now, id, "it was killed", fx));
        self.settle();
    }

    // ---- groups ----

    pub fn request(
        &mut self,
        index: usize,
        from: Caller,
        strategy: GroupStrategy,
        bundles: Vec<Bundle>,
        name: Option<&str>,
    ) -> PlacementGroupId {
        let name = name.map(str::to_owned);
        let request = GroupRequest { bundles, strategy, name, namespace: "default".to_owned() };
        self.cluster.worlds[index]
            .event(|node, _, _| node.create_group(from, request))
            .expect("it is asked for")
    }

    /// A group that was asked for, once everybody has said what there is to say.
    pub fn group(
        &mut self,
        index: usize,
        from: Caller,
        strategy: GroupStrategy,
        counts: &[u64],
    ) -> PlacementGroupId {
        let bundles = counts.iter().map(|count| bundle(*count)).collect();
        let group = self.request(index, from, strategy, bundles, None);
        self.settle();
        group
    }

    pub fn state(&self, group: PlacementGroupId) -> GroupState {
        self.head.group(group).expect("it is known").state
    }

    /// The nodes of its bundles.
    pub fn nodes(&self, group: PlacementGroupId) -> Vec<Option<usize>> {
        let view = self.head.group(group).expect("it is known");
        view.nodes.iter().map(|node| node.map(|node| self.cluster.index(node))).collect()
    }

    pub fn remove(&mut self, index: usize, from: Caller, group: PlacementGroupId) -> Result<(), Error> {
        let removed =
            self.cluster.worlds[index].event(|node, now, fx| node.remove_group(now, from, group, fx));
        self.settle();
        removed
    }

    /// Free CPUs of a node.
    pub fn free(&self, index: usize) -> f64 {
        self.cluster.worlds[index].free().cpus.as_f64()
    }

    pub fn code(&self, index: usize, from: Caller, task: crate::ids::TaskId) -> ErrorCode {
        self.cluster.worlds[index].code_of(from, task)
    }

    pub fn drop_group(&mut self, index: usize, from: Caller, group: PlacementGroupId) {
        self.cluster.worlds[index].release(from, Handle::PlacementGroup(group));
    }

    /// Ends every job, and checks that nothing of them is left anywhere.
    pub fn end(mut self) {
        for index in 0..self.cluster.worlds.len() {
            if !self.cluster.alive[index] {
                continue;
            }
            for job in self.cluster.worlds[index].roots.clone().into_keys() {
                self.cluster.worlds[index]
                    .event(|node, now, fx| node.stop_job(now, job, "the test ends", fx));
            }
        }
        for index in 0..self.cluster.worlds.len() {
            self.lines.entry(index).or_default().is_held = false;
        }
        self.settle();
        self.advance(Duration::from_secs(2));
        for (world, _) in self.cluster.worlds.iter().zip(&self.cluster.alive).filter(|(_, alive)| **alive) {
            assert_eq!(world.node.leftover(), None, "on {}", world.node.id());
        }
        assert!(self.head.groups().iter().all(|group| group.state == GroupState::Removed));
    }
}
