//! Ends of actors that were asked for (contract A4, A8, A9).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::TaskState::*;
use crate::node::{Caller, Limits};
use crate::options::{ActorOptions, Lifetime, Placement};
use crate::resources::Quantity;
use crate::value::{Argument, Handle};
use crate::work::StopReason;

fn named() -> ActorOptions {
    ActorOptions { name: Some("a".into()), ..ActorOptions::default() }
}

fn detached() -> ActorOptions {
    ActorOptions { lifetime: Lifetime::Detached, ..named() }
}

// contract: A4
#[test]
fn kill_ends_it_now_and_calls_in_flight_and_queued_fail() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions { max_restarts: -1, max_task_retries: -1, ..named() });
    let (lane, sandbox) = (world.lane(), world.instance_of(actor));
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    world.kill(root, actor, false);
    assert_eq!(world.stops, [(sandbox, StopReason::ActorEnded)]);
    for call in calls {
        let error = world.error_of(root, call.output(0));
        assert_eq!(error.code(), ErrorCode::ActorDied);
        assert!(error.message().contains("it was killed"), "{error}");
    }
    assert_eq!((world.actor_state(actor), &world.released_names[..]), ("DEAD", &[actor][..]));
    world.end();
}

// contract: A4
#[test]
fn kill_with_restart_uses_the_restart_budget() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions { max_restarts: 1, ..named() });
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    world.kill(root, actor, true);
    assert_eq!(world.actor_state(actor), "RESTARTING");
    world.assert_states(&calls, &[Failed, Submitted]);
    world.construct(actor);
    assert_eq!(world.state(calls[1]), Running);
    world.kill(root, actor, true);
    assert_eq!(world.actor_state(actor), "DEAD");
    world.end();
}

// contract: A4
#[test]
fn kill_during_the_constructor_or_while_it_waits_for_resources() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    world.slow_stops = true;
    let (first, second) = (world.create(root, named()), world.create(root, named()));
    let lane = world.lane();
    let calls = [world.call(root, first, lane, &[]), world.call(root, second, lane, &[])];
    world.kill(root, second, false);
    assert_eq!((world.actor_state(second), world.state(calls[1])), ("DEAD", Failed));
    world.kill(root, first, false);
    assert_eq!(world.state(calls[0]), Failed);
    world.construct(first);
    assert_eq!(world.actor_state(first), "DEAD", "its constructor ended too late");
    world.gone(world.stops[0].0);
    assert_eq!(world.free().cpus, Quantity::units(1));
    world.slow_stops = false;
    world.end();
}

// contract: A4
#[test]
fn dropping_the_last_handle_ends_it_after_its_queued_calls_without_a_restart() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions { max_restarts: -1, ..named() });
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    world.release(root, Handle::Actor(actor));
    assert!(world.stops.is_empty());
    world.finish(calls[0]);
    world.finish(calls[1]);
    assert_eq!(world.stops.len(), 1);
    assert_eq!((world.actor_state(actor), &world.released_names[..]), ("DEAD", &[actor][..]));
    assert!(
        world
            .node
            .actor(actor)
            .and_then(|view| view.cause)
            .is_some_and(|cause| { cause.message().contains("its last handle was dropped") })
    );
    world.end();
}

// contract: A4
#[test]
fn dropping_the_last_handle_before_it_was_placed() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let busy = world.spawn(root, &[], options());
    let actor = world.create(root, named());
    world.release(root, Handle::Actor(actor));
    assert_eq!(world.actor_state(actor), "DEAD");
    world.finish(busy);
    assert_eq!(world.begun.len(), 2, "its constructor never ran");
    world.end();
}

// contract: A9
#[test]
fn a_handle_passed_to_a_task_or_in_a_value_keeps_it_alive() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, named());
    let handle = Handle::Actor(actor);
    let in_object = world.put(root, value_with(&[handle]));
    let arguments = vec![Argument::Value(value_with(&[handle]))];
    let task = world.try_spawn(root, arguments, options()).expect("accepted");
    world.release(root, handle);
    world.release(root, Handle::Object(in_object));
    assert_eq!(world.actor_state(actor), "ALIVE");
    let guest = world.caller(task);
    world.acquire(guest, handle);
    let lane = world.lane();
    let call = world.call(guest, actor, lane, &[]);
    world.finish_with(task, vec![value_with(&[handle])]);
    world.finish(call);
    assert_eq!(world.actor_state(actor), "ALIVE", "the result has it");
    world.release_output(root, task);
    assert_eq!(world.actor_state(actor), "DEAD");
    world.end();
}

// contract: A9
#[test]
fn an_actor_that_holds_another_keeps_it_alive() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let inner = world.actor(root, named());
    let arguments = vec![Argument::Value(value_with(&[Handle::Actor(inner)]))];
    let outer = world.try_create(root, arguments, named()).expect("accepted");
    world.construct(outer);
    world.release(root, Handle::Actor(inner));
    assert_eq!(world.actor_state(inner), "ALIVE", "the other needs it to restart");
    world.release(root, Handle::Actor(outer));
    assert_eq!((world.actor_state(inner), world.actor_state(outer)), ("DEAD", "DEAD"));
    world.end();
}

