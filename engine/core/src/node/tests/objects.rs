//! Objects live as long as anything can reach them, and are freed promptly after (contract O6).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::Limits;
use crate::node::TaskState::*;
use crate::options::ActorOptions;
use crate::value::{Argument, Handle};

// contract: O1
#[test]
fn a_value_that_was_put_can_be_read_and_does_not_change() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.put(root, value(42));
    for _ in 0..2 {
        assert_eq!(world.outcome(root, object).and_then(Result::ok).map(|value| value.size), Some(42));
    }
    world.end();
}

// contract: O6
#[test]
fn the_last_handle_frees_an_object() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.put(root, value(42));
    world.acquire(root, Handle::Object(object));
    world.release(root, Handle::Object(object));
    assert!(world.node.object(object).is_some());
    world.release(root, Handle::Object(object));
    assert!(world.node.object(object).is_none());
    world.end();
}

// contract: O6
#[test]
fn a_pending_argument_keeps_an_object() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let first = world.spawn(root, &[], options());
    let object = world.put(root, value(42));
    let task = world.spawn(root, &[first.output(0), object], options());
    world.release(root, Handle::Object(object));
    assert!(world.node.object(object).is_some());
    world.finish(first);
    world.finish(task);
    assert!(world.node.object(object).is_none());
    world.end();
}

// contract: O6
#[test]
fn a_borrower_keeps_an_object_until_it_ends() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.put(root, value(42));
    let arguments = vec![Argument::Value(value_with(&[Handle::Object(object)]))];
    let task = world.try_spawn(root, arguments, options()).expect("accepted");
    world.acquire(world.caller(task), Handle::Object(object));
    world.release(root, Handle::Object(object));
    assert!(world.node.object(object).is_some());
    world.finish(task);
    assert!(world.node.object(object).is_none());
    world.end();
}

// contract: O6
#[test]
fn a_value_keeps_what_is_inside_it() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let inner = world.put(root, value(42));
    let outer = world.put(root, value_with(&[Handle::Object(inner), Handle::Object(inner)]));
    world.release(root, Handle::Object(inner));
    assert!(world.node.object(inner).is_some());
    world.release(root, Handle::Object(outer));
    assert!(world.node.object(inner).is_none());
    world.end();
}

// contract: O6
#[test]
fn a_result_keeps_what_the_task_put() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    let inner = world.put(world.caller(task), value(42));
    world.finish_with(task, vec![value_with(&[Handle::Object(inner)])]);
    assert!(world.node.object(inner).is_some());
    world.release_output(root, task);
    assert!(world.node.object(inner).is_none());
    world.end();
}

// contract: O6
#[test]
fn a_chain_of_100_000_nested_objects_is_freed_without_recursion() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    world.checks = false;
    let mut outer = world.put(root, value(1));
    for _ in 0..100_000 {
        let next = world.put(root, value_with(&[Handle::Object(outer)]));
        world.release(root, Handle::Object(outer));
        outer = next;
    }
    assert_eq!(world.node.object_count(), 100_001);
    world.release(root, Handle::Object(outer));
    assert_eq!(world.node.object_count(), 0);
    world.end();
}

// contract: O6
#[test]
fn what_nobody_waits_for_is_freed_as_soon_as_it_is_made() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], options());
    world.release_output(root, task);
    assert_eq!(world.state(task), Running, "it runs all the same");
    let inner = world.put(world.caller(task), value(7));
    world.finish_with(task, vec![value_with(&[Handle::Object(inner)])]);
    assert_eq!((world.state(task), world.node.object_count()), (Finished, 0));
    world.end();
}

// contract: O6
#[test]
fn a_sandbox_that_is_lost_lets_go_of_all_that_it_held() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let mut once = options();
    once.retries.system = 0;
    let task = world.spawn(root, &[], once);
    let guest = world.caller(task);
    for _ in 0..10 {
        world.put(guest, value(1));
    }
    world.spawn(guest, &[], options());
    world.lose(task);
    assert_eq!(world.node.object_count(), 1, "the root's handle to its output");
    world.end();
}

