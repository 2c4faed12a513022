//! Failures are seen by whoever reads, through any chain of tasks (contract T6).

use super::harness::*;
use crate::error::{ErrorCode, PATH_FRAMES_MAX};
use crate::node::TaskState::*;
use crate::options::{ActorOptions, Returns};
use crate::value::Handle;

// contract: T6
#[test]
fn an_error_passes_through_a_chain_of_tasks_and_says_its_path() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let first = world.spawn(root, &[], options());
    let second = world.spawn(root, &[first.output(0)], options());
    let third = world.spawn(root, &[second.output(0)], options());
    let own = failure("ValueError").with_backtrace(Some("at f".into())).with_payload(Some(value(3)));
    world.fail(first, own);
    world.assert_states(&[first, second, third], &[Failed, Failed, Failed]);
    let error = world.error_of(root, third.output(0));
    assert_eq!((error.code(), error.kind()), (ErrorCode::TaskFailed, Some("ValueError")));
    assert_eq!(error.message(), "ValueError went wrong");
    assert_eq!(error.backtrace(), Some("at f"));
    assert_eq!(error.payload().map(|payload| payload.size), Some(3));
    let path: Vec<String> = error.path().iter().map(|frame| frame.task.clone()).collect();
    assert_eq!(path, [first.to_string(), second.to_string(), third.to_string()], "innermost first");
    assert!(
        error
            .path()
            .iter()
            .all(|f| f.function == "f" && f.node == world.node.id().to_string() && f.attempt == 0)
    );
    world.end();
}

// contract: T6
#[test]
fn every_output_of_a_failed_task_gives_its_error() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task =
        world.spawn(root, &[], crate::options::TaskOptions { returns: Returns::Fixed(3), ..options() });
    world.fail(task, failure("E"));
    for index in 0..3 {
        assert_eq!(world.error_of(root, task.output(index)).kind(), Some("E"));
    }
    world.end();
}

// contract: T6
#[test]
fn a_chain_of_20_000_tasks_fails_without_recursion() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let first = world.spawn(root, &[], options());
    world.checks = false;
    let mut last = first;
    for _ in 0..20_000 {
        let next = world.spawn(root, &[last.output(0)], options());
        world.release_output(root, last);
        last = next;
    }
    world.fail(first, failure("E"));
    let error = world.error_of(root, last.output(0));
    assert_eq!((error.kind(), error.path().len()), (Some("E"), PATH_FRAMES_MAX));
    assert_eq!(error.path()[PATH_FRAMES_MAX - 1].task, last.to_string());
    world.end();
}

// contract: T6
#[test]
fn a_failure_passes_through_actor_calls_too() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let task = world.spawn(root, &[], options());
    let lane = world.lane();
    let call = world.call(root, actor, lane, &[task.output(0)]);
    let after = world.spawn(root, &[call.output(0)], options());
    world.fail(task, failure("E"));
    assert_eq!(world.error_of(root, after.output(0)).path().len(), 3);
    assert_eq!(world.actor_state(actor), "ALIVE", "the call never ran");
    world.end();
}

#[test]
fn the_wrong_number_of_values_is_the_tasks_failure() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    world.finish_with(task, vec![value(1), value(1)]);
    let error = world.error_of(root, task.output(0));
    assert_eq!(error.code(), ErrorCode::TaskFailed);
    assert!(error.message().contains("returned 2 values where 1 were declared"), "{error}");
    world.end();
}

// contract: O6
#[test]
fn what_a_failing_guest_attached_is_alive_for_whoever_reads_the_error() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let guest = world.caller(task);
    let object = world.put(guest, value(5));
    world.fail(task, failure("E").with_payload(Some(value_with(&[Handle::Object(object)]))));
    assert!(world.node.object(object).is_some(), "the error holds it");
    world.release_output(root, task);
    assert!(world.node.object(object).is_none(), "and nothing else did");
    world.end();
}
