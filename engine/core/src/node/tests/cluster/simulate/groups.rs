//! Placement groups in the simulated cluster: lines to the head that keep order, but break with what is on
//! them, and guests that ask for groups, run things in them and remove them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Simulation;
use crate::group::{Bundle, GroupMessage, GroupNotice, GroupState, GroupStrategy};
use crate::head::{self, Notice};
use crate::ids::{ActorId, ObjectId, PlacementGroupId};
use crate::node::instance::Role;
use crate::node::{Caller, GroupRequest};
use crate::options::Strategy;
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::Handle;

/// So much of what was said is remembered, to be said again.
const PAST_MAX: usize = 12;

/// What is on the lines between nodes and the head, as far as groups go.
#[derive(Default)]
pub(super) struct Lines {
    up: BTreeMap<usize, VecDeque<(Time, GroupMessage)>>,
    /// What was said lately, to and by each node.
    past_up: BTreeMap<usize, VecDeque<GroupMessage>>,
    past_down: BTreeMap<usize, VecDeque<GroupNotice>>,
    /// Who has asked for a group and has not been answered.
    asked: BTreeMap<PlacementGroupId, (usize, Caller)>,
    pub created: u64,
    pub placed_again: u64,
    pub in_bundles: u64,
    pub hosted_in_bundles: u64,
    pub removed: u64,
    /// How often head and nodes were found to agree.
    pub agreed: u64,
    seen: BTreeSet<(PlacementGroupId, u64)>,
}

impl Lines {
    pub fn forget(&mut self, index: usize) {
        self.up.remove(&index);
        self.past_up.remove(&index);
        self.past_down.remove(&index);
        self.asked.retain(|_, (at, _)| *at != index);
    }

    /// The head is gone with the line, and whatever was on it.
    pub fn forget_line(&mut self, index: usize) {
        self.up.remove(&index);
        self.past_up.remove(&index);
        self.past_down.remove(&index);
    }

    pub fn is_empty(&self) -> bool {
        self.up.values().all(VecDeque::is_empty)
    }

    fn note_up(&mut self, index: usize, message: &GroupMessage) {
        // A report is what a line begins with: it is not said again.
        if let GroupMessage::Report { .. } = message {
            return;
        }
        let past = self.past_up.entry(index).or_default();
        past.push_front(message.clone());
        past.truncate(PAST_MAX);
    }

    /// A node is told something.
    pub fn note_down(&mut self, index: usize, notice: &GroupNotice) {
        if let GroupNotice::News(news) = notice {
            let is_new = self.seen.insert((news.group, news.version));
            self.created += u64::from(is_new && news.state == GroupState::Created);
            self.placed_again += u64::from(is_new && news.state == GroupState::Rescheduling);
        }
        let past = self.past_down.entry(index).or_default();
        past.push_front(notice.clone());
        past.truncate(PAST_MAX);
    }
}

impl Simulation {
    // ---- the lines ----

    /// Takes what the nodes have to say to the head, and the head's answers.
    pub(super) fn look_at_groups(&mut self) {
        for index in self.alive() {
            for message in std::mem::take(&mut self.cluster.worlds[index].to_head) {
                let at = self.after(20);
                let queue = self.lines.up.entry(index).or_default();
                let at = queue.back().map_or(at, |(last, _)| at.max(*last));
                queue.push_back((at, message));
            }
            for (group, answer) in std::mem::take(&mut self.cluster.worlds[index].answered) {
                let Some((_, guest)) = self.lines.asked.remove(&group) else { continue };
                let handle = Handle::PlacementGroup(group);
                let is_there = self.cluster.worlds[index].sandboxes.contains_key(&guest.instance);
                match answer {
                    Ok(()) if is_there => {
                        self.held.entry((index, guest.instance)).or_default().push(handle);
                    }
                    Ok(()) => {}
                    Err(_) => self.cluster.worlds[index].release(guest, handle),
                }
            }
            self.lines.hosted_in_bundles += self.hosted_in_bundles(index);
            self.lines.in_bundles +=
                self.cluster.worlds[index].node.bundles().iter().filter(|b| b.free != b.total).count() as u64;
        }
    }

    fn hosted_in_bundles(&self, index: usize) -> u64 {
        let node = &self.cluster.worlds[index].node;
        let is_hosted = |actor: &ActorId| !node.actors.contains_key(actor);
        let instances = node.instances.values().filter(|instance| instance.bundle.is_some());
        instances.filter(|i| matches!(&i.role, Role::Actor(actor) if is_hosted(actor))).count() as u64
    }

    /// The head hears what has come of the lines, unless a node is cut off.
    pub(super) fn hear_of_groups(&mut self, fx: &mut Vec<head::Effect>) {
        let now = self.now;
        for index in self.alive() {
            while let Some((at, _)) = self.lines.up.get(&index).and_then(VecDeque::front)
                && *at <= now
            {
                let next = self.lines.up.get_mut(&index).and_then(VecDeque::pop_front);
                let Some((_, message)) = next else { break };
                if !self.cut_off.contains_key(&index) {
                    self.lines.note_up(index, &message);
                    let id = self.cluster.id(index);
                    self.head.group_message(now, id, message, fx);
                }
            }
        }
    }

    /// The line of a node breaks: of what is on it some is lost. On the new one, something old comes again.
    pub(super) fn break_line(&mut self, index: usize) {
        if !self.cluster.alive[index] {
            return;
        }
        self.lines.up.remove(&index);
        let queue = self.notices.remove(&index).unwrap_or_default();
        let kept = self.random.below(queue.len() + 1);
        let is_kept =
            |(at, (_, notice)): &(usize, (Time, Notice))| *at < kept || !matches!(notice, Notice::Group(_));
        let queue: VecDeque<_> =
            queue.into_iter().enumerate().filter(is_kept).map(|(_, entry)| entry).collect();
        self.notices.insert(index, queue);
        self.cluster.worlds[index].event(|node, _, _| node.head_line_anew());
        self.look_at_groups();
        self.say_again(index);
    }

