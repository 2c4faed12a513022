//! A call that waits gives its CPUs back, and takes them again before it goes on (contract T2).

use super::harness::*;
use crate::node::TaskState::*;
use crate::resources::Quantity;

// contract: T2
#[test]
fn a_blocked_task_gives_its_cpus_back() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let parent = world.spawn(root, &[], options());
    let child = world.spawn(world.caller(parent), &[], options());
    assert_eq!(world.state(child), PendingPlacement);
    let wait = world.block_on(world.caller(parent), child);
    world.assert_states(&[parent, child], &[Blocked, Running]);
    world.finish(child);
    assert!(world.is_awake(wait));
    assert_eq!(world.state(parent), Running);
    world.end();
}

// contract: T2
#[test]
fn it_takes_its_cpus_again_before_it_goes_on() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let parent = world.spawn(root, &[], options());
    let child = world.spawn(world.caller(parent), &[], options());
    let wait = world.block_on(world.caller(parent), child);
    let others = world.spawn_many(root, 2);
    world.finish(child);
    assert!(world.is_awake(wait), "it comes before others that wait");
    world.assert_states(&others, &[PendingPlacement, PendingPlacement]);
    let wait = {
        let child = world.spawn(world.caller(parent), &[], options());
        world.block_on(world.caller(parent), child)
    };
    assert_eq!(world.state(others[0]), Running, "the next in line has the CPU now");
    world.finish(others[0]);
    world.finish(others[1]);
    assert!(!world.is_awake(wait), "what it waits for has yet to run");
    world.end();
}

// contract: T2
#[test]
fn one_whose_wait_is_over_while_others_run_waits_for_a_cpu() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let object = world.spawn(root, &[], with_cpus(0));
    let parent = world.spawn(root, &[], options());
    world.acquire(world.caller(parent), crate::value::Handle::Object(object.output(0)));
    let wait = world.block_on(world.caller(parent), object);
    let tasks = world.spawn_many(root, 2);
    world.finish(object);
    assert!(!world.is_awake(wait), "the CPU is in use");
    assert_eq!(world.state(parent), Blocked);
    world.finish(tasks[0]);
    assert!(world.is_awake(wait));
    world.assert_states(&[parent, tasks[1]], &[Running, PendingPlacement]);
    world.end();
}

// contract: T2
#[test]
fn one_that_lacks_cpus_does_not_hold_up_one_that_needs_none_or_fewer() {
    let mut world = World::with_cpus(3);
    let (root, other) = (world.job(), world.job());
    let object = world.spawn(root, &[], with_cpus(0));
    let waiting = [world.spawn(root, &[], with_cpus(2)), world.spawn(root, &[], with_cpus(1))];
    let mut waits = Vec::new();
    for task in waiting {
        world.acquire(world.caller(task), crate::value::Handle::Object(object.output(0)));
        waits.push(world.block_on(world.caller(task), object));
    }
    waits.push(world.block_on(root, object));
    world.spawn(other, &[], with_cpus(2));
    world.finish(object);
    let awake: Vec<bool> = waits.iter().map(|wait| world.is_awake(*wait)).collect();
    assert_eq!(awake, [false, true, true]);
    world.end();
}

// contract: T2
#[test]
fn one_whose_cpus_an_actor_has_for_life_holds_up_nobody_else() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let task = world.spawn(root, &[], with_cpus(2));
    let guest = world.caller(task);
    let mut options = crate::options::ActorOptions::default();
    options.placement.cpus = Some(Quantity::units(1));
    let actor = world.create(guest, options);
    let lane = world.lane();
    let call = world.call(guest, actor, lane, &[]);
    let wait = world.block_on(guest, call);
    world.construct(actor);
    world.finish(call);
    assert!(!world.is_awake(wait));
    let others = world.spawn_many(root, 3);
    world.finish_all(&others);
    world.event(|node, now, fx| node.cancel(now, task, true, true, fx));
    world.end();
}

// contract: T2
#[test]
fn nesting_100_deep_needs_no_more_than_one_cpu() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let mut chain = vec![world.spawn(root, &[], options())];
    for _ in 0..100 {
        let parent = world.caller(chain[chain.len() - 1]);
        let child = world.spawn(parent, &[], options());
        world.block_on(parent, child);
        chain.push(child);
    }
    assert_eq!(world.count_running(&chain), 101, "all are begun");
    assert_eq!(world.node.progress().of(Running), 2, "and one of them runs, and the root");
    while let Some(task) = chain.pop() {
        assert_eq!(world.state(task), Running);
        world.finish(task);
    }
    world.end();
}

// contract: T2
#[test]
fn gpus_memory_and_custom_resources_stay() {
    let mut total = cpus(1);
    total.gpus = Quantity::units(1);
    total.set_custom("disk", Quantity::units(1));
    let mut world = World::new(total, crate::node::Limits::default());
    let root = world.job();
    let mut all = with_memory(1 << 30);
    all.placement.gpus = Quantity::units(1);
    all.placement.resources = vec![("disk".into(), Quantity::units(1))];
    let parent = world.spawn(root, &[], all);
    let child = world.spawn(world.caller(parent), &[], with_memory(0));
    world.block_on(world.caller(parent), child);
    let free = world.free().clone();
    assert_eq!(
        (free.cpus, free.gpus, free.get_custom("disk")),
        (Quantity::ZERO, Quantity::ZERO, Quantity::ZERO)
    );
    assert_eq!(free.memory, (64 << 30) - (1 << 30) - (1 << 20));
    world.end();
}

// contract: T2
#[test]
fn a_blocked_task_that_is_lost_gives_back_what_it_had_not_lent() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let parent = world.spawn(root, &[], with_cpus(2));
    let child = world.spawn(world.caller(parent), &[], options());
    world.block_on(world.caller(parent), child);
    world.lose(parent);
    assert_eq!(world.state(parent), PendingPlacement, "2 CPUs are not free while its child has one");
    world.finish(child);
    assert_eq!(world.running[&parent].1.attempt, 1);
    world.end();
}
