//! Deaths that were not asked for, restarts, and the calls around them (contract A3, A5).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::TaskState::*;
use crate::options::{ActorOptions, CallOptions, Retries};
use crate::value::{Argument, Handle};
use crate::work::{Entry, Life};

fn restarts(max_restarts: i32, max_task_retries: i32) -> ActorOptions {
    ActorOptions { max_restarts, max_task_retries, ..ActorOptions::default() }
}

// contract: A3
#[test]
fn a_restart_runs_the_constructor_again_with_the_same_arguments_and_queued_calls_wait() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.put(root, value(77));
    let arguments = vec![Argument::Object(object), Argument::Value(value(5))];
    let actor = world.try_create(root, arguments, restarts(1, 0)).expect("accepted");
    world.release(root, Handle::Object(object));
    world.construct(actor);
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    world.die(world.instance_of(actor));
    assert_eq!(world.actor_state(actor), "RESTARTING");
    assert_eq!(world.code_of(root, calls[0]), ErrorCode::ActorDied);
    assert_eq!(world.state(calls[1]), Submitted);
    let constructor = world.constructor(actor);
    let (instance, call) = &world.running[&constructor];
    assert_eq!(call.entry, Entry::Create("Actor".into()));
    let sizes: Vec<u64> = call.arguments.iter().map(|value| value.size).collect();
    assert_eq!(sizes, [77, 5]);
    assert!(matches!(world.sandboxes[instance].life, Life::Actor { was_restarted: true, .. }));
    world.construct(actor);
    assert_eq!((world.actor_state(actor), world.state(calls[1])), ("ALIVE", Running));
    world.end();
}

// contract: A3
#[test]
fn the_restart_budget_binds_first() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, restarts(1, -1));
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    world.die(world.instance_of(actor));
    world.construct(actor);
    world.assert_states(&calls, &[Running, Submitted]);
    world.die(world.instance_of(actor));
    world.assert_states(&calls, &[Failed, Failed]);
    assert_eq!((world.actor_state(actor), world.code_of(root, calls[1])), ("DEAD", ErrorCode::ActorDied));
    let after = world.call(root, actor, lane, &[]);
    assert_eq!(world.code_of(root, after), ErrorCode::ActorDied);
    world.end();
}

// contract: A3
#[test]
fn calls_in_flight_are_retried_within_their_budget_in_their_order() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions { max_concurrency: 3, ..restarts(-1, 1) });
    let lane = world.lane();
    let calls: Vec<_> = (0..5).map(|_| world.call(root, actor, lane, &[])).collect();
    world.finish(calls[1]);
    world.assert_states(&calls, &[Running, Finished, Running, Running, Submitted]);
    world.die(world.instance_of(actor));
    let before = world.begun.len() + 1;
    world.construct(actor);
    world.assert_states(&calls, &[Running, Finished, Running, Running, Submitted]);
    world.finish(calls[0]);
    let order: Vec<_> = world.begun[before - 1..].iter().map(|(task, attempt)| (*task, *attempt)).collect();
    assert_eq!(order, [(calls[0], 1), (calls[2], 1), (calls[3], 1), (calls[4], 0)]);
    world.die(world.instance_of(actor));
    world.construct(actor);
    world.assert_states(&calls[2..], &[Failed, Failed, Running]);
    world.end();
}

// contract: A3
#[test]
fn a_call_may_raise_its_budget_above_the_actors() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, restarts(-1, 0));
    let lane = world.lane();
    let retries = Retries { system: 2, application: 0, kinds: Vec::new() };
    let call = world.call_with(root, actor, lane, &[], CallOptions { retries, ..CallOptions::default() });
    let call = call.expect("accepted");
    for _ in 0..2 {
        world.die(world.instance_of(actor));
        world.construct(actor);
        assert_eq!(world.state(call), Running);
    }
    world.die(world.instance_of(actor));
    assert_eq!(world.state(call), Failed);
    world.end();
}

// contract: A3, T7
#[test]
fn a_call_that_traps_ends_the_incarnation_and_fails_with_its_own_error() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, restarts(-1, -1));
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    world.trap(calls[0], error(ErrorCode::Trapped));
    assert_eq!(world.code_of(root, calls[0]), ErrorCode::Trapped, "retry_on does not name it");
    world.construct(actor);
    world.trap(calls[1], error(ErrorCode::OutOfMemory));
    assert_eq!(world.code_of(root, calls[1]), ErrorCode::OutOfMemory, "at its own limit: not retried");
    assert_eq!(world.actor_state(actor), "RESTARTING");
    world.end();
}

// contract: A3, T7
#[test]
fn a_call_that_traps_is_tried_again_when_it_may() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, restarts(-1, 0));
    let lane = world.lane();
    let retries = Retries { system: 0, application: 1, kinds: Vec::new() };
    let call = world.call_with(root, actor, lane, &[], CallOptions { retries, ..CallOptions::default() });
    let call = call.expect("accepted");
    world.trap(call, error(ErrorCode::Trapped));
    world.construct(actor);
    assert_eq!(world.running[&call].1.attempt, 1);
    world.end();
}