    fn say_again(&mut self, index: usize) {
        let now = self.now;
        // Nobody asks again for a group that the head has answered for, and the head hears nothing of an
        // old line once there is a new one.
        let is_open = |message: &&GroupMessage| match message {
            GroupMessage::Create(spec) => self.lines.asked.contains_key(&spec.id),
            _ => true,
        };
        let past = self.lines.past_up.get(&index).into_iter().flatten();
        let past: Vec<GroupMessage> = past.filter(is_open).cloned().collect();
        if let Some(message) = self.random.pick(&past) {
            let queue = self.lines.up.entry(index).or_default();
            let at = queue.back().map_or(now, |(at, _)| *at);
            queue.push_back((at, message));
        }
        let past: Vec<GroupNotice> =
            self.lines.past_down.get(&index).into_iter().flatten().cloned().collect();
        for _ in 0..self.random.below(4) {
            let Some(notice) = self.random.pick(&past) else { return };
            let queue = self.notices.entry(index).or_default();
            let at = queue.back().map_or(now, |(at, _)| *at);
            queue.push_back((at, Notice::Group(notice)));
        }
    }

    /// Once nothing goes wrong any more, and nothing is on the way, head and nodes say the same of groups.
    pub(super) fn check_agreement(&mut self, round: usize) {
        let is_quiet =
            self.lines.is_empty() && self.notices.values().all(VecDeque::is_empty) && self.is_settled();
        if !(150..200).contains(&round) || !is_quiet {
            return;
        }
        let mut here = BTreeSet::new();
        for index in self.alive() {
            let id = self.cluster.id(index);
            if self.cluster.worlds[index].node.is_draining() {
                // They go when nothing is in them.
                continue;
            }
            for bundle in self.cluster.worlds[index].node.bundles() {
                assert_eq!(bundle.state, "COMMITTED", "{:?} on {id}", bundle.id);
                here.insert((bundle.id.group, bundle.id.index, id));
            }
        }
        let mut said = BTreeSet::new();
        for group in self.head.groups().iter().filter(|group| group.state != GroupState::Removed) {
            assert!(
                group.state != GroupState::Created || group.nodes.iter().all(Option::is_some),
                "{} is created, and a bundle has no node",
                group.spec.id
            );
            let nodes = (0..).zip(&group.nodes);
            said.extend(nodes.filter_map(|(index, node)| node.map(|node| (group.spec.id, index, node))));
        }
        assert_eq!(here, said, "what nodes have, and what the head says that they have");
        self.lines.agreed += 1;
    }

    // ---- the guests ----

    fn groups_of(&self, index: usize, guest: Caller) -> Vec<PlacementGroupId> {
        let handles = self.held.get(&(index, guest.instance));
        let group = |handle: &Handle| match handle {
            Handle::PlacementGroup(id) => Some(*id),
            _ => None,
        };
        handles.into_iter().flatten().filter_map(group).collect()
    }

    pub(super) fn group_act(&mut self, index: usize, guest: Caller) {
        let groups = self.groups_of(index, guest);
        let Some(group) = self.random.pick(&groups) else { return self.ask_for_group(index, guest) };
        match self.random.below(10) {
            0..=1 => self.ask_for_group(index, guest),
            2..=3 => {
                let removed = self.cluster.worlds[index]
                    .event(|node, now, fx| node.remove_group(now, guest, group, fx));
                self.lines.removed += u64::from(removed.is_ok());
            }
            4..=5 => self.await_group(index, guest, group),
            _ => self.spawn(index, guest),
        }
    }

    fn ask_for_group(&mut self, index: usize, guest: Caller) {
        let count = self.random.of([1, 1, 2, 3]);
        let bundles = (0..count)
            .map(|_| {
                let cpus = Quantity(self.random.of([5_000, 10_000, 20_000]));
                let memory = self.random.of([0, 0, 64 << 20]);
                Bundle { resources: Resources { cpus, memory, ..Resources::default() }, labels: Vec::new() }
            })
            .collect();
        let strategy = self.random.of([
            GroupStrategy::Pack,
            GroupStrategy::Spread,
            GroupStrategy::StrictPack,
            GroupStrategy::StrictSpread,
        ]);
        let name = self.random.of([None, None, Some("a"), Some("b")]).map(str::to_owned);
        let request = GroupRequest { bundles, strategy, name, namespace: "n".to_owned() };
        let asked = self.cluster.worlds[index].event(|node, _, _| node.create_group(guest, request));
        if let Ok(group) = asked {
            self.lines.asked.insert(group, (index, guest));
        }
    }

    fn await_group(&mut self, index: usize, guest: Caller, group: PlacementGroupId) {
        let ready: Result<ObjectId, _> =
            self.cluster.worlds[index].event(|node, _, fx| node.group_ready(guest, group, fx));
        if let Ok(id) = ready {
            self.held.entry((index, guest.instance)).or_default().push(Handle::Object(id));
        }
    }

    /// Some group that a guest holds, as where something is to run.
    pub(super) fn in_some_group(&mut self, index: usize, guest: Caller) -> Option<Strategy> {
        let groups = self.groups_of(index, guest);
        let group = self.random.pick(&groups)?;
        let bundle = self.random.of([None, None, Some(0), Some(1)]);
        let capture_children = self.random.once_in(2);
        Some(Strategy::PlacementGroup { group, bundle, capture_children })
    }
}
