//! The bundles that are reserved on this node: each a ledger of its own, taken out of the node's.

use crate::error::{Error, ErrorCode};
use crate::group::{Answer, BundleId, GroupMessage};
use crate::ids::{ActorId, InstanceId, PlacementGroupId};
use crate::node::instance::{Instance, Role};
use crate::node::planted::Planted;
use crate::node::task::Kind;
use crate::node::{Effects, Node, TaskKey};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::work::StopReason;

/// A bundle on this node.
pub(in crate::node) struct Reserved {
    /// The attempt that put it here.
    pub generation: u64,
    phase: Phase,
    pub(super) total: Resources,
    pub(super) free: Resources,
    /// What comes back when the tasks that run in it end.
    pub(super) soon: Resources,
    /// Sandboxes in it.
    pub(super) sandboxes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Reserved, and not to be used yet.
    Prepared,
    Committed,
    /// It is given back as soon as nothing is in it.
    Leaving,
}

/// A bundle on a node, for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleView {
    /// Which.
    pub id: BundleId,
    /// The attempt that put it there.
    pub generation: u64,
    /// PREPARED, COMMITTED or LEAVING.
    pub state: &'static str,
    /// What is reserved.
    pub total: Resources,
    /// What of it is free.
    pub free: Resources,
}

impl Reserved {
    fn new(generation: u64, resources: Resources) -> Self {
        Self {
            generation,
            phase: Phase::Prepared,
            total: resources.clone(),
            free: resources,
            soon: Resources::default(),
            sandboxes: 0,
        }
    }

    pub fn is_committed(&self) -> bool {
        self.phase == Phase::Committed
    }

    pub fn was_committed(&self) -> bool {
        self.phase != Phase::Prepared
    }

    /// Whether so much fits now.
    pub(super) fn has_room(&self, needs: &Resources) -> bool {
        self.is_committed() && self.free.covers(&inside(&self.total, needs))
    }

    /// Whether so much fits once what runs in it has ended.
    pub(super) fn will_have_room(&self, needs: &Resources) -> bool {
        let mut then = self.free.clone();
        then.give(&self.soon);
        self.is_committed() && then.covers(&inside(&self.total, needs))
    }

    /// Whether it will ever be used, and is large enough.
    pub(super) fn could_hold(&self, needs: &Resources) -> bool {
        self.phase != Phase::Leaving && self.total.covers(&inside(&self.total, needs))
    }
}

/// What something takes of a bundle: all but its memory, when the bundle has none.
pub(super) fn inside(bundle: &Resources, needs: &Resources) -> Resources {
    let memory = if bundle.memory == 0 { 0 } else { needs.memory };
    Resources { memory, ..needs.clone() }
}

/// What something in a bundle takes of the node: its memory, when the bundle has none.
pub(super) fn outside(bundle: &Resources, needs: &Resources) -> Resources {
    let memory = if bundle.memory == 0 { needs.memory } else { 0 };
    Resources { memory, ..Resources::default() }
}

impl Node {
    // ---- the two phases ----

    pub(super) fn prepare_bundles(
        &mut self,
        group: PlacementGroupId,
        generation: u64,
        bundles: Vec<(u32, Resources)>,
        fx: &mut Effects,
    ) {
        let held = |index: &u32| self.groups.bundles.get(&BundleId { group, index: *index });
        let known: Vec<(u64, Phase)> = bundles
            .iter()
            .filter_map(|(index, _)| held(index))
            .map(|bundle| (bundle.generation, bundle.phase))
            .collect();
        if known.iter().any(|(other, _)| *other > generation) {
            return;
        }
        let is_there = known.len() == bundles.len() && known.iter().all(|(other, _)| *other == generation);
        let is_in_use = known.iter().any(|(_, phase)| *phase != Phase::Prepared);
        let is_removed = self.groups.known.get(&group).is_some_and(super::Known::is_removed);
        let may_reserve = !is_in_use && !is_removed && !self.is_draining();
        let is_prepared = is_there || (may_reserve && self.reserve(group, generation, &bundles, fx));
        let answer = Answer { group, generation, load: self.load() };
        self.groups.outbox.push(match is_prepared {
            true => GroupMessage::Prepared(answer),
            false => GroupMessage::Refused(answer),
        });
    }

    /// Takes bundles out of the ledger of the node, all of them or none.
    fn reserve(
        &mut self,
        group: PlacementGroupId,
        generation: u64,
        bundles: &[(u32, Resources)],
        fx: &mut Effects,
    ) -> bool {
        // What an earlier attempt has left here was not wanted.
        for (index, _) in bundles {
            if let Some(before) = self.groups.bundles.remove(&BundleId { group, index: *index }) {
                self.free.give(&before.total);
            }
        }
        let mut sum = Resources::default();
        bundles.iter().for_each(|(_, resources)| sum.give(resources));
        if !self.free.covers(&sum) {
            self.retire_for_memory(sum.memory, fx);
            return false;
        }
        self.free.take(&sum);
        for (index, resources) in bundles {
            let id = BundleId { group, index: *index };
            self.groups.bundles.insert(id, Reserved::new(generation, resources.clone()));
        }
        true
    }

