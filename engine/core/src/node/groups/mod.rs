//! Placement groups on a node: those that its guests know, and the bundles that are reserved here.
//!
//! What the head says of a group ([`GroupNews`]) is known on the node that asked for it and on those that
//! asked about it: where somebody has a handle, or a task of the group. A bundle that is here has a ledger
//! of its own ([`bundles`]), which only what is of its group takes from.

mod bundles;
mod explain;
mod guests;
mod invariants;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::group::{BundleId, GroupMessage, GroupNews, GroupNotice, GroupSpec, GroupState};
use crate::ids::{ActorId, JobId, NodeId, ObjectId, PlacementGroupId};
use crate::node::task::Kind;
use crate::node::{Effect, Effects, Node, TaskKey};
use crate::resources::Resources;
use crate::time::Time;
use crate::value::Value;
use crate::work::StopReason;

pub use bundles::BundleView;
pub use guests::GroupRequest;

/// The groups that a node knows.
#[derive(Default)]
pub(super) struct Groups {
    known: BTreeMap<PlacementGroupId, Known>,
    bundles: BTreeMap<BundleId, bundles::Reserved>,
    /// Objects that become ready with their group.
    ready: BTreeMap<ObjectId, PlacementGroupId>,
    /// Bundles whose CPUs are for calls that want to go on.
    awaited: BTreeSet<BundleId>,
    /// What the head is to be told.
    outbox: Vec<GroupMessage>,
}

/// A group that somebody here knows.
#[derive(Default)]
struct Known {
    /// What it ends with, when it was asked for here: its job, or the detached actor whose guest did.
    owned: Option<(JobId, Option<ActorId>)>,
    /// What was asked for, until the head has answered.
    request: Option<Box<GroupSpec>>,
    /// Where it stands; none: the head has not said.
    state: Option<GroupState>,
    /// Of what was heard last.
    version: u64,
    /// By bundle: what it is, the node that has it, and what tasks of this node take of it there.
    bundles: Vec<Place>,
    /// Handles.
    edges: u32,
    /// Scheduling classes that are in it.
    classes: u32,
    /// The head was asked to remove it and has not answered.
    is_removing: bool,
    why: Arc<str>,
}

struct Place {
    resources: Resources,
    node: Option<NodeId>,
    sent: Resources,
}

impl Known {
    fn is_removed(&self) -> bool {
        self.state == Some(GroupState::Removed)
    }

    /// Whether all of its bundles were reserved once.
    fn was_created(&self) -> bool {
        matches!(self.state, Some(GroupState::Created | GroupState::Rescheduling))
    }
}

impl Groups {
    /// Whether something that the head says may let a call here go on or end.
    pub fn may_change_something(&self) -> bool {
        // Whoever elsewhere has a bundle here may give it back.
        let is_foreign = |id: &BundleId| self.known.get(&id.group).is_none_or(|known| known.owned.is_none());
        self.wait_for_the_head() || self.bundles.keys().any(is_foreign)
    }

    /// Whether a group waits for what the head will say of it.
    pub fn wait_for_the_head(&self) -> bool {
        let may_change = |known: &Known| {
            let is_settled = matches!(known.state, Some(GroupState::Created | GroupState::Removed));
            !is_settled || known.is_removing
        };
        self.known.values().any(may_change) || self.bundles.values().any(|bundle| !bundle.is_committed())
    }

    fn known_state(&self, id: PlacementGroupId) -> &'static str {
        let state = self.known.get(&id).and_then(|known| known.state);
        state.map_or("not known here yet", GroupState::as_str)
    }

    /// What is left in the books.
    pub fn left(&self) -> [(&'static str, usize); 3] {
        [
            ("placement groups", self.known.len()),
            ("bundles of placement groups", self.bundles.len()),
            ("objects that wait for placement groups", self.ready.len()),
        ]
    }
}

/// The error of what was in a group that is gone.
fn removed(id: PlacementGroupId, why: &str) -> Error {
    let message = format!("{id}, the placement group that it was in or asked for, is gone: {why}");
    Error::new(ErrorCode::PlacementGroupRemoved, message)
}

impl Node {
    /// The head has told something of a placement group.
    pub fn group_notice(&mut self, now: Time, notice: GroupNotice, fx: &mut Effects) {
        match notice {
            GroupNotice::Prepare { group, generation, bundles } => {
                self.prepare_bundles(group, generation, bundles, fx);
            }
            GroupNotice::Commit { group, generation } => self.commit_bundles(group, generation),
            GroupNotice::Return { group, generation } => self.return_bundles(now, group, generation, fx),
            GroupNotice::Vacate { group, generation } => self.vacate_bundles(now, group, generation, fx),
            GroupNotice::Denied(group, error) => self.group_denied(now, group, error, fx),
            GroupNotice::News(news) => self.group_news(now, &news, fx),
        }
        self.schedule(now, fx);
    }

