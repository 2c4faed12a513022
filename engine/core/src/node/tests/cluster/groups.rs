//! Placement groups on several nodes.

use std::time::Duration;

use super::headed::{Headed, bundle, inside};
use crate::error::ErrorCode;
use crate::group::{GroupNotice, GroupState, GroupStrategy};
use crate::node::tests::harness::options;
use crate::node::{Limits, TaskState};
use crate::options::{ActorOptions, Retries, Strategy, TaskOptions};
use crate::resources::Quantity;
use crate::value::Handle;

// contract: P1, P2
#[test]
fn a_group_is_reserved_and_only_what_is_in_it_uses_it() {
    let mut all = Headed::new(&[2, 2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[2, 1]);
    assert_eq!(all.state(group), GroupState::Created);
    let nodes = all.nodes(group);
    assert_ne!(nodes[0], nodes[1]);
    let first = nodes[0].expect("it is there");
    assert_eq!((all.free(first), all.free(1 - first)), (0.0, 1.0));
    let own = all.cluster.worlds[0].spawn(root, &[], inside(group, Some(0)));
    let other = all.cluster.worlds[0].spawn(root, &[], inside(group, Some(1)));
    let plain = all.cluster.worlds[0].spawn_many(root, 2);
    all.settle();
    assert_eq!(all.cluster.runs_on(own), Some(first));
    assert_eq!(all.cluster.runs_on(other), Some(1 - first));
    let running = plain.iter().filter(|task| all.cluster.runs_on(**task).is_some()).count();
    assert_eq!(running, 1, "one CPU is left for what is not in the group");
    all.remove(0, root, group).expect("it holds it");
    for task in [own, other] {
        assert_eq!(all.code(0, root, task), ErrorCode::PlacementGroupRemoved);
    }
    assert!(plain.iter().all(|task| all.cluster.runs_on(*task).is_some()), "there is room again");
    assert_eq!(all.free(0) + all.free(1), 2.0);
    all.remove(0, root, group).expect("it does nothing");
    all.end();
}

// contract: P1
#[test]
fn a_task_waits_until_its_group_is_committed() {
    let mut all = Headed::new(&[2, 2]);
    let root = all.cluster.job(0);
    all.hold(1);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 1]);
    let task = all.cluster.worlds[0].spawn(root, &[], inside(group, None));
    all.settle();
    assert_eq!(all.state(group), GroupState::Pending);
    assert_eq!(all.free(0), 1.0, "its bundle is prepared");
    all.cluster.assert_state(0, task, TaskState::PendingPlacement);
    let why = all.cluster.worlds[0].node.explain(task).expect("it is known");
    assert!(why.contains("PENDING"), "{why}");
    all.release(1);
    assert_eq!(all.state(group), GroupState::Created);
    assert!(all.cluster.runs_on(task).is_some());
    all.end();
}

// contract: P1
#[test]
fn one_that_is_refused_leaves_nothing_reserved() {
    let mut all = Headed::new(&[2, 2]);
    let root = all.cluster.job(0);
    let elsewhere = all.cluster.job(1);
    // The head has not heard of these when it chooses.
    let busy = all.cluster.worlds[1].spawn_many(elsewhere, 1);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[2, 2]);
    assert_eq!(all.state(group), GroupState::Pending);
    assert_eq!((all.free(0), all.free(1)), (2.0, 1.0), "all or none");
    let why = all.head.explain_group(group).expect("it is known");
    assert!(why.contains("bundles"), "{why}");
    all.cluster.finish(busy[0]);
    all.advance(Duration::from_millis(200));
    assert_eq!(all.state(group), GroupState::Created);
    assert_eq!((all.free(0), all.free(1)), (0.0, 0.0));
    all.end();
}

