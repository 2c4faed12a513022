//! What nodes are told of one another: who has joined, and what each has free.
//!
//! Each turn has one list for all who are told: n nodes that are told of n others cost n pointers here. Nodes
//! that join together are told of together. What others have free only those are told who look for room.

use std::sync::Arc;

use crate::head::nodes::Nodes;
use crate::head::{Effect, Head, Notice};
use crate::ids::NodeId;
use crate::node::{Load, NodeInfo};
use crate::time::Time;

/// What the others have yet to be told.
#[derive(Default)]
pub(super) struct News {
    /// Nodes whose loads were not passed on yet.
    loads: Vec<NodeId>,
    /// When they are.
    pub loads_at: Option<Time>,
    /// What all have free, as it was at some time since loads were passed on last.
    all_loads: Option<Arc<[(NodeId, Load)]>>,
    /// Nodes that have joined and were not told of yet.
    joined: Vec<NodeId>,
    /// When they are.
    pub joined_at: Option<Time>,
    /// When nodes that joined were told of last.
    joins_told: Option<Time>,
}

impl Nodes {
    /// What all nodes have free: one list for everyone who asks before loads are passed on again, when they
    /// hear of what has changed meanwhile.
    fn all_loads(&mut self) -> Arc<[(NodeId, Load)]> {
        let alive = &self.alive;
        let list = || alive.iter().map(|(id, node)| (*id, node.load.clone())).collect();
        self.news.all_loads.get_or_insert_with(list).clone()
    }
}

impl Head {
    /// A node has said what it has free, by a beat or an answer; the newest counts.
    pub(super) fn load_is_said(&mut self, now: Time, id: NodeId, load: &Load) {
        let Some(node) = self.nodes.alive.get_mut(&id) else { return };
        if load.version < node.load.version {
            return;
        }
        if node.load.free != load.free {
            if !std::mem::replace(&mut node.has_news, true) {
                self.nodes.news.loads.push(id);
            }
            self.nodes.news.loads_at.get_or_insert(now + self.limits.watch.loads_every);
        }
        node.load = load.clone();
    }

    /// A node looks for room on others, and is to be told what they have free; or does so no more. One that
    /// has not said is told.
    pub fn wants_loads(&mut self, id: NodeId, wants: bool, fx: &mut Vec<Effect>) {
        let Some(node) = self.nodes.alive.get_mut(&id) else { return };
        let begins = wants && !node.wants_loads;
        node.wants_loads = wants;
        if begins {
            let all = self.nodes.all_loads();
            fx.push(Effect::Tell(id, Notice::Loads(all)));
        }
    }

    /// Passes on what has changed since the last turn.
    pub(super) fn pass_loads_on(&mut self, fx: &mut Vec<Effect>) {
        self.nodes.news.loads_at = None;
        self.nodes.news.all_loads = None;
        let mut changed = std::mem::take(&mut self.nodes.news.loads);
        changed.sort();
        let mut news = Vec::with_capacity(changed.len());
        for id in changed {
            if let Some(node) = self.nodes.alive.get_mut(&id)
                && std::mem::take(&mut node.has_news)
            {
                news.push((id, node.load.clone()));
            }
        }
        let news: Arc<[(NodeId, Load)]> = news.into();
        let only = if let [(only, _)] = news[..] { Some(only) } else { None };
        let asking = self.nodes.alive.iter().filter(|(_, node)| node.wants_loads);
        for (id, _) in asking.filter(|(id, _)| !news.is_empty() && only != Some(**id)) {
            fx.push(Effect::Tell(*id, Notice::Loads(news.clone())));
        }
    }

    /// A node has joined, or come back: it is told of at once, or when so much time has passed since others
    /// were, together with those who join until then.
    pub(super) fn note_joined(&mut self, now: Time, id: NodeId, fx: &mut Vec<Effect>) {
        let news = &mut self.nodes.news;
        news.joined.push(id);
        let next = news.joins_told.map_or(now, |told| told + self.limits.watch.joins_every);
        if next <= now {
            self.tell_of_joins(now, fx);
        } else {
            news.joined_at = Some(next);
        }
    }

    /// Those who have joined hear of everyone, and the others of them. To be called before anything else is
    /// said of a node that may be among them.
    pub(super) fn tell_of_joins(&mut self, now: Time, fx: &mut Vec<Effect>) {
        self.nodes.news.joined_at = None;
        let mut new = std::mem::take(&mut self.nodes.news.joined);
        new.retain(|id| self.nodes.alive.contains_key(id));
        if new.is_empty() {
            return;
        }
        self.nodes.news.joins_told = Some(now);
        new.sort();
        new.dedup();
        let infos = |ids: &mut dyn Iterator<Item = &NodeId>| -> Arc<[NodeInfo]> {
            ids.filter_map(|id| self.nodes.alive.get(id)).map(|node| node.info.clone()).collect()
        };
        let newcomers = infos(&mut new.iter());
        let all = infos(&mut self.nodes.alive.keys());
        self.nodes.news.all_loads = None;
        let loads = self.nodes.all_loads();
        for id in self.nodes.alive.keys() {
            if new.binary_search(id).is_err() {
                fx.push(Effect::Tell(*id, Notice::Joined(newcomers.clone())));
            } else if all.len() > 1 {
                fx.push(Effect::Tell(*id, Notice::Joined(all.clone())));
                fx.push(Effect::Tell(*id, Notice::Loads(loads.clone())));
            }
        }
        for id in new {
            self.tell_of_drains(now, id, fx);
        }
    }
}
