//! Placement groups: which there are, and on which nodes their bundles are (contract P1 to P3).
//!
//! A group waits until nodes are found for all of its missing bundles, which [`choose`] does; then
//! [`reserve`] has these nodes prepare them, and commits. Groups are tried in the order in which they
//! came. One that has no room lets others pass, but only so often ([`GroupLimits::passed_over_max`]): then
//! it holds up those behind it, for a time that is bounded too.

mod choose;
mod explain;
mod happened;
mod record;
mod reserve;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::events::{Count, EventKind, Severity};
use crate::group::{Bundle, GroupMessage, GroupNews, GroupNotice, GroupSpec, GroupState};
use crate::head::record::Changed;
use crate::head::{Effect, Head, Notice};
use crate::ids::{NodeId, PlacementGroupId};
use crate::resources::Resources;
use crate::tenant::unscoped;
use crate::time::Time;

pub(in crate::head) use happened::Happened;
pub use view::{GroupLimits, GroupView};

/// The groups as the head knows them.
#[derive(Default)]
pub(super) struct Groups {
    table: BTreeMap<PlacementGroupId, Group>,
    names: BTreeMap<(String, String), PlacementGroupId>,
    /// Those that wait for room, in the order in which they came.
    waiting: BTreeMap<u64, PlacementGroupId>,
    /// Removed ones that can still be looked at.
    removed: VecDeque<PlacementGroupId>,
    arrivals: u64,
    removals: u64,
    pub changed: Changed<PlacementGroupId>,
    /// What nodes were asked to prepare and have not answered.
    pledges: BTreeMap<NodeId, Vec<Pledge>>,
    /// Where the next look at those that wait begins, after the first of them.
    cursor: u64,
    tried: Option<Time>,
    /// When those that wait are tried next.
    pub try_at: Option<Time>,
    /// What has happened and is not in the log of events yet.
    pub happened: Vec<Happened>,
}

struct Pledge {
    group: PlacementGroupId,
    generation: u64,
    resources: Resources,
}

struct Group {
    spec: Arc<GroupSpec>,
    state: GroupState,
    /// By bundle.
    places: Vec<Option<Place>>,
    /// The last attempt.
    generation: u64,
    /// Nodes that have yet to prepare what the last attempt asks of them; empty when none is under way.
    asked: BTreeSet<NodeId>,
    arrival: u64,
    passed_over: u32,
    /// Since when it holds others up.
    holds_up: Option<Time>,
    /// Nodes that hear what becomes of it.
    watchers: BTreeSet<NodeId>,
    created: Time,
    /// Counts what was said of it.
    version: u64,
    /// When it is removed: how many were before, and it.
    removal: u64,
    /// Whether the nodes could never hold it; none: it was not looked at.
    is_hopeless: Option<bool>,
    why: Arc<str>,
}

/// Where a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    node: NodeId,
    /// The attempt that put it there.
    generation: u64,
}

impl Group {
    fn missing(&self) -> Vec<u32> {
        (0..).zip(&self.places).filter(|(_, place)| place.is_none()).map(|(index, _)| index).collect()
    }

    /// The nodes that have something of an attempt.
    fn nodes_of(&self, generation: u64) -> BTreeSet<NodeId> {
        let places = self.places.iter().flatten();
        places.filter(|place| place.generation == generation).map(|place| place.node).collect()
    }

    fn news(&self) -> Arc<GroupNews> {
        let is_gone = self.state == GroupState::Removed;
        let bundles = self.spec.bundles.iter().zip(&self.places);
        // What an attempt under way has got may not be used yet.
        let node = |place: &Option<Place>| {
            let is_tried = |place: &Place| !self.asked.is_empty() && place.generation == self.generation;
            place.filter(|place| !is_tried(place)).map(|place| place.node)
        };
        let place = |(bundle, place): (&Bundle, &Option<Place>)| (bundle.resources.clone(), node(place));
        Arc::new(GroupNews {
            group: self.spec.id,
            owner: Some(self.spec.owner),
            version: self.version,
            state: self.state,
            bundles: if is_gone { Vec::new() } else { bundles.map(place).collect() },
            why: self.why.clone(),
        })
    }

    fn tell_watchers(&mut self, fx: &mut Vec<Effect>) {
        self.version += 1;
        let news = self.news();
        for node in &self.watchers {
            fx.push(tell(*node, GroupNotice::News(news.clone())));
        }
    }
}

