//! get and wait (contract O1, O2).

use super::harness::*;
use crate::error::ErrorCode;
use crate::ids::TaskId;
use crate::node::TaskState::*;
use crate::node::{Until, WaitState, Waitable};
use std::time::Duration;

fn outputs(tasks: &[TaskId]) -> Vec<Waitable> {
    tasks.iter().map(|task| Waitable::Object(task.output(0))).collect()
}

fn blocked(state: WaitState) -> crate::ids::WaitId {
    match state {
        WaitState::Blocked(wait) => wait,
        WaitState::Ready => panic!("there is something to wait for"),
    }
}

// contract: O1
#[test]
fn get_waits_for_all_and_takes_duplicates() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let tasks = world.spawn_many(root, 2);
    let items = outputs(&[tasks[0], tasks[1], tasks[0]]);
    let wait = blocked(world.wait(root, &items, Until::AllOrFailure, None));
    world.finish(tasks[0]);
    assert!(!world.is_awake(wait));
    world.finish(tasks[1]);
    assert!(world.is_awake(wait));
    assert_eq!(world.wait(root, &items, Until::AllOrFailure, None), WaitState::Ready);
    world.end();
}

// contract: O1
#[test]
fn get_ends_at_the_first_failure() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let tasks = world.spawn_many(root, 2);
    let wait = blocked(world.wait(root, &outputs(&tasks), Until::AllOrFailure, None));
    world.fail(tasks[1], failure("E"));
    assert!(world.is_awake(wait));
    assert_eq!(world.state(tasks[0]), Running);
    assert_eq!(world.wait(root, &outputs(&tasks), Until::AllOrFailure, None), WaitState::Ready);
    world.end();
}

// contract: O1
#[test]
fn a_get_that_times_out_leaves_the_task_alone() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let wait = blocked(world.wait(root, &outputs(&[task]), Until::AllOrFailure, Some(SECOND)));
    world.advance(SECOND - Duration::from_nanos(1));
    assert!(!world.is_awake(wait));
    world.advance(Duration::from_nanos(1));
    assert!(world.is_awake(wait));
    assert_eq!(world.state(task), Running);
    assert!(world.outcome(root, task.output(0)).is_none());
    let why = world.node.why_not_ready(task.output(0));
    assert!(why.contains("f) is RUNNING"), "{why}");
    world.end();
}

// contract: O1
#[test]
fn a_timeout_of_0_polls() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    assert_eq!(
        world.wait(root, &outputs(&[task]), Until::AllOrFailure, Some(Duration::ZERO)),
        WaitState::Ready
    );
    assert!(!world.node.is_ready(root, Waitable::Object(task.output(0))));
    world.finish(task);
    assert!(world.node.is_ready(root, Waitable::Object(task.output(0))));
    world.end();
}

// contract: O2
#[test]
fn wait_ends_when_so_many_are_ready_and_failures_count() {
    let mut world = World::with_cpus(3);
    let root = world.job();
    let tasks = world.spawn_many(root, 3);
    let wait = blocked(world.wait(root, &outputs(&tasks), Until::Count(2), None));
    world.fail(tasks[2], failure("E"));
    assert!(!world.is_awake(wait));
    world.finish(tasks[0]);
    assert!(world.is_awake(wait));
    assert_eq!(world.wait(root, &outputs(&tasks), Until::Count(2), None), WaitState::Ready);
    world.end();
}

// contract: O2
#[test]
fn wait_for_more_than_there_are_or_for_nothing() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let wait = blocked(world.wait(root, &outputs(&[task]), Until::Count(5), None));
    world.finish(task);
    assert!(world.is_awake(wait));
    assert_eq!(world.wait(root, &[], Until::Count(1), None), WaitState::Ready);
    assert_eq!(world.wait(root, &[], Until::AllOrFailure, None), WaitState::Ready);
    world.end();
}

// contract: O2
#[test]
fn at_the_timeout_fewer_are_ready() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let tasks = world.spawn_many(root, 2);
    let wait = blocked(world.wait(root, &outputs(&tasks), Until::Count(2), Some(SECOND)));
    world.finish(tasks[1]);
    world.advance(SECOND);
    assert!(world.is_awake(wait));
    let ready: Vec<bool> = outputs(&tasks).iter().map(|item| world.node.is_ready(root, *item)).collect();
    assert_eq!(ready, [false, true]);
    world.end();
}

// contract: T2
#[test]
fn a_call_with_several_waits_goes_on_with_the_first_that_is_over() {
    let mut world = World::with_cpus(3);
    let root = world.job();
    let parent = world.spawn(root, &[], options());
    let guest = world.caller(parent);
    let tasks = world.spawn_many(guest, 2);
    let waits = [world.block_on(guest, tasks[0]), world.block_on(guest, tasks[1])];
    assert_eq!(world.state(parent), Blocked);
    world.finish(tasks[1]);
    assert!(world.is_awake(waits[1]) && !world.is_awake(waits[0]));
    assert_eq!(world.state(parent), Running);
    let third = world.spawn(guest, &[], options());
    let wait = world.block_on(guest, third);
    assert_eq!(world.state(parent), Blocked);
    world.finish(third);
    world.finish(tasks[0]);
    assert!(world.is_awake(wait) && world.is_awake(waits[0]));
    world.finish(parent);
    world.end();
}

#[test]
fn a_call_that_ends_with_a_wait_open_leaves_none_behind() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(
        root,
        &[],
        crate::options::TaskOptions { reuse: crate::options::Reuse::Job, ..options() },
    );
    let guest = world.caller(task);
    let child = world.spawn(guest, &[], options());
    let wait = world.block_on(guest, child);
    world.finish(task);
    world.finish(child);
    assert!(!world.is_awake(wait));
    assert_eq!(world.free().cpus, crate::resources::Quantity::units(1));
    world.end();
}

#[test]
fn what_is_freed_while_another_call_waits_for_it_ends_the_wait() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let wait = world.block_on(root, task);
    world.release_output(root, task);
    assert!(world.is_awake(wait));
    assert_eq!(world.error_of(root, task.output(0)).code(), ErrorCode::PermissionDenied);
    world.end();
}
