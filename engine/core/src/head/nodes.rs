//! Which nodes there are, and which of them live (contract H1, H3).
//!
//! A node says every so often what it has free. One whose connection breaks has a moment to come back;
//! one that is silent for too long is dead, whatever it does. Its id is never used again: when it comes
//! back it is told so, and starts afresh with another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::group::GroupNotice;
use crate::head::deadlines::Deadlines;
use crate::head::news::News;
use crate::head::record::Changed;
use crate::head::{DeadRecord, Drain, Head, MemberRecord, Record};
use crate::ids::{IdMap, JobId, NodeId};
use crate::node::{Load, NodeInfo};
use crate::quota::TenantNews;
use crate::resources::Resources;
use crate::time::Time;

/// What the outside must do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Tell a node something, in this order.
    Tell(NodeId, Notice),
    /// A node is dead or has left, and why: its line is to end. Comes before the others are told.
    Died(NodeId, String),
    /// An old job, which was at this run, was forgotten to make room.
    JobForgotten(JobId),
    /// Start this run of a job on this node.
    StartRun(JobId, NodeId),
    /// Call `timer` at this time, whatever was armed before.
    ArmTimer(Time),
    /// Somebody who runs the engine wants to know this: a line for its log.
    Alert(String),
}

/// What nodes are told of one another.
#[derive(Debug, Clone)]
pub enum Notice {
    /// These nodes are there; whoever is told may be among them.
    Joined(Arc<[NodeInfo]>),
    /// A node is dead, and why.
    Dead(NodeId, String),
    /// A node takes no new work and is to leave, this one or another; to itself also how long it has for
    /// that, when there is a bound.
    Draining(NodeId, Option<Duration>),
    /// A node has left with nothing on it; to itself: it may go, whatever it has.
    Left(NodeId, String),
    /// What nodes have free that had something else free before; whoever is told may be among them.
    Loads(Arc<[(NodeId, Load)]>),
    /// Something about a placement group.
    Group(GroupNotice),
    /// What a tenant may have, and what of it the node was lent.
    Tenant(Box<TenantNews>),
    /// This run of a job was lost: what there is of it ends, and then the head is told so
    /// ([`Head::run_is_gone`]).
    EndRun(JobId),
    /// All nodes stand still, and work waits for ever: after so many changes
    /// ([`crate::node::Standstill`]), the node is to fail what waits first there.
    BreakDeadlock(u64),
}

/// How nodes are watched.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Nodes that live, at once.
    pub nodes_max: usize,
    /// Dead nodes that are known by their ids; the oldest is forgotten first. One that was forgotten is
    /// still refused when it says that this head has welcomed it ([`Head::check_return`]).
    pub dead_nodes_max: usize,
    /// A node that was not heard of for so long is dead.
    pub silence_max: Duration,
    /// A node whose connection broke is dead when it has not come back after so long.
    pub reconnect_max: Duration,
    /// When the head itself has come back a node has so much longer than `silence_max` to be heard of.
    pub return_max: Duration,
    /// A node's welcome waits until it is durable that the node has joined: meanwhile it has so much longer
    /// than `silence_max` to be heard of.
    pub welcome_max: Duration,
    /// What nodes have free is passed on so often.
    pub loads_every: Duration,
    /// Nodes that join are told of at most so often: those that come together are told of together.
    pub joins_every: Duration,
    /// When all nodes have stood still for so long and work waits, that is a deadlock.
    pub deadlock_after: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            nodes_max: 10_000,
            dead_nodes_max: 10_000,
            silence_max: Duration::from_secs(3),
            reconnect_max: Duration::from_millis(500),
            return_max: Duration::from_secs(10),
            welcome_max: Duration::from_secs(60),
            loads_every: Duration::from_millis(100),
            joins_every: Duration::from_millis(20),
            deadlock_after: Duration::from_secs(5),
        }
    }
}

/// Why a node that was dead already is spoken of again.
const REMOVED: &str = "it was dead, and is not to come back";

/// So many of those that are members no more are told to a node that joins.
const DEPARTED_TOLD_MAX: usize = 256;

/// The nodes as the head knows them.
#[derive(Default)]
pub(super) struct Nodes {
    pub alive: BTreeMap<NodeId, Alive>,
    dead: IdMap<NodeId, Grave>,
    /// The same, the oldest first.
    buried: VecDeque<NodeId>,
    burials: u64,
    pub changed: Changed<NodeId>,
    pub deadlines: Deadlines,
    pub news: News,
    /// When `timer` was asked for.
    armed: Option<Time>,
}

