//! Which nodes there are, and which of them live (contract H1, H3).
//!
//! A node says every so often what it has free. One whose connection breaks has a moment to come back;
//! one that is silent for too long is dead, whatever it does. Its id is never used again: when it comes
//! back it is told so, and starts afresh with another.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::group::GroupNotice;
use crate::head::Head;
use crate::ids::{IdSet, JobId, NodeId};
use crate::node::{Load, NodeInfo};
use crate::time::Time;

/// What the outside must do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Tell a node something, in this order.
    Tell(NodeId, Notice),
    /// A node is dead, and why: its line is to end. Comes before the others are told.
    Died(NodeId, String),
    /// An old job was forgotten to make room.
    JobForgotten(JobId),
    /// Call `timer` at this time, whatever was armed before.
    ArmTimer(Time),
}

/// What nodes are told of one another.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A node is there.
    Joined(NodeInfo),
    /// A node is dead, and why.
    Dead(NodeId, String),
    /// What nodes have free that had something else free before.
    Loads(Vec<(NodeId, Load)>),
    /// Something about a placement group.
    Group(GroupNotice),
}

/// How nodes are watched.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Nodes that live, at once.
    pub nodes_max: usize,
    /// A node that was not heard of for so long is dead.
    pub silence_max: Duration,
    /// A node whose connection broke is dead when it has not come back after so long.
    pub reconnect_max: Duration,
    /// What nodes have free is passed on so often.
    pub loads_every: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            nodes_max: 10_000,
            silence_max: Duration::from_secs(3),
            reconnect_max: Duration::from_millis(500),
            loads_every: Duration::from_millis(100),
        }
    }
}

/// The nodes as the head knows them.
#[derive(Default)]
pub(super) struct Nodes {
    alive: BTreeMap<NodeId, Alive>,
    dead: IdSet<NodeId>,
    loads_at: Option<Time>,
    /// When `timer` was asked for.
    armed: Option<Time>,
}

struct Alive {
    info: NodeInfo,
    load: Load,
    /// Its load was not passed on yet.
    has_news: bool,
    /// When it is dead unless it is heard of.
    deadline: Time,
    /// Its connection is broken.
    is_broken: bool,
}

impl Head {
    /// A node wants to join. Those that are there already are among what it is told.
    ///
    /// # Errors
    /// NODE_DIED when it was declared dead; LIMIT_EXCEEDED when there are `nodes_max`.
    pub fn node_joins(&mut self, now: Time, info: NodeInfo, fx: &mut Vec<Effect>) -> Result<(), Error> {
        let id = info.id;
        self.check_join(id)?;
        for (other, alive) in &self.nodes.alive {
            if *other != id {
                fx.push(Effect::Tell(*other, Notice::Joined(info.clone())));
                fx.push(Effect::Tell(id, Notice::Joined(alive.info.clone())));
            }
        }
        let loads = self.nodes.alive.iter().filter(|(other, _)| **other != id);
        let loads: Vec<_> = loads.map(|(other, alive)| (*other, alive.load.clone())).collect();
        if !loads.is_empty() {
            fx.push(Effect::Tell(id, Notice::Loads(loads)));
        }
        let load = Load { free: info.total.clone(), version: 0 };
        let deadline = now + self.limits.watch.silence_max;
        self.nodes.alive.insert(id, Alive { info, load, has_news: false, deadline, is_broken: false });
        self.groups_changed(now, fx);
        self.arm(fx);
        Ok(())
    }

    /// An id for the head itself, as those of nodes are.
    pub fn new_node_id(&mut self) -> NodeId {
        self.ids.node()
    }

