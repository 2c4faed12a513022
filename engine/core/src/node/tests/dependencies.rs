//! Tasks wait for their arguments, and start in order of age when there is room.

use super::harness::*;
use crate::node::TaskState::*;
use crate::value::{Argument, Handle};

#[test]
fn as_many_run_as_there_are_cpus() {
    let mut world = World::with_cpus(2);
    let root = world.job();
    let tasks = world.spawn_many(root, 3);
    world.assert_states(&tasks, &[Running, Running, PendingPlacement]);
    world.finish(tasks[0]);
    world.assert_states(&tasks, &[Finished, Running, Running]);
    world.end();
}

// contract: O3
#[test]
fn a_task_waits_for_its_arguments_and_gets_their_values() {
    let mut world = World::with_cpus(4);
    let root = world.job();
    let (a, b) = (world.spawn(root, &[], options()), world.spawn(root, &[], options()));
    let sum = world.spawn(root, &[a.output(0), b.output(0), a.output(0)], options());
    world.assert_states(&[a, b, sum], &[Running, Running, PendingArgs]);
    world.finish_with(b, vec![value(2)]);
    assert_eq!(world.state(sum), PendingArgs);
    world.finish_with(a, vec![value(1)]);
    assert_eq!(world.state(sum), Running);
    let sizes: Vec<u64> = world.running[&sum].1.arguments.iter().map(|value| value.size).collect();
    assert_eq!(sizes, [1, 2, 1], "the values, in the order of the arguments");
    world.end();
}

// contract: O3
#[test]
fn a_ref_inside_a_value_stays_a_ref() {
    let mut world = World::with_cpus(4);
    let root = world.job();
    let inner = world.spawn(root, &[], options());
    let handle = Handle::Object(inner.output(0));
    let arguments = vec![Argument::Value(value_with(&[handle]))];
    let task = world.try_spawn(root, arguments, options()).expect("accepted");
    assert_eq!(world.state(task), Running, "it does not wait for what is inside a value");
    assert_eq!(world.running[&task].1.arguments[0].handles[..], [handle]);
    world.end();
}

#[test]
fn a_diamond_runs_in_order() {
    let mut world = World::with_cpus(4);
    let root = world.job();
    let top = world.spawn(root, &[], options());
    let sides =
        [world.spawn(root, &[top.output(0)], options()), world.spawn(root, &[top.output(0)], options())];
    let bottom = world.spawn(root, &[sides[0].output(0), sides[1].output(0)], options());
    world.finish(top);
    world.assert_states(&sides, &[Running, Running]);
    world.finish_all(&sides);
    assert_eq!(world.state(bottom), Running);
    world.end();
}

#[test]
fn the_oldest_runs_first_whatever_its_function() {
    let mut world = World::with_cpus(1);
    let root = world.job();
    let mut other = options();
    other.env = vec![("A".to_owned(), "1".to_owned())].into();
    let tasks = [
        world.spawn(root, &[], options()),
        world.spawn(root, &[], other.clone()),
        world.spawn(root, &[], options()),
        world.spawn(root, &[], other),
    ];
    world.finish_all(&tasks);
    let order: Vec<_> = world.begun.iter().map(|(task, _)| *task).skip(1).collect();
    assert_eq!(order, tasks);
    world.end();
}
