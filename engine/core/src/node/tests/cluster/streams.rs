//! Streams whose task runs on another node than its reader's.

use super::Cluster;
use crate::error::ErrorCode;
use crate::ids::TaskId;
use crate::node::tests::harness::{failure, large, options};
use crate::node::{Caller, Next, Until, WaitState, Waitable};
use crate::options::{Retries, Returns, TaskOptions};
use crate::value::Handle;

/// A streaming task on the second node, read on the first.
fn scene(bound: Option<u32>, retries: i32) -> (Cluster, Caller, TaskId) {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let retries = Retries { system: retries, ..Retries::default() };
    let options = TaskOptions { returns: Returns::Streaming(bound), retries, ..options() };
    let task = cluster.worlds[0].spawn(root, &[], options);
    cluster.settle();
    (cluster, root, task)
}

fn emit(cluster: &mut Cluster, task: TaskId) -> WaitState {
    let at = cluster.runs_on(task).expect("it runs");
    let inside = cluster.worlds[at].caller(task);
    let state = cluster.worlds[at].emit(inside).expect("it may");
    cluster.settle();
    state
}

fn next(cluster: &mut Cluster, root: Caller, task: TaskId) -> Next {
    let next = cluster.worlds[0].next(root, task);
    cluster.settle();
    next
}

// contract: T8
#[test]
fn what_is_yielded_elsewhere_is_read_in_order_and_the_stream_ends() {
    let (mut cluster, root, task) = scene(None, 0);
    for _ in 0..3 {
        assert_eq!(emit(&mut cluster, task), WaitState::Ready);
    }
    cluster.finish(task);
    for index in 0..3 {
        let Next::Object(object) = next(&mut cluster, root, task) else { panic!("it was yielded") };
        assert_eq!(object, task.output(index));
    }
    assert!(matches!(next(&mut cluster, root, task), Next::End));
    cluster.end();
}

// contract: T8
#[test]
fn a_task_elsewhere_is_never_further_ahead_than_it_may_be() {
    let (mut cluster, root, task) = scene(Some(2), 0);
    let at = cluster.runs_on(task).expect("it runs");
    assert_eq!(emit(&mut cluster, task), WaitState::Ready);
    let WaitState::Blocked(wait) = emit(&mut cluster, task) else { panic!("two are unread") };
    assert!(!cluster.worlds[at].is_awake(wait));
    assert!(matches!(next(&mut cluster, root, task), Next::Object(_)));
    assert!(cluster.worlds[at].is_awake(wait));
    cluster.finish(task);
    cluster.end();
}

// contract: T8
#[test]
fn a_task_elsewhere_goes_on_without_a_reader() {
    let (mut cluster, root, task) = scene(Some(1), 0);
    let at = cluster.runs_on(task).expect("it runs");
    let WaitState::Blocked(wait) = emit(&mut cluster, task) else { panic!("one is unread") };
    cluster.worlds[0].release(root, Handle::Stream(task));
    cluster.settle();
    assert!(cluster.worlds[at].is_awake(wait));
    assert_eq!(emit(&mut cluster, task), WaitState::Ready, "nobody will ever read it");
    cluster.finish(task);
    cluster.end();
}

// contract: T8
#[test]
fn a_failure_elsewhere_comes_after_what_was_yielded() {
    let (mut cluster, root, task) = scene(None, 0);
    emit(&mut cluster, task);
    let at = cluster.runs_on(task).expect("it runs");
    cluster.worlds[at].fail(task, failure("late"));
    cluster.settle();
    assert!(matches!(next(&mut cluster, root, task), Next::Object(_)));
    let Next::Failed(error) = next(&mut cluster, root, task) else { panic!("it failed") };
    assert_eq!(error.code(), ErrorCode::TaskFailed);
    assert!(matches!(next(&mut cluster, root, task), Next::End));
    cluster.end();
}

// contract: T7, T8
#[test]
fn an_attempt_after_a_nodes_death_goes_on_where_the_reader_is() {
    let (mut cluster, root, task) = scene(Some(2), 1);
    emit(&mut cluster, task);
    assert!(matches!(next(&mut cluster, root, task), Next::Object(_)));
    emit(&mut cluster, task);
    let first = cluster.runs_on(task).expect("it runs");
    cluster.kill(first);
    assert_eq!(cluster.runs_on(task), Some(3 - first));
    for index in 0..3 {
        let state = emit(&mut cluster, task);
        assert_eq!(state == WaitState::Ready, index < 2, "two are unread after the third");
    }
    for index in 1..3 {
        let Next::Object(object) = next(&mut cluster, root, task) else { panic!("it was yielded") };
        assert_eq!(object, task.output(index), "none is seen twice");
    }
    cluster.finish(task);
    cluster.end();
}

#[test]
fn large_objects_of_a_stream_are_fetched_and_freed() {
    let (mut cluster, root, task) = scene(None, 0);
    let at = cluster.runs_on(task).expect("it runs");
    let inside = cluster.worlds[at].caller(task);
    for _ in 0..2 {
        let emitted = cluster.worlds[at].event(|node, now, fx| node.emit(now, inside, large(400_000), fx));
        assert_eq!(emitted.expect("it may"), WaitState::Ready);
    }
    cluster.settle();
    let Next::Object(object) = next(&mut cluster, root, task) else { panic!("it was yielded") };
    let wait = cluster.worlds[0].wait(root, &[Waitable::Value(object)], Until::AllOrFailure, None);
    let WaitState::Blocked(wait) = wait else { panic!("it is not here") };
    cluster.settle();
    assert!(cluster.worlds[0].is_awake(wait));
    cluster.worlds[0].release(root, Handle::Object(object));
    cluster.worlds[0].release(root, Handle::Stream(task));
    cluster.settle();
    assert_eq!(cluster.worlds[at].node.object_count(), 0);
    cluster.finish(task);
    cluster.end();
}
