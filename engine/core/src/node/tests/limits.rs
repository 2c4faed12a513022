//! A limit on everything: the caller gets an error, and nothing that was accepted is lost.

use super::harness::*;
use crate::error::{Error, ErrorCode};
use crate::ids::TaskId;
use crate::node::TaskState::*;
use crate::node::{Limits, Until, Waitable};
use crate::options::{ActorOptions, CallOptions, Returns, TaskOptions};
use crate::resources::Quantity;
use crate::value::{Argument, Handle};

#[track_caller]
fn assert_limit<T: std::fmt::Debug>(result: Result<T, Error>, name: &str) {
    let error = result.expect_err("beyond the limit");
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    assert!(error.message().contains(name), "{name} is not named: {error}");
}

// contract: L2
#[test]
fn a_tenant_with_many_tasks_leaves_others_the_last_quarter() {
    let limits = Limits { queued_tasks_max: 40, queued_tasks_of_small_tenant_max: 5, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let a = world.job_of_tenant("a");
    let spawn = |world: &mut World, root| world.try_spawn(root, Vec::new(), with_cpus(1));
    for _ in 0..28 {
        spawn(&mut world, a).expect("there is room");
    }
    let b = world.job_of_tenant("b");
    assert_limit(spawn(&mut world, a), "is for tenants with fewer than 5");
    for _ in 0..4 {
        spawn(&mut world, b).expect("it has few");
    }
    assert_limit(spawn(&mut world, b), "is for tenants with fewer than 5");
    // One that has left needs no room.
    world.finish(b.task);
    let c = world.job_of_tenant("c");
    spawn(&mut world, c).expect("it has few");
    world.end();
}

// contract: L2
#[test]
fn queued_tasks_max_refuses_until_some_have_ended() {
    let limits = Limits { queued_tasks_max: 4, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let root = world.job();
    let tasks = world.spawn_many(root, 3);
    assert_limit(world.try_spawn(root, Vec::new(), options()), "queued_tasks_max of 4");
    assert_limit(world.try_create(root, Vec::new(), ActorOptions::default()), "queued_tasks_max of 4");
    world.finish(tasks[0]);
    world.spawn(root, &[], options());
    world.assert_states(&tasks, &[Finished, Running, PendingPlacement]);
    world.end();
}

// contract: L3
#[test]
fn children_of_one_task() {
    let limits = Limits { children_per_task_max: 3, ..Limits::default() };
    let mut world = World::new(cpus(4), limits);
    let root = world.job();
    let too_long = vec![Argument::Value(value(u64::MAX))];
    assert!(world.try_spawn(root, too_long, options()).is_err(), "one that is refused does not count");
    let task = world.spawn(root, &[], options());
    let actor = world.actor(root, ActorOptions::default());
    let lane = world.lane();
    world.call(root, actor, lane, &[]);
    assert_limit(world.try_spawn(root, Vec::new(), options()), "children_per_task_max of 3");
    let other = world.caller(task);
    world.spawn(other, &[], options());
    world.end();
}

// contract: L3
#[test]
fn arguments_returns_puts_and_handles() {
    let limits = Limits {
        arguments_max: 2,
        returns_max: 2,
        puts_per_task_max: 2,
        handles_per_value_max: 2,
        wait_items_max: 2,
        stream_objects_max: 2,
        ..Limits::default()
    };
    let mut world = World::new(cpus(4), limits);
    let root = world.job();
    let object = world.put(root, value(1));
    let three = vec![Argument::Object(object); 3];
    assert_limit(world.try_spawn(root, three, options()), "arguments_max of 2");
    let returns = |count| TaskOptions { returns: Returns::Fixed(count), ..options() };
    assert_limit(world.try_spawn(root, Vec::new(), returns(3)), "returns_max of 2");
    let task = world.spawn(root, &[object, object], returns(2));
    world.put(root, value(1));
    assert_limit(world.event(|node, now, fx| node.put(now, root, value(1), fx)), "puts_per_task_max of 2");
    let other = world.caller(task);
    world.acquire(other, Handle::Object(object));
    let handles = [Handle::Object(object); 3];
    assert_limit(
        world.event(|node, now, fx| node.put(now, other, value_with(&handles), fx)),
        "handles_per_value_max of 2",
    );
    let items = [Waitable::Object(object); 3];
    let wait = world.event(|node, now, fx| node.wait(now, root, &items, Until::Count(1), None, fx));
    assert_limit(wait, "wait_items_max of 2");
    let stream = world.spawn(root, &[], TaskOptions { returns: Returns::Streaming(None), ..options() });
    let guest = world.caller(stream);
    world.emit(guest).expect("the first");
    world.emit(guest).expect("the second");
    assert_limit(world.emit(guest), "stream_objects_max of 2");
    world.end();
}

// contract: L2
#[test]
fn a_jobs_unfinished_tasks_are_its_quota() {
    let mut world = World::with_cpus(1);
    let root = world.submit(Quantity::ZERO, Some(3));
    let root = world.caller(root);
    let free = world.job();
    let tasks = world.spawn_many(root, 2);
    let refused = world.try_spawn(root, Vec::new(), options()).expect_err("root and two tasks");
    assert_eq!(refused.code(), ErrorCode::QuotaExceeded);
    assert!(refused.message().contains("unfinished_tasks_max"), "{refused}");
    world.spawn_many(free, 5);
    world.finish(tasks[0]);
    world.spawn(root, &[], options());
    world.end();
}

// contract: L1
#[test]
fn sandboxes_alive_at_once() {
    let limits = Limits { instances_max: 3, ..Limits::default() };
    let mut world = World::new(cpus(64), limits);
    let root = world.job();
    let tasks = world.spawn_many(root, 4);
    world.assert_states(&tasks, &[Running, Running, PendingPlacement, PendingPlacement]);
    let why = world.node.explain(tasks[3]).expect("known");
    assert!(why.contains("behind 1 tasks of its kind; 3 of 3 sandboxes are alive"), "{why}");
    world.finish_all(&tasks);
    world.end();
}

// contract: L2
#[test]
fn a_million_tasks_are_queued_and_run() {
    let mut world = World::with_cpus(4);
    let root = world.job();
    world.checks = false;
    let count = 1_000_000;
    let resident = resident_bytes();
    for _ in 0..count {
        let task = world.spawn(root, &[], options());
        world.release_output(root, task);
    }
    if let (Some(before), Some(after)) = (resident, resident_bytes()) {
        println!("{} bytes for each of {count} queued tasks", after.saturating_sub(before) / count);
    }
    assert_eq!(world.node.progress().of(PendingPlacement), count - 4);
    let mut begun = Vec::new();
    loop {
        let running: Vec<TaskId> = world.running.keys().copied().filter(|task| *task != root.task).collect();
        let Some(task) = running.first() else { break };
        begun.push(*task);
        world.finish(*task);
    }
    assert_eq!((begun.len() as u64, world.node.progress().of(Finished)), (count, count));
    world.end();
}

/// Bytes of memory that this process has.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

#[test]
fn a_call_refused_for_its_arguments_leaves_no_trace() {
    let limits = Limits { inline_bytes_max: 10, ..Limits::default() };
    let mut world = World::new(cpus(1), limits);
    let root = world.job();
    let actor = world.actor(root, ActorOptions::default());
    let lane = world.lane();
    let arguments = vec![Argument::Value(value(11))];
    let refused = world.event(|node, now, fx| {
        node.call_actor(now, root, actor, lane, "m".into(), arguments, CallOptions::default(), fx)
    });
    assert_eq!(refused.map_err(|error| error.code()), Err(ErrorCode::StoreFull));
    assert_eq!(world.node.actor(actor).map(|view| view.pending_calls), Some(0));
    let arguments = vec![Argument::Value(value(11))];
    let refused = world.try_create(root, arguments, ActorOptions::default());
    assert_eq!(refused.map_err(|error| error.code()), Err(ErrorCode::StoreFull));
    world.end();
}