    /// The line to the head was made anew, and what was on it may be lost: the head is told what there is,
    /// and asked again for what it has not answered. To be said before anything else on the new line.
    pub fn head_line_anew(&mut self) {
        self.peers.asking.line_anew();
        self.leases_anew();
        let bundles = self.groups.bundles.iter();
        let bundles = bundles.map(|(id, bundle)| (*id, bundle.generation, bundle.was_committed())).collect();
        let load = self.load();
        let mut messages = vec![GroupMessage::Report { bundles, load }];
        for (id, known) in &self.groups.known {
            messages.extend(known.request.clone().map(GroupMessage::Create));
            messages.push(match known.is_removing {
                true => GroupMessage::Remove(*id),
                false => GroupMessage::Watch(*id),
            });
        }
        self.groups.outbox = messages;
    }

    /// Tells the head what was queued. Called after every event.
    pub(super) fn flush_groups(&mut self, fx: &mut Effects) {
        fx.extend(self.groups.outbox.drain(..).map(|message| Effect::ToHead(Box::new(message))));
    }

    /// Whether the head has yet to answer that groups are gone that end with this job.
    pub(in crate::node) fn is_removing_groups_of(&self, job: JobId) -> bool {
        self.groups.known.values().any(|known| known.is_removing && known.owned == Some((job, None)))
    }

    /// Has an entry for a group; the head is asked about one that is new here.
    fn know_group(&mut self, id: PlacementGroupId) -> &mut Known {
        let Self { groups, .. } = self;
        groups.known.entry(id).or_insert_with(|| {
            groups.outbox.push(GroupMessage::Watch(id));
            Known::default()
        })
    }

    pub(super) fn add_group_edge(&mut self, id: PlacementGroupId) {
        self.know_group(id).edges += 1;
    }

    pub(super) fn remove_group_edge(&mut self, id: PlacementGroupId) {
        let Some(known) = self.groups.known.get_mut(&id) else { return };
        assert!(known.edges > 0, "{id} was released more often than it was held");
        known.edges -= 1;
        self.forget_group_if_unused(id);
    }

    /// A scheduling class of a group is there.
    pub(super) fn add_group_class(&mut self, id: PlacementGroupId) {
        self.know_group(id).classes += 1;
    }

    pub(super) fn remove_group_class(&mut self, id: PlacementGroupId) {
        if let Some(known) = self.groups.known.get_mut(&id) {
            known.classes -= 1;
            self.forget_group_if_unused(id);
        }
    }

    /// An object is gone that may have waited for its group.
    pub(super) fn ready_is_gone(&mut self, object: ObjectId) {
        if let Some(group) = self.groups.ready.remove(&object) {
            self.forget_group_if_unused(group);
        }
    }

    /// Dropping the last handle removes no group: only what nobody here knows any more is forgotten.
    fn forget_group_if_unused(&mut self, id: PlacementGroupId) {
        let Some(known) = self.groups.known.get(&id) else { return };
        let is_used = known.edges > 0
            || known.classes > 0
            || known.is_removing
            || (known.owned.is_some() && !known.is_removed())
            || self.groups.ready.values().any(|group| *group == id);
        if !is_used {
            self.groups.known.remove(&id);
        }
    }

    fn group_denied(&mut self, now: Time, id: PlacementGroupId, error: Error, fx: &mut Effects) {
        let Some(known) = self.groups.known.get_mut(&id) else { return };
        if known.request.take().is_none() {
            return;
        }
        known.is_removing = false;
        self.group_gone(now, id, error.message(), fx);
        fx.push(Effect::GroupAnswered(id, Err(error)));
        self.forget_group_if_unused(id);
    }

    fn group_news(&mut self, now: Time, news: &GroupNews, fx: &mut Effects) {
        let id = news.group;
        let is_removed = news.state == GroupState::Removed;
        let Some(known) = self.groups.known.get_mut(&id) else {
            if is_removed {
                self.leave_bundles(now, id, &removed(id, &news.why), fx);
            } else if news.owner == Some(self.id) {
                // It was given up here before the head had heard of it.
                self.groups.outbox.push(GroupMessage::Remove(id));
            }
            return;
        };
        if known.request.take().is_some() {
            fx.push(Effect::GroupAnswered(id, Ok(())));
        }
        if is_removed {
            known.is_removing = false;
            self.group_gone(now, id, &news.why, fx);
            return self.forget_group_if_unused(id);
        }
        let is_given_up = known.owned.is_none() || known.is_removed();
        if news.owner == Some(self.id) && is_given_up {
            // The same, and somebody here still knows it.
            if !std::mem::replace(&mut known.is_removing, true) {
                self.groups.outbox.push(GroupMessage::Remove(id));
            }
            return self.group_gone(now, id, "it was removed", fx);
        }
        if known.is_removed() || news.version < known.version {
            return;
        }
        known.version = news.version;
        known.state = Some(news.state);
        known.why = news.why.clone();
        known.place(&news.bundles);
        if known.was_created() {
            self.group_ready_now(now, id, fx);
        }
        self.fail_in_group_what_never_fits(now, id, fx);
        self.move_actors(now, fx);
    }

