//! Clients outside that are the root of their job (contract J3).

use std::time::Duration;

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::TaskState::*;
use crate::node::{JobSpec, Limits, Until, WaitState, Waitable};
use crate::options::{ActorOptions, TaskOptions};
use crate::value::Handle;
use crate::work::StopReason;

const GRACE: Duration = Duration::from_secs(30);

// contract: J3
#[test]
fn a_client_asks_for_what_a_guest_may_and_its_job_ends_well_with_it() {
    let mut world = World::with_cpus(2);
    let client = world.client();
    let job = world.job_of(client);
    assert_eq!(world.node.node_view().instances, 0, "there is no sandbox behind it");
    assert_eq!(world.node.ledger().1, world.node.ledger().0, "and it takes nothing");
    let object = world.put(client, large(1 << 20));
    let task = world.spawn(client, &[object], options());
    let wait = world.block_on(client, task);
    world.finish(task);
    assert!(world.is_awake(wait));
    assert_eq!(world.outcome(client, task.output(0)).and_then(Result::ok).map(|value| value.size), Some(8));
    let actor = world.actor(client, ActorOptions::default());
    let lane = world.lane();
    let call = world.call(client, actor, lane, &[]);
    world.finish(call);
    world.kill(client, actor, false);
    let streams = TaskOptions { returns: crate::options::Returns::Streaming(None), ..options() };
    let stream = world.spawn(client, &[], streams);
    assert_eq!(world.state(stream), Running);
    world.finish(client.task);
    let end = &world.ended[&job];
    assert!(end.result.is_ok() && !end.stopped, "{end:?}");
    assert_eq!(end.progress.of(Cancelled), 1, "the stream ended with it");
    world.end();
}

// contract: J3, J2
#[test]
fn a_client_that_is_away_for_too_long_fails_its_job_by_name() {
    let mut world = World::with_cpus(1);
    let client = world.client();
    let job = world.job_of(client);
    let task = world.spawn(client, &[], options());
    let object = world.put(client, value(8));
    world.event(|node, now, fx| node.client_detached(now, job, fx));
    world.advance(GRACE - Duration::from_millis(1));
    assert!(world.ended.is_empty(), "it may come back");
    world.event(|node, _, _| node.client_attached(job));
    world.advance(GRACE * 2);
    assert_eq!(world.state(task), Running, "it came back, and everything is as it was");
    assert!(world.outcome(client, object).is_some_and(|outcome| outcome.is_ok()));
    world.event(|node, now, fx| node.client_detached(now, job, fx));
    world.advance(GRACE);
    let end = &world.ended[&job];
    let error = end.result.as_ref().expect_err("it was lost");
    assert_eq!((error.code(), end.stopped), (ErrorCode::WorkerDied, false), "FAILED, not STOPPED");
    assert!(error.message().contains("client_grace"), "{error}");
    assert_eq!(world.state(task), Cancelled);
    world.end();
}

// contract: J3
#[test]
fn stopping_its_job_ends_a_client_once_the_outside_has_heard_it() {
    let mut world = World::with_cpus(1);
    let client = world.client();
    let job = world.job_of(client);
    world.slow_stops = true;
    let task = world.spawn(client, &[], options());
    world.event(|node, now, fx| node.stop_job(now, job, "told to", fx));
    assert!(world.stops.contains(&(client.instance, StopReason::JobEnded)));
    let refused = world.try_spawn(client, Vec::new(), options()).map_err(|error| error.code());
    assert_eq!(refused, Err(ErrorCode::TaskCancelled));
    world.slow_stops = false;
    for instance in [client.instance, world.caller(task).instance] {
        world.gone(instance);
    }
    assert!(world.ended[&job].stopped);
    world.end();
}

#[test]
fn a_client_has_no_component_and_is_told_so() {
    let mut world = World::with_cpus(1);
    let client = world.client();
    let error = world.node.component_of(client).expect_err("it has none");
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.message().contains("component"), "{error}");
    let guest = world.job();
    assert_eq!(world.node.component_of(guest).ok(), Some(component()));
    world.end();
}

#[test]
fn a_client_may_wait_for_several_things_at_once_and_give_up() {
    let mut world = World::with_cpus(1);
    let client = world.client();
    let tasks = world.spawn_many(client, 2);
    let first = world.block_on(client, tasks[0]);
    let second = world.block_on(client, tasks[1]);
    assert_eq!(world.state(client.task), Running, "it goes on meanwhile");
    world.node.give_up_wait(first);
    world.finish(tasks[0]);
    world.finish(tasks[1]);
    assert!(world.is_awake(second) && !world.is_awake(first));
    let guest = world.job();
    let task = world.spawn(guest, &[], options());
    let wait = world.block_on(guest, task);
    world.node.give_up_wait(wait);
    world.finish(task);
    assert!(world.is_awake(wait), "a guest is one thread of control: it gives no wait up");
    world.end();
}

// contract: T2
#[test]
fn what_a_client_may_end_is_no_deadlock() {
    let mut world = World::with_cpus(1);
    let client = world.client();
    let mut whole = ActorOptions::default();
    whole.placement.cpus = Some(crate::resources::Quantity::units(1));
    let actor = world.actor(client, whole);
    let task = world.spawn(client, &[], options());
    let items = [Waitable::Object(task.output(0))];
    let state = world.wait(client, &items, Until::AllOrFailure, None);
    assert!(matches!(state, WaitState::Blocked(_)));
    assert_eq!(world.state(task), PendingPlacement, "another thread of it may end the actor");
    world.kill(client, actor, false);
    assert_eq!(world.state(task), Running);
    world.end();
}

#[test]
fn clients_are_bounded_and_take_no_sandbox_from_others() {
    let limits = Limits { clients_max: 2, instances_max: 1, ..Limits::default() };
    let mut world = World::new(cpus(4), limits);
    let clients = [world.client(), world.client()];
    let refused = world.event(|node, now, fx| {
        let job = crate::ids::IdGenerator::new([9; 16]).job();
        node.submit_job(now, JobSpec::of_client(job), fx)
    });
    let error = refused.expect_err("there are as many as there may be");
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    assert!(error.message().contains("clients_max of 2"), "{error}");
    let task = world.spawn(clients[0], &[], options());
    assert_eq!(world.state(task), Running, "the one sandbox is free");
    world.finish(clients[1].task);
    let third = world.client();
    assert_eq!(world.state(third.task), Running);
    world.end();
}

#[test]
fn listings_show_a_client_where_a_sandbox_would_stand() {
    let mut world = World::with_cpus(1);
    let client = world.client();
    let object = world.put(client, value(8));
    let view = world.node.task(client.task).expect("its root");
    assert_eq!((view.function.as_str(), view.state), ("client", Running));
    let why = world.node.explain(client.task).expect("an explanation");
    assert!(why.contains("a client outside"), "{why}");
    let held = world.node.object(object).expect("an object").held_by;
    assert_eq!((held.len(), held[0].function.as_str()), (1, "client"));
    world.release(client, Handle::Object(object));
    assert_eq!(world.node.object_count(), 0);
    world.end();
}
