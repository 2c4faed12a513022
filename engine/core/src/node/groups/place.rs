//! Where what is in a placement group runs: in a bundle here, or on a node that has one.

use std::sync::Arc;

use super::bundles::{Reserved, inside, outside};
use super::{Known, Place, removed};
use crate::error::{Error, ErrorCode};
use crate::group::{BundleId, GroupState};
use crate::ids::{ActorId, NodeId, PlacementGroupId};
use crate::node::peers::Where;
use crate::node::{ClassKey, Effects, Node, TaskKey};
use crate::options::{Strategy, TaskOptions};
use crate::resources::Resources;

impl Node {
    /// Where the first task in line of a class that is in a group can start now.
    pub(in crate::node) fn place_in_group(&mut self, class: ClassKey, fx: &mut Effects) -> Where {
        if self.fits_in_group(class, fx) {
            return Where::Here;
        }
        let head = self.classes[class].queue.front().map(|(_, key)| *key);
        match head.filter(|key| self.may_leave(*key)).and_then(|_| self.bundle_there(class)) {
            Some((_, node)) => Where::There(node),
            None => Where::Nowhere,
        }
    }

    /// Whether a task of this class can start in a bundle here.
    pub(in crate::node) fn fits_in_group(&mut self, class: ClassKey, fx: &mut Effects) -> bool {
        if self.bundle_here(class).is_none() {
            self.make_memory_for(class, fx);
            return false;
        }
        let full = self.sandboxes() >= self.limits.instances_max;
        if full && self.stopping.sandboxes == 0 {
            self.retire_oldest_warm(fx);
        }
        !full
    }

    /// A bundle without memory has room for all but that: warm sandboxes may be in the way.
    fn make_memory_for(&mut self, class: ClassKey, fx: &mut Effects) {
        let needs = self.classes[class].needs.clone();
        if self.warm.idle() == 0 || self.free.memory >= needs.memory {
            return;
        }
        let Some(slot) = self.classes[class].group else { return };
        if self.bundles_for(slot).any(|(_, bundle)| bundle.has_room(&needs)) {
            self.retire_for_memory(needs.memory, fx);
        }
    }

    /// The bundles here that something in a group may run in.
    fn bundles_for(
        &self,
        (group, index): (PlacementGroupId, Option<u32>),
    ) -> impl Iterator<Item = (&BundleId, &Reserved)> {
        self.groups.of_group(group).filter(move |(id, _)| index.is_none_or(|index| id.index == index))
    }

    /// A bundle here that has room for a task of this class.
    pub(in crate::node) fn bundle_here(&self, class: ClassKey) -> Option<BundleId> {
        let class = &self.classes[class];
        let needs = &class.needs;
        let has_room = |(id, bundle): &(&BundleId, &Reserved)| {
            let is_awaited = needs.cpus.0 > 0 && self.groups.awaited.contains(id);
            !is_awaited && bundle.has_room(needs) && self.free.covers(&outside(&bundle.total, needs))
        };
        self.bundles_for(class.group?).find(has_room).map(|(id, _)| *id)
    }

    /// Of the bundles on other nodes, the one that the tasks of this node leave most room in, if that is
    /// enough for one of this class. What others have there its node knows.
    pub(in crate::node) fn bundle_there(&self, class: ClassKey) -> Option<(u32, NodeId)> {
        let class = &self.classes[class];
        let (group, wanted) = class.group?;
        let known = self.groups.known.get(&group)?;
        let fits = |(index, place): &(u32, &Place)| {
            let mut free = place.resources.clone();
            free.take_what_is_there(&place.sent);
            wanted.is_none_or(|wanted| wanted == *index)
                && free.covers(&inside(&place.resources, &class.needs))
                && place.node.is_some_and(|node| node != self.id && self.takes_more(node))
        };
        let used = |(_, place): &(u32, &Place)| {
            let mut free = place.resources.clone();
            free.take_what_is_there(&place.sent);
            place.resources.used_with(&free, &inside(&place.resources, &class.needs))
        };
        let (index, place) = (0..).zip(&known.bundles).filter(fits).min_by_key(used)?;
        place.node.map(|node| (index, node))
    }