// contract: O6
#[test]
fn a_detached_actor_keeps_what_it_holds() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let detached = ActorOptions { lifetime: crate::options::Lifetime::Detached, ..ActorOptions::default() };
    let actor = world.actor(root, detached);
    let object = world.put(root, value(42));
    let guest = crate::node::Caller { instance: world.instance_of(actor), task: root.task };
    world.acquire(guest, Handle::Object(object));
    world.finish(root.task);
    assert!(world.node.object(object).is_some());
    world.die(guest.instance);
    assert!(world.node.object(object).is_none());
    world.end();
}

// contract: J2
#[test]
fn objects_that_hold_one_another_go_with_their_job() {
    let mut world = World::with_cpus(2);
    let (root, other) = (world.job(), world.job());
    let tasks = [world.spawn(root, &[], options()), world.spawn(root, &[], options())];
    let inside = [tasks[0].output(0), tasks[1].output(0)].map(Handle::Object);
    for (task, handle) in [(tasks[0], inside[1]), (tasks[1], inside[0])] {
        world.acquire(world.caller(task), handle);
        world.finish_with(task, vec![value_with(&[handle])]);
    }
    let kept = world.put(root, value(1));
    world.acquire(other, Handle::Object(kept));
    for handle in inside {
        world.release(root, handle);
    }
    assert_eq!(world.node.object_count(), 3, "edges alone do not free them");
    world.finish(root.task);
    assert_eq!(world.node.object_count(), 1, "what another job holds stays");
    world.end();
}

#[test]
fn only_what_a_guest_holds_can_be_used() {
    let mut world = World::with_cpus(1);
    let (root, stranger) = (world.job(), world.job());
    let object = world.put(root, value(1));
    assert_eq!(world.error_of(stranger, object).code(), ErrorCode::PermissionDenied);
    let code = |result: Result<crate::ids::TaskId, crate::error::Error>| result.map_err(|error| error.code());
    let argument = world.try_spawn(stranger, vec![Argument::Object(object)], options());
    assert_eq!(code(argument), Err(ErrorCode::PermissionDenied));
    let inside = vec![Argument::Value(value_with(&[Handle::Object(object)]))];
    let inside = world.try_spawn(stranger, inside, options());
    assert_eq!(code(inside), Err(ErrorCode::PermissionDenied));
    let put = world.event(|node, now, fx| node.put(now, stranger, value_with(&[Handle::Object(object)]), fx));
    assert_eq!(put.map_err(|error| error.code()), Err(ErrorCode::PermissionDenied));
    let wait = world.event(|node, now, fx| {
        let items = [crate::node::Waitable::Object(object)];
        node.wait(now, stranger, &items, crate::node::Until::Count(1), None, fx)
    });
    assert_eq!(wait.map_err(|error| error.code()), Err(ErrorCode::PermissionDenied));
    let actor = world.actor(root, ActorOptions::default());
    let lane = world.lane();
    let call = world.call_with(stranger, actor, lane, &[], crate::options::CallOptions::default());
    assert_eq!(code(call), Err(ErrorCode::PermissionDenied));
    world.end();
}

// contract: L2
#[test]
fn a_full_store_refuses_and_the_same_put_succeeds_once_there_is_room() {
    let limits = Limits { inline_bytes_max: 100, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let root = world.job();
    let first = world.put(root, value(60));
    let refused =
        world.event(|node, now, fx| node.put(now, root, value(50), fx)).expect_err("60 + 50 of 100");
    assert_eq!(refused.code(), ErrorCode::StoreFull);
    assert!(
        refused.message().contains("takes 50 bytes, and small values have 40 bytes of 100 bytes free"),
        "{refused}"
    );
    world.release(root, Handle::Object(first));
    world.put(root, value(50));
    world.end();
}

// contract: L2
#[test]
fn arguments_and_results_count_as_bytes_of_the_store() {
    let limits = Limits { inline_bytes_max: 100, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let root = world.job();
    let task = world.try_spawn(root, vec![Argument::Value(value(60))], options()).expect("accepted");
    let refused = world.try_spawn(root, vec![Argument::Value(value(50))], options());
    assert_eq!(refused.map_err(|error| error.code()), Err(ErrorCode::StoreFull));
    world.finish_with(task, vec![value(101)]);
    assert_eq!(world.code_of(root, task), ErrorCode::StoreFull, "its result does not fit");
    assert_eq!(world.node.node_view().stored_bytes, 0);
    world.end();
}
