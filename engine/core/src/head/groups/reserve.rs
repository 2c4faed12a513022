//! Reserving groups on nodes in two phases, and what becomes of them when a line breaks or a node dies.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::{Room, Wanted, choose};
use super::{Group, GroupLimits, Groups, Happened, Place, Pledge, tell};
use crate::group::{Answer, BundleId, GroupNotice, GroupState};
use crate::head::{Effect, Head};
use crate::ids::{NodeId, PlacementGroupId};
use crate::resources::Resources;
use crate::time::Time;

impl Head {
    /// What nodes have free may have changed for the better: those that wait are tried, not too often.
    pub(in crate::head) fn groups_changed(&mut self, now: Time, fx: &mut Vec<Effect>) {
        if self.groups.waiting.is_empty() {
            self.groups.try_at = None;
            return;
        }
        match self.groups.tried.map(|tried| tried + self.limits.groups.tried_every) {
            Some(at) if at > now => {
                self.groups.try_at = Some(self.groups.try_at.map_or(at, |before| before.min(at)));
            }
            _ => self.try_groups(now, fx),
        }
    }

    /// Tries the groups that wait.
    pub(in crate::head) fn try_groups(&mut self, now: Time, fx: &mut Vec<Effect>) {
        // Who hears where a bundle is must know that node.
        self.tell_of_joins(now, fx);
        let mut rooms = self.rooms();
        let Self { groups, limits, .. } = self;
        groups.tried = Some(now);
        groups.try_waiting(now, &limits.groups, &mut rooms, fx);
        groups.try_at = (!groups.waiting.is_empty()).then(|| now + limits.groups.retried_every);
    }

    /// Tries a group that has just come, if it need not wait for others.
    pub(super) fn try_new_group(&mut self, now: Time, id: PlacementGroupId, fx: &mut Vec<Effect>) {
        self.tell_of_joins(now, fx);
        let mut rooms = self.rooms();
        let Self { groups, limits, .. } = self;
        if groups.held_up_from(now, &limits.groups, &rooms).is_none() && groups.attempt(id, &mut rooms, fx) {
            groups.note_passed(id);
        }
        if !groups.waiting.is_empty() && groups.try_at.is_none() {
            groups.try_at = Some(now + limits.groups.retried_every);
        }
    }

    /// What the nodes are thought to have free, less what they were asked to prepare.
    pub(super) fn rooms(&self) -> Vec<Room> {
        let room = |(info, load): (&crate::node::NodeInfo, &crate::node::Load)| {
            let mut free = load.free.clone();
            let pledges = self.groups.pledges.get(&info.id);
            pledges.into_iter().flatten().for_each(|pledge| free.take_what_is_there(&pledge.resources));
            Room { node: info.id, labels: info.labels.clone(), total: info.total.clone(), free }
        };
        self.nodes_that_stay().map(room).collect()
    }
}

impl Groups {
    fn try_waiting(&mut self, now: Time, limits: &GroupLimits, rooms: &mut [Room], fx: &mut Vec<Effect>) {
        let mut held_up = self.held_up_from(now, limits, rooms);
        for (arrival, id) in self.next_to_look_at(limits.groups_looked_at_max) {
            if held_up.is_some_and(|by| arrival > by) {
                continue;
            }
            if self.attempt(id, rooms, fx) {
                self.note_passed(id);
                held_up = self.held_up_from(now, limits, rooms);
            }
        }
    }

    /// The groups that came first, and of the others the next ones each time.
    fn next_to_look_at(&mut self, max: usize) -> Vec<(u64, PlacementGroupId)> {
        let all = || self.waiting.iter().map(|(arrival, id)| (*arrival, *id));
        if self.waiting.len() <= max {
            return all().collect();
        }
        let first: Vec<_> = all().take(max.div_ceil(2)).collect();
        let rest: Vec<_> = all().skip(first.len()).collect();
        let from = rest.partition_point(|(arrival, _)| *arrival <= self.cursor);
        let next = rest[from..].iter().chain(&rest[..from]).take(max / 2).copied();
        let looked_at: Vec<_> = first.into_iter().chain(next).collect();
        self.cursor = looked_at.last().map_or(0, |(arrival, _)| *arrival);
        looked_at
    }