    /// Whether a bundle on a node that does not drain is large enough for what is of this class.
    pub(in crate::node) fn has_bundle_that_stays(&self, class: ClassKey) -> bool {
        let class = &self.classes[class];
        let Some((group, wanted)) = class.group else { return false };
        let stays = |place: &Place| place.node.is_some_and(|node| !self.is_leaving(node));
        let covers = |place: &Place| place.resources.covers(&inside(&place.resources, &class.needs));
        let known = self.groups.known.get(&group);
        known.is_some_and(|known| known.places_of(wanted).any(|(_, place)| stays(place) && covers(place)))
    }

    /// A task goes to a bundle on another node: which one, and its options there.
    pub(in crate::node) fn go_to_bundle(&mut self, key: TaskKey, options: &mut TaskOptions) {
        let class = self.tasks[key].class;
        let Some((index, _)) = self.bundle_there(class) else { return };
        self.tasks[key].extra().bundle = Some(index);
        if let Strategy::PlacementGroup { bundle, .. } = &mut options.placement.strategy {
            *bundle = Some(index);
        }
        self.note_sent(key, true);
    }

    /// A task goes to a bundle on another node, or is there no more.
    pub(in crate::node) fn note_sent(&mut self, key: TaskKey, goes: bool) {
        let task = &self.tasks[key];
        let Some(class) = self.classes.get(task.class) else { return };
        let (Some((group, _)), Some(index)) = (class.group, task.bundle()) else { return };
        let Some(known) = self.groups.known.get_mut(&group) else { return };
        let Some(place) = known.bundles.get_mut(index as usize) else { return };
        let needs = inside(&place.resources, &class.needs);
        match goes {
            true => place.sent.give(&needs),
            false => place.sent.take(&needs),
        }
    }

    /// An actor in a bundle on another node is there: what it takes of it for life.
    pub(in crate::node) fn hold_bundle_there(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get(&id) else { return };
        let (Some(host), Some(class)) = (&actor.host, self.classes.get(actor.class)) else { return };
        let (Some((group, _)), Some(index)) = (class.group, host.bundle) else { return };
        let held = self.held_there(actor);
        let Some(known) = self.groups.known.get_mut(&group) else { return };
        let Some(place) = known.bundles.get_mut(index as usize) else { return };
        let held = inside(&place.resources, &held);
        place.sent.give(&held);
        if let Some(host) = self.actors.get_mut(&id).and_then(|actor| actor.host.as_mut()) {
            host.holds = Some((BundleId { group, index }, held));
        }
    }

    /// An actor is in its bundle on another node no more, or is about to leave it.
    pub(in crate::node) fn let_bundle_go(&mut self, id: ActorId) {
        let host = self.actors.get_mut(&id).and_then(|actor| actor.host.as_mut());
        let Some((BundleId { group, index }, held)) = host.and_then(|host| host.holds.take()) else { return };
        let known = self.groups.known.get_mut(&group);
        if let Some(place) = known.and_then(|known| known.bundles.get_mut(index as usize)) {
            place.sent.take(&held);
        }
    }

    /// Whether a task of another node's may wait here for the bundle that it names.
    pub(in crate::node) fn takes_in_group(
        &self,
        slot: (PlacementGroupId, Option<u32>),
        needs: &Resources,
    ) -> bool {
        let is_removed = self.groups.known.get(&slot.0).is_some_and(Known::is_removed);
        !is_removed && self.bundles_for(slot).any(|(_, bundle)| bundle.could_hold(needs))
    }

    /// Whether room that comes free in a bundle here would do for a class that was passed too often.
    pub(in crate::node) fn holds_group_up(&self, class: ClassKey) -> Option<PlacementGroupId> {
        let class = &self.classes[class];
        let slot = class.group?;
        let is_passed = class.passed_over >= self.limits.passed_over_max;
        let helps = || self.bundles_for(slot).any(|(_, bundle)| bundle.will_have_room(&class.needs));
        (is_passed && helps()).then_some(slot.0)
    }

