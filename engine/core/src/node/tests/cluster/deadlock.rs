//! A deadlock that no node sees alone (contract T2).

use std::time::Duration;

use super::headed::Headed;
use crate::error::ErrorCode;
use crate::head::Watch;
use crate::ids::TaskId;
use crate::node::tests::harness::{cpus, with_memory};
use crate::node::{Caller, Limits, TaskState};
use crate::resources::Resources;

const GIB: u64 = 1 << 30;

/// Two nodes with memory for one of these tasks each, and a root on the first that waits for two such tasks,
/// each of which waits for one more.
fn scene() -> (Headed, Caller, [TaskId; 2], [TaskId; 2]) {
    let node = || Resources { memory: 3 * GIB, ..cpus(4) };
    let mut all = Headed::of_nodes(&[node(), node()], &Limits::default());
    let root = all.cluster.job(0);
    let parents = [(); 2].map(|()| all.cluster.worlds[0].spawn(root, &[], with_memory(2 * GIB)));
    all.settle();
    let mut homes = parents.map(|task| all.cluster.runs_on(task).expect("there is room for both"));
    let children = [0, 1].map(|at| {
        let world = &mut all.cluster.worlds[homes[at]];
        let guest = world.caller(parents[at]);
        let child = world.spawn(guest, &[], with_memory(2 * GIB));
        world.block_on(guest, child);
        child
    });
    homes.sort();
    assert_eq!(homes, [0, 1], "one on each node");
    all.settle();
    (all, root, parents, children)
}

/// The root waits for both, and does nothing else.
fn block(all: &mut Headed, root: Caller, parents: [TaskId; 2]) {
    let outputs = parents.map(|task| task.output(0));
    all.cluster.worlds[0].get(root, &outputs).expect("outputs that are not there yet");
}

fn failed(all: &Headed, children: [TaskId; 2]) -> Vec<(ErrorCode, String)> {
    let of = |task: &TaskId| {
        all.cluster.worlds.iter().find_map(|world| {
            let view = world.node.task(*task).filter(|view| view.ended.is_some())?;
            view.error.as_ref().map(|error| (error.code(), error.message().to_owned()))
        })
    };
    children.iter().filter_map(of).collect()
}

// contract: T2
#[test]
fn tasks_on_two_nodes_that_hold_what_the_other_wants() {
    let (mut all, root, parents, children) = scene();
    let long = Watch::default().deadlock_after * 3;
    all.advance(long);
    assert_eq!(failed(&all, children), [], "the root runs, and may do something about it");
    block(&mut all, root, parents);
    all.advance(Watch::default().deadlock_after / 2);
    assert_eq!(failed(&all, children), [], "it has not been so for long");
    all.advance(long);
    let errors = failed(&all, children);
    let [(ErrorCode::Unschedulable, message)] = &errors[..] else {
        panic!("one of them makes way for the other: {errors:?}");
    };
    let said = "deadlock: it waits for memory (2 GiB wanted, 1 GiB free)";
    assert!(message.contains(said) && message.contains("add a node"), "{message}");
    all.end();
}

// contract: T2
#[test]
fn it_is_none_while_anything_goes_on_anywhere() {
    let (mut all, root, parents, children) = scene();
    let long = Watch::default().deadlock_after * 3;
    let other = all.cluster.worlds[0].spawn(root, &[], with_memory(GIB));
    all.settle();
    let home = all.cluster.runs_on(other).expect("there is room");
    block(&mut all, root, parents);
    all.advance(long);
    assert_eq!(failed(&all, children), [], "a task runs, and its end may make room");
    let silent = 1 - home;
    all.lines.entry(silent).or_default().is_held = true;
    all.cluster.worlds[home].finish(other);
    all.advance(Watch::default().silence_max / 2);
    assert_eq!(failed(&all, children), [], "nobody knows what goes on at the other node");
    all.lines.entry(silent).or_default().is_held = false;
    all.advance(long);
    assert_eq!(failed(&all, children).len(), 1);
    all.end();
}

// contract: T2
#[test]
fn who_is_told_too_late_breaks_nothing() {
    let (mut all, root, parents, children) = scene();
    block(&mut all, root, parents);
    all.settle();
    let before = all.cluster.worlds[0].node.standstill().expect("nothing goes on");
    assert!(before.waits);
    // Something begins there meanwhile.
    let other = all.cluster.job(0);
    let late = |all: &mut Headed| {
        all.cluster.worlds[0].event(|node, now, fx| node.break_standstill(now, before.changes, fx))
    };
    assert!(!late(&mut all));
    all.cluster.worlds[0].finish(other.task);
    all.advance(Duration::from_millis(100));
    assert!(!late(&mut all), "and has ended since");
    assert_eq!(failed(&all, children), []);
    let waits = children.iter().any(|task| all.cluster.worlds[0].node.task_index.contains_key(task));
    assert!(waits && all.cluster.worlds[0].state(parents[0]) != TaskState::Finished);
    all.end();
}