    fn group_ready_now(&mut self, now: Time, id: PlacementGroupId, fx: &mut Effects) {
        for object in self.take_ready_of(id) {
            self.set_outcome(now, object, Ok(Value::empty()), fx);
        }
    }

    fn take_ready_of(&mut self, id: PlacementGroupId) -> Vec<ObjectId> {
        self.groups.ready.extract_if(.., |_, group| *group == id).map(|(object, _)| object).collect()
    }

    /// A group is gone: whatever of it is here ends, and its bundles are given back.
    fn group_gone(&mut self, now: Time, id: PlacementGroupId, why: &str, fx: &mut Effects) {
        let error = removed(id, why);
        if let Some(known) = self.groups.known.get_mut(&id)
            && !known.is_removed()
        {
            known.state = Some(GroupState::Removed);
            known.why = Arc::from(why);
        }
        for object in self.take_ready_of(id) {
            self.set_outcome(now, object, Err(Arc::new(error.clone())), fx);
        }
        self.end_in_group(now, id, &error, fx);
        self.leave_bundles(now, id, &error, fx);
    }

    /// Ends the tasks and actors of a group, wherever they are.
    fn end_in_group(&mut self, now: Time, id: PlacementGroupId, error: &Error, fx: &mut Effects) {
        for actor in self.actors_in_group(id) {
            self.end_actor_with(now, actor, Arc::new(error.clone()), StopReason::ActorEnded, fx);
        }
        for key in self.tasks_in_group(id) {
            self.end_now(now, key, error.clone(), StopReason::Cancelled, fx);
        }
    }

    fn actors_in_group(&self, id: PlacementGroupId) -> Vec<ActorId> {
        let is_in_it = |class| self.classes.get(class).and_then(|class| class.group).map(|(group, _)| group);
        let actors = self.actors.iter().filter(|(_, actor)| is_in_it(actor.class) == Some(id));
        let mut actors: Vec<ActorId> = actors.map(|(id, _)| *id).collect();
        actors.sort();
        actors
    }

    /// The tasks of a group but constructors, which end with their actors.
    fn tasks_in_group(&self, id: PlacementGroupId) -> Vec<TaskKey> {
        let is_in_it = |class: crate::node::ClassKey| self.classes[class].group.map(|(group, _)| group);
        let is_function = |kind: &Kind| matches!(kind, Kind::Function);
        let tasks = self.tasks.iter();
        let tasks = tasks.filter(|(_, task)| is_function(&task.kind) && is_in_it(task.class) == Some(id));
        tasks.map(|(key, _)| key).collect()
    }

    /// Tasks of a group that wait, and that no bundle of it could ever hold, fail.
    fn fail_in_group_what_never_fits(&mut self, now: Time, id: PlacementGroupId, fx: &mut Effects) {
        let is_in_it = |class: crate::node::ClassKey| self.classes[class].group.map(|(group, _)| group);
        let waits = |task: &crate::node::task::Task| task.instance.is_none() && task.away().is_none();
        let tasks = self.tasks.iter().filter(|(_, task)| waits(task) && is_in_it(task.class) == Some(id));
        let keys: Vec<TaskKey> = tasks.map(|(key, _)| key).collect();
        for key in keys {
            if self.tasks.contains_key(key)
                && let Some(error) = self.never_fits(key)
            {
                self.end_now(now, key, Error::clone(&error), StopReason::Cancelled, fx);
            }
        }
    }
}

impl Known {
    /// Takes note of where its bundles are.
    fn place(&mut self, bundles: &[(Resources, Option<NodeId>)]) {
        if self.bundles.is_empty() {
            let place = |(resources, _): &(Resources, _)| Place::new(resources.clone());
            self.bundles = bundles.iter().map(place).collect();
        }
        for (place, (_, node)) in self.bundles.iter_mut().zip(bundles) {
            place.node = *node;
        }
    }
}

impl Place {
    fn new(resources: Resources) -> Self {
        Self { resources, node: None, sent: Resources::default() }
    }
}