/// A node that is no member any more.
#[derive(Debug, Clone, Copy)]
struct Grave {
    /// Counts deaths.
    order: u64,
    /// It was let go.
    has_left: bool,
}

/// How a node is no member any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    Died,
    /// It was let go; whether with nothing on it.
    Left {
        in_order: bool,
    },
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStanding {
    /// It is a member and takes work.
    Alive,
    /// It is a member, takes no new work, and is to leave.
    Draining(Drain),
    /// It was drained and let go.
    Left,
    /// It was declared dead.
    Dead,
}

pub(super) struct Alive {
    pub info: NodeInfo,
    pub load: Load,
    /// Its load was not passed on yet.
    pub has_news: bool,
    /// It is told what others have free.
    pub wants_loads: bool,
    /// When it is dead unless it is heard of.
    pub deadline: Time,
    /// When it is looked whether it is.
    pub watched_at: Option<Time>,
    /// Its connection is broken.
    is_broken: bool,
    /// The head has come back, and the node has not yet.
    is_expected: bool,
    /// It is to leave.
    drain: Option<Drain>,
}

impl Alive {
    fn new(info: NodeInfo, load: Load, deadline: Time) -> Self {
        Self {
            info,
            load,
            has_news: false,
            wants_loads: true,
            deadline,
            watched_at: None,
            is_broken: false,
            is_expected: false,
            drain: None,
        }
    }
}

impl Nodes {
    /// A node was a member before the head came back.
    pub fn expect(&mut self, now: Time, MemberRecord { info, drain }: MemberRecord, watch: &Watch) {
        let load = Load { free: Resources::default(), version: 0 };
        let deadline = now + watch.silence_max + watch.return_max;
        let id = info.id;
        let mut node = Alive { is_expected: true, drain, ..Alive::new(info, load, deadline) };
        self.deadlines.watch(id, &mut node);
        self.alive.insert(id, node);
    }

    /// The latest that died or left, the last first.
    pub fn latest_departed(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.buried.iter().rev().take(DEPARTED_TOLD_MAX).copied()
    }

    /// Nodes that were dead before the head came back, the oldest first.
    pub fn remember_dead(&mut self, dead: Vec<DeadRecord>) {
        for record in dead {
            self.burials = self.burials.max(record.order);
            self.dead.insert(record.node, Grave { order: record.order, has_left: record.has_left });
            self.buried.push_back(record.node);
        }
    }

    fn bury(&mut self, id: NodeId, has_left: bool, max: usize) {
        if let Some(mut node) = self.alive.remove(&id) {
            self.deadlines.forget(id, &mut node);
        }
        self.burials += 1;
        self.dead.insert(id, Grave { order: self.burials, has_left });
        self.buried.push_back(id);
        self.changed.note(id);
        if self.buried.len() > max
            && let Some(oldest) = self.buried.pop_front()
        {
            self.dead.remove(&oldest);
            self.changed.note(oldest);
        }
    }

    #[cfg(test)]
    pub fn books(&self) -> Vec<String> {
        let alive = self.alive.values().map(|node| format!("{:?} {:?}", node.info, node.drain));
        let dead = self.buried.iter().map(|id| format!("dead {id} {:?}", self.dead.get(id)));
        alive.chain(dead).chain([format!("{}", self.dead.len())]).collect()
    }

    pub fn record(&self, id: NodeId) -> Option<Record> {
        if let Some(Grave { order, has_left }) = self.dead.get(&id).copied() {
            return Some(Record::Dead(DeadRecord { node: id, order, has_left }));
        }
        let record = |node: &Alive| MemberRecord { info: node.info.clone(), drain: node.drain };
        self.alive.get(&id).map(|node| Record::Node(record(node)))
    }

    /// How a member drains, to be looked at or changed; none when it is no member.
    pub fn drain_of(&mut self, id: NodeId) -> Option<&mut Option<Drain>> {
        self.alive.get_mut(&id).map(|node| &mut node.drain)
    }

    /// The members.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.alive.keys().copied()
    }

    /// Whether there is, or was, any node.
    pub fn has_known_any(&self) -> bool {
        !self.alive.is_empty() || self.burials > 0
    }

    /// How a member stands with its connection: it broke, and it has not come back since the head did.
    pub fn connection_of(&self, id: NodeId) -> Option<(bool, bool)> {
        self.alive.get(&id).map(|node| (node.is_broken, node.is_expected))
    }

    /// The members that are to leave.
    pub fn draining(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.alive.iter().filter(|(_, node)| node.drain.is_some()).map(|(id, _)| *id)
    }
}