fn tell(node: NodeId, notice: GroupNotice) -> Effect {
    Effect::Tell(node, Notice::Group(notice))
}

impl Head {
    /// Accepts a placement group; repeating it is safe. Its owner hears what becomes of it.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when no cluster could hold it, ALREADY_EXISTS when another has its name,
    /// LIMIT_EXCEEDED when there are `groups_max`, or it has too many bundles.
    pub fn create_group(&mut self, now: Time, spec: GroupSpec, fx: &mut Vec<Effect>) -> Result<(), Error> {
        let (id, owner) = (spec.id, spec.owner);
        if let Some(known) = self.groups.table.get(&id) {
            fx.push(tell(owner, GroupNotice::News(known.news())));
            return Ok(());
        }
        self.check_group(&spec)?;
        if let Some(name) = &spec.name {
            self.groups.names.insert((spec.namespace.clone(), name.clone()), id);
        }
        self.groups.arrivals += 1;
        let group = Group {
            state: GroupState::Pending,
            places: vec![None; spec.bundles.len()],
            spec: Arc::new(spec),
            generation: 0,
            asked: BTreeSet::new(),
            arrival: self.groups.arrivals,
            passed_over: 0,
            holds_up: None,
            watchers: BTreeSet::from([owner]),
            created: now,
            version: 1,
            removal: 0,
            is_hopeless: None,
            why: Arc::from(""),
        };
        fx.push(tell(owner, GroupNotice::News(group.news())));
        self.groups.waiting.insert(group.arrival, id);
        self.groups.table.insert(id, group);
        self.groups.changed.note(id);
        self.try_new_group(now, id, fx);
        self.note_groups(now);
        self.arm(fx);
        Ok(())
    }

    fn check_group(&self, spec: &GroupSpec) -> Result<(), Error> {
        let limits = &self.limits.groups;
        let limit = |name: &str, max: usize, what: &str| {
            Err(Error::new(ErrorCode::LimitExceeded, format!("{name} of {max} is reached: {what}")))
        };
        if !self.is_alive(spec.owner) {
            let message =
                format!("{}, which asks for {}, is not a node of this cluster", spec.owner, spec.id);
            return Err(Error::new(ErrorCode::NodeDied, message));
        }
        if spec.bundles.is_empty() {
            return Err(Error::invalid_argument("a placement group needs a bundle, and this one has none"));
        }
        if spec.bundles.len() > limits.bundles_per_group_max {
            let what = format!("the group has {} bundles: use several groups", spec.bundles.len());
            return limit("bundles_per_group_max", limits.bundles_per_group_max, &what);
        }
        let is_nothing = |bundle: &Bundle| bundle.resources == Resources::default();
        if let Some(index) = spec.bundles.iter().position(is_nothing) {
            let message = format!("bundle {index} asks for no resources: give it some, or leave it out");
            return Err(Error::invalid_argument(message));
        }
        if self.groups.live() >= limits.groups_max {
            return limit("groups_max", limits.groups_max, "remove groups that are not needed");
        }
        let Some(name) = &spec.name else { return Ok(()) };
        if name.is_empty() {
            let message = "a placement group's name must not be empty: leave it out instead";
            return Err(Error::invalid_argument(message));
        }
        self.check_name("placement group's name", name)?;
        self.check_name("namespace", &spec.namespace)?;
        match self.groups.names.get(&(spec.namespace.clone(), name.clone())) {
            Some(other) => Err(Error::new(
                ErrorCode::AlreadyExists,
                format!(
                    "{other} has the name {name:?} in the namespace {:?}: use another name, or look that group up",
                    unscoped(&spec.namespace).1
                ),
            )),
            None => Ok(()),
        }
    }

    /// Removes a group, wherever it stands: what runs in it ends, and all is given back. One that is gone
    /// already is left alone.
    pub fn remove_group(&mut self, now: Time, id: PlacementGroupId, why: &str, fx: &mut Vec<Effect>) {
        if self.groups.remove(id, why, self.limits.groups.removed_groups_max, fx) {
            self.groups_changed(now, fx);
            self.note_groups(now);
            self.arm(fx);
        }
    }

