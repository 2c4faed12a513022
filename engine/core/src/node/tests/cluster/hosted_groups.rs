//! Actors in bundles of placement groups that are on another node than their owner's.

use std::time::Duration;

use super::headed::{Headed, inside};
use crate::error::ErrorCode;
use crate::group::{GroupNotice, GroupState, GroupStrategy};
use crate::ids::{ActorId, LaneId, PlacementGroupId, TaskId};
use crate::node::tests::harness::{options, value_with};
use crate::node::{Caller, TaskState};
use crate::options::{ActorOptions, Lifetime, Strategy};
use crate::resources::Quantity;
use crate::value::Handle;

/// Options of an actor that has one CPU of a bundle for life.
fn in_bundle(group: PlacementGroupId, index: Option<u32>, max_restarts: i32) -> ActorOptions {
    let mut placement = inside(group, index).placement;
    placement.cpus = Some(Quantity::units(1));
    ActorOptions { placement, max_restarts, ..ActorOptions::default() }
}

/// A group whose one bundle is elsewhere than its owner's node, which has no CPU.
struct Scene {
    all: Headed,
    root: Caller,
    group: PlacementGroupId,
    /// The node of the bundle.
    at: usize,
    lane: LaneId,
}

fn scene(counts: &[u64], cpus: u64) -> Scene {
    let mut all = Headed::new(counts);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::Pack, &[cpus]);
    let at = all.nodes(group)[0].expect("it is reserved");
    assert_ne!(at, 0);
    let lane = all.cluster.worlds[0].lane();
    Scene { all, root, group, at, lane }
}

impl Scene {
    fn create(&mut self, options: ActorOptions) -> ActorId {
        let actor = self.all.cluster.worlds[0].create(self.root, options);
        self.all.settle();
        actor
    }

    fn call(&mut self, actor: ActorId) -> TaskId {
        let call = self.all.cluster.worlds[0].call(self.root, actor, self.lane, &[]);
        self.all.settle();
        call
    }

    fn state(&self, actor: ActorId) -> &'static str {
        self.all.cluster.worlds[0].actor_state(actor)
    }

    fn code(&self, call: TaskId) -> ErrorCode {
        self.all.code(0, self.root, call)
    }

    /// Free CPUs of the bundle.
    fn room(&self) -> f64 {
        self.all.cluster.worlds[self.at].node.bundles()[0].free.cpus.as_f64()
    }

    /// A task on a node, outside of the group, that holds it.
    fn guest(&mut self, index: usize) -> Caller {
        let handle = Handle::PlacementGroup(self.group);
        let message = self.all.cluster.worlds[0].put(self.root, value_with(&[handle]));
        let mut there = options();
        there.placement.strategy = Strategy::Node(self.all.cluster.id(index), false);
        there.placement.cpus = Some(Quantity::ZERO);
        let task = self.all.cluster.worlds[0].spawn(self.root, &[message], there);
        self.all.settle();
        let guest = self.all.cluster.worlds[index].caller(task);
        self.all.cluster.worlds[index].acquire(guest, handle);
        self.all.settle();
        guest
    }
}

// contract: P2, T5
#[test]
fn it_lives_in_its_bundle_and_has_what_that_has() {
    let mut scene = scene(&[0, 3], 2);
    assert_eq!(scene.all.free(1), 1.0);
    let actor = scene.create(in_bundle(scene.group, Some(0), 0));
    assert_eq!(scene.all.cluster.construct(actor), 1);
    let view = scene.all.cluster.worlds[0].node.actor(actor).expect("known");
    assert_eq!((view.state, view.node), ("ALIVE", Some(scene.all.cluster.id(1))));
    assert_eq!(view.held.cpus, Quantity::units(1));
    assert_eq!((scene.room(), scene.all.free(1)), (1.0, 1.0), "of the bundle, and not of the node");
    let mut light = in_bundle(scene.group, None, 0);
    light.placement.cpus = None;
    let light = scene.create(light);
    assert_eq!(scene.room(), 0.0, "1 to be placed");
    assert_eq!(scene.all.cluster.construct(light), 1);
    assert_eq!(scene.room(), 1.0, "and then none");
    let call = scene.call(actor);
    assert_eq!(scene.all.cluster.runs_on(call), Some(1));
    scene.all.cluster.finish(call);
    let (root, all) = (scene.root, &mut scene.all);
    assert!(all.cluster.worlds[0].outcome(root, call.output(0)).expect("it has ended").is_ok());
    all.cluster.worlds[0].release(root, Handle::Actor(actor));
    all.settle();
    assert_eq!((scene.room(), scene.all.free(1)), (2.0, 1.0));
    scene.all.end();
}

