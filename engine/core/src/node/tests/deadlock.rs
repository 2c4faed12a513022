//! A deadlock on memory or others is detected and named (contract T2).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::TaskState::*;
use crate::node::{Limits, Until, Waitable};
use crate::options::{ActorOptions, Placement, Reuse, TaskOptions};
use crate::resources::{Quantity, Resources};

const GIB: u64 = 1 << 30;

/// 4 CPUs and so much memory beyond what the root takes.
fn world(memory: u64) -> World {
    let total = Resources { cpus: Quantity::units(4), memory: memory + (1 << 20), ..Resources::default() };
    World::new(total, Limits::default())
}

fn actor_of(cpus: Option<u64>, memory: u64) -> ActorOptions {
    let cpus = cpus.map(Quantity::units);
    let placement = Placement { cpus, memory: Some(memory), ..Placement::default() };
    ActorOptions { placement, ..ActorOptions::default() }
}

// contract: T2
#[test]
fn tasks_that_hold_memory_and_wait_for_tasks_that_want_it() {
    let mut world = world(3 * GIB);
    let root = world.job();
    let parent = world.spawn(root, &[], with_memory(2 * GIB));
    let child = world.spawn(world.caller(parent), &[], with_memory(2 * GIB));
    assert_eq!(world.state(child), PendingPlacement, "its parent runs, and may go on without it");
    let wait = world.block_on(world.caller(parent), child);
    assert_eq!(world.state(child), PendingPlacement, "the root runs");
    let guest = world.caller(parent);
    let over = world.block_on(root, parent);
    assert!(world.is_awake(wait), "nobody else can go on");
    let error = world.error_of(guest, child.output(0));
    assert_eq!(error.code(), ErrorCode::Unschedulable);
    assert!(error.message().contains("deadlock: it waits for memory (2 GiB wanted, 1 GiB free)"), "{error}");
    world.finish(parent);
    assert!(world.is_awake(over));
    world.end();
}

// contract: T2
#[test]
fn it_is_not_declared_while_something_can_still_progress() {
    let mut world = world(3 * GIB);
    let root = world.job();
    let other = world.spawn(root, &[], with_memory(GIB));
    let parent = world.spawn(root, &[], with_memory(2 * GIB));
    let guest = world.caller(parent);
    let child = world.spawn(guest, &[], with_memory(GIB));
    world.block_on(guest, child);
    world.block_on(root, parent);
    assert_eq!(world.state(child), PendingPlacement, "another task runs");
    world.finish(other);
    assert_eq!(world.state(child), Running, "and made room");
    world.end();
}

// contract: T2
#[test]
fn it_is_not_declared_while_time_may_resolve_it() {
    let mut world = world(3 * GIB);
    let root = world.job();
    let parent = world.spawn(root, &[], with_memory(2 * GIB));
    let guest = world.caller(parent);
    let child = world.spawn(guest, &[], with_memory(2 * GIB));
    world.wait(guest, &[Waitable::Object(child.output(0))], Until::Count(1), Some(SECOND));
    world.block_on(root, parent);
    world.assert_states(&[parent, child], &[Blocked, PendingPlacement]);
    world.advance(SECOND);
    world.assert_states(&[parent, child], &[Running, PendingPlacement]);
    world.finish(parent);
    assert_eq!(world.state(child), Running);
    world.end();
}

// contract: T2
#[test]
fn memory_that_idle_actors_hold_is_named() {
    let mut world = world(3 * GIB);
    let root = world.job();
    world.actor(root, actor_of(None, 2 * GIB));
    let second = world.create(root, actor_of(None, 2 * GIB));
    let lane = world.lane();
    let call = world.call(root, second, lane, &[]);
    world.block_on(root, call);
    assert_eq!(world.actor_state(second), "DEAD");
    let error = world.error_of(root, call.output(0));
    assert_eq!(error.code(), ErrorCode::ActorDied);
    assert!(error.message().contains("2 GiB wanted, 1 GiB free"), "{error}");
    world.end();
}

// contract: T2
#[test]
fn cpus_that_an_idle_actor_holds_for_life_fail_who_waits_for_them_with_the_numbers() {
    let total = Resources { cpus: Quantity::units(1), memory: 8 * GIB, ..Resources::default() };
    let mut world = World::new(total, Limits::default());
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let guest = world.caller(task);
    let actor = world.create(guest, actor_of(Some(1), 0));
    let lane = world.lane();
    let call = world.call(guest, actor, lane, &[]);
    let wait = world.block_on(guest, call);
    world.construct(actor);
    let over = world.block_on(root, task);
    world.finish(call);
    assert!(!world.is_awake(wait), "the actor has the CPU, for life");
    assert!(world.is_awake(over));
    let error = world.error_of(root, task.output(0));
    assert_eq!(error.code(), ErrorCode::Unschedulable);
    assert!(error.message().contains("it needs 1 CPUs to go on, of which 0 are free"), "{error}");
    world.end();
}

// contract: T2
#[test]
fn a_hundred_thousand_tasks_that_can_never_run_fail_one_by_one() {
    let mut world = world(3 * GIB);
    let root = world.job();
    world.actor(root, actor_of(None, 2 * GIB));
    world.checks = false;
    let tasks: Vec<_> = (0..100_000).map(|_| world.spawn(root, &[], with_memory(2 * GIB))).collect();
    let items: Vec<_> = tasks.iter().map(|task| Waitable::Object(task.output(0))).collect();
    world.wait(root, &items, Until::Count(100_000), None);
    assert_eq!(world.state(tasks[99_999]), Failed);
    assert_eq!(world.node.progress().of(Failed), 100_000);
    world.end();
}

// contract: T2
#[test]
fn warm_sandboxes_that_wait_are_no_deadlock() {
    let mut world = world(3 * GIB);
    let root = world.job();
    let warm = TaskOptions { reuse: Reuse::Job, ..with_memory(2 * GIB) };
    let first = world.spawn(root, &[], warm);
    world.finish(first);
    let second = world.spawn(root, &[], with_memory(3 * GIB));
    world.block_on(root, second);
    assert_eq!(world.state(second), Running);
    world.end();
}

// contract: T2
#[test]
fn no_room_for_a_sandbox_is_named_too() {
    let limits = Limits { instances_max: 2, ..Limits::default() };
    let mut world = World::new(cpus(4), limits);
    let root = world.job();
    let parent = world.spawn(root, &[], options());
    let guest = world.caller(parent);
    let child = world.spawn(guest, &[], options());
    world.block_on(guest, child);
    world.block_on(root, parent);
    let error = world.error_of(guest, child.output(0));
    assert!(error.message().contains("a sandbox (instances_max of 2 is reached)"), "{error}");
    world.end();
}
