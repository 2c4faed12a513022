//! Which failures are followed by another attempt (contract T7).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::TaskState::*;
use crate::options::{Retries, TaskOptions};

fn retries(system: i32, application: i32, kinds: &[&str]) -> TaskOptions {
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    TaskOptions { retries: Retries { system, application, kinds }, ..options() }
}

// contract: T7
#[test]
fn system_failures_are_retried_on_other_sandboxes_up_to_max_retries() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], retries(2, 0, &[]));
    let mut sandboxes = Vec::new();
    for attempt in 0..3 {
        assert_eq!(world.running[&task].1.attempt, attempt);
        sandboxes.push(world.caller(task).instance);
        world.lose(task);
    }
    sandboxes.dedup();
    assert_eq!(sandboxes.len(), 3, "each attempt had a sandbox of its own");
    assert_eq!(world.code_of(root, task), ErrorCode::WorkerDied);
    assert_eq!(world.error_of(root, task.output(0)).path()[0].attempt, 2);
    world.end();
}

// contract: T7
#[test]
fn the_default_is_three_retries_after_system_failures_and_none_after_the_guests() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let (lost, failed) = (world.spawn(root, &[], options()), world.spawn(root, &[], options()));
    for _ in 0..3 {
        world.lose(lost);
        assert_eq!(world.state(lost), Running);
    }
    world.lose(lost);
    assert_eq!(world.state(lost), Failed);
    world.fail(failed, failure("E"));
    assert_eq!(world.state(failed), Failed);
    world.end();
}

// contract: T7
#[test]
fn application_failures_are_retried_only_as_retry_on_says() {
    let mut world = World::with_cpus(3);
    let root = world.job();
    let named = world.spawn(root, &[], retries(3, 2, &["Flaky"]));
    let any = world.spawn(root, &[], retries(3, 1, &[]));
    let never = world.spawn(root, &[], retries(3, 0, &["Flaky"]));
    world.fail(never, failure("Flaky"));
    assert_eq!(world.state(never), Failed, "retry_on names it and the budget is 0");
    world.fail(any, failure("Whatever"));
    world.trap(any, error(ErrorCode::Trapped));
    assert_eq!(world.code_of(root, any), ErrorCode::Trapped, "any kind is retried, once");
    world.fail(named, failure("Flaky"));
    assert_eq!(world.state(named), Running);
    world.fail(named, failure("Other"));
    assert_eq!(world.state(named), Failed, "a kind that retry_on does not name");
    world.end();
}

// contract: T7
#[test]
fn each_sort_of_failure_has_a_budget_of_its_own() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], retries(1, 1, &[]));
    world.fail(task, failure("E"));
    world.lose(task);
    assert_eq!(world.running[&task].1.attempt, 2);
    world.finish(task);
    assert_eq!(world.state(task), Finished);
    world.end();
}

// contract: T7
#[test]
fn out_of_memory_at_the_guests_own_limit_is_not_retried() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    for code in
        [ErrorCode::OutOfMemory, ErrorCode::OutOfFuel, ErrorCode::DeadlineExceeded, ErrorCode::Internal]
    {
        let task = world.spawn(root, &[], retries(-1, -1, &[]));
        world.trap(task, error(code));
        assert_eq!(world.code_of(root, task), code);
    }
    world.end();
}

// contract: T7
#[test]
fn minus_one_is_without_end() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], retries(-1, -1, &[]));
    for _ in 0..100 {
        world.lose(task);
        world.fail(task, failure("E"));
    }
    world.finish(task);
    assert_eq!(world.state(task), Finished);
    world.end();
}

// contract: T7
#[test]
fn a_failure_of_another_task_that_a_guest_passes_on_is_its_own() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let child = world.spawn(root, &[], retries(0, 0, &[]));
    let (parent, retried) =
        (world.spawn(root, &[], retries(3, 0, &[])), world.spawn(root, &[], retries(0, 1, &["E"])));
    world.lose(child);
    let passed_on = crate::error::Error::clone(&world.error_of(root, child.output(0))).with_kind("E");
    assert_eq!(passed_on.code(), ErrorCode::WorkerDied);
    world.fail(parent, passed_on.clone());
    assert_eq!(world.state(parent), Failed, "its own sandbox was not lost");
    world.fail(retried, passed_on);
    assert_eq!(world.state(retried), Running, "retry_on names it");
    world.end();
}

// contract: T7
#[test]
fn a_retry_has_the_same_arguments_and_makes_the_same_objects() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.put(root, value(77));
    let task = world.spawn(root, &[object], options());
    world.release(root, crate::value::Handle::Object(object));
    world.lose(task);
    assert_eq!(world.running[&task].1.arguments[0].size, 77);
    world.finish_with(task, vec![value(1)]);
    assert!(world.outcome(root, task.output(0)).is_some_and(|outcome| outcome.is_ok()));
    world.end();
}

#[test]
fn a_retry_keeps_its_place_before_younger_tasks() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let tasks = world.spawn_many(root, 3);
    world.lose(tasks[0]);
    world.assert_states(&tasks, &[Running, PendingPlacement, PendingPlacement]);
    world.end();
}
