//! Nodes die.

use super::Cluster;
use crate::error::ErrorCode;
use crate::node::tests::harness::{large, options, value_with, with_cpus};
use crate::node::{Until, WaitState, Waitable};
use crate::options::{Retries, TaskOptions};
use crate::value::{Handle, Residence};

// contract: T7
#[test]
fn a_task_on_a_node_that_dies_runs_elsewhere() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let task = cluster.worlds[0].spawn(root, &[], options());
    let wait = cluster.worlds[0].block_on(root, task);
    cluster.settle();
    let first = cluster.runs_on(task).expect("it runs");
    cluster.kill(first);
    assert_eq!(cluster.runs_on(task), Some(3 - first));
    cluster.finish(task);
    assert!(cluster.worlds[0].is_awake(wait));
    let attempts = cluster.worlds[0].node.task(task).expect("known").attempts;
    assert_eq!(attempts[0].cause.as_ref().map(|cause| cause.code()), Some(ErrorCode::NodeDied));
    assert_eq!(attempts[0].node, cluster.id(first));
    cluster.end();
}

#[test]
fn without_retries_it_fails_and_says_which_node_died() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let retries = Retries { system: 0, ..Retries::default() };
    let (task, first) = cluster.start(root, &[], TaskOptions { retries, ..options() });
    let id = cluster.id(first);
    cluster.kill(first);
    let error = cluster.worlds[0].error_of(root, task.output(0));
    assert_eq!(error.code(), ErrorCode::NodeDied);
    assert!(error.message().contains(&id.to_string()), "{error}");
    cluster.end();
}

// contract: O8
#[test]
fn an_object_that_died_with_its_node_is_made_again_through_the_whole_chain() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (first, place) = cluster.start(root, &[], options());
    cluster.worlds[place].finish_with(first, vec![large(4 << 20)]);
    cluster.settle();
    let second = cluster.worlds[0].spawn(root, &[first.output(0)], options());
    cluster.worlds[0].release_output(root, first);
    cluster.settle();
    assert_eq!(cluster.runs_on(second), Some(place), "where its argument is");
    cluster.worlds[place].finish_with(second, vec![large(4 << 20)]);
    cluster.settle();
    cluster.kill(place);
    let other = 3 - place;
    assert_eq!(cluster.runs_on(first), Some(other), "what it was made of went too");
    cluster.worlds[other].finish_with(first, vec![large(4 << 20)]);
    cluster.settle();
    assert_eq!(cluster.runs_on(second), Some(other));
    cluster.worlds[other].finish_with(second, vec![large(4 << 20)]);
    cluster.settle();
    let WaitState::Blocked(wait) =
        cluster.worlds[0].wait(root, &[Waitable::Value(second.output(0))], Until::AllOrFailure, None)
    else {
        panic!("it is not here")
    };
    cluster.settle();
    assert!(cluster.worlds[0].is_awake(wait));
    cluster.end();
}

// contract: O8
#[test]
fn a_copy_of_a_dead_nodes_object_is_kept() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (task, place) = cluster.start(root, &[], options());
    cluster.worlds[place].finish_with(task, vec![large(1 << 20)]);
    cluster.settle();
    let object = task.output(0);
    cluster.worlds[0].wait(root, &[Waitable::Value(object)], Until::AllOrFailure, None);
    cluster.settle();
    cluster.kill(place);
    assert_eq!(cluster.runs_on(task), None, "there is no need to run it again");
    let value = cluster.worlds[0].outcome(root, object).expect("there").expect("a value");
    assert_eq!(value.place.residence(), Residence::Arena);
    cluster.end();
}

// contract: O9
#[test]
fn an_object_whose_owner_is_dead_fails_at_once() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let task = cluster.worlds[0].spawn(root, &[], options());
    cluster.settle();
    let inside = cluster.worlds[1].caller(task);
    let put = cluster.worlds[1].put(inside, large(1 << 20));
    cluster.worlds[1].finish_with(task, vec![value_with(&[Handle::Object(put)])]);
    cluster.settle();
    cluster.worlds[0].acquire(root, Handle::Object(put));
    cluster.worlds[0].fetches.clear();
    let wait = cluster.worlds[0].get(root, &[put]).expect("it is not here");
    cluster.kill(1);
    assert!(cluster.worlds[0].is_awake(wait), "nobody waits for the dead");
    let error = cluster.worlds[0].error_of(root, put);
    assert_eq!(error.code(), ErrorCode::OwnerDied);
    cluster.end();
}

// contract: O9, J2
#[test]
fn the_tasks_of_a_dead_owner_end_with_their_children() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (parent, at) = cluster.start(root, &[], options());
    let inside = cluster.worlds[at].caller(parent);
    let child = cluster.worlds[at].spawn(inside, &[], options());
    cluster.settle();
    assert!(cluster.runs_on(child).is_some_and(|place| place != at));
    cluster.kill(0);
    assert_eq!((cluster.runs_on(parent), cluster.runs_on(child)), (None, None));
    cluster.end();
}

// contract: H3
#[test]
fn nothing_that_the_dead_still_say_has_an_effect() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (task, first) = cluster.start(root, &[], options());
    cluster.worlds[first].finish(task);
    cluster.collect();
    let late = std::mem::take(&mut cluster.flying);
    cluster.kill(first);
    for packet in late {
        cluster.deliver(packet);
    }
    assert!(cluster.worlds[0].outcome(root, task.output(0)).is_none(), "its end came too late");
    assert_eq!(cluster.runs_on(task), Some(3 - first));
    cluster.finish(task);
    cluster.end();
}

#[test]
fn what_a_dead_node_held_is_free() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let inner = cluster.worlds[0].put(root, large(1 << 20));
    let outer = cluster.worlds[0].put(root, value_with(&[Handle::Object(inner)]));
    let retries = Retries { system: 0, ..Retries::default() };
    let task = cluster.worlds[0].spawn(root, &[outer], TaskOptions { retries, ..options() });
    cluster.settle();
    let inside = cluster.worlds[1].caller(task);
    cluster.worlds[1].acquire(inside, Handle::Object(inner));
    for object in [inner, outer] {
        cluster.worlds[0].release(root, Handle::Object(object));
    }
    cluster.settle();
    assert!(cluster.worlds[0].node.object(inner).is_some());
    cluster.kill(1);
    assert!(cluster.worlds[0].node.object(inner).is_none());
    cluster.end();
}

// contract: E2
#[test]
fn tasks_in_line_that_only_the_dead_node_could_run_fail() {
    let mut cluster = Cluster::new(&[1, 2]);
    let root = cluster.job(0);
    let tasks: Vec<_> = (0..3).map(|_| cluster.worlds[0].spawn(root, &[], with_cpus(2))).collect();
    cluster.settle();
    cluster.kill(1);
    for task in tasks {
        assert_eq!(cluster.worlds[0].code_of(root, task), ErrorCode::Unschedulable);
    }
    let small = cluster.worlds[0].spawn(root, &[], options());
    assert_eq!(cluster.runs_on(small), Some(0));
    cluster.end();
}
