//! Cancelling (contract T4).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::TaskState::*;
use crate::work::StopReason;

// contract: T4
#[test]
fn a_pending_task_never_runs() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let tasks = world.spawn_many(root, 3);
    let waits = world.spawn(root, &[tasks[0].output(0)], options());
    world.cancel(tasks[1], false, true);
    world.cancel(waits, false, true);
    world.assert_states(&tasks, &[Running, Cancelled, PendingPlacement]);
    assert_eq!(world.code_of(root, tasks[1]), ErrorCode::TaskCancelled);
    world.finish(tasks[0]);
    world.finish(tasks[2]);
    assert_eq!(world.state(waits), Cancelled);
    assert!(world.begun.iter().all(|(task, _)| *task != tasks[1] && *task != waits));
    world.end();
}

// contract: T4
#[test]
fn a_running_task_is_stopped_and_never_retried() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    world.slow_stops = true;
    let mut again = options();
    again.retries.system = -1;
    let task = world.spawn(root, &[], again);
    let sandbox = world.caller(task).instance;
    world.cancel(task, false, true);
    assert_eq!(world.stops, [(sandbox, StopReason::Cancelled)]);
    assert_eq!(world.state(task), Running, "until its sandbox is gone");
    world.lose(task);
    assert_eq!(world.state(task), Cancelled);
    assert_eq!(world.code_of(root, task), ErrorCode::TaskCancelled);
    world.slow_stops = false;
    world.end();
}

// contract: T4
#[test]
fn a_task_that_ends_while_it_is_being_stopped_was_cancelled() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    world.slow_stops = true;
    let task = world.spawn(root, &[], options());
    world.cancel(task, false, true);
    world.finish(task);
    assert_eq!(world.code_of(root, task), ErrorCode::TaskCancelled);
    world.slow_stops = false;
    world.end();
}

// contract: T4
#[test]
fn a_finished_task_is_untouched() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    world.finish(task);
    world.cancel(task, true, true);
    assert_eq!(world.state(task), Finished);
    assert!(world.outcome(root, task.output(0)).is_some_and(|outcome| outcome.is_ok()));
    world.end();
}

// contract: T4
#[test]
fn children_are_cancelled_too_unless_it_is_not_recursive() {
    for recursive in [true, false] {
        let mut world = World::with_cpus(4);
        let root = world.job();
        let parent = world.spawn(root, &[], options());
        let child = world.spawn(world.caller(parent), &[], options());
        let grandchild = world.spawn(world.caller(child), &[], options());
        let pending = world.spawn(world.caller(child), &[grandchild.output(0)], options());
        let sibling = world.spawn(root, &[], options());
        world.block_on(world.caller(child), pending);
        world.cancel(parent, false, recursive);
        assert_eq!(world.state(parent), Cancelled);
        assert_eq!(world.state(sibling), Running);
        if recursive {
            world.assert_states(&[child, grandchild, pending], &[Cancelled, Cancelled, Cancelled]);
        } else {
            world.assert_states(&[child, grandchild, pending], &[Blocked, Running, PendingArgs]);
        }
        world.end();
    }
}

// contract: T4
#[test]
fn a_blocked_task_is_stopped_and_does_not_go_on() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let parent = world.spawn(root, &[], options());
    let child = world.spawn(world.caller(parent), &[], options());
    let wait = world.block_on(world.caller(parent), child);
    world.cancel(parent, false, true);
    world.assert_states(&[parent, child], &[Cancelled, Cancelled]);
    assert!(!world.is_awake(wait), "it must not see its child's failure");
    assert_eq!(world.free(), &{
        let mut free = cpus(1);
        free.memory -= 1 << 20;
        free
    });
    world.end();
}

// contract: T4
#[test]
fn whoever_depends_on_a_cancelled_task_sees_that() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let after = world.spawn(root, &[task.output(0)], options());
    let wait = world.block_on(root, after);
    world.cancel(task, false, true);
    assert!(world.is_awake(wait));
    assert_eq!(world.code_of(root, after), ErrorCode::TaskCancelled);
    world.end();
}

// contract: T4
#[test]
fn cancelling_100_000_tasks_in_any_order_leaves_the_rest_in_order() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    world.checks = false;
    let tasks = world.spawn_many(root, 100_000);
    // A stride that is coprime with the count visits all, nearly at random.
    for at in (0..tasks.len()).map(|n| n * 61_553 % tasks.len()).filter(|at| at % 1_000 != 0) {
        world.cancel(tasks[at], false, true);
    }
    let left: Vec<_> = tasks.iter().copied().step_by(1_000).collect();
    let before = world.begun.len();
    world.finish_all(&left);
    let order: Vec<_> = world.begun[before..].iter().map(|(task, _)| *task).collect();
    assert_eq!(order, left[1..], "the first ran already");
    world.end();
}