    /// A node has told something of its groups.
    pub fn group_message(&mut self, now: Time, from: NodeId, message: GroupMessage, fx: &mut Vec<Effect>) {
        // What the dead still say has no effect (contract H3).
        if !self.is_alive(from) {
            return;
        }
        match message {
            GroupMessage::Create(spec) => {
                let id = spec.id;
                // A group ends with the node that asks for it: it asks for itself only.
                let spec = GroupSpec { owner: from, ..*spec };
                if let Err(error) = self.create_group(now, spec, fx) {
                    fx.push(tell(from, GroupNotice::Denied(id, error)));
                }
            }
            GroupMessage::Remove(id) => {
                self.remove_group(now, id, "it was removed", fx);
                fx.push(tell(from, GroupNotice::News(self.groups.news_of(id))));
            }
            GroupMessage::Watch(id) => {
                if let Some(group) = self.groups.table.get_mut(&id).filter(|group| group.is_there()) {
                    group.watchers.insert(from);
                }
                fx.push(tell(from, GroupNotice::News(self.groups.news_of(id))));
            }
            GroupMessage::Prepared(answer) => {
                self.load_is_said(now, from, &answer.load);
                self.groups.prepared(from, &answer, fx);
            }
            GroupMessage::Refused(answer) => {
                self.load_is_said(now, from, &answer.load);
                self.groups.refused(from, &answer, fx);
                self.groups_changed(now, fx);
            }
            GroupMessage::Report { bundles, load } => {
                self.load_is_said(now, from, &load);
                let drains = self.nodes.draining().any(|node| node == from);
                self.groups.reported(from, drains, &bundles, fx);
                self.groups_changed(now, fx);
            }
        }
        self.note_groups(now);
        self.arm(fx);
    }

    /// A node is dead: the groups that it asked for go, and the bundles that it had are placed again.
    pub(super) fn groups_lose_node(&mut self, now: Time, dead: NodeId, fx: &mut Vec<Effect>) {
        let max = self.limits.groups.removed_groups_max;
        let is_owned = |group: &&Group| group.spec.owner == dead && group.is_there();
        let owned: Vec<PlacementGroupId> =
            self.groups.table.values().filter(is_owned).map(|group| group.spec.id).collect();
        for id in owned {
            let why = format!("{dead}, the node that asked for it, is dead");
            self.groups.remove(id, &why, max, fx);
        }
        self.groups.lose_node(dead, fx);
        self.groups_changed(now, fx);
        self.note_groups(now);
    }
}

impl Group {
    fn is_there(&self) -> bool {
        self.state != GroupState::Removed
    }
}

impl Groups {
    fn live(&self) -> usize {
        self.table.len() - self.removed.len()
    }

    /// Where a group stands; one that is not known is gone.
    fn news_of(&self, id: PlacementGroupId) -> Arc<GroupNews> {
        match self.table.get(&id) {
            Some(group) => group.news(),
            None => Arc::new(GroupNews {
                group: id,
                owner: None,
                version: u64::MAX,
                state: GroupState::Removed,
                bundles: Vec::new(),
                why: Arc::from("it is not known, or not any more"),
            }),
        }
    }

    /// Whether it was there.
    fn remove(&mut self, id: PlacementGroupId, why: &str, kept_max: usize, fx: &mut Vec<Effect>) -> bool {
        let Some(group) = self.table.get_mut(&id).filter(|group| group.is_there()) else { return false };
        group.state = GroupState::Removed;
        let bundles = Count(group.spec.bundles.len(), "bundle");
        let message = format!("its {bundles} are given back: {why}");
        self.happened.push(Happened::of(group, Severity::Info, EventKind::GroupRemoved, message));
        group.why = Arc::from(why);
        // Whoever has a bundle of it, prepared or committed, gives it back when it hears.
        group.watchers.extend(group.places.iter().flatten().map(|place| place.node));
        group.asked.clear();
        group.tell_watchers(fx);
        group.watchers.clear();
        group.places.iter_mut().for_each(|place| *place = None);
        self.waiting.remove(&group.arrival);
        if let Some(name) = &group.spec.name {
            self.names.remove(&(group.spec.namespace.clone(), name.clone()));
        }
        self.removals += 1;
        group.removal = self.removals;
        self.changed.note(id);
        self.removed.push_back(id);
        if self.removed.len() > kept_max
            && let Some(oldest) = self.removed.pop_front()
        {
            self.table.remove(&oldest);
            self.changed.note(oldest);
        }
        true
    }
}