// contract: P2
#[test]
fn a_removal_that_crosses_prepare_and_commit_gives_everything_back_once() {
    // After so many steps of either side, the guest removes the group.
    for steps in 0..12 {
        let mut all = Headed::new(&[2, 2]);
        let root = all.cluster.job(0);
        (0..2).for_each(|index| all.hold(index));
        let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 1]);
        for step in 0..steps {
            all.collect();
            let index = step % 2;
            let _ = all.up(index) || all.down(index);
        }
        all.remove(0, root, group).expect("it holds it");
        (0..2).for_each(|index| all.release(index));
        assert_eq!(all.state(group), GroupState::Removed, "after {steps} steps");
        assert_eq!((all.free(0), all.free(1)), (2.0, 2.0), "after {steps} steps");
        // What comes late has no effect.
        for index in 0..2 {
            all.repeat(index, GroupNotice::Commit { group, generation: 1 });
            all.repeat(index, GroupNotice::Return { group, generation: 1 });
        }
        let bundles = vec![(0, bundle(1).resources)];
        all.repeat(1, GroupNotice::Prepare { group, generation: 1, bundles });
        all.settle();
        assert_eq!((all.free(0), all.free(1)), (2.0, 2.0), "after {steps} steps");
        all.end();
    }
}

// contract: P1
#[test]
fn a_line_that_breaks_anywhere_is_made_good() {
    for steps in 0..10 {
        for broken in 0..2 {
            let mut all = Headed::new(&[2, 2]);
            let root = all.cluster.job(0);
            (0..2).for_each(|index| all.hold(index));
            let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 2]);
            for step in 0..steps {
                all.collect();
                let index = step % 2;
                let _ = all.up(index) || all.down(index);
            }
            all.break_line(broken);
            all.release(1 - broken);
            all.release(broken);
            let what = format!("after {steps} steps on {broken}");
            assert_eq!(all.state(group), GroupState::Created, "{what}");
            let task = all.cluster.worlds[0].spawn(root, &[], inside(group, Some(1)));
            all.settle();
            assert!(all.cluster.runs_on(task).is_some(), "{what}");
            assert_eq!(all.free(0) + all.free(1), 1.0, "{what}");
            all.end();
        }
    }
}

// contract: P1
#[test]
fn ready_is_an_object() {
    let mut all = Headed::new(&[2, 2]);
    let root = all.cluster.job(0);
    all.hold(1);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 1]);
    let ready = all.cluster.worlds[0].event(|node, _, fx| node.group_ready(root, group, fx)).expect("held");
    let wait = all.cluster.worlds[0].get(root, &[ready]).expect("it is not ready yet");
    all.release(1);
    assert!(all.cluster.worlds[0].is_awake(wait));
    let never = all.group(0, root, GroupStrategy::StrictPack, &[9]);
    let ready = all.cluster.worlds[0].event(|node, _, fx| node.group_ready(root, never, fx)).expect("held");
    let dropped = all.cluster.worlds[0].event(|node, _, fx| node.group_ready(root, never, fx)).expect("held");
    all.cluster.worlds[0].release(root, Handle::Object(dropped));
    all.remove(0, root, never).expect("it holds it");
    let error = all.cluster.worlds[0].error_of(root, ready);
    assert_eq!(error.code(), ErrorCode::PlacementGroupRemoved);
    let again = all.cluster.worlds[0].event(|node, _, fx| node.group_ready(root, group, fx)).expect("held");
    assert!(all.cluster.worlds[0].outcome(root, again).expect("it is there").is_ok());
    all.end();
}

