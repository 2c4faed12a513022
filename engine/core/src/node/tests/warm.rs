//! Warm sandboxes: which tasks share one, and when it ends (the books of contract T3).

use super::harness::*;
use crate::node::TaskState::*;
use crate::node::{Caller, Limits};
use crate::options::{Reuse, TaskOptions};
use crate::resources::Resources;
use crate::value::Handle;
use crate::work::StopReason;

fn warm() -> TaskOptions {
    TaskOptions { reuse: Reuse::Job, ..options() }
}

fn in_env(name: &str) -> TaskOptions {
    TaskOptions { env: vec![(name.to_owned(), "1".to_owned())].into(), ..warm() }
}

fn run(world: &mut World, from: Caller, options: TaskOptions) -> crate::ids::InstanceId {
    let task = world.spawn(from, &[], options);
    let instance = world.caller(task).instance;
    world.finish(task);
    instance
}

// contract: T3
#[test]
fn a_fresh_sandbox_for_every_task_by_default() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let (a, b) = (run(&mut world, root, options()), run(&mut world, root, options()));
    assert_ne!(a, b);
    assert_eq!(world.sandboxes.len(), 1, "only the root's is left");
    world.end();
}

// contract: T3, T5
#[test]
fn a_warm_sandbox_is_told_what_each_of_its_tasks_was_given() {
    let mut world = World::with_cpus(4);
    let root = world.job();
    let first = run(&mut world, root, warm());
    let mut two = warm();
    two.placement.cpus = Some(crate::resources::Quantity::units(2));
    let task = world.spawn(root, &[], two);
    let (instance, call) = &world.running[&task];
    assert_eq!(*instance, first);
    assert_eq!(call.assigned.as_ref().map(|assigned| assigned.cpus.as_f64()), Some(2.0));
    world.end();
}

// contract: T3
#[test]
fn a_warm_sandbox_serves_many_tasks_of_the_same_kind() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let first = run(&mut world, root, warm());
    for _ in 0..10 {
        assert_eq!(run(&mut world, root, warm()), first);
    }
    assert_eq!(world.sandboxes[&first].served, 11);
    world.end();
}

// contract: T3
#[test]
fn other_environment_memory_or_job_means_another_sandbox() {
    let mut world = World::with_cpus(1);
    let (root, other_job) = (world.job(), world.job());
    let instances = [
        run(&mut world, root, warm()),
        run(&mut world, root, in_env("A")),
        run(&mut world, root, TaskOptions { reuse: Reuse::Job, ..with_memory(1 << 20) }),
        run(&mut world, other_job, warm()),
        run(&mut world, root, options()),
    ];
    let different: std::collections::BTreeSet<_> = instances.iter().collect();
    assert_eq!(different.len(), instances.len(), "{instances:?}");
    assert_eq!(run(&mut world, root, warm()), instances[0]);
    assert_eq!(run(&mut world, root, in_env("A")), instances[1]);
    assert_eq!(run(&mut world, other_job, warm()), instances[3]);
    world.end();
}

// contract: T3
#[test]
fn an_idle_one_keeps_its_memory_and_gives_the_rest_back() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let before = world.free().clone();
    run(&mut world, root, warm());
    let memory = Limits::default().task_memory_bytes_default;
    assert_eq!(world.free(), &Resources { memory: before.memory - memory, ..before });
    world.end();
}

// contract: T3
#[test]
fn it_ends_when_it_has_been_idle_for_too_long() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let first = run(&mut world, root, warm());
    world.advance(Limits::default().warm_idle_duration_max / 2);
    assert_eq!(run(&mut world, root, warm()), first);
    world.advance(Limits::default().warm_idle_duration_max / 2);
    assert!(world.stops.is_empty(), "it was used in between");
    world.advance(Limits::default().warm_idle_duration_max / 2);
    assert_eq!(world.stops, [(first, StopReason::Retired)]);
    world.end();
}

// contract: T3
#[test]
fn beyond_the_bound_the_longest_idle_ends() {
    let limits = Limits { warm_idle_max: 2, ..Limits::default() };
    let mut world = World::new(cpus(4), limits);
    let root = world.job();
    let instances: Vec<_> = ["A", "B", "C"].iter().map(|env| run(&mut world, root, in_env(env))).collect();
    assert_eq!(world.stops, [(instances[0], StopReason::Retired)]);
    world.end();
}