#[test]
fn what_it_holds_there_is_not_given_to_others() {
    let mut all = Headed::new(&[0, 1, 1]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 1]);
    let actor = all.cluster.worlds[0].create(root, in_bundle(group, None, 0));
    all.settle();
    let at = all.cluster.construct(actor);
    let task = all.cluster.worlds[0].spawn(root, &[], inside(group, None));
    let waits = all.cluster.worlds[0].spawn(root, &[], inside(group, None));
    all.settle();
    assert_eq!(all.cluster.runs_on(task), Some(3 - at), "where there is room");
    all.cluster.assert_state(0, waits, TaskState::PendingPlacement);
    let why = all.cluster.worlds[0].node.explain(waits).expect("it is known");
    assert!(why.contains("lacks 1 of cpus where 0 is free"), "{why}");
    all.cluster.worlds[0].release(root, Handle::Actor(actor));
    all.settle();
    assert_eq!(all.cluster.runs_on(waits), Some(at));
    all.end();
}

// contract: P3, A3
#[test]
fn its_restart_waits_until_the_bundle_is_placed_again_and_goes_there() {
    let mut scene = scene(&[0, 2, 2], 2);
    let actor = scene.create(in_bundle(scene.group, None, 1));
    scene.all.cluster.construct(actor);
    let call = scene.call(actor);
    assert_eq!(scene.all.cluster.runs_on(call), Some(scene.at));
    // No other node has room for the bundle.
    let busy = scene.all.cluster.worlds[0].spawn(scene.root, &[], options());
    scene.all.settle();
    assert_eq!(scene.all.cluster.runs_on(busy), Some(3 - scene.at));
    scene.all.beat(3 - scene.at);
    let queued = scene.call(actor);
    scene.all.kill(scene.at);
    scene.all.advance(Duration::from_millis(200));
    assert_eq!(scene.all.state(scene.group), GroupState::Rescheduling);
    assert_eq!(scene.state(actor), "RESTARTING");
    assert_eq!(scene.code(call), ErrorCode::ActorDied);
    scene.all.cluster.finish(busy);
    scene.all.advance(Duration::from_millis(500));
    assert_eq!(scene.all.state(scene.group), GroupState::Created);
    scene.at = scene.all.nodes(scene.group)[0].expect("it is placed again");
    assert_eq!(scene.all.cluster.construct(actor), scene.at);
    assert_eq!(scene.room(), 1.0);
    assert_eq!(scene.all.cluster.runs_on(queued), Some(scene.at));
    scene.all.kill(scene.at);
    assert_eq!(scene.state(actor), "DEAD", "its budget binds");
    assert_eq!(scene.code(queued), ErrorCode::ActorDied);
    scene.all.end();
}

// contract: P2, A4
#[test]
fn it_ends_with_its_group() {
    // Whoever hears of the removal first: its owner, or the node that it lives on.
    for held in [None, Some(0), Some(1), Some(2)] {
        let mut scene = scene(&[0, 2, 0], 2);
        let guest = scene.guest(2);
        let group = scene.group;
        let actor = scene.all.cluster.worlds[2].create(guest, in_bundle(group, None, -1));
        scene.all.settle();
        assert_eq!(scene.all.cluster.construct(actor), 1);
        let lane = scene.all.cluster.worlds[2].lane();
        let calls: Vec<TaskId> =
            (0..2).map(|_| scene.all.cluster.worlds[2].call(guest, actor, lane, &[])).collect();
        let new = scene.all.cluster.worlds[2].create(guest, in_bundle(group, None, -1));
        scene.all.settle();
        assert_eq!(scene.all.cluster.runs_on(calls[0]), Some(1));
        assert_eq!(scene.all.cluster.constructor(new).0, 1);
        held.into_iter().for_each(|index| scene.all.hold(index));
        let (root, all) = (scene.root, &mut scene.all);
        all.remove(0, root, group).expect("it holds it");
        if held != Some(0) {
            for actor in [actor, new] {
                assert_eq!(all.cluster.worlds[2].actor_state(actor), "DEAD", "{held:?}");
                let view = all.cluster.worlds[2].node.actor(actor).expect("it is listed");
                let cause = view.cause.expect("it is dead");
                assert_eq!(cause.code(), ErrorCode::PlacementGroupRemoved, "{held:?}");
            }
            let codes = calls.iter().map(|call| all.code(2, guest, *call));
            assert!(codes.into_iter().all(|code| code == ErrorCode::PlacementGroupRemoved), "{held:?}");
        }
        held.into_iter().for_each(|index| all.release(index));
        let late = all.cluster.worlds[2].call(guest, actor, lane, &[]);
        assert_eq!(all.code(2, guest, late), ErrorCode::PlacementGroupRemoved);
        assert_eq!(all.free(1), 2.0);
        scene.all.end();
    }
}

