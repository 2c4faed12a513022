//! What can be listed of tasks that have ended (contract T1).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::Limits;
use crate::node::TaskState::*;

// contract: T1
#[test]
fn every_attempt_is_kept_with_node_times_and_cause() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    world.advance(SECOND);
    let task = world.spawn(root, &[], options());
    let sandboxes = [world.caller(task).instance, {
        world.advance(SECOND);
        world.lose(task);
        world.caller(task).instance
    }];
    world.advance(SECOND);
    world.fail(task, failure("E"));
    let view = world.node.task(task).expect("an ended task can be listed");
    assert_eq!((view.state, view.attempts.len()), (Failed, 2));
    let code = |at: usize| view.attempts[at].cause.as_ref().map(|cause| cause.code());
    assert_eq!([code(0), code(1)], [Some(ErrorCode::WorkerDied), Some(ErrorCode::TaskFailed)]);
    for (at, attempt) in view.attempts.iter().enumerate() {
        assert_eq!((attempt.attempt, attempt.node), (at as u32, world.node.id()));
        assert_eq!(attempt.instance, Some(sandboxes[at]));
        let nanos = |seconds: u64| seconds * 1_000_000_000;
        assert_eq!(attempt.started.0, nanos(at as u64 + 1));
        assert_eq!(attempt.ended.map(|time| time.0), Some(nanos(at as u64 + 2)));
    }
    assert_eq!((view.submitted.0, view.ended.map(|time| time.0)), (1_000_000_000, Some(3_000_000_000)));
    world.end();
}

// contract: T1
#[test]
fn attempts_and_tasks_are_bounded_and_the_oldest_go_first() {
    let limits = Limits { attempts_kept_max: 3, history_tasks_max: 2, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let root = world.job();
    let mut again = options();
    again.retries.system = -1;
    let tasks: Vec<_> = (0..3).map(|_| world.spawn(root, &[], again.clone())).collect();
    for _ in 0..10 {
        world.lose(tasks[0]);
    }
    world.finish_all(&tasks);
    assert!(world.node.task(tasks[0]).is_none(), "two that ended later are kept");
    let fourth = world.spawn(root, &[], again);
    for _ in 0..10 {
        world.lose(fourth);
    }
    world.finish(fourth);
    let view = world.node.task(fourth).expect("known");
    let attempts: Vec<u32> = view.attempts.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(attempts, [7, 8, 9, 10], "three that failed and the last");
    world.end();
}

// contract: T1
#[test]
fn listings_show_what_lives_then_what_ended_last() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let job = world.job_of(root);
    let mut named = options();
    named.name = Some("the first".into());
    let tasks = [world.spawn(root, &[], named), world.spawn(root, &[], options())];
    world.finish(tasks[0]);
    let listed = world.node.tasks(Some(job), 10);
    assert_eq!(listed.len(), 3);
    let last = listed.last().expect("three");
    assert_eq!((last.id, last.name.as_deref(), last.state), (tasks[0], Some("the first"), Finished));
    assert_eq!((last.function.as_str(), last.job), ("f", job));
    assert_eq!(last.needs.cpus, crate::resources::Quantity::units(1));
    assert_eq!(world.node.tasks(Some(job), 1).len(), 1);
    let other = world.job();
    let other_job = world.job_of(other);
    assert_eq!(world.node.tasks(Some(other_job), 10).len(), 1);
    let parent = world.node.task(tasks[1]).and_then(|view| view.parent);
    assert_eq!(parent, Some(root.task));
    world.end();
}

// contract: T1
#[test]
fn a_task_that_never_ran_has_no_attempts() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let tasks = world.spawn_many(root, 2);
    world.cancel(tasks[1], false, true);
    let view = world.node.task(tasks[1]).expect("known");
    assert_eq!((view.state, view.attempts.len()), (Cancelled, 0));
    assert_eq!(view.error.map(|error| error.code()), Some(ErrorCode::TaskCancelled));
    world.end();
}
