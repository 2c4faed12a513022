//! The end of a job takes all that is its own along (contract J2).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::TaskState::*;
use crate::options::{ActorOptions, Reuse};
use crate::resources::Quantity;
use crate::value::Handle;
use crate::work::StopReason;

// contract: J2
#[test]
fn when_its_root_ends_all_that_is_left_ends() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let job = world.job_of(root);
    let running = world.spawn(root, &[], options());
    let pending = world.spawn_many(root, 5);
    let waits = world.spawn(root, &[running.output(0)], options());
    let actor = world.create(root, ActorOptions::default());
    let lane = world.lane();
    let call = world.call(root, actor, lane, &[]);
    world.put(root, value(100));
    world.finish_with(root.task, vec![value(3)]);
    let end = &world.ended[&job];
    assert_eq!(end.result.as_ref().map(|value| value.size).ok(), Some(3));
    assert!(!end.stopped);
    assert_eq!((end.progress.unfinished(), end.progress.of(Finished)), (0, 1));
    world.assert_states(&[running, pending[4], waits, call], &[Cancelled, Cancelled, Cancelled, Failed]);
    assert_eq!(world.node.object_count(), 0);
    world.end();
}

// contract: J2
#[test]
fn job_ended_comes_after_the_last_sandbox_is_gone() {
    let mut world = World::with_cpus(4);
    let root = world.job();
    let job = world.job_of(root);
    world.slow_stops = true;
    let mut warm = options();
    warm.reuse = Reuse::Job;
    let idle = world.spawn(root, &[], warm);
    world.finish(idle);
    world.spawn(root, &[], options());
    world.actor(root, ActorOptions::default());
    world.event(|node, now, fx| node.stop_job(now, job, "told to", fx));
    assert_eq!(world.stops.len(), 4, "root, task, actor and the idle one");
    assert!(world.stops.iter().all(|(_, reason)| *reason == StopReason::JobEnded));
    for (instance, _) in world.stops.clone() {
        assert!(!world.ended.contains_key(&job));
        world.gone(instance);
    }
    let end = &world.ended[&job];
    assert!(end.stopped);
    assert_eq!(end.result.as_ref().err().map(|error| error.code()), Some(ErrorCode::TaskCancelled));
    assert!(world.node.job_progress(job).is_none(), "the node has forgotten it");
    world.slow_stops = false;
    world.end();
}

// contract: J2
#[test]
fn a_root_that_fails_or_is_lost_ends_its_job_with_the_error() {
    let mut world = World::with_cpus(1);
    let (first, second) = (world.job(), world.job());
    let jobs = [world.job_of(first), world.job_of(second)];
    world.fail(first.task, failure("E"));
    world.lose(second.task);
    let error = |world: &World, job| world.ended[&job].result.as_ref().err().map(|error| error.code());
    assert_eq!(error(&world, jobs[0]), Some(ErrorCode::TaskFailed));
    assert_eq!(error(&world, jobs[1]), Some(ErrorCode::WorkerDied), "job_retries is 0");
    world.end();
}

// contract: J2
#[test]
fn a_root_that_can_never_run_ends_its_job_at_once() {
    let mut world = World::with_cpus(1);
    world.submit(Quantity::units(2), None);
    let end = world.ended.values().next().expect("the job has ended");
    assert_eq!(end.result.as_ref().err().map(|error| error.code()), Some(ErrorCode::Unschedulable));
    world.end();
}

// contract: J2
#[test]
fn one_jobs_end_leaves_another_alone() {
    let mut world = World::with_cpus(4);
    let (first, second) = (world.job(), world.job());
    let actor = world.actor(second, ActorOptions::default());
    world.acquire(first, Handle::Actor(actor));
    let lane = world.lane();
    let call = world.call(first, actor, lane, &[]);
    let task = world.spawn(second, &[], options());
    let first_job = world.job_of(first);
    world.finish(first.task);
    assert!(world.ended.contains_key(&first_job));
    assert_eq!((world.state(task), world.actor_state(actor)), (Running, "ALIVE"));
    assert_eq!(world.interrupts, [call], "its call is the actor's now, and is asked to end");
    world.finish(call);
    world.end();
}

// contract: J2
#[test]
fn a_task_that_would_be_retried_is_not_once_its_job_ends() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let job = world.job_of(root);
    world.slow_stops = true;
    let task = world.spawn(root, &[], options());
    world.event(|node, now, fx| node.stop_job(now, job, "told to", fx));
    world.lose(task);
    assert_eq!(world.state(task), Cancelled);
    world.slow_stops = false;
    world.gone(root.instance);
    world.end();
}

#[test]
fn a_guest_that_is_being_stopped_can_ask_for_nothing_more() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let job = world.job_of(root);
    world.slow_stops = true;
    world.event(|node, now, fx| node.stop_job(now, job, "told to", fx));
    let refused = world.try_spawn(root, Vec::new(), options());
    assert_eq!(refused.map_err(|error| error.code()), Err(ErrorCode::TaskCancelled));
    let refused = world.event(|node, now, fx| node.put(now, root, value(1), fx));
    assert_eq!(refused.map_err(|error| error.code()), Err(ErrorCode::TaskCancelled));
    world.slow_stops = false;
    world.gone(root.instance);
    world.end();
}

#[test]
fn a_hundred_jobs_at_once_give_all_back() {
    let mut world = World::with_cpus(2);
    let roots: Vec<_> = (0..100).map(|_| world.job()).collect();
    let tasks: Vec<_> = roots.iter().flat_map(|root| world.spawn_many(*root, 3)).collect();
    world.checks = false;
    for task in &tasks[..150] {
        world.finish(*task);
    }
    world.end();
}

#[test]
fn progress_counts_every_state() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let job = world.job_of(root);
    let tasks = world.spawn_many(root, 4);
    world.spawn(root, &[tasks[3].output(0)], options());
    world.finish(tasks[0]);
    world.fail(tasks[1], failure("E"));
    let progress = world.node.job_progress(job).expect("a job that is here");
    let counts = [Finished, Failed, Running, PendingPlacement, PendingArgs].map(|state| progress.of(state));
    assert_eq!(counts, [1, 1, 2, 1, 1]);
    assert_eq!((progress.unfinished(), progress.total()), (4, 6));
    world.end();
}
