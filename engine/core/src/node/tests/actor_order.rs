//! The order of calls, and what bounds them (contract A1, A2, A6).

use super::harness::*;
use crate::error::ErrorCode;
use crate::ids::TaskId;
use crate::node::TaskState::*;
use crate::options::{ActorOptions, CallOptions, Retries};

fn order(world: &World, calls: &[TaskId]) -> Vec<TaskId> {
    world.begun.iter().map(|(task, _)| *task).filter(|task| calls.contains(task)).collect()
}

// contract: A1
#[test]
fn calls_wait_for_the_constructor_and_run_one_after_the_other() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.create(root, ActorOptions::default());
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    assert_eq!(world.actor_state(actor), "PENDING");
    world.assert_states(&calls, &[Submitted, Submitted]);
    world.construct(actor);
    assert_eq!(world.actor_state(actor), "ALIVE");
    world.assert_states(&calls, &[Running, Submitted]);
    world.finish(calls[0]);
    world.assert_states(&calls, &[Finished, Running]);
    world.end();
}

// contract: A1
#[test]
fn a_call_waits_for_the_arguments_of_those_before_it() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let late = world.spawn(root, &[], options());
    let lane = world.lane();
    let calls = [
        world.call(root, actor, lane, &[]),
        world.call(root, actor, lane, &[late.output(0)]),
        world.call(root, actor, lane, &[]),
    ];
    world.finish(calls[0]);
    world.assert_states(&calls, &[Finished, PendingArgs, Submitted]);
    world.finish(late);
    world.assert_states(&calls, &[Finished, Running, Submitted]);
    world.finish(calls[1]);
    world.finish(calls[2]);
    assert_eq!(order(&world, &calls), calls);
    world.end();
}

// contract: A1
#[test]
fn handles_that_came_elsewhere_are_independent() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let late = world.spawn(root, &[], options());
    let lanes = [world.lane(), world.lane()];
    let first = world.call(root, actor, lanes[0], &[late.output(0)]);
    let others = [world.call(root, actor, lanes[1], &[]), world.call(root, actor, lanes[1], &[])];
    world.assert_states(&[first, others[0]], &[PendingArgs, Running]);
    world.finish(others[0]);
    world.finish(late);
    world.finish(others[1]);
    world.finish(first);
    world.end();
}

// contract: A1
#[test]
fn lanes_take_turns() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let lanes = [world.lane(), world.lane()];
    let a: Vec<_> = (0..3).map(|_| world.call(root, actor, lanes[0], &[])).collect();
    let b: Vec<_> = (0..3).map(|_| world.call(root, actor, lanes[1], &[])).collect();
    let all = [a.clone(), b.clone()].concat();
    world.finish_all(&all);
    assert_eq!(order(&world, &a), a);
    assert_eq!(order(&world, &b), b);
    let begun = order(&world, &all);
    let first_b = begun.iter().position(|task| *task == b[0]);
    assert!(first_b < Some(3), "one lane does not wait for the whole of another");
    world.end();
}

// contract: A1
#[test]
fn a_call_that_fails_or_is_cancelled_in_the_queue_does_not_hold_up_its_lane() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let (fails, late) = (world.spawn(root, &[], options()), world.spawn(root, &[], options()));
    let lane = world.lane();
    let calls = [
        world.call(root, actor, lane, &[fails.output(0)]),
        world.call(root, actor, lane, &[late.output(0)]),
        world.call(root, actor, lane, &[]),
    ];
    world.cancel(calls[1], false, true);
    assert_eq!(world.state(calls[2]), Submitted);
    world.fail(fails, failure("E"));
    world.assert_states(&calls, &[Failed, Cancelled, Running]);
    world.end();
}

// contract: A1
#[test]
fn a_queued_call_that_is_cancelled_takes_those_along_that_depend_on_it_and_no_others() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let lane = world.lane();
    let first = world.call(root, actor, lane, &[]);
    let cancelled = world.call(root, actor, lane, &[]);
    let depends = world.call(root, actor, lane, &[cancelled.output(0)]);
    let last = world.call(root, actor, lane, &[]);
    world.cancel(cancelled, false, true);
    world.assert_states(&[first, cancelled, depends, last], &[Running, Cancelled, Cancelled, Submitted]);
    world.finish(first);
    assert_eq!(world.state(last), Running);
    world.end();
}

// contract: A2
#[test]
fn by_default_a_call_runs_at_most_once() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions { max_restarts: -1, ..ActorOptions::default() });
    let lane = world.lane();
    let call = world.call(root, actor, lane, &[]);
    world.die(world.instance_of(actor));
    assert_eq!(world.code_of(root, call), ErrorCode::ActorDied);
    world.construct(actor);
    assert_eq!(order(&world, &[call]).len(), 1);
    world.end();
}

// contract: A2
#[test]
fn a_call_whose_result_was_acknowledged_is_never_run_again() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let again = ActorOptions { max_restarts: -1, max_task_retries: -1, ..ActorOptions::default() };
    let actor = world.actor(root, again);
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    world.finish(calls[0]);
    world.die(world.instance_of(actor));
    world.construct(actor);
    world.assert_states(&calls, &[Finished, Running]);
    assert_eq!(order(&world, &calls), [calls[0], calls[1], calls[1]]);
    world.end();
}

// contract: A2, T7
#[test]
fn a_method_that_fails_is_tried_again_before_those_behind_it_as_its_retries_say() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let lane = world.lane();
    let retries = Retries { system: 0, application: 1, kinds: vec!["E".into()] };
    let options = CallOptions { retries, ..CallOptions::default() };
    let first = world.call_with(root, actor, lane, &[], options).expect("accepted");
    let second = world.call(root, actor, lane, &[]);
    world.fail(first, failure("E"));
    world.assert_states(&[first, second], &[Running, Submitted]);
    world.fail(first, failure("E"));
    world.assert_states(&[first, second], &[Failed, Running]);
    world.fail(second, failure("E"));
    assert_eq!(world.actor_state(actor), "ALIVE", "a failed method does not end the actor");
    world.end();
}

// contract: A6
#[test]
fn beyond_max_pending_calls_a_call_is_refused_until_there_is_room() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions { max_pending_calls: Some(2), ..ActorOptions::default() });
    let (lane, other) = (world.lane(), world.lane());
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    let refused =
        world.call_with(root, actor, lane, &[], CallOptions::default()).expect_err("two are pending");
    assert_eq!(refused.code(), ErrorCode::PendingCallsExceeded);
    assert!(refused.message().contains("2 calls"), "{refused}");
    world.call(root, actor, other, &[]);
    world.finish(calls[0]);
    world.call(root, actor, lane, &[]);
    world.end();
}