// contract: P3
#[test]
fn bundles_of_a_dead_node_are_placed_again_and_what_ran_there_restarts() {
    let mut all = Headed::new(&[1, 2, 2, 2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[2, 2]);
    let before = all.nodes(group);
    let task = all.cluster.worlds[0].spawn(root, &[], inside(group, Some(1)));
    let stays = all.cluster.worlds[0].spawn(root, &[], inside(group, Some(0)));
    let retries = Retries { system: 0, ..Retries::default() };
    let frail = all.cluster.worlds[0].spawn(root, &[], TaskOptions { retries, ..inside(group, Some(1)) });
    all.settle();
    let dead = before[1].expect("it is there");
    assert_eq!(all.cluster.runs_on(task), Some(dead));
    all.kill(dead);
    assert_eq!(all.state(group), GroupState::Created);
    let after = all.nodes(group);
    assert_eq!(after[0], before[0], "the other bundle stays");
    assert!(after[1].is_some_and(|node| node != dead && Some(node) != after[0]), "on a node of its own");
    assert_eq!(all.cluster.runs_on(task), after[1], "it is tried again there");
    assert_eq!(all.cluster.runs_on(stays), before[0]);
    assert_eq!(all.code(0, root, frail), ErrorCode::NodeDied, "which its budget did not allow");
    // No third node has room.
    all.kill(after[1].expect("it is there"));
    all.advance(Duration::from_millis(100));
    assert_eq!(all.state(group), GroupState::Rescheduling);
    let why = all.cluster.worlds[0].node.explain(task).expect("it is known");
    assert!(why.contains("RESCHEDULING"), "{why}");
    assert!(why.contains("node of its own"), "{why}");
    all.end();
}

// contract: P2
#[test]
fn a_group_ends_with_the_node_that_asked_for_it() {
    let mut all = Headed::new(&[2, 2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 1]);
    all.kill(0);
    assert_eq!(all.state(group), GroupState::Removed);
    assert_eq!(all.free(1), 2.0);
    all.end();
}

// contract: P2, J2
#[test]
fn a_group_ends_with_its_job_but_not_with_its_last_handle() {
    let mut all = Headed::new(&[2, 2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 1]);
    all.drop_group(0, root, group);
    all.settle();
    assert_eq!(all.state(group), GroupState::Created);
    let job = all.cluster.worlds[0].job_of(root);
    all.cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    all.settle();
    assert_eq!(all.state(group), GroupState::Removed);
    assert_eq!((all.free(0), all.free(1)), (2.0, 2.0));
    all.end();
}

#[test]
fn a_handle_travels_and_its_receiver_learns_where_the_bundles_are() {
    let mut all = Headed::new(&[2, 0, 2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictPack, &[2]);
    let home = all.nodes(group)[0].expect("it is there");
    let object = {
        let value = crate::node::tests::harness::value_with(&[Handle::PlacementGroup(group)]);
        all.cluster.worlds[0].put(root, value)
    };
    let mut there = options();
    let id = all.cluster.id(1);
    there.placement.strategy = Strategy::Node(id, false);
    there.placement.cpus = Some(Quantity::ZERO);
    let task = all.cluster.worlds[0].spawn(root, &[object], there);
    all.settle();
    assert_eq!(all.cluster.runs_on(task), Some(1));
    let guest = all.cluster.worlds[1].caller(task);
    all.cluster.worlds[1].acquire(guest, Handle::PlacementGroup(group));
    all.settle();
    let child = all.cluster.worlds[1].spawn(guest, &[], inside(group, None));
    all.settle();
    assert_eq!(all.cluster.runs_on(child), Some(home));
    let ready = all.cluster.worlds[1].event(|node, _, fx| node.group_ready(guest, group, fx)).expect("held");
    assert!(all.cluster.worlds[1].outcome(guest, ready).is_some_and(|outcome| outcome.is_ok()));
    all.remove(1, guest, group).expect("it holds it");
    assert_eq!(all.state(group), GroupState::Removed);
    assert_eq!(all.code(1, guest, child), ErrorCode::PlacementGroupRemoved);
    all.end();
}

#[test]
fn children_are_captured_unless_they_say_otherwise() {
    let mut all = Headed::new(&[4, 4]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictPack, &[3]);
    let home = all.nodes(group)[0].expect("it is there");
    let mut options = inside(group, None);
    if let Strategy::PlacementGroup { capture_children, .. } = &mut options.placement.strategy {
        *capture_children = true;
    }
    let parent = all.cluster.worlds[0].spawn(root, &[], options);
    all.settle();
    assert_eq!(all.cluster.runs_on(parent), Some(home));
    let guest = all.cluster.worlds[home].caller(parent);
    let child = all.cluster.worlds[home].spawn(guest, &[], crate::node::tests::harness::options());
    let mut spread = crate::node::tests::harness::options();
    spread.placement.strategy = Strategy::Spread;
    let other = all.cluster.worlds[home].spawn(guest, &[], spread);
    all.settle();
    let grandparent = all.cluster.worlds[home].caller(child);
    let grandchild = all.cluster.worlds[home].spawn(grandparent, &[], crate::node::tests::harness::options());
    all.settle();
    assert!(all.cluster.runs_on(grandchild).is_some());
    let free = &all.cluster.worlds[home].node.bundles()[0].free;
    assert_eq!(free.cpus, Quantity::ZERO, "the two and the grandchild fill the bundle");
    all.remove(0, root, group).expect("it holds it");
    assert!(all.cluster.runs_on(other).is_some(), "it is not in the group");
    assert!(all.cluster.runs_on(child).is_none());
    all.end();
}

// contract: P2, A4
#[test]
fn an_actor_in_a_bundle_ends_with_its_group() {
    let mut all = Headed::new(&[2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::Pack, &[1]);
    let mut options = ActorOptions { max_restarts: 1, ..ActorOptions::default() };
    options.placement = inside(group, Some(0)).placement;
    options.placement.cpus = Some(Quantity::units(1));
    let actor = all.cluster.worlds[0].actor(root, options);
    let lane = all.cluster.worlds[0].lane();
    assert_eq!(all.cluster.worlds[0].node.bundles()[0].free.cpus, Quantity::ZERO);
    assert_eq!(all.free(0), 1.0);
    let instance = all.cluster.worlds[0].instance_of(actor);
    all.cluster.worlds[0].die(instance);
    all.cluster.worlds[0].construct(actor);
    assert_eq!(all.cluster.worlds[0].node.bundles()[0].free.cpus, Quantity::ZERO, "it restarts there");
    let call = all.cluster.worlds[0].call(root, actor, lane, &[]);
    let queued = all.cluster.worlds[0].call(root, actor, lane, &[]);
    all.remove(0, root, group).expect("it holds it");
    for call in [call, queued] {
        assert_eq!(all.code(0, root, call), ErrorCode::PlacementGroupRemoved);
    }
    let late = all.cluster.worlds[0].call(root, actor, lane, &[]);
    assert_eq!(all.code(0, root, late), ErrorCode::PlacementGroupRemoved);
    assert_eq!(all.free(0), 2.0);
    all.end();
}

// contract: E2
#[test]
fn what_no_bundle_can_hold_fails_with_the_numbers() {
    let mut all = Headed::new(&[4, 4]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictSpread, &[1, 2]);
    let mut large = inside(group, None);
    large.placement.cpus = Some(Quantity::units(3));
    let large_task = all.cluster.worlds[0].spawn(root, &[], large.clone());
    let none = all.cluster.worlds[0].spawn(root, &[], inside(group, Some(2)));
    let actor = ActorOptions { placement: large.placement.clone(), ..ActorOptions::default() };
    let actor = all.cluster.worlds[0].create(root, actor);
    let error = all.cluster.worlds[0].error_of(root, large_task.output(0));
    assert_eq!(error.code(), ErrorCode::Unschedulable);
    assert!(error.message().contains("3 of cpus, and has no more than 2"), "{error}");
    let error = all.cluster.worlds[0].error_of(root, none.output(0));
    assert!(error.message().contains("bundle 2, and there are 2"), "{error}");
    let view = all.cluster.worlds[0].node.actor(actor).expect("it is listed");
    let cause = view.cause.expect("it could not be placed");
    assert!(cause.message().contains("3 of cpus, and has no more than 2"), "{cause}");
    all.end();
}

#[test]
fn a_second_group_of_a_name_is_denied() {
    let mut all = Headed::new(&[2]);
    let root = all.cluster.job(0);
    let first = all.request(0, root, GroupStrategy::Pack, vec![bundle(1)], Some("g"));
    all.settle();
    assert!(all.cluster.worlds[0].answered[&first].is_ok());
    assert_eq!(all.head.lookup_group("default", "g").expect("it is there"), first);
    let second = all.request(0, root, GroupStrategy::Pack, vec![bundle(1)], Some("g"));
    all.settle();
    let error = all.cluster.worlds[0].answered[&second].clone().expect_err("the name is taken");
    assert_eq!(error.code(), ErrorCode::AlreadyExists);
    all.drop_group(0, root, second);
    all.remove(0, root, first).expect("it holds it");
    let third = all.request(0, root, GroupStrategy::Pack, vec![bundle(1)], Some("g"));
    all.settle();
    assert!(all.cluster.worlds[0].answered[&third].is_ok(), "it is free again");
    all.end();
}

#[test]
fn a_blocked_task_in_a_bundle_lends_its_cpus_to_the_bundle_alone() {
    let mut all = Headed::new(&[1]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::Pack, &[1]);
    let parent = all.cluster.worlds[0].spawn(root, &[], inside(group, None));
    let guest = all.cluster.worlds[0].caller(parent);
    all.cluster.worlds[0].acquire(guest, Handle::PlacementGroup(group));
    let plain = all.cluster.worlds[0].spawn(root, &[], options());
    let child = all.cluster.worlds[0].spawn(guest, &[], inside(group, None));
    assert!(all.cluster.runs_on(child).is_none());
    let wait = all.cluster.worlds[0].block_on(guest, child);
    assert!(all.cluster.runs_on(child).is_some(), "it runs on what its parent lends");
    assert!(all.cluster.runs_on(plain).is_none());
    let why = all.cluster.worlds[0].node.explain(plain).expect("it is known");
    assert!(why.contains("1 of its 1 CPUs are reserved by 1 bundles"), "{why}");
    all.cluster.finish(child);
    assert!(all.cluster.worlds[0].is_awake(wait));
    all.remove(0, root, group).expect("it holds it");
    assert!(all.cluster.runs_on(plain).is_some());
    all.end();
}

#[test]
fn a_large_task_in_a_bundle_is_passed_a_bounded_number_of_times() {
    let limits = Limits { passed_over_max: 2, ..Limits::default() };
    let mut all = Headed::of(&[3], &limits);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::Pack, &[2]);
    let first = all.cluster.worlds[0].spawn(root, &[], inside(group, None));
    let mut large = inside(group, None);
    large.placement.cpus = Some(Quantity::units(2));
    let large = all.cluster.worlds[0].spawn(root, &[], large);
    let small: Vec<_> =
        (0..6).map(|_| all.cluster.worlds[0].spawn(root, &[], inside(group, Some(0)))).collect();
    let plain = all.cluster.worlds[0].spawn(root, &[], options());
    assert!(all.cluster.runs_on(plain).is_some(), "who is not in the group is not held up");
    let mut passed = 0;
    while let Some(task) = small.iter().copied().find(|task| all.cluster.runs_on(*task).is_some()) {
        all.cluster.finish(task);
        passed += 1;
    }
    assert!((1..=3).contains(&passed), "{passed} have passed it");
    all.cluster.finish(first);
    assert!(all.cluster.runs_on(large).is_some());
    all.end();
}

// contract: T2
#[test]
fn a_call_that_goes_on_comes_before_new_ones_of_its_bundle() {
    let mut all = Headed::new(&[3]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::Pack, &[2]);
    let mut large = inside(group, None);
    large.placement.cpus = Some(Quantity::units(2));
    let parent = all.cluster.worlds[0].spawn(root, &[], large);
    let guest = all.cluster.worlds[0].caller(parent);
    all.cluster.worlds[0].acquire(guest, Handle::PlacementGroup(group));
    let child = all.cluster.worlds[0].spawn(guest, &[], inside(group, None));
    let others: Vec<_> =
        (0..3).map(|_| all.cluster.worlds[0].spawn(root, &[], inside(group, None))).collect();
    let wait = all.cluster.worlds[0].block_on(guest, child);
    assert!(all.cluster.runs_on(child).is_some() && all.cluster.runs_on(others[0]).is_some());
    all.cluster.finish(child);
    assert!(!all.cluster.worlds[0].is_awake(wait), "it lacks a CPU");
    assert!(all.cluster.runs_on(others[1]).is_none(), "which is for it first");
    all.cluster.finish(others[0]);
    assert!(all.cluster.worlds[0].is_awake(wait));
    all.end();
}

// contract: P2, T5
#[test]
fn a_bundle_comes_back_when_its_last_sandbox_has_ended() {
    let mut all = Headed::new(&[2]);
    all.cluster.worlds[0].slow_stops = true;
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::Pack, &[2]);
    let task = all.cluster.worlds[0].spawn(root, &[], inside(group, None));
    let instance = all.cluster.worlds[0].caller(task).instance;
    all.remove(0, root, group).expect("it holds it");
    assert_eq!(all.free(0), 0.0, "its sandbox has not ended");
    assert_eq!(all.cluster.worlds[0].node.bundles()[0].state, "LEAVING");
    all.repeat(0, GroupNotice::Commit { group, generation: 1 });
    assert_eq!(all.cluster.worlds[0].node.bundles()[0].state, "LEAVING");
    all.cluster.worlds[0].gone(instance);
    assert_eq!(all.free(0), 2.0);
    all.cluster.worlds[0].slow_stops = false;
    all.end();
}
