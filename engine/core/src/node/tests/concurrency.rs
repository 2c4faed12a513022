//! How many calls are inside an actor (contract A7).

use super::harness::*;
use crate::error::ErrorCode;
use crate::ids::{ActorId, LaneId, TaskId};
use crate::node::TaskState::*;
use crate::node::{Caller, Limits};
use crate::options::{ActorOptions, CallOptions};
use crate::resources::Quantity;

fn concurrent(max: u32, groups: &[(&str, u32)]) -> ActorOptions {
    let concurrency_groups = groups.iter().map(|(name, max)| ((*name).to_owned(), *max)).collect();
    ActorOptions { max_concurrency: max, concurrency_groups, ..ActorOptions::default() }
}

fn call_in(world: &mut World, from: Caller, actor: ActorId, lane: LaneId, group: &str) -> TaskId {
    let options = CallOptions { concurrency_group: Some(group.to_owned()), ..CallOptions::default() };
    world.call_with(from, actor, lane, &[], options).expect("accepted")
}

// contract: A7
#[test]
fn never_more_than_max_concurrency_calls_are_inside() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, concurrent(3, &[]));
    let lane = world.lane();
    let calls: Vec<_> = (0..5).map(|_| world.call(root, actor, lane, &[])).collect();
    world.assert_states(&calls, &[Running, Running, Running, Submitted, Submitted]);
    world.finish(calls[1]);
    world.assert_states(&calls, &[Running, Finished, Running, Running, Submitted]);
    world.end();
}

// contract: A7
#[test]
fn a_group_that_is_full_or_blocked_does_not_block_another() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, concurrent(1, &[("io", 2), ("compute", 1)]));
    let lane = world.lane();
    let compute = [
        call_in(&mut world, root, actor, lane, "compute"),
        call_in(&mut world, root, actor, lane, "compute"),
    ];
    let late = world.spawn(root, &[], options());
    let blocked = CallOptions { concurrency_group: Some("io".into()), ..CallOptions::default() };
    let waits = world.call_with(root, actor, lane, &[late.output(0)], blocked).expect("accepted");
    let behind = call_in(&mut world, root, actor, lane, "io");
    let default = world.call(root, actor, lane, &[]);
    world.assert_states(&compute, &[Running, Submitted]);
    world.assert_states(&[waits, behind, default], &[PendingArgs, Submitted, Running]);
    world.finish(late);
    world.assert_states(&[waits, behind], &[Running, Running]);
    world.end();
}

// contract: A7
#[test]
fn groups_are_named_when_they_do_not_exist_and_bounded() {
    let limits = Limits { max_concurrency_max: 10, concurrency_groups_max: 2, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let root = world.job();
    let actor = world.actor(root, concurrent(1, &[("io", 1)]));
    let lane = world.lane();
    let unknown = CallOptions { concurrency_group: Some("oi".into()), ..CallOptions::default() };
    let refused = world.call_with(root, actor, lane, &[], unknown).expect_err("there is no such group");
    assert_eq!(refused.code(), ErrorCode::InvalidArgument);
    assert!(refused.message().contains("\"oi\"") && refused.message().contains("[\"io\"]"), "{refused}");
    let refusals = [
        (concurrent(0, &[]), ErrorCode::InvalidArgument),
        (concurrent(1, &[("io", 0)]), ErrorCode::InvalidArgument),
        (concurrent(5, &[("io", 6)]), ErrorCode::LimitExceeded),
        (concurrent(1, &[("a", 1), ("b", 1), ("c", 1)]), ErrorCode::LimitExceeded),
    ];
    for (options, code) in refusals {
        let refused = world.try_create(root, Vec::new(), options);
        assert_eq!(refused.map_err(|error| error.code()), Err(code));
    }
    world.end();
}

// contract: A7, T2
#[test]
fn an_actor_lends_its_cpus_only_while_all_of_its_calls_are_blocked() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let mut options = concurrent(2, &[]);
    options.placement.cpus = Some(Quantity::units(1));
    let actor = world.actor(root, options);
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    let guest = world.caller(calls[0]);
    let task = world.spawn(guest, &[], super::harness::options());
    let wait = world.block_on(guest, task);
    assert_eq!(world.state(task), PendingPlacement, "its other call runs");
    world.finish(calls[1]);
    assert_eq!(world.state(task), Running, "only the blocked one is inside");
    world.finish(task);
    assert!(world.is_awake(wait));
    world.finish(calls[0]);
    assert_eq!(world.free().cpus, Quantity::ZERO, "it holds its CPU for life");
    world.end();
}

// contract: A7
#[test]
fn an_actor_can_call_itself_when_it_may_serve_two() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, concurrent(2, &[]));
    let lane = world.lane();
    let outer = world.call(root, actor, lane, &[]);
    let guest = world.caller(outer);
    world.acquire(guest, crate::value::Handle::Actor(actor));
    let own = world.lane();
    let inner = world.call(guest, actor, own, &[]);
    let wait = world.block_on(guest, inner);
    world.assert_states(&[outer, inner], &[Blocked, Running]);
    world.finish(inner);
    assert!(world.is_awake(wait));
    world.end();
}