    /// Whether a node may join.
    ///
    /// # Errors
    /// As [`Self::node_joins`].
    pub fn check_join(&self, id: NodeId) -> Result<(), Error> {
        if self.nodes.dead.contains(&id) {
            return Err(Error::new(
                ErrorCode::NodeDied,
                format!("{id} was declared dead: what ran there runs elsewhere; start afresh with a new id"),
            ));
        }
        if !self.nodes.alive.contains_key(&id) && self.nodes.alive.len() >= self.limits.watch.nodes_max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!("nodes_max of {} is reached: drain a node first", self.limits.watch.nodes_max),
            ));
        }
        Ok(())
    }

    /// How often a node is to say what it has free, when that changes.
    pub fn load_interval(&self) -> Duration {
        self.limits.watch.loads_every
    }

    /// Somebody who has joined knows of a node that this head does not: a head that has started afresh
    /// learns of it. It is watched like one whose connection has just broken.
    pub fn node_is_known(&mut self, now: Time, info: NodeInfo, fx: &mut Vec<Effect>) {
        let id = info.id;
        let is_news = !self.nodes.alive.contains_key(&id) && !self.nodes.dead.contains(&id);
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
        node.deadline = now + self.limits.watch.silence_max;
        node.is_broken = false;
        let has_more = !node.load.free.covers(&load.free);
        self.load_is_said(now, id, &load);
        if has_more {
            self.groups_changed(now, fx);
        }
        self.arm(fx);
        true
    }

    /// A node has said what it has free, by a beat or an answer; the newest counts.
    pub(super) fn load_is_said(&mut self, now: Time, id: NodeId, load: &Load) {
        let Some(node) = self.nodes.alive.get_mut(&id) else { return };
        if load.version < node.load.version {
            return;
        }
        if node.load.free != load.free {
            node.has_news = true;
            self.nodes.loads_at.get_or_insert(now + self.limits.watch.loads_every);
        }
        node.load = load.clone();
    }

    /// The connection to a node broke: noticed at once, and dead soon unless it comes back.
    pub fn connection_broke(&mut self, now: Time, id: NodeId, fx: &mut Vec<Effect>) {
        let Some(node) = self.nodes.alive.get_mut(&id) else { return };
        node.is_broken = true;
        node.deadline = node.deadline.min(now + self.limits.watch.reconnect_max);
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

    /// Nodes that live.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeInfo, &Load)> {
        self.nodes.alive.values().map(|node| (&node.info, &node.load))
    }

    /// Time has come.
    pub fn timer(&mut self, now: Time, fx: &mut Vec<Effect>) {
        // Who was asleep itself has heard of nobody meanwhile: what the nodes said is still to come.
        let asleep = self.nodes.armed.map_or(Duration::ZERO, |armed| now.since(armed));
        if asleep > self.limits.watch.silence_max / 4 {
            for node in self.nodes.alive.values_mut() {
                node.deadline = node.deadline.max(now + self.limits.watch.reconnect_max);
            }
        }
        let due: Vec<(NodeId, bool)> = self
            .nodes
            .alive
            .iter()
            .filter(|(_, node)| node.deadline <= now)
            .map(|(id, node)| (*id, node.is_broken))
            .collect();
        for (id, is_broken) in due {
            let watch = &self.limits.watch;
            let why = match is_broken {
                true => {
                    format!("its connection broke and was not made anew within {:?}", watch.reconnect_max)
                }
                false => format!("nothing was heard of it for {:?}", watch.silence_max),
            };
            self.declare_dead(now, id, &why, fx);
        }
        if self.nodes.loads_at.is_some_and(|at| at <= now) {
            self.pass_loads_on(fx);
        }
        if self.groups.try_at.is_some_and(|at| at <= now) {
            self.try_groups(now, fx);
        }
        self.arm(fx);
    }

    fn pass_loads_on(&mut self, fx: &mut Vec<Effect>) {
        self.nodes.loads_at = None;
        let news: Vec<(NodeId, Load)> = self
            .nodes
            .alive
            .iter_mut()
            .filter_map(|(id, node)| std::mem::take(&mut node.has_news).then(|| (*id, node.load.clone())))
            .collect();
        for id in self.nodes.alive.keys() {
            let others: Vec<_> = news.iter().filter(|(other, _)| other != id).cloned().collect();
            if !others.is_empty() {
                fx.push(Effect::Tell(*id, Notice::Loads(others)));
            }
        }
    }

    fn declare_dead(&mut self, now: Time, id: NodeId, why: &str, fx: &mut Vec<Effect>) {
        self.nodes.alive.remove(&id);
        self.nodes.dead.insert(id);
        self.release_names_of(id);
        self.lose_jobs_of(now, id, why, fx);
        fx.push(Effect::Died(id, why.to_owned()));
        for other in self.nodes.alive.keys() {
            fx.push(Effect::Tell(*other, Notice::Dead(id, why.to_owned())));
        }
        self.groups_lose_node(now, id, fx);
    }

    pub(super) fn arm(&mut self, fx: &mut Vec<Effect>) {
        let deadline = self.nodes.alive.values().map(|node| node.deadline).min();
        if let Some(at) = deadline.into_iter().chain(self.nodes.loads_at).chain(self.groups.try_at).min() {
            self.nodes.armed = Some(at);
            fx.push(Effect::ArmTimer(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Limits;
    use crate::ids::IdGenerator;
    use crate::resources::{Quantity, Resources};

    const SECOND: Duration = Duration::from_secs(1);

    fn cpus(count: u64) -> Resources {
        Resources { cpus: Quantity::units(count), ..Resources::default() }
    }

    fn info(id: NodeId) -> NodeInfo {
        NodeInfo { id, labels: Vec::new(), total: cpus(4) }
    }

    fn load(count: u64) -> Load {
        Load { free: cpus(count), version: 0 }
    }

    fn heads_and_nodes() -> (Head, Vec<NodeId>) {
        let mut ids = IdGenerator::new([5; 16]);
        let mut head = Head::new([1; 16], Limits::default());
        let nodes: Vec<NodeId> = (0..3).map(|_| ids.node()).collect();
        for node in &nodes {
            head.node_joins(Time(0), info(*node), &mut Vec::new()).expect("room");
        }
        (head, nodes)
    }

    fn told(fx: &[Effect], to: NodeId) -> Vec<String> {
        let notice = |effect: &Effect| match effect {
            Effect::Tell(node, notice) if *node == to => Some(match notice {
                Notice::Joined(info) => format!("joined {}", info.id),
                Notice::Dead(id, _) => format!("dead {id}"),
                Notice::Loads(loads) => format!("loads of {}", loads.len()),
                Notice::Group(notice) => format!("{notice:?}"),
            }),
            _ => None,
        };
        fx.iter().filter_map(notice).collect()
    }

    #[test]
    fn who_joins_hears_of_the_others_and_they_of_it() {
        let (mut head, nodes) = heads_and_nodes();
        let new = IdGenerator::new([9; 16]).node();
        let mut fx = Vec::new();
        head.node_joins(Time(1), info(new), &mut fx).expect("room");
        for node in &nodes {
            assert_eq!(told(&fx, *node), [format!("joined {new}")]);
        }
        assert_eq!(told(&fx, new).len(), nodes.len() + 1, "all of them, and what they have free");
    }

    // contract: H1
    #[test]
    fn a_silent_node_is_dead_within_three_seconds() {
        let (mut head, nodes) = heads_and_nodes();
        let mut fx = Vec::new();
        for second in 1..3 {
            for node in &nodes[..2] {
                assert!(head.heard_of(Time(0) + SECOND * second, *node, load(4), &mut fx));
            }
            head.timer(Time(0) + SECOND * second, &mut fx);
        }
        assert!(told(&fx, nodes[0]).is_empty());
        head.timer(Time(0) + SECOND * 3, &mut fx);
        assert_eq!(told(&fx, nodes[0]), [format!("dead {}", nodes[2])]);
        assert!(told(&fx, nodes[2]).is_empty());
        assert_eq!(head.nodes().count(), 2);
    }

    // contract: H1
    #[test]
    fn a_broken_connection_is_death_unless_it_is_made_anew_soon() {
        let (mut head, nodes) = heads_and_nodes();
        let mut fx = Vec::new();
        for node in &nodes[1..] {
            head.connection_broke(Time(0), *node, &mut fx);
        }
        let soon = Time(0) + Duration::from_millis(400);
        assert!(head.heard_of(soon, nodes[1], load(4), &mut fx));
        head.timer(Time(0) + Duration::from_millis(500), &mut fx);
        assert_eq!(told(&fx, nodes[0]), [format!("dead {}", nodes[2])]);
    }

    // contract: H3
    #[test]
    fn who_was_declared_dead_starts_afresh() {
        let (mut head, nodes) = heads_and_nodes();
        let mut fx = Vec::new();
        head.node_leaves(Time(0), nodes[0], "it was told to", &mut fx);
        assert!(!head.heard_of(Time(1), nodes[0], load(1), &mut fx));
        let error = head.node_joins(Time(1), info(nodes[0]), &mut fx).expect_err("fenced");
        assert_eq!(error.code(), ErrorCode::NodeDied);
        assert!(matches!(head.is_dead(nodes[0]), Some(Notice::Dead(id, _)) if id == nodes[0]));
        assert!(head.is_dead(nodes[1]).is_none());
    }

    // contract: J2
    #[test]
    fn a_job_goes_to_the_node_with_the_fewest_and_fails_with_it() {
        use crate::head::{JobState, Submission, Submitted};
        let (mut head, nodes) = heads_and_nodes();
        let mut fx = Vec::new();
        head.heard_of(Time(0), nodes[1], load(8), &mut fx);
        let submit = |head: &mut Head| {
            let submission = Submission {
                submission_id: String::new(),
                digest: [0; 32],
                name: String::new(),
                namespace: String::new(),
                tenant: String::new(),
            };
            let Ok(Submitted::New(id)) = head.submit(Time(0), submission) else { panic!("it is new") };
            (id, head.place_job(id).expect("there are nodes"))
        };
        let (first, home) = submit(&mut head);
        assert_eq!(home, nodes[1], "it has most free");
        let (second, other) = submit(&mut head);
        assert_ne!(other, home, "it has a job already");
        head.node_leaves(Time(1), home, "it was told to", &mut fx);
        let record = head.job(first).expect("it is kept");
        assert_eq!(record.state, JobState::Failed);
        assert_eq!(record.error.as_ref().map(|error| error.code()), Some(ErrorCode::NodeDied));
        assert_eq!(head.job(second).expect("it is there").state, JobState::Pending);
        // Another head, which has started afresh, hears of it from its node, once.
        let mut afresh = Head::new([9; 16], Limits::default());
        afresh.node_joins(Time(0), info(other), &mut fx).expect("room");
        let submission = head.job(second).expect("it is there").submission.clone();
        assert!(afresh.job_is_known(Time(0), second, submission.clone(), other));
        assert!(!afresh.job_is_known(Time(0), second, submission, other));
        assert_eq!(afresh.job(second).expect("known").state, JobState::Running);
        afresh.node_leaves(Time(1), other, "it was told to", &mut fx);
        assert_eq!(afresh.job(second).expect("known").state, JobState::Failed);
        for node in nodes {
            head.node_leaves(Time(1), node, "it was told to", &mut fx);
        }
        assert_eq!(head.place_job(second).expect_err("no node").code(), ErrorCode::Unschedulable);
        let forgotten = |fx: &[Effect]| fx.iter().any(|effect| matches!(effect, Effect::JobForgotten(_)));
        assert!(!forgotten(&fx), "there is room for both");
        head.limits.ended_jobs_max = 1;
        head.node_joins(Time(2), info(IdGenerator::new([9; 16]).node()), &mut fx).expect("room");
        let (third, home) = submit(&mut head);
        fx.clear();
        head.node_leaves(Time(3), home, "it was told to", &mut fx);
        assert!(forgotten(&fx), "an older one makes room for {third}");
    }

    #[test]
    fn a_head_that_starts_afresh_learns_of_nodes_from_others() {
        let mut head = Head::new([1; 16], Limits::default());
        let mut ids = IdGenerator::new([5; 16]);
        let (first, second) = (ids.node(), ids.node());
        let mut fx = Vec::new();
        head.node_joins(Time(0), info(first), &mut fx).expect("room");
        head.node_is_known(Time(0), info(second), &mut fx);
        assert!(head.is_alive(second));
        head.heard_of(Time(0) + SECOND * 2, first, load(4), &mut fx);
        head.timer(Time(0) + SECOND * 3, &mut fx);
        assert_eq!(
            told(&fx, first),
            [format!("joined {second}"), format!("dead {second}")].map(String::from)
        );
        head.node_is_known(Time(0) + SECOND * 3, info(second), &mut fx);
        assert!(!head.is_alive(second), "who was declared dead stays dead");
    }

    #[test]
    fn what_is_free_is_passed_on_in_batches_when_it_changes() {
        let (mut head, nodes) = heads_and_nodes();
        let mut fx = Vec::new();
        head.heard_of(Time(0), nodes[0], load(3), &mut fx);
        head.heard_of(Time(1), nodes[1], load(2), &mut fx);
        head.heard_of(Time(2), nodes[2], load(4), &mut fx);
        assert!(fx.iter().all(|effect| matches!(effect, Effect::ArmTimer(_))));
        head.timer(Time(0) + Duration::from_millis(100), &mut fx);
        let loads = nodes.iter().map(|node| told(&fx, *node)).collect::<Vec<_>>();
        assert_eq!(loads, [vec!["loads of 1"], vec!["loads of 1"], vec!["loads of 2"]]);
        fx.clear();
        head.timer(Time(0) + Duration::from_millis(200), &mut fx);
        assert!(nodes.iter().all(|node| told(&fx, *node).is_empty()), "nothing has changed");
    }

    #[test]
    fn a_head_that_was_asleep_gives_the_nodes_time_to_be_heard() {
        let (mut head, nodes) = heads_and_nodes();
        let mut fx = Vec::new();
        head.timer(Time(0) + SECOND * 60, &mut fx);
        assert_eq!(head.nodes().count(), 3);
        assert!(head.heard_of(Time(0) + SECOND * 60, nodes[0], load(4), &mut fx));
        head.timer(Time(0) + SECOND * 61, &mut fx);
        assert_eq!(head.nodes().count(), 1, "who has said nothing since is dead");
    }

    #[test]
    fn nodes_are_bounded() {
        let watch = Watch { nodes_max: 1, ..Watch::default() };
        let mut head = Head::new([1; 16], Limits { watch, ..Limits::default() });
        let mut ids = IdGenerator::new([5; 16]);
        let first = ids.node();
        head.node_joins(Time(0), info(first), &mut Vec::new()).expect("room");
        let error = head.node_joins(Time(0), info(ids.node()), &mut Vec::new()).expect_err("full");
        assert_eq!(error.code(), ErrorCode::LimitExceeded);
        head.node_joins(Time(0), info(first), &mut Vec::new()).expect("it is here already");
    }
}