// contract: A8
#[test]
fn a_detached_actor_outlives_its_job_and_its_handles() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let job = world.job_of(root);
    let actor = world.actor(root, detached());
    world.release(root, Handle::Actor(actor));
    world.finish(root.task);
    assert!(world.ended.contains_key(&job), "the job has ended without it");
    assert_eq!(world.actor_state(actor), "ALIVE");
    let second = world.job();
    world.acquire(second, Handle::Actor(actor));
    let lane = world.lane();
    let call = world.call(second, actor, lane, &[]);
    let child = world.spawn(world.caller(call), &[], options());
    world.finish(child);
    world.finish(call);
    assert_eq!(world.state(call), Finished);
    assert!(!world.forgotten.contains(&job), "a restart would need what the job was granted");
    world.kill(second, actor, false);
    assert_eq!(world.released_names, [actor]);
    assert!(world.forgotten.contains(&job));
    world.end();
}

// contract: A8
#[test]
fn a_call_inside_a_detached_actor_does_not_take_it_along_when_its_job_ends() {
    for stopped in [false, true] {
        let mut world = World::with_cpus(2);
        let root = world.job();
        let job = world.job_of(root);
        let actor = world.actor(root, detached());
        let lane = world.lane();
        let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
        match stopped {
            true => world.event(|node, now, fx| node.stop_job(now, job, "told to", fx)),
            false => world.finish(root.task),
        }
        assert!(world.ended.contains_key(&job), "the job does not wait for it");
        assert_eq!((world.actor_state(actor), &world.interrupts[..]), ("ALIVE", &calls[..1]));
        world.assert_states(&calls, &[Running, Cancelled]);
        world.finish(calls[0]);
        let second = world.job();
        world.acquire(second, Handle::Actor(actor));
        world.kill(second, actor, false);
        world.end();
    }
}

// contract: A8
#[test]
fn a_job_that_ends_with_20_000_calls_in_the_queue_of_a_detached_actor() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, detached());
    let lane = world.lane();
    world.checks = false;
    let calls: Vec<_> = (0..20_000).map(|_| world.call(root, actor, lane, &[])).collect();
    world.finish(root.task);
    assert_eq!(world.node.actor(actor).map(|view| view.pending_calls), Some(1), "the one inside");
    world.finish(calls[0]);
    let other = world.job();
    world.acquire(other, Handle::Actor(actor));
    world.kill(other, actor, false);
    world.end();
}

// contract: A8
#[test]
fn what_a_detached_actor_started_ends_with_it() {
    let mut world = World::with_cpus(4);
    let (root, other) = (world.job(), world.job());
    let actor = world.actor(root, detached());
    world.acquire(other, Handle::Actor(actor));
    world.finish(root.task);
    let lane = world.lane();
    let call = world.call(other, actor, lane, &[]);
    let guest = world.caller(call);
    let mut warm = options();
    warm.reuse = crate::options::Reuse::Job;
    let tasks = [
        world.spawn(guest, &[], options()),
        world.spawn(guest, &[], options()),
        world.spawn(guest, &[], warm),
    ];
    world.finish(tasks[2]);
    let waits = world.spawn(guest, &[tasks[0].output(0)], options());
    let child = world.actor(guest, ActorOptions::default());
    world.finish(call);
    world.kill(other, actor, false);
    world.assert_states(&[tasks[0], tasks[1], waits], &[Cancelled, Cancelled, Cancelled]);
    assert_eq!(world.actor_state(child), "DEAD");
    assert_eq!(world.sandboxes.len(), 1, "the other job's root");
    world.end();
}

#[test]
fn an_actor_needs_a_cpu_to_be_placed_and_none_once_it_is_there() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actors = [world.create(root, named()), world.create(root, named())];
    assert_eq!(world.node.actor(actors[1]).and_then(|view| view.instance), None);
    world.construct(actors[0]);
    world.construct(actors[1]);
    assert_eq!(world.free().cpus, Quantity::units(1));
    let placement = Placement { cpus: Some(Quantity(5_000)), ..Placement::default() };
    let holds = world.actor(root, ActorOptions { placement, ..ActorOptions::default() });
    assert_eq!(world.free().cpus, Quantity(5_000));
    world.kill(root, holds, false);
    assert_eq!(world.free().cpus, Quantity::units(1));
    world.end();
}

#[test]
fn an_actor_that_holds_its_own_handle_ends_with_its_job() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, named());
    let guest = Caller { instance: world.instance_of(actor), task: root.task };
    world.acquire(guest, Handle::Actor(actor));
    world.release(root, Handle::Actor(actor));
    assert_eq!(world.actor_state(actor), "ALIVE");
    world.end();
}

// contract: A4
#[test]
fn a_dead_actor_makes_room_for_another() {
    let limits = Limits { actors_max: 2, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let root = world.job();
    let (first, _second) = (world.actor(root, named()), world.actor(root, named()));
    let refused = world.try_create(root, Vec::new(), named()).expect_err("two are alive");
    assert_eq!(refused.code(), ErrorCode::LimitExceeded);
    assert!(refused.message().contains("actors_max of 2"), "{refused}");
    world.kill(root, first, false);
    world.create(root, named());
    world.end();
}