// contract: P2
#[test]
fn one_that_waits_for_room_in_a_bundle_elsewhere_ends_with_the_group() {
    for held in [0, 1, 2] {
        let mut scene = scene(&[0, 1, 0], 1);
        let guest = scene.guest(2);
        let group = scene.group;
        let task = scene.all.cluster.worlds[0].spawn(scene.root, &[], inside(group, None));
        scene.all.settle();
        assert_eq!(scene.all.cluster.runs_on(task), Some(1));
        // Its node does not know what others have in the bundle.
        let actor = scene.all.cluster.worlds[2].create(guest, in_bundle(group, None, 0));
        scene.all.settle();
        let view = scene.all.cluster.worlds[2].node.actor(actor).expect("it is listed");
        assert_eq!(view.node, Some(scene.all.cluster.id(1)), "it is in line there");
        scene.all.hold(held);
        scene.all.remove(0, scene.root, group).expect("it holds it");
        scene.all.release(held);
        let view = scene.all.cluster.worlds[2].node.actor(actor).expect("it is listed");
        let cause = view.cause.expect("it is dead");
        assert_eq!(cause.code(), ErrorCode::PlacementGroupRemoved, "{cause}");
        scene.all.end();
    }
}

// contract: P3, A3
#[test]
fn when_the_bundle_is_taken_away_it_restarts_where_that_is_then() {
    let mut scene = scene(&[0, 2], 2);
    let actor = scene.create(in_bundle(scene.group, None, 1));
    let frail = scene.create(in_bundle(scene.group, None, 0));
    scene.all.cluster.construct(actor);
    scene.all.cluster.construct(frail);
    let waits = scene.create(in_bundle(scene.group, None, 0));
    let call = scene.call(actor);
    let group = scene.group;
    scene.all.repeat(1, GroupNotice::Return { group, generation: 1 });
    scene.all.settle();
    assert_eq!(scene.code(call), ErrorCode::ActorDied);
    assert_eq!((scene.state(actor), scene.state(frail)), ("RESTARTING", "DEAD"));
    let cause = scene.all.cluster.worlds[0].node.actor(frail).and_then(|view| view.cause).expect("dead");
    assert!(cause.message().contains("was taken away"), "{cause}");
    assert_eq!(scene.state(waits), "PENDING", "it was not begun");
    // The head hears that the bundle is not there.
    scene.all.break_line(1);
    scene.all.settle();
    scene.all.advance(Duration::from_millis(500));
    assert_eq!(scene.all.state(group), GroupState::Created);
    assert_eq!(scene.all.cluster.construct(actor), 1);
    assert_eq!(scene.all.cluster.construct(waits), 1);
    assert_eq!(scene.room(), 0.0);
    scene.all.end();
}