    /// Whether what a class in a group waits for is not this node's alone to give: the head's word, or room
    /// on another node.
    pub(in crate::node) fn waits_for_group(&self, class: ClassKey) -> bool {
        let Some(slot) = self.classes[class].group else { return false };
        let Some(known) = self.groups.known.get(&slot.0) else { return false };
        if known.state != Some(GroupState::Created) {
            return true;
        }
        let head = self.classes[class].queue.front().map(|(_, key)| *key);
        let leaves = head.is_some_and(|key| self.may_leave(key));
        let is_elsewhere = |place: &Place| place.node.is_some_and(|node| node != self.id);
        let here: usize = self.bundles_for(slot).filter(|(_, bundle)| bundle.is_committed()).count();
        (leaves && known.places_of(slot.1).any(|(_, place)| is_elsewhere(place))) || here == 0
    }

    /// Why a task can never run in its group; none when it can, as far as is known.
    pub(in crate::node) fn never_fits_in_group(&self, key: TaskKey) -> Option<Arc<Error>> {
        let task = &self.tasks[key];
        let class = &self.classes[task.class];
        let (group, wanted) = class.group?;
        let known = self.groups.known.get(&group)?;
        if known.is_removed() {
            return Some(Arc::new(removed(group, &known.why)));
        }
        // The node that has the bundle has looked at it.
        if known.bundles.is_empty() || task.owner().is_some() {
            return None;
        }
        let message = match self.lacks_in_group(known, wanted, &class.needs) {
            Some(why) => format!("{why} of {group}: ask for less, or make its bundles larger"),
            None => self.cannot_reach(key, known, wanted, &class.needs, group)?,
        };
        Some(Arc::new(Error::new(ErrorCode::Unschedulable, message)))
    }

    /// What no bundle has that something may run in.
    fn lacks_in_group(&self, known: &Known, wanted: Option<u32>, needs: &Resources) -> Option<String> {
        if let Some(index) = wanted.filter(|index| *index as usize >= known.bundles.len()) {
            let count = known.bundles.len();
            return Some(format!("it asks for bundle {index}, and there are {count} (counted from 0)"));
        }
        let covers = |place: &Place| place.resources.covers(&inside(&place.resources, needs));
        if known.places_of(wanted).any(|(_, place)| covers(place)) {
            return None;
        }
        let mut most = Resources::default();
        known.places_of(wanted).for_each(|(_, place)| most.raise_to(&place.resources));
        let needs = inside(&most, needs);
        let lacks: Vec<String> = most
            .lacking(&needs)
            .iter()
            .map(|lack| format!("{} of {}, and has no more than {}", lack.wanted, lack.resource, lack.had))
            .collect();
        let who = match wanted {
            Some(index) => format!("bundle {index}"),
            None => format!("each of the {} bundles", known.bundles.len()),
        };
        let what = if lacks.is_empty() { "more than it has".to_owned() } else { lacks.join("; ") };
        Some(format!("it asks {who} for {what}"))
    }

    /// Of what cannot leave this node: that its bundles are all elsewhere.
    fn cannot_reach(
        &self,
        key: TaskKey,
        known: &Known,
        wanted: Option<u32>,
        needs: &Resources,
        group: PlacementGroupId,
    ) -> Option<String> {
        if known.state != Some(GroupState::Created) || self.may_leave(key) {
            return None;
        }
        let is_here = |place: &Place| {
            place.node == Some(self.id) && place.resources.covers(&inside(&place.resources, needs))
        };
        if known.places_of(wanted).any(|(_, place)| is_here(place)) {
            return None;
        }
        let nodes: Vec<String> = known
            .places_of(wanted)
            .take(5)
            .filter_map(|(index, place)| place.node.map(|node| format!("bundle {index} is on {node}")))
            .collect();
        Some(format!(
            "it stays on {}, where the detached actor that it descends from lives, and no bundle of {group} that is large enough is there ({}): create that actor in the bundle",
            self.id,
            nodes.join(", ")
        ))
    }
}

impl Known {
    /// The bundles that something may run in.
    pub(super) fn places_of(&self, wanted: Option<u32>) -> impl Iterator<Item = (u32, &Place)> {
        (0..).zip(&self.bundles).filter(move |(index, _)| wanted.is_none_or(|wanted| wanted == *index))
    }
}