    pub(super) fn commit_bundles(&mut self, group: PlacementGroupId, generation: u64) {
        for (_, bundle) in self.groups.of_group_mut(group) {
            // One that is given back is not wanted any more, whatever comes late.
            if bundle.generation == generation && bundle.phase == Phase::Prepared {
                bundle.phase = Phase::Committed;
            }
        }
    }

    /// Bundles of an attempt are not wanted. In one that was committed, what runs there is lost.
    pub(super) fn return_bundles(
        &mut self,
        now: Time,
        group: PlacementGroupId,
        generation: u64,
        fx: &mut Effects,
    ) {
        let message = format!("its bundle of {group} was taken away, as the head counts on another");
        let error = Error::new(ErrorCode::WorkerDied, message);
        let mine = self.groups.of_group_mut(group).filter(|(_, bundle)| bundle.generation == generation);
        let ids: Vec<BundleId> = mine.map(|(id, _)| *id).collect();
        for id in ids {
            self.leave_bundle(now, id, &error, fx);
        }
    }

    /// This node drains: nothing new begins in bundles of an attempt, and each is given back when nothing is in
    /// it.
    pub(super) fn vacate_bundles(
        &mut self,
        now: Time,
        group: PlacementGroupId,
        generation: u64,
        fx: &mut Effects,
    ) {
        let mine = self.groups.of_group_mut(group).filter(|(_, bundle)| bundle.generation == generation);
        let mut ids = Vec::new();
        for (id, bundle) in mine {
            bundle.phase = Phase::Leaving;
            ids.push(*id);
        }
        for id in ids {
            for key in self.unbegun_in(id, |_| true) {
                self.give_unbegun_back(now, key, fx);
            }
            self.give_bundle_back(id);
        }
    }

    /// Whether no bundle is here.
    pub(in crate::node) fn has_no_bundles(&self) -> bool {
        self.groups.bundles.is_empty()
    }

    /// A group is gone, and its bundles with it.
    pub(super) fn leave_bundles(
        &mut self,
        now: Time,
        group: PlacementGroupId,
        error: &Error,
        fx: &mut Effects,
    ) {
        // A planted bug: what is prepared is left to the head, which may be about to commit it.
        let is_careless = self.has_planted(Planted::CommitAfterRemoval)
            && self.groups.known.get(&group).is_some_and(|known| known.is_removing);
        let goes = |bundle: &Reserved| !is_careless || bundle.was_committed();
        let bundles = self.groups.of_group(group).filter(|(_, bundle)| goes(bundle));
        let ids: Vec<BundleId> = bundles.map(|(id, _)| *id).collect();
        for id in ids {
            self.leave_bundle(now, id, error, fx);
        }
    }

    fn leave_bundle(&mut self, now: Time, id: BundleId, error: &Error, fx: &mut Effects) {
        let Some(bundle) = self.groups.bundles.get_mut(&id) else { return };
        bundle.phase = Phase::Leaving;
        for key in self.tasks_in_bundle(id) {
            self.end_now(now, key, error.clone(), StopReason::Cancelled, fx);
        }
        for key in self.unbegun_in(id, |kind| matches!(kind, Kind::Create(_))) {
            self.give_unbegun_back(now, key, fx);
        }
        for (actor, sandbox) in self.actors_in_bundle(id) {
            match self.actors.get(&actor) {
                None => self.lose_hosted(actor, sandbox, error, fx),
                Some(_) if error.code() == ErrorCode::PlacementGroupRemoved => {
                    self.end_actor_with(now, actor, error.clone().into(), StopReason::ActorEnded, fx);
                }
                Some(record) if record.may_restart() => {
                    self.stop_instance(sandbox, StopReason::ActorEnded, fx);
                }
                Some(_) => self.end_actor(now, actor, error.message(), StopReason::ActorEnded, fx),
            }
        }
        self.give_bundle_back(id);
    }

    /// Tasks in a bundle, and those of other nodes that wait for it.
    fn tasks_in_bundle(&self, id: BundleId) -> Vec<TaskKey> {
        let tasks = self.tasks.iter().filter(|(_, task)| {
            let class = self.classes.get(task.class).and_then(|class| class.group);
            let is_its = class == Some((id.group, Some(id.index))) && task.owner().is_some();
            let runs = task.away().is_none() && task.instance.is_some() && task.bundle() == Some(id.index);
            matches!(task.kind, Kind::Function)
                && class.is_some_and(|(group, _)| group == id.group)
                && (is_its || runs)
        });
        tasks.map(|(key, _)| key).collect()
    }

    /// What of other nodes waits for a bundle and is of such a kind: tasks, and constructors of actors.
    fn unbegun_in(&self, id: BundleId, is_meant: impl Fn(&Kind) -> bool) -> Vec<TaskKey> {
        let tasks = self.tasks.iter().filter(|(_, task)| {
            let class = self.classes.get(task.class).and_then(|class| class.group);
            is_meant(&task.kind) && task.is_unbegun_of_another() && class == Some((id.group, Some(id.index)))
        });
        tasks.map(|(key, _)| key).collect()
    }