// contract: P2, A3
#[test]
fn one_that_lives_here_restarts_too_when_its_bundle_is_taken_away() {
    let mut all = Headed::new(&[2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::Pack, &[2]);
    let actor = all.cluster.worlds[0].actor(root, in_bundle(group, None, 1));
    let frail = all.cluster.worlds[0].actor(root, in_bundle(group, None, 0));
    all.repeat(0, GroupNotice::Return { group, generation: 1 });
    let state = |all: &Headed, actor| all.cluster.worlds[0].actor_state(actor);
    assert_eq!((state(&all, actor), state(&all, frail)), ("RESTARTING", "DEAD"));
    let cause = all.cluster.worlds[0].node.actor(frail).and_then(|view| view.cause).expect("dead");
    assert!(cause.message().contains("was taken away"), "{cause}");
    all.break_line(0);
    all.settle();
    all.advance(Duration::from_millis(500));
    all.cluster.construct(actor);
    assert_eq!(state(&all, actor), "ALIVE");
    all.end();
}

#[test]
fn children_of_its_calls_are_captured() {
    let mut scene = scene(&[0, 4], 3);
    let mut wants = in_bundle(scene.group, None, 0);
    if let Strategy::PlacementGroup { capture_children, .. } = &mut wants.placement.strategy {
        *capture_children = true;
    }
    let actor = scene.create(wants);
    scene.all.cluster.construct(actor);
    let call = scene.call(actor);
    let guest = scene.all.cluster.worlds[1].caller(call);
    let child = scene.all.cluster.worlds[1].spawn(guest, &[], options());
    let mut spread = options();
    spread.placement.strategy = Strategy::Spread;
    let other = scene.all.cluster.worlds[1].spawn(guest, &[], spread);
    let inner = scene.all.cluster.worlds[1].create(guest, ActorOptions::default());
    scene.all.settle();
    assert_eq!(scene.all.cluster.construct(inner), 1);
    assert_eq!((scene.room(), scene.all.free(1)), (1.0, 0.0), "the actor and the child; what asked to leave");
    let inside = scene.all.cluster.worlds[1].caller(child);
    let grandchild = scene.all.cluster.worlds[1].spawn(inside, &[], options());
    assert_eq!(scene.all.cluster.runs_on(grandchild), Some(1));
    assert_eq!(scene.room(), 0.0);
    let (root, group) = (scene.root, scene.group);
    scene.all.remove(0, root, group).expect("it holds it");
    for task in [child, grandchild] {
        assert_eq!(scene.all.cluster.runs_on(task), None);
    }
    assert_eq!(scene.code(call), ErrorCode::PlacementGroupRemoved);
    assert_eq!(scene.all.cluster.runs_on(other), Some(1), "it is not in the group");
    scene.all.end();
}

// contract: P2, A8
#[test]
fn a_detached_one_ends_with_the_group_of_its_job() {
    let mut scene = scene(&[0, 2], 2);
    let wants = ActorOptions { lifetime: Lifetime::Detached, ..in_bundle(scene.group, None, -1) };
    let actor = scene.create(wants);
    scene.all.cluster.construct(actor);
    let job = scene.all.cluster.worlds[0].job_of(scene.root);
    scene.all.cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    scene.all.settle();
    let cause = scene.all.cluster.worlds[0].node.actor(actor).and_then(|view| view.cause).expect("dead");
    assert_eq!(cause.code(), ErrorCode::PlacementGroupRemoved);
    assert_eq!(scene.all.free(1), 2.0);
    scene.all.end();
}

// contract: E2
#[test]
fn what_descends_from_a_detached_one_reaches_only_bundles_where_that_lives() {
    let mut all = Headed::new(&[0, 2, 2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 1]);
    let mut wants = ActorOptions { lifetime: Lifetime::Detached, ..ActorOptions::default() };
    wants.placement.strategy = Strategy::Node(all.cluster.id(1), false);
    let actor = all.cluster.worlds[0].create(root, wants);
    all.settle();
    all.cluster.construct(actor);
    let lane = all.cluster.worlds[0].lane();
    let call = all.cluster.worlds[0].call(root, actor, lane, &[]);
    all.settle();
    let guest = all.cluster.worlds[1].caller(call);
    all.cluster.worlds[1].acquire(guest, Handle::PlacementGroup(group));
    all.settle();
    let there = (0..2).find(|index| all.nodes(group)[*index] == Some(2)).expect("one is there") as u32;
    let far = all.cluster.worlds[1].spawn(guest, &[], inside(group, Some(there)));
    let near = all.cluster.worlds[1].spawn(guest, &[], inside(group, None));
    all.settle();
    assert_eq!(all.cluster.runs_on(near), Some(1));
    let error = all.cluster.worlds[1].error_of(guest, far.output(0));
    assert_eq!(error.code(), ErrorCode::Unschedulable);
    assert!(error.message().contains("stays on"), "{error}");
    all.cluster.worlds[0].kill(root, actor, false);
    all.settle();
    all.end();
}