    /// The first group that was passed too often and could be placed one day: those that came after it
    /// wait, but not for ever.
    fn held_up_from(&mut self, now: Time, limits: &GroupLimits, rooms: &[Room]) -> Option<u64> {
        for (arrival, id) in &self.waiting {
            let Some(group) = self.table.get_mut(id) else { continue };
            if group.passed_over < limits.passed_over_max || !group.could_ever(rooms) {
                continue;
            }
            let since = *group.holds_up.get_or_insert(now);
            if since + limits.held_up_max > now {
                return Some(*arrival);
            }
            (group.passed_over, group.holds_up) = (0, None);
        }
        None
    }

    /// A group was placed before those that came earlier and wait.
    fn note_passed(&mut self, id: PlacementGroupId) {
        let Some(arrival) = self.table.get(&id).map(|group| group.arrival) else { return };
        for (_, earlier) in self.waiting.range(..arrival) {
            if let Some(group) = self.table.get_mut(earlier) {
                group.passed_over += 1;
            }
        }
    }

    /// Has nodes prepare what a group lacks; false when there is no room for all of it.
    fn attempt(&mut self, id: PlacementGroupId, rooms: &mut [Room], fx: &mut Vec<Effect>) -> bool {
        let Some(group) = self.table.get_mut(&id) else { return false };
        let missing = group.missing();
        let Some(nodes) = choose(&group.wanted(), rooms) else {
            if group.note_no_room(rooms, fx) {
                self.changed.note(id);
                self.happened.extend(Happened::infeasible(group));
            }
            return false;
        };
        group.generation += 1;
        (group.passed_over, group.holds_up) = (0, None);
        (group.is_hopeless, group.why) = (None, "".into());
        for (index, node) in missing.iter().zip(nodes) {
            group.places[*index as usize] = Some(Place { node, generation: group.generation });
            let bundle = &group.spec.bundles[*index as usize];
            if let Some(room) = rooms.iter_mut().find(|room| room.node == node) {
                room.free.take(&bundle.resources);
            }
        }
        let arrival = group.arrival;
        for node in group.nodes_of(group.generation) {
            group.asked.insert(node);
            self.pledges.entry(node).or_default().push(ask(group, node, fx));
        }
        self.waiting.remove(&arrival);
        self.changed.note(id);
        true
    }

    /// A node has answered: what it was asked for stands in its load from now on.
    fn answered(&mut self, from: NodeId, answer: &Answer) {
        if let Some(pledges) = self.pledges.get_mut(&from) {
            pledges.retain(|pledge| (pledge.group, pledge.generation) != (answer.group, answer.generation));
            if pledges.is_empty() {
                self.pledges.remove(&from);
            }
        }
    }

    pub(super) fn prepared(&mut self, from: NodeId, answer: &Answer, fx: &mut Vec<Effect>) {
        self.answered(from, answer);
        let Answer { group: id, generation, .. } = *answer;
        let group = self.table.get_mut(&id);
        let Some(group) = group.filter(|group| group.nodes_of(generation).contains(&from)) else {
            // It was asked by mistake, or late: nobody counts on it.
            fx.push(tell(from, GroupNotice::Return { group: id, generation }));
            return;
        };
        if generation == group.generation && group.asked.remove(&from) && group.asked.is_empty() {
            self.happened.push(Happened::reserved(group));
            group.commit(fx);
            self.changed.note(id);
        }
    }

    pub(super) fn refused(&mut self, from: NodeId, answer: &Answer, fx: &mut Vec<Effect>) {
        self.answered(from, answer);
        let Some(group) = self.table.get_mut(&answer.group) else { return };
        if answer.generation == group.generation && group.asked.contains(&from) {
            self.abort(answer.group, fx);
        }
    }

    /// Gives up an attempt that is under way: what was prepared is given back, and the group waits.
    fn abort(&mut self, id: PlacementGroupId, fx: &mut Vec<Effect>) {
        let Some(group) = self.table.get_mut(&id) else { return };
        let generation = group.generation;
        for node in group.nodes_of(generation) {
            fx.push(tell(node, GroupNotice::Return { group: id, generation }));
        }
        group.asked.clear();
        group.lose(|place| place.generation == generation);
        self.waiting.insert(group.arrival, id);
        self.changed.note(id);
    }

