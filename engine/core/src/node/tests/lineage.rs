//! Objects that were lost are made again, through the whole chain, or the error says why not
//! (contract O8).

use super::harness::*;
use crate::error::ErrorCode;
use crate::ids::{ObjectId, TaskId};
use crate::node::TaskState::*;
use crate::node::{Caller, Limits, Until, WaitState, Waitable};
use crate::value::Handle;

/// A node that writes out whatever is larger than its arena of 100 bytes.
fn small_world() -> World {
    World::new(cpus(2), Limits { store_bytes_max: 100, spill: true, ..Limits::default() })
}

/// Runs a task whose one object is then on disk.
fn made(world: &mut World, root: Caller, arguments: &[ObjectId]) -> TaskId {
    let task = world.spawn(root, arguments, options());
    world.finish_with(task, vec![large(90)]);
    task
}

fn lose(world: &mut World, id: ObjectId) {
    let cause = error(ErrorCode::ObjectLost);
    world.event(|node, now, fx| node.lost(now, id, &cause, fx));
}

// contract: O8
#[test]
fn one_that_is_lost_is_made_again_by_its_task() {
    let mut world = small_world();
    let root = world.job();
    let task = made(&mut world, root, &[]);
    let id = task.output(0);
    world.slow_disk = true;
    let WaitState::Blocked(wait) = world.wait(root, &[Waitable::Value(id)], Until::AllOrFailure, None) else {
        panic!("it is on disk")
    };
    world.bring_back(Some(error(ErrorCode::ObjectLost)));
    assert!(!world.is_awake(wait));
    assert_eq!((world.state(task), world.running[&task].1.attempt), (Running, 1));
    world.finish_with(task, vec![large(20)]);
    assert!(world.is_awake(wait));
    assert_eq!(world.outcome(root, id).expect("ready").expect("a value").size, 20);
    world.end();
}

// contract: O8
#[test]
fn the_whole_chain_is_made_again_when_what_it_came_from_is_freed() {
    let mut world = small_world();
    let root = world.job();
    let mut chain: Vec<TaskId> = Vec::new();
    for _ in 0..5 {
        let arguments: Vec<ObjectId> = chain.last().map(|task| task.output(0)).into_iter().collect();
        chain.push(made(&mut world, root, &arguments));
    }
    for task in &chain[..4] {
        world.release_output(root, *task);
    }
    assert_eq!(world.node.object_count(), 1);
    lose(&mut world, chain[4].output(0));
    for task in &chain {
        assert_eq!(world.state(*task), Running, "each runs when the one before it has ended");
        world.finish_with(*task, vec![large(90)]);
    }
    assert!(matches!(world.outcome(root, chain[4].output(0)), Some(Ok(_))));
    assert_eq!(world.node.object_count(), 1, "what was made again on the way is freed again");
    world.end();
}

// contract: O8
#[test]
fn what_was_put_is_lost_and_says_so() {
    let mut world = small_world();
    let root = world.job();
    let put = world.put(root, large(90));
    lose(&mut world, put);
    let error = world.error_of(root, put);
    assert_eq!(error.code(), ErrorCode::ObjectLost);
    assert!(error.message().contains("what was put cannot be made again"), "{error}");
    let task = world.spawn(root, &[put], options());
    assert_eq!(world.code_of(root, task), ErrorCode::ObjectLost);
    world.end();
}

// contract: O8, T7
#[test]
fn it_is_made_again_as_often_as_max_retries_allows() {
    let mut world = small_world();
    let root = world.job();
    let mut once = options();
    once.retries.system = 1;
    let task = world.spawn(root, &[], once);
    world.finish_with(task, vec![large(90)]);
    lose(&mut world, task.output(0));
    world.finish_with(task, vec![large(90)]);
    lose(&mut world, task.output(0));
    let error = world.error_of(root, task.output(0));
    assert_eq!(error.code(), ErrorCode::ReconstructionFailed);
    assert!(error.message().contains("max_retries"), "{error}");
    world.end();
}

// contract: O8
#[test]
fn a_task_that_fails_when_run_again_is_named_as_the_cause() {
    let mut world = small_world();
    let root = world.job();
    let task = made(&mut world, root, &[]);
    lose(&mut world, task.output(0));
    world.fail(task, failure("Flaky"));
    let error = world.error_of(root, task.output(0));
    assert_eq!(error.code(), ErrorCode::ReconstructionFailed);
    assert!(error.message().contains("Flaky went wrong"), "{error}");
    world.end();
}

// contract: O8
#[test]
fn tasks_in_line_and_calls_in_a_queue_wait_for_it_again() {
    let mut world = small_world();
    let root = world.job();
    let actor = world.actor(root, Default::default());
    let lane = world.lane();
    let task = made(&mut world, root, &[]);
    let id = task.output(0);
    let first = world.call(root, actor, lane, &[]);
    let call = world.call(root, actor, lane, &[id]);
    let busy = world.spawn_many(root, 2);
    let user = world.spawn(root, &[id], options());
    assert_eq!((world.state(user), world.state(call)), (PendingPlacement, Submitted));
    lose(&mut world, id);
    world.assert_states(&[user, call, task], &[PendingArgs, PendingArgs, PendingPlacement]);
    world.finish(first);
    world.finish_all(&busy);
    world.finish_with(task, vec![large(10)]);
    world.assert_states(&[user, call], &[Running, Running]);
    world.finish_all(&[user, call]);
    world.end();
}

// contract: O8
#[test]
fn the_memory_of_lineage_is_bounded_and_the_oldest_goes_first() {
    let limits = Limits { store_bytes_max: 100, spill: true, lineage_bytes_max: 600, ..Limits::default() };
    let mut world = World::new(cpus(2), limits);
    let root = world.job();
    let tasks: Vec<TaskId> = (0..4).map(|_| made(&mut world, root, &[])).collect();
    lose(&mut world, tasks[0].output(0));
    let error = world.error_of(root, tasks[0].output(0));
    assert!(error.message().contains("lineage_bytes_max"), "{error}");
    lose(&mut world, tasks[3].output(0));
    assert_eq!(world.state(tasks[3]), Running);
    world.finish(tasks[3]);
    world.end();
}

#[test]
fn records_go_with_their_objects() {
    let mut world = small_world();
    let root = world.job();
    let first = made(&mut world, root, &[]);
    let second = made(&mut world, root, &[first.output(0)]);
    world.release(root, Handle::Object(first.output(0)));
    world.release(root, Handle::Object(second.output(0)));
    world.finish(root.task);
    assert_eq!(world.node.leftover(), None);
}
