//! What the ledger takes, who comes first, and what can never run (contract T5, E2, L1).

use super::harness::*;
use crate::error::ErrorCode;
use crate::node::Limits;
use crate::node::TaskState::*;
use crate::options::{ActorOptions, LabelOperator, LabelSelector, Placement, Strategy, TaskOptions};
use crate::resources::{Quantity, Resources};

fn with_priority(priority: i32) -> TaskOptions {
    let mut options = options();
    options.placement.priority = priority;
    options
}

// contract: T5
#[test]
fn fractions_of_a_cpu_are_exact() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let mut third = options();
    third.placement.cpus = Quantity::from_f64(1.0 / 3.0);
    let tasks: Vec<_> = (0..4).map(|_| world.spawn(root, &[], third.clone())).collect();
    world.assert_states(&tasks, &[Running, Running, Running, PendingPlacement]);
    assert_eq!(world.free().cpus, Quantity(1), "three times 0.3333 of 1");
    for task in &tasks[..2] {
        world.finish(*task);
    }
    assert_eq!(world.free().cpus, Quantity(10_000 - 2 * 3_333));
    world.end();
}

// contract: T5
#[test]
fn all_of_it_returns_however_a_task_ends() {
    let mut total = cpus(2);
    total.gpus = Quantity::units(1);
    total.set_custom("disk", Quantity::units(3));
    let mut world = World::new(total, Limits::default());
    let root = world.job();
    let before = world.free().clone();
    let mut all = with_memory(12_345);
    all.retries.system = 0;
    all.deadline = Some(SECOND);
    all.placement.gpus = Quantity(5_001);
    all.placement.resources = vec![("disk".into(), Quantity(29_999))];
    type Ending = fn(&mut World, crate::ids::TaskId);
    let endings: [Ending; 6] = [
        |world, task| world.finish(task),
        |world, task| world.fail(task, failure("E")),
        |world, task| world.trap(task, error(ErrorCode::OutOfMemory)),
        |world, task| world.lose(task),
        |world, task| world.cancel(task, true, true),
        |world, _| world.advance(SECOND),
    ];
    for ending in endings {
        let task = world.spawn(root, &[], all.clone());
        let held = world.sandboxes[&world.caller(task).instance].assigned.clone();
        assert_eq!((held.cpus, held.gpus, held.memory), (Quantity::units(1), Quantity(5_001), 12_345));
        assert_eq!(world.free().get_custom("disk"), Quantity(1));
        ending(&mut world, task);
        assert_eq!(world.free(), &before);
    }
    world.end();
}

// contract: E2
#[test]
fn what_can_never_fit_fails_at_once_with_the_numbers() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let pending = world.spawn(root, &[], options());
    let mut wants = with_cpus(3);
    wants.placement.resources = vec![("tpu".into(), Quantity::units(1))];
    wants.placement.memory = Some(100 << 30);
    let task = world.spawn(root, &[pending.output(0)], wants);
    let error = world.error_of(root, task.output(0));
    assert_eq!(error.code(), ErrorCode::Unschedulable, "at once, though an argument is missing");
    for part in [
        "3 of cpus, and no node has more than 2",
        "1 of tpu, and no node has more than 0",
        "100 GiB of memory, and no node has more than 64 GiB",
        &world.node.id().to_string(),
    ] {
        assert!(error.message().contains(part), "{part:?} is missing: {error}");
    }
    world.end();
}

// contract: E2
#[test]
fn explain_names_what_is_wanted_and_what_is_free() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let first = world.spawn(root, &[], with_cpus(2));
    let second = world.spawn(root, &[], with_cpus(1));
    let third = world.spawn(root, &[second.output(0)], with_cpus(1));
    let explain = |world: &World, task| world.node.explain(task).expect("a task that is known");
    let why = explain(&world, second);
    assert!(why.contains("PENDING_PLACEMENT") && why.contains("1 of cpus where 0 is free"), "{why}");
    assert!(why.contains(&world.node.id().to_string()), "{why}");
    let why = explain(&world, third);
    assert!(why.contains("waits for 1 of its arguments") && why.contains(&second.to_string()), "{why}");
    world.cancel(second, true, true);
    let why = explain(&world, third);
    assert!(why.contains("TASK_CANCELLED"), "{why}");
    world.finish(first);
    assert_eq!(world.node.explain(crate::ids::IdGenerator::new([0; 16]).task()), None);
    world.end();
}

// contract: E2
#[test]
fn a_node_that_is_not_there_or_lacks_a_label_is_named() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let here = world.node.id();
    let elsewhere = crate::ids::IdGenerator::new([0; 16]).node();
    let on = |node, soft| {
        let mut options = options();
        options.placement.strategy = Strategy::Node(node, soft);
        options
    };
    let labelled = |operator, value: &str, hard| {
        let mut options = options();
        let values = vec![value.to_owned()];
        options.placement.labels = vec![LabelSelector { key: "zone".into(), operator, values, hard }];
        options
    };
    let possible = [
        on(here, false),
        on(elsewhere, true),
        labelled(LabelOperator::In, "a", true),
        labelled(LabelOperator::In, "b", false),
        labelled(LabelOperator::NotIn, "b", true),
        labelled(LabelOperator::Exists, "", true),
    ];
    for options in possible {
        let task = world.spawn(root, &[], options);
        world.finish(task);
    }
    let impossible = [
        (on(elsewhere, false), elsewhere.to_string()),
        (labelled(LabelOperator::In, "b", true), "\"zone\" to be one of [\"b\"]".to_owned()),
        (labelled(LabelOperator::NotIn, "a", true), "\"zone\" to be none of [\"a\"]".to_owned()),
        (labelled(LabelOperator::DoesNotExist, "", true), "\"zone\" not to be there".to_owned()),
    ];
    for (options, part) in impossible {
        let task = world.spawn(root, &[], options);
        let error = world.error_of(root, task.output(0));
        assert_eq!(error.code(), ErrorCode::Unschedulable);
        assert!(error.message().contains(&part), "{part:?} is missing: {error}");
    }
    world.end();
}