// contract: T3
#[test]
fn it_ends_when_others_want_its_memory_and_no_sooner() {
    let total = Resources { memory: (10 << 30) + (1 << 20), ..cpus(8) };
    let mut world = World::new(total, Limits::default());
    let root = world.job();
    world.slow_stops = true;
    let warm = |env: &str| TaskOptions { placement: with_memory(2 << 30).placement, ..in_env(env) };
    let instances: Vec<_> = ["A", "B", "C", "D"].iter().map(|env| run(&mut world, root, warm(env))).collect();
    // 2 GiB are free and 8 GiB are warm: 5 GiB more need two of the four.
    let big = world.spawn(root, &[], with_memory(5 << 30));
    let stopped: Vec<_> = world.stops.iter().map(|(instance, _)| *instance).collect();
    assert_eq!(stopped, instances[..2], "the longest idle first, and as many as are needed");
    world.spawn(root, &[], with_cpus(0));
    assert_eq!(world.stops.len(), 2, "what is about to end is counted");
    for instance in stopped {
        world.gone(instance);
    }
    assert_eq!(world.state(big), Running);
    // 13 GiB could not be had if all of them ended.
    world.slow_stops = false;
    world.end();
}

// contract: T3
#[test]
fn they_do_not_end_for_what_their_memory_cannot_help() {
    let total = Resources { memory: (4 << 30) + (1 << 20), ..cpus(8) };
    let mut world = World::new(total, Limits::default());
    let root = world.job();
    run(&mut world, root, warm());
    let holder = world.spawn(root, &[], with_memory(2 << 30));
    let big = world.spawn(root, &[], with_memory(3 << 30));
    assert!(world.stops.is_empty(), "even all of it would not be enough");
    world.finish(holder);
    world.assert_states(&[big], &[Running]);
    world.end();
}

// contract: T3
#[test]
fn handles_that_a_call_left_behind_are_held_until_the_sandbox_ends() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let task = world.spawn(root, &[], warm());
    let guest = world.caller(task);
    let object = world.put(guest, value(10));
    world.finish(task);
    assert!(world.node.object(object).is_some(), "its globals have it");
    let next = world.spawn(root, &[], warm());
    let guest = world.caller(next);
    assert!(world.outcome(guest, object).is_some_and(|outcome| outcome.is_ok()), "the next call sees it");
    world.finish(next);
    world.gone(guest.instance);
    assert!(world.node.object(object).is_none());
    world.end();
}

// contract: T3
#[test]
fn a_call_that_was_handed_to_one_that_was_about_to_retire_is_not_an_attempt() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    run(&mut world, root, warm());
    let task = world.spawn(root, &[], TaskOptions { retries: no_retries(), ..warm() });
    let instance = world.caller(task).instance;
    world.gone(instance);
    assert_eq!(world.state(task), Running);
    assert_ne!(world.caller(task).instance, instance);
    assert_eq!(world.running[&task].1.attempt, 0);
    world.end();
}

fn no_retries() -> crate::options::Retries {
    crate::options::Retries { system: 0, application: 0, kinds: Vec::new() }
}

// contract: T3
#[test]
fn a_warm_sandbox_that_fails_a_call_serves_on_and_one_that_is_lost_does_not() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let first = run(&mut world, root, warm());
    let failed = world.spawn(root, &[], warm());
    world.fail(failed, failure("E"));
    assert_eq!(run(&mut world, root, warm()), first);
    let lost = world.spawn(root, &[], warm());
    world.lose(lost);
    assert_ne!(world.caller(lost).instance, first, "its retry has another");
    world.end();
}

#[test]
fn at_the_bound_of_sandboxes_warm_ones_make_room() {
    let limits = Limits { instances_max: 3, ..Limits::default() };
    let mut world = World::new(cpus(8), limits);
    let root = world.job();
    let idle = [run(&mut world, root, in_env("A")), run(&mut world, root, in_env("B"))];
    let task = world.spawn(root, &[], options());
    assert_eq!(world.state(task), Running);
    assert_eq!(world.stops, [(idle[0], StopReason::Retired)]);
    let reuses = world.spawn(root, &[], in_env("B"));
    assert_eq!(world.caller(reuses).instance, idle[1], "a warm one needs no room");
    world.end();
}

#[test]
fn a_handle_given_back_twice_is_given_back_once() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.put(root, value(1));
    world.acquire(root, Handle::Object(object));
    world.release(root, Handle::Object(object));
    assert!(world.node.object(object).is_some());
    world.release(root, Handle::Object(object));
    world.release(root, Handle::Object(object));
    assert!(world.node.object(object).is_none());
    world.end();
}