impl Head {
    /// A node wants to join. Those that are there already are among what it is told.
    ///
    /// # Errors
    /// NODE_DIED when it was declared dead; LIMIT_EXCEEDED when there are `nodes_max`.
    pub fn node_joins(&mut self, now: Time, info: NodeInfo, fx: &mut Vec<Effect>) -> Result<(), Error> {
        let id = info.id;
        self.check_join(id)?;
        self.note_node_here(now, &info);
        let load = Load { free: info.total.clone(), version: 0 };
        let deadline = now + self.limits.watch.silence_max;
        if self.nodes.alive.get(&id).is_none_or(|known| known.info != info) {
            self.nodes.changed.note(id);
        }
        let mut node = Alive::new(info, load, deadline);
        if let Some(known) = self.nodes.alive.get_mut(&id) {
            self.nodes.deadlines.forget(id, known);
            node.drain = known.drain;
        }
        self.nodes.deadlines.watch(id, &mut node);
        self.nodes.alive.insert(id, node);
        self.standstills.forget(id);
        self.ledger_joins(id);
        self.note_joined(now, id, fx);
        self.end_lost_runs_at(id, fx);
        self.start_next_runs(fx);
        self.groups_changed(now, fx);
        self.arm(fx);
        Ok(())
    }

    /// What the node that has just joined waits for is not durable yet: it has not been told that it may
    /// speak.
    pub fn welcome_waits(&mut self, now: Time, id: NodeId, fx: &mut Vec<Effect>) {
        let watch = &self.limits.watch;
        self.watch_until(id, now + watch.silence_max + watch.welcome_max, fx);
    }

    /// It is on its way to the node.
    pub fn node_welcomed(&mut self, now: Time, id: NodeId, fx: &mut Vec<Effect>) {
        // One whose connection has broken meanwhile has not heard it.
        if self.nodes.alive.get(&id).is_some_and(|node| !node.is_broken) {
            self.watch_until(id, now + self.limits.watch.silence_max, fx);
        }
    }

    fn watch_until(&mut self, id: NodeId, deadline: Time, fx: &mut Vec<Effect>) {
        let Some(node) = self.nodes.alive.get_mut(&id) else { return };
        node.deadline = deadline;
        self.nodes.deadlines.watch(id, node);
        self.arm(fx);
    }

    /// An id for the head itself, as those of nodes are.
    pub fn new_node_id(&mut self) -> NodeId {
        self.ids.node()
    }

    /// A node asks to join; `is_back`: this very head has welcomed it before. Whether it may.
    ///
    /// # Errors
    /// As [`Self::node_joins`] and [`Self::check_return`].
    pub fn admit(&mut self, now: Time, id: NodeId, is_back: bool) -> Result<(), Error> {
        let may = self.check_join(id).and_then(|()| if is_back { self.check_return(id) } else { Ok(()) });
        may.inspect_err(|error| self.note_refusal(now, Some(id), error))
    }