    /// A node drains: its bundles are placed again, and what runs in them there may come to its end.
    pub(in crate::head) fn vacate(&mut self, draining: NodeId, fx: &mut Vec<Effect>) {
        let ids: Vec<PlacementGroupId> = self.table.keys().copied().collect();
        for id in ids {
            let is_there = |place: &&Place| place.node == draining;
            let Some(group) = self.table.get(&id) else { continue };
            if !group.places.iter().flatten().any(|place| is_there(&place)) {
                continue;
            }
            if !group.asked.is_empty() {
                self.abort(id, fx);
            }
            let places = self.table.get(&id).into_iter().flat_map(|group| group.places.iter().flatten());
            let generations: BTreeSet<u64> = places.filter(is_there).map(|place| place.generation).collect();
            for generation in generations {
                fx.push(tell(draining, GroupNotice::Vacate { group: id, generation }));
            }
            self.place_again(id, |place| place.node == draining, fx);
        }
    }

    /// A node has said, on a new line, which bundles it has. What was on the old line may be lost.
    pub(super) fn reported(
        &mut self,
        from: NodeId,
        drains: bool,
        said: &[(BundleId, u64, bool)],
        fx: &mut Vec<Effect>,
    ) {
        self.pledges.remove(&from);
        let mut by_attempt: BTreeMap<(PlacementGroupId, u64), Vec<(u32, bool)>> = BTreeMap::new();
        for (bundle, generation, is_committed) in said {
            let attempt = by_attempt.entry((bundle.group, *generation)).or_default();
            attempt.push((bundle.index, *is_committed));
        }
        for ((id, generation), bundles) in &by_attempt {
            self.has_attempt((from, drains), *id, *generation, bundles, fx);
        }
        let ids: Vec<PlacementGroupId> = self.table.keys().copied().collect();
        for id in ids {
            let Some(group) = self.table.get(&id) else { continue };
            if group.spec.owner == from && group.is_there() {
                // It may have given it up, in what was lost.
                fx.push(tell(from, GroupNotice::News(group.news())));
            }
            let places = group.places.iter().flatten().filter(|place| place.node == from);
            let generations: BTreeSet<u64> = places.map(|place| place.generation).collect();
            for generation in generations {
                if !by_attempt.contains_key(&(id, generation)) {
                    self.lacks_attempt(from, id, generation, fx);
                }
            }
        }
    }

    /// A node has bundles of an attempt.
    fn has_attempt(
        &mut self,
        (from, drains): (NodeId, bool),
        id: PlacementGroupId,
        generation: u64,
        bundles: &[(u32, bool)],
        fx: &mut Vec<Effect>,
    ) {
        let group = self.table.get(&id).filter(|group| group.is_there());
        let Some(group) = group else {
            fx.push(tell(from, GroupNotice::News(self.news_of(id))));
            return;
        };
        let is_tried = generation == group.generation && !group.asked.is_empty();
        if !group.nodes_of(generation).contains(&from) {
            let was_committed = bundles.iter().all(|(_, is_committed)| *is_committed);
            fx.push(tell(
                from,
                match drains && was_committed {
                    true => GroupNotice::Vacate { group: id, generation },
                    false => GroupNotice::Return { group: id, generation },
                },
            ));
        } else if is_tried {
            let Some(group) = self.table.get_mut(&id) else { return };
            if group.asked.remove(&from) && group.asked.is_empty() {
                self.happened.push(Happened::reserved(group));
                group.commit(fx);
                self.changed.note(id);
            }
        } else if bundles.iter().any(|(_, is_committed)| !is_committed) {
            fx.push(tell(from, GroupNotice::Commit { group: id, generation }));
        }
    }

    /// A node has nothing of an attempt that it was to have a part in.
    fn lacks_attempt(&mut self, from: NodeId, id: PlacementGroupId, generation: u64, fx: &mut Vec<Effect>) {
        let Some(group) = self.table.get_mut(&id) else { return };
        if generation == group.generation && group.asked.contains(&from) {
            let pledge = ask(group, from, fx);
            self.pledges.entry(from).or_default().push(pledge);
        } else if generation == group.generation && !group.asked.is_empty() {
            self.abort(id, fx);
        } else {
            fx.push(tell(from, GroupNotice::Return { group: id, generation }));
            self.place_again(id, |place| place.node == from && place.generation == generation, fx);
        }
    }

