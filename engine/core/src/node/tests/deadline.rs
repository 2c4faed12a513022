//! Deadlines run from submission to the end, wherever a task stands.

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::TaskState::*;
use crate::options::{ActorOptions, CallOptions};
use crate::work::StopReason;

// contract: L3
#[test]
fn a_task_that_waits_fails_at_its_deadline() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let first = world.spawn(root, &[], options());
    let in_line = world.spawn(root, &[], with_deadline(SECOND));
    let without_arguments = world.spawn(root, &[first.output(0)], with_deadline(2 * SECOND));
    world.advance(SECOND);
    world.assert_states(&[first, in_line, without_arguments], &[Running, Failed, PendingArgs]);
    let error = world.error_of(root, in_line.output(0));
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    assert!(error.message().contains("PENDING_PLACEMENT"), "{error}");
    world.advance(SECOND);
    assert_eq!(world.code_of(root, without_arguments), ErrorCode::DeadlineExceeded);
    world.end();
}

// contract: L3
#[test]
fn a_task_that_runs_is_stopped_at_its_deadline_and_not_retried() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], with_deadline(SECOND));
    let sandbox = world.caller(task).instance;
    world.advance(SECOND - std::time::Duration::from_nanos(1));
    assert_eq!(world.state(task), Running);
    world.advance(SECOND);
    assert_eq!(world.stops, [(sandbox, StopReason::Deadline)]);
    assert_eq!(world.code_of(root, task), ErrorCode::DeadlineExceeded);
    assert_eq!(world.node.task(task).map(|view| view.attempts.len()), Some(1));
    world.end();
}

#[test]
fn a_task_that_ends_in_time_leaves_no_timer() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], with_deadline(SECOND));
    world.finish(task);
    world.advance(2 * SECOND);
    assert_eq!(world.state(task), Finished);
    assert!(world.stops.is_empty());
    world.end();
}

#[test]
fn a_deadline_spans_all_attempts() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], with_deadline(3 * SECOND));
    world.advance(2 * SECOND);
    world.lose(task);
    world.advance(2 * SECOND);
    assert_eq!(world.code_of(root, task), ErrorCode::DeadlineExceeded);
    world.end();
}

// contract: A5
#[test]
fn at_the_deadline_of_a_running_call_its_actors_incarnation_ends() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions { max_restarts: 1, ..ActorOptions::default() });
    let lane = world.lane();
    let deadline = CallOptions { deadline: Some(SECOND), ..CallOptions::default() };
    let call = world.call_with(root, actor, lane, &[], deadline).expect("accepted");
    let queued = world.call(root, actor, lane, &[]);
    world.advance(SECOND);
    assert_eq!(world.code_of(root, call), ErrorCode::DeadlineExceeded);
    assert_eq!((world.actor_state(actor), world.state(queued)), ("RESTARTING", Submitted));
    world.construct(actor);
    assert_eq!(world.state(queued), Running);
    world.end();
}

#[test]
fn a_queued_call_fails_at_its_deadline_and_its_actor_lives() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let lane = world.lane();
    let running = world.call(root, actor, lane, &[]);
    let deadline = CallOptions { deadline: Some(SECOND), ..CallOptions::default() };
    let queued = world.call_with(root, actor, lane, &[], deadline).expect("accepted");
    world.advance(SECOND);
    assert_eq!(world.code_of(root, queued), ErrorCode::DeadlineExceeded);
    assert_eq!((world.state(running), world.actor_state(actor)), (Running, "ALIVE"));
    world.end();
}