    fn actors_in_bundle(&self, id: BundleId) -> Vec<(ActorId, InstanceId)> {
        let actor = |(sandbox, instance): (&InstanceId, &Instance)| match instance.role {
            Role::Actor(actor) if instance.bundle == Some(id) => Some((actor, *sandbox)),
            _ => None,
        };
        let mut actors: Vec<(ActorId, InstanceId)> = self.instances.iter().filter_map(actor).collect();
        actors.sort();
        actors
    }

    fn give_bundle_back(&mut self, id: BundleId) {
        let Some(bundle) = self.groups.bundles.get(&id) else { return };
        if bundle.phase == Phase::Leaving && bundle.sandboxes == 0 {
            self.free.give(&bundle.total);
            self.groups.bundles.remove(&id);
        }
    }

    // ---- its ledger ----

    /// Takes what a sandbox needs, of its bundle or of the node.
    pub(in crate::node) fn take_resources(&mut self, bundle: Option<BundleId>, needs: &Resources) {
        match bundle.and_then(|id| self.groups.bundles.get_mut(&id)) {
            None => self.free.take(needs),
            Some(bundle) => {
                bundle.free.take(&inside(&bundle.total, needs));
                self.free.take(&outside(&bundle.total, needs));
            }
        }
    }

    /// Gives back what a sandbox had.
    pub(in crate::node) fn give_resources(&mut self, bundle: Option<BundleId>, had: &Resources) {
        match bundle.and_then(|id| self.groups.bundles.get_mut(&id)) {
            None => self.free.give(had),
            Some(bundle) => {
                bundle.free.give(&inside(&bundle.total, had));
                self.free.give(&outside(&bundle.total, had));
            }
        }
    }

    /// The free CPUs that a sandbox lends to and takes of.
    pub(in crate::node) fn free_cpus_of(&mut self, bundle: Option<BundleId>) -> &mut Quantity {
        match bundle.and_then(|id| self.groups.bundles.get_mut(&id)) {
            None => &mut self.free.cpus,
            Some(bundle) => &mut bundle.free.cpus,
        }
    }

    /// A sandbox starts in a bundle.
    pub(in crate::node) fn enter_bundle(&mut self, bundle: Option<BundleId>) {
        if let Some(bundle) = bundle.and_then(|id| self.groups.bundles.get_mut(&id)) {
            bundle.sandboxes += 1;
        }
    }

    /// A sandbox that was in a bundle is gone, and what it had was given back.
    pub(in crate::node) fn leave_sandbox(&mut self, bundle: Option<BundleId>) {
        let Some(id) = bundle else { return };
        if let Some(bundle) = self.groups.bundles.get_mut(&id) {
            bundle.sandboxes -= 1;
            self.give_bundle_back(id);
        }
    }

    /// A call in a bundle wants so many CPUs to go on: they are for it first, when those that run there
    /// make room.
    pub(in crate::node) fn await_cpus(&mut self, id: BundleId, wanted: Quantity) {
        let bundle = self.groups.bundles.get(&id);
        if bundle.is_some_and(|bundle| bundle.free.cpus.0 + bundle.soon.cpus.0 >= wanted.0) {
            self.groups.awaited.insert(id);
        }
    }

    pub(in crate::node) fn nobody_awaits_cpus(&mut self) {
        self.groups.awaited.clear();
    }

    /// The bundles on this node.
    pub fn bundles(&self) -> Vec<BundleView> {
        let view = |(id, bundle): (&BundleId, &Reserved)| BundleView {
            id: *id,
            generation: bundle.generation,
            state: match bundle.phase {
                Phase::Prepared => "PREPARED",
                Phase::Committed => "COMMITTED",
                Phase::Leaving => "LEAVING",
            },
            total: bundle.total.clone(),
            free: bundle.free.clone(),
        };
        self.groups.bundles.iter().map(view).collect()
    }
}

impl super::Groups {
    pub(super) fn of_group_mut(
        &mut self,
        group: PlacementGroupId,
    ) -> impl Iterator<Item = (&BundleId, &mut Reserved)> {
        self.bundles.range_mut(BundleId { group, index: 0 }..=BundleId { group, index: u32::MAX })
    }

    pub(super) fn of_group(&self, group: PlacementGroupId) -> impl Iterator<Item = (&BundleId, &Reserved)> {
        self.bundles.range(BundleId { group, index: 0 }..=BundleId { group, index: u32::MAX })
    }

    /// A task in a bundle runs, or does not any more: blocked, or ended.
    pub fn note_running(&mut self, id: BundleId, needs: &Resources, runs: bool) {
        let Some(bundle) = self.bundles.get_mut(&id) else { return };
        let needs = inside(&bundle.total, needs);
        match runs {
            true => bundle.soon.give(&needs),
            false => bundle.soon.take(&needs),
        }
    }
}