    /// A node is dead.
    pub(super) fn lose_node(&mut self, dead: NodeId, fx: &mut Vec<Effect>) {
        self.pledges.remove(&dead);
        let ids: Vec<PlacementGroupId> = self.table.keys().copied().collect();
        for id in ids {
            let Some(group) = self.table.get_mut(&id) else { continue };
            group.watchers.remove(&dead);
            if !group.places.iter().flatten().any(|place| place.node == dead) {
                continue;
            }
            if !group.asked.is_empty() {
                self.abort(id, fx);
            }
            self.place_again(id, |place| place.node == dead, fx);
        }
    }

    /// Bundles of a group that were committed are lost: it waits for others.
    fn place_again(&mut self, id: PlacementGroupId, is_lost: impl Fn(&Place) -> bool, fx: &mut Vec<Effect>) {
        let Some(group) = self.table.get_mut(&id) else { return };
        if !group.lose(is_lost) {
            return;
        }
        if !group.asked.is_empty() {
            self.abort(id, fx);
        }
        let Some(group) = self.table.get_mut(&id) else { return };
        self.happened.push(Happened::rescheduling(group));
        group.state = GroupState::Rescheduling;
        group.tell_watchers(fx);
        self.waiting.insert(group.arrival, id);
        self.changed.note(id);
    }
}

/// Asks a node for its part of a group's attempt.
fn ask(group: &Group, node: NodeId, fx: &mut Vec<Effect>) -> Pledge {
    let (id, generation) = (group.spec.id, group.generation);
    let bundles = group.part_of(node);
    fx.push(tell(node, GroupNotice::Prepare { group: id, generation, bundles }));
    group.pledge_of(node)
}

impl Group {
    /// A node's part of the last attempt.
    fn part_of(&self, node: NodeId) -> Vec<(u32, Resources)> {
        let place = Some(Place { node, generation: self.generation });
        let bundles = self.spec.bundles.iter().zip(&self.places);
        let its = (0..).zip(bundles).filter(|(_, (_, at))| **at == place);
        its.map(|(index, (bundle, _))| (index, bundle.resources.clone())).collect()
    }

    /// What a node is asked for in the last attempt.
    pub(super) fn pledge_of(&self, node: NodeId) -> Pledge {
        let mut resources = Resources::default();
        self.part_of(node).iter().for_each(|(_, bundle)| resources.give(bundle));
        Pledge { group: self.spec.id, generation: self.generation, resources }
    }

    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            strategy: self.spec.strategy,
            bundles: self.missing().iter().map(|index| &self.spec.bundles[*index as usize]).collect(),
            kept: self.places.iter().flatten().map(|place| place.node).collect(),
        }
    }

    /// Whether there is room for what it lacks when nothing else is on the nodes.
    pub(super) fn could_ever(&self, rooms: &[Room]) -> bool {
        let empty = |room: &Room| Room { free: room.total.clone(), ..room.clone() };
        let mut empty: Vec<Room> = rooms.iter().map(empty).collect();
        // What it has there itself stays.
        for (bundle, place) in self.spec.bundles.iter().zip(&self.places) {
            if let Some(room) = empty.iter_mut().find(|room| place.is_some_and(|p| p.node == room.node)) {
                room.free.take_what_is_there(&bundle.resources);
            }
        }
        choose(&self.wanted(), &empty).is_some()
    }

    /// Everything that the last attempt asked for is prepared.
    fn commit(&mut self, fx: &mut Vec<Effect>) {
        let (group, generation) = (self.spec.id, self.generation);
        for node in self.nodes_of(generation) {
            fx.push(tell(node, GroupNotice::Commit { group, generation }));
        }
        self.state = GroupState::Created;
        self.tell_watchers(fx);
    }

    /// Whether it had any such place.
    fn lose(&mut self, is_lost: impl Fn(&Place) -> bool) -> bool {
        let mut lost = false;
        for place in &mut self.places {
            if place.as_ref().is_some_and(&is_lost) {
                *place = None;
                lost = true;
            }
        }
        lost
    }

    /// There is no room: whoever watches hears so, and whether there ever can be. True: that is news.
    fn note_no_room(&mut self, rooms: &[Room], fx: &mut Vec<Effect>) -> bool {
        let is_hopeless = !self.could_ever(rooms);
        let is_news = self.is_hopeless.replace(is_hopeless) != Some(is_hopeless);
        if is_news {
            self.why = self.explain(rooms).into();
            self.tell_watchers(fx);
        }
        is_news
    }
}