// contract: A3
#[test]
fn a_constructor_that_fails_is_the_actors_death_and_says_why() {
    type Ending = fn(&mut World, crate::ids::TaskId);
    let endings: [Ending; 2] = [
        |world, constructor| {
            world.fail(constructor, failure("ValueError").with_backtrace(Some("at new".into())))
        },
        |world, constructor| {
            world.trap(constructor, failure("ValueError").with_backtrace(Some("at new".into())))
        },
    ];
    for ending in endings {
        let mut world = World::with_cpus(1);
        let root = world.job();
        let actor = world.create(root, restarts(-1, 0));
        let lane = world.lane();
        let call = world.call(root, actor, lane, &[]);
        let constructor = world.constructor(actor);
        ending(&mut world, constructor);
        assert_eq!(world.actor_state(actor), "DEAD", "it would fail again");
        let error = world.error_of(root, call.output(0));
        assert_eq!(error.code(), ErrorCode::ActorDied);
        assert!(
            error.message().contains("its constructor failed") && error.message().contains("ValueError"),
            "{error}"
        );
        assert_eq!(error.backtrace(), Some("at new"));
        assert_eq!(error.path()[0].task, constructor.to_string());
        world.end();
    }
}

// contract: A3
#[test]
fn a_constructor_whose_sandbox_is_lost_runs_again_within_the_restart_budget() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.create(root, restarts(1, 0));
    let lane = world.lane();
    let call = world.call(root, actor, lane, &[]);
    world.die(world.instance_of(actor));
    assert_eq!((world.actor_state(actor), world.state(call)), ("RESTARTING", Submitted));
    world.die(world.instance_of(actor));
    assert_eq!((world.actor_state(actor), world.state(call)), ("DEAD", Failed));
    world.end();
}

#[test]
fn a_constructor_whose_argument_fails_is_the_actors_death() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let arguments = vec![Argument::Object(task.output(0))];
    let actor = world.try_create(root, arguments, ActorOptions::default()).expect("accepted");
    let lane = world.lane();
    let call = world.call(root, actor, lane, &[]);
    world.fail(task, failure("E"));
    let error = world.error_of(root, call.output(0));
    assert_eq!((error.code(), error.kind()), (ErrorCode::ActorDied, Some("E")));
    world.end();
}

// contract: A3, O6
#[test]
fn an_actor_that_dies_after_its_last_handle_was_dropped_lets_go_of_its_arguments() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.put(root, value(77));
    let arguments = vec![Argument::Object(object), Argument::Value(value(5))];
    let actor = world.try_create(root, arguments, ActorOptions::default()).expect("accepted");
    world.construct(actor);
    let lane = world.lane();
    world.call(root, actor, lane, &[]);
    world.release(root, Handle::Object(object));
    world.release(root, Handle::Actor(actor));
    world.die(world.node.actor(actor).and_then(|view| view.instance).expect("its call runs"));
    assert_eq!(world.actor_state(actor), "DEAD");
    assert_eq!((world.node.node_view().stored_bytes, world.node.object_count()), (0, 1));
    world.end();
}

// contract: A5
#[test]
fn cancelling_a_queued_call_removes_it() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let lane = world.lane();
    let calls: Vec<_> = (0..3).map(|_| world.call(root, actor, lane, &[])).collect();
    world.cancel(calls[1], false, true);
    assert_eq!(world.code_of(root, calls[1]), ErrorCode::TaskCancelled);
    world.finish(calls[0]);
    world.assert_states(&calls, &[Finished, Cancelled, Running]);
    assert!(world.interrupts.is_empty());
    world.end();
}

// contract: A5, T4
#[test]
fn cancelling_a_running_call_raises_its_flag_and_it_is_not_retried() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, restarts(-1, -1));
    let lane = world.lane();
    let retries = Retries { system: -1, application: -1, kinds: Vec::new() };
    let options = CallOptions { retries, ..CallOptions::default() };
    let calls: Vec<_> =
        (0..3).map(|_| world.call_with(root, actor, lane, &[], options.clone()).expect("accepted")).collect();
    world.cancel(calls[0], false, true);
    world.cancel(calls[0], false, true);
    assert_eq!(world.interrupts, [calls[0]]);
    assert_eq!((world.state(calls[0]), world.stops.len()), (Running, 0));
    world.fail(calls[0], failure("E"));
    assert_eq!(world.state(calls[0]), Failed);
    world.cancel(calls[1], false, true);
    world.die(world.instance_of(actor));
    assert_eq!(world.state(calls[1]), Failed);
    world.construct(actor);
    world.cancel(calls[2], false, true);
    world.finish(calls[2]);
    assert_eq!(world.state(calls[2]), Finished, "it was asked, and finished");
    world.end();
}

// contract: A5
#[test]
fn with_force_the_incarnation_ends_under_its_restart_budget() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let actor = world.actor(root, ActorOptions { max_concurrency: 2, ..restarts(1, 1) });
    let lane = world.lane();
    let calls = [world.call(root, actor, lane, &[]), world.call(root, actor, lane, &[])];
    world.cancel(calls[0], true, true);
    assert_eq!(world.code_of(root, calls[0]), ErrorCode::TaskCancelled);
    assert_eq!((world.actor_state(actor), world.state(calls[1])), ("RESTARTING", Submitted));
    world.construct(actor);
    assert_eq!(world.state(calls[1]), Running);
    world.cancel(calls[1], true, true);
    assert_eq!(world.actor_state(actor), "DEAD");
    world.end();
}