#[test]
fn higher_priority_first_then_the_oldest() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let first = world.spawn(root, &[], with_priority(0));
    let low = world.spawn(root, &[], with_priority(-1));
    let middle = [world.spawn(root, &[], with_priority(0)), world.spawn(root, &[], with_priority(0))];
    let high = world.spawn(root, &[], with_priority(9));
    world.finish_all(&[first, low, middle[0], middle[1], high]);
    let order: Vec<_> = world.begun.iter().map(|(task, _)| *task).skip(1).collect();
    assert_eq!(order, [first, high, middle[0], middle[1], low]);
    world.end();
}

#[test]
fn a_smaller_task_passes_a_bigger_one_that_does_not_fit() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let running = world.spawn(root, &[], with_cpus(1));
    let big = world.spawn(root, &[], with_cpus(2));
    let small = world.spawn(root, &[], with_cpus(1));
    world.assert_states(&[running, big, small], &[Running, PendingPlacement, Running]);
    world.end();
}

#[test]
fn a_big_task_is_passed_over_only_so_often() {
    let limits = Limits { passed_over_max: 5, ..Limits::default() };
    let mut world = World::new(cpus(2), limits);
    let root = world.job();
    let mut running = world.spawn(root, &[], with_cpus(1));
    let big = world.spawn(root, &[], with_cpus(2));
    let small: Vec<_> = (0..20).map(|_| world.spawn(root, &[], with_cpus(1))).collect();
    let mut passed = 0;
    for task in small {
        world.finish(running);
        if world.running.contains_key(&big) {
            break;
        }
        if !world.running.contains_key(&task) {
            // Held back: the node drains for the big one.
            let left = world.running.keys().copied().find(|t| *t != root.task).expect("the last small one");
            world.finish(left);
            break;
        }
        passed += 1;
        running = task;
    }
    assert_eq!(world.state(big), Running);
    assert!(passed <= 5, "{passed} small tasks passed it");
    world.end();
}

#[test]
fn holding_back_for_a_big_task_ends_when_nothing_runs() {
    let limits = Limits { passed_over_max: 1, ..Limits::default() };
    let mut world = World::new(Resources { memory: 2 << 30, ..cpus(2) }, limits);
    let root = world.job();
    // It holds half of the memory until it sees the small one.
    let holder = world.spawn(root, &[], with_memory(1 << 30));
    let guest = world.caller(holder);
    let big = world.spawn(root, &[], with_memory((2 << 30) - (1 << 20)));
    let first = world.spawn(root, &[], with_memory(1));
    world.finish(first);
    let second = world.spawn(root, &[], with_memory(1));
    assert_eq!(world.state(second), PendingPlacement, "it is held back for the big one");
    world.acquire(guest, crate::value::Handle::Object(second.output(0)));
    world.block_on(guest, second);
    world.block_on(root, big);
    world.assert_states(&[big, second], &[PendingPlacement, Running]);
    world.finish(second);
    world.finish(holder);
    assert_eq!(world.state(big), Running);
    world.end();
}

#[test]
fn nothing_is_held_back_for_what_running_tasks_cannot_make_room_for() {
    let limits = Limits { passed_over_max: 2, ..Limits::default() };
    let mut world = World::new(cpus(2), limits);
    let root = world.job();
    let placement = Placement { cpus: Some(Quantity::units(1)), ..Placement::default() };
    let actor = world.actor(root, ActorOptions { placement, ..ActorOptions::default() });
    let big = world.spawn(root, &[], with_cpus(2));
    for _ in 0..10 {
        let small = world.spawn(root, &[], with_cpus(1));
        world.finish(small);
    }
    assert_eq!(world.state(big), PendingPlacement, "the actor has one of the two CPUs, for life");
    world.kill(root, actor, false);
    assert_eq!(world.state(big), Running);
    world.end();
}

// contract: L1
#[test]
fn memory_is_a_ledger_that_is_never_over_committed() {
    let mut world = World::new(Resources { memory: (3 << 20) + 10, ..cpus(64) }, Limits::default());
    let root = world.job();
    let tasks: Vec<_> = (0..5).map(|_| world.spawn(root, &[], with_memory(1 << 20))).collect();
    world.assert_states(&tasks, &[Running, Running, PendingPlacement, PendingPlacement, PendingPlacement]);
    assert_eq!(world.free().memory, 10);
    world.finish_all(&tasks);
    world.end();
}

// contract: L1
#[test]
fn the_memory_of_a_sandbox_is_what_the_ledger_took_for_it() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let before = world.free().memory;
    let task = world.spawn(root, &[], options());
    let default = Limits::default().task_memory_bytes_default;
    assert_eq!(world.sandboxes[&world.caller(task).instance].assigned.memory, default);
    assert_eq!(before - world.free().memory, default);
    world.end();
}

#[test]
fn a_thousand_priorities_are_served_in_order() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    world.checks = false;
    let first = world.spawn(root, &[], with_priority(5_000));
    let mut tasks: Vec<_> = (0..1_000)
        .map(|n| (n * 617 % 1_000, world.spawn(root, &[], with_priority(n * 617 % 1_000))))
        .collect();
    tasks.sort_by_key(|(priority, _)| -priority);
    world.finish(first);
    for (_, task) in tasks {
        assert_eq!(world.state(task), Running);
        world.finish(task);
    }
    world.end();
}