    /// Whether a node may join.
    ///
    /// # Errors
    /// As [`Self::node_joins`].
    pub fn check_join(&self, id: NodeId) -> Result<(), Error> {
        if let Some(grave) = self.nodes.dead.get(&id) {
            return Err(if grave.has_left { gone(id) } else { fenced(id) });
        }
        if !self.nodes.alive.contains_key(&id) && self.nodes.alive.len() >= self.limits.watch.nodes_max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!("nodes_max of {} is reached: drain a node first", self.limits.watch.nodes_max),
            ));
        }
        Ok(())
    }

    /// Whether a node may join that this very head has welcomed before: what the head has forgotten of it
    /// is that it is dead.
    ///
    /// # Errors
    /// NODE_DIED when it is not a member any more.
    pub fn check_return(&self, id: NodeId) -> Result<(), Error> {
        if self.is_alive(id) { Ok(()) } else { Err(fenced(id)) }
    }

    /// The latest nodes that are members no more. A node that joins hears of them: others may not have heard so
    /// yet, and may give it work of jobs whose roots those had.
    pub fn latest_departed(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.latest_departed()
    }

    /// How often a node is to say what it has free, when that changes.
    pub fn load_interval(&self) -> Duration {
        self.limits.watch.loads_every
    }

    /// Somebody who has joined knows of a node that this head does not: a head that has started afresh
    /// learns of it. It is watched like one whose connection has just broken.
    pub fn node_is_known(&mut self, now: Time, info: NodeInfo, fx: &mut Vec<Effect>) {
        let id = info.id;
        let is_news = !self.nodes.alive.contains_key(&id) && !self.nodes.dead.contains_key(&id);
        if is_news
            && self.node_joins(now, info, fx).is_ok()
            && let Some(node) = self.nodes.alive.get_mut(&id)
        {
            node.is_broken = true;
        }
    }

    /// Whether a node lives, as far as is known.
    pub fn is_alive(&self, id: NodeId) -> bool {
        self.nodes.alive.contains_key(&id)
    }

    /// A node has said what it has free. False: it was declared dead, or was never here, and is to start
    /// afresh.
    pub fn heard_of(&mut self, now: Time, id: NodeId, load: Load, fx: &mut Vec<Effect>) -> bool {
        let Some(node) = self.nodes.alive.get_mut(&id) else { return false };
        self.usage.look(now);
        node.deadline = now + self.limits.watch.silence_max;
        let is_back = std::mem::replace(&mut node.is_expected, false);
        let was_broken = std::mem::replace(&mut node.is_broken, false);
        self.nodes.deadlines.watch(id, node);
        let has_more = !node.load.free.covers(&load.free);
        if is_back || was_broken {
            self.note_return(now, id, is_back);
        }
        self.load_is_said(now, id, &load);
        if has_more {
            self.groups_changed(now, fx);
        }
        if is_back {
            self.start_next_runs(fx);
        }
        self.arm(fx);
        true
    }

    /// The connection to a node broke: noticed at once, and dead soon unless it comes back.
    pub fn connection_broke(&mut self, now: Time, id: NodeId, fx: &mut Vec<Effect>) {
        let Some(node) = self.nodes.alive.get_mut(&id) else { return };
        node.is_broken = true;
        node.deadline = node.deadline.min(now + self.limits.watch.reconnect_max);
        self.nodes.deadlines.watch(id, node);
        self.note_broken_connection(now, id);
        self.arm(fx);
    }

    /// A node says that it leaves, or somebody who knows says that it is gone.
    pub fn node_leaves(&mut self, now: Time, id: NodeId, why: &str, fx: &mut Vec<Effect>) {
        if self.nodes.alive.contains_key(&id) {
            self.declare_dead(now, id, why, fx);
            self.arm(fx);
        }
    }

    /// Somebody cannot reach a node, and asks. None: it is watched, and the answer comes when it is known.
    pub fn is_dead(&self, id: NodeId) -> Option<Notice> {
        let is_alive = self.nodes.alive.contains_key(&id);
        (!is_alive).then(|| Notice::Dead(id, "it is not, or not any more, a node of this cluster".to_owned()))
    }

    /// How a node stands; none when it is not known, or not any more.
    pub fn standing(&self, id: NodeId) -> Option<NodeStanding> {
        if let Some(node) = self.nodes.alive.get(&id) {
            return Some(node.drain.map_or(NodeStanding::Alive, NodeStanding::Draining));
        }
        let grave = self.nodes.dead.get(&id)?;
        Some(if grave.has_left { NodeStanding::Left } else { NodeStanding::Dead })
    }

    /// Nodes that were let go, or are to count as such, in no order.
    pub fn nodes_left(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.dead.iter().filter(|(_, grave)| grave.has_left).map(|(id, _)| *id)
    }

    /// A node that is dead is to count as one that has left: it may not come back as what it was. Of one that
    /// is not dead nothing is done.
    pub fn revoke(&mut self, id: NodeId, fx: &mut Vec<Effect>) {
        let Some(grave) = self.nodes.dead.get_mut(&id).filter(|grave| !grave.has_left) else { return };
        grave.has_left = true;
        self.nodes.changed.note(id);
        let told = |other: &NodeId| Effect::Tell(*other, Notice::Dead(id, REMOVED.to_owned()));
        fx.extend(self.nodes.alive.keys().map(told));
    }

    /// Nodes that live.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeInfo, &Load)> {
        self.nodes.alive.values().map(|node| (&node.info, &node.load))
    }

    /// Nodes that live and do not drain.
    pub fn nodes_that_stay(&self) -> impl Iterator<Item = (&NodeInfo, &Load)> {
        let stay = self.nodes.alive.values().filter(|node| node.drain.is_none());
        stay.map(|node| (&node.info, &node.load))
    }

    /// Nodes that have been heard of since the head started, and do not drain; and whether the connection to
    /// each is broken.
    pub(super) fn nodes_that_take_jobs(&self) -> impl Iterator<Item = (&NodeInfo, &Load, bool)> {
        let heard = self.nodes.alive.values().filter(|node| !node.is_expected && node.drain.is_none());
        heard.map(|node| (&node.info, &node.load, node.is_broken))
    }

    /// How many nodes have not been heard of since the head came back. Each will be, or is declared dead.
    pub fn nodes_expected(&self) -> usize {
        self.nodes.alive.values().filter(|node| node.is_expected).count()
    }

    /// Time has come.
    pub fn timer(&mut self, now: Time, fx: &mut Vec<Effect>) {
        // Who was asleep itself has heard of nobody meanwhile: what the nodes said is still to come.
        let asleep = self.nodes.armed.take().map_or(Duration::ZERO, |armed| now.since(armed));
        if asleep > self.limits.watch.silence_max / 4 {
            for node in self.nodes.alive.values_mut() {
                node.deadline = node.deadline.max(now + self.limits.watch.reconnect_max);
            }
        }
        for id in self.nodes.overdue(now) {
            let why = self.nodes.alive.get(&id).map(|node| node.why_dead(&self.limits.watch));
            self.declare_dead(now, id, &why.unwrap_or_default(), fx);
        }
        if self.nodes.news.joined_at.is_some_and(|at| at <= now) {
            self.tell_of_joins(now, fx);
        }
        if self.nodes.news.loads_at.is_some_and(|at| at <= now) {
            self.pass_loads_on(fx);
        }
        if self.groups.try_at.is_some_and(|at| at <= now) {
            self.try_groups(now, fx);
        }
        self.note_groups(now);
        self.arm(fx);
    }

    fn declare_dead(&mut self, now: Time, id: NodeId, why: &str, fx: &mut Vec<Effect>) {
        self.depart(now, id, why, Departure::Died, fx);
    }

    /// A node is no member any more.
    pub(super) fn depart(&mut self, now: Time, id: NodeId, why: &str, how: Departure, fx: &mut Vec<Effect>) {
        self.tell_of_joins(now, fx);
        self.nodes.bury(id, how != Departure::Died, self.limits.watch.dead_nodes_max);
        self.ledger_leaves(id, fx);
        self.note_departure(now, id, why, how);
        self.standstills.forget(id);
        self.release_names_of(id);
        self.nothing_is_left_at(id);
        let again = self.lose_runs_of(now, id, why, fx);
        if how != Departure::Died {
            // While there is a line.
            fx.push(Effect::Tell(id, Notice::Left(id, why.to_owned())));
        }
        fx.push(Effect::Died(id, why.to_owned()));
        for other in self.nodes.alive.keys() {
            let notice = match how {
                Departure::Left { in_order: true } => Notice::Left,
                Departure::Left { in_order: false } | Departure::Died => Notice::Dead,
            };
            fx.push(Effect::Tell(*other, notice(id, why.to_owned())));
        }
        self.end_lost_runs(again, fx);
        self.start_next_runs(fx);
        self.groups_lose_node(now, id, fx);
    }

    pub(super) fn arm(&mut self, fx: &mut Vec<Effect>) {
        let news = &self.nodes.news;
        let times = [self.nodes.deadlines.next(), news.loads_at, news.joined_at, self.groups.try_at];
        let next = times.into_iter().flatten().min();
        if let Some(at) = next.filter(|_| next != self.nodes.armed) {
            self.nodes.armed = Some(at);
            fx.push(Effect::ArmTimer(at));
        }
    }
}

impl Alive {
    /// Why it is dead, when its deadline has passed.
    fn why_dead(&self, watch: &Watch) -> String {
        if self.is_expected {
            let wait = watch.silence_max + watch.return_max;
            return format!("it was not heard of for {wait:?} after the head came back");
        }
        match self.is_broken {
            true => format!("its connection broke and was not made anew within {:?}", watch.reconnect_max),
            false => format!("nothing was heard of it for {:?}", watch.silence_max),
        }
    }
}

fn gone(id: NodeId) -> Error {
    Error::new(ErrorCode::NodeDied, format!("{id} has left: join with a new id, and a join token"))
}

fn fenced(id: NodeId) -> Error {
    let message =
        format!("{id} was declared dead: what ran there runs elsewhere; start afresh with a new id");
    Error::new(ErrorCode::NodeDied, message)
}
