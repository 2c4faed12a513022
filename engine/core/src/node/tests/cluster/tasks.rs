//! Tasks on other nodes than their owner's.

use std::time::Duration;

use super::Cluster;
use crate::error::ErrorCode;
use crate::ids::TaskId;
use crate::node::TaskState;
use crate::node::tests::harness::{failure, function, options, value, with_cpus, with_deadline};
use crate::options::{LabelOperator, LabelSelector, Retries, Strategy, TaskOptions};
use crate::resources::Quantity;
use crate::value::Argument;

fn spread() -> TaskOptions {
    let mut options = options();
    options.placement.strategy = Strategy::Spread;
    options
}

fn places(cluster: &Cluster, tasks: &[TaskId]) -> Vec<Option<usize>> {
    tasks.iter().map(|task| cluster.runs_on(*task)).collect()
}

#[test]
fn tasks_fill_half_of_their_own_node_then_others_then_the_rest() {
    let mut cluster = Cluster::new(&[4, 4, 4]);
    let root = cluster.job(0);
    let tasks = cluster.worlds[0].spawn_many(root, 13);
    cluster.settle();
    let places = places(&cluster, &tasks);
    let on = |index| places.iter().filter(|place| **place == Some(index)).count();
    assert_eq!((on(0), on(1), on(2)), (4, 4, 4));
    assert_eq!(&places[..2], [Some(0), Some(0)], "its own node first");
    let second = places[2].expect("it runs");
    assert_ne!(second, 0, "and then another one, to half");
    assert_eq!(places[3], Some(second));
    assert_eq!(places[12], None, "there is no room for the last");
    cluster.finish(tasks[5]);
    assert!(cluster.runs_on(tasks[12]).is_some(), "until there is");
    cluster.end();
}

#[test]
fn a_result_comes_back_to_the_owner() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let task = cluster.worlds[0].spawn(root, &[], options());
    cluster.settle();
    assert_eq!(cluster.runs_on(task), Some(1));
    cluster.assert_state(0, task, TaskState::Submitted);
    let wait = cluster.worlds[0].block_on(root, task);
    cluster.finish(task);
    assert!(cluster.worlds[0].is_awake(wait));
    let outcome = cluster.worlds[0].outcome(root, task.output(0)).expect("there");
    assert_eq!(outcome.expect("a value").size, 8);
    let attempts = cluster.worlds[0].node.task(task).expect("known").attempts;
    assert_eq!(attempts.last().map(|attempt| attempt.node), Some(cluster.id(1)));
    cluster.end();
}

#[test]
fn a_failure_comes_back_with_where_it_happened() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let task = cluster.worlds[0].spawn(root, &[], options());
    cluster.settle();
    cluster.worlds[1].fail(task, failure("ValueError"));
    cluster.settle();
    let error = cluster.worlds[0].error_of(root, task.output(0));
    assert_eq!((error.code(), error.kind()), (ErrorCode::TaskFailed, Some("ValueError")));
    assert_eq!(error.path().len(), 1);
    assert_eq!(error.path()[0].node, cluster.id(1).to_string());
    cluster.end();
}

// contract: T7
#[test]
fn retries_are_the_owners_and_may_go_elsewhere() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let retries = Retries { system: 1, application: 1, kinds: Vec::new() };
    let (task, first) = cluster.start(root, &[], TaskOptions { retries, ..options() });
    cluster.worlds[first].fail(task, failure("flaky"));
    cluster.settle();
    let second = cluster.runs_on(task).expect("it is tried again");
    let attempt = cluster.worlds[second].running[&task].1.attempt;
    assert_eq!(attempt, 1);
    cluster.worlds[second].lose(task);
    cluster.settle();
    let third = cluster.runs_on(task).expect("a failure of the system has a budget of its own");
    cluster.worlds[third].lose(task);
    cluster.settle();
    assert_eq!(cluster.worlds[0].code_of(root, task), ErrorCode::WorkerDied);
    assert_eq!(cluster.worlds[0].node.task(task).expect("known").attempts.len(), 3);
    cluster.end();
}

#[test]
fn a_node_that_has_no_room_after_all_refuses_and_the_task_goes_elsewhere() {
    let limits = crate::node::Limits { foreign_tasks_in_line_max: 0, ..Default::default() };
    let totals: Vec<_> = [0, 1, 1].map(super::cpus).into();
    let mut cluster = Cluster::of(&totals, &limits);
    let root = cluster.job(0);
    let own: Vec<_> = (1..3)
        .map(|index| {
            // Each has work of its own that the others have not heard of.
            let root = cluster.job(index);
            (index, cluster.worlds[index].spawn(root, &[], options()))
        })
        .collect();
    let task = cluster.worlds[0].spawn(root, &[], options());
    cluster.settle();
    assert_eq!(cluster.runs_on(task), None);
    cluster.assert_state(0, task, TaskState::PendingPlacement);
    assert_eq!(cluster.worlds[0].node.node_view().counters.tasks_refused, 2);
    let (index, other) = own[1];
    cluster.worlds[index].finish(other);
    cluster.advance(Duration::from_millis(1));
    assert_eq!(cluster.runs_on(task), Some(index));
    cluster.end();
}

#[test]
fn spread_takes_the_emptiest_in_turn() {
    let mut cluster = Cluster::new(&[4, 4, 4]);
    let root = cluster.job(0);
    let tasks: Vec<TaskId> = (0..6).map(|_| cluster.worlds[0].spawn(root, &[], spread())).collect();
    cluster.settle();
    let places = places(&cluster, &tasks);
    for index in 0..3 {
        assert_eq!(places.iter().filter(|place| **place == Some(index)).count(), 2);
    }
    cluster.end();
}

#[test]
fn a_task_runs_on_the_node_that_it_names() {
    let mut cluster = Cluster::new(&[4, 1, 1]);
    let root = cluster.job(0);
    let on = |node, soft| {
        let mut options = options();
        options.placement.strategy = Strategy::Node(node, soft);
        options
    };
    let (second, third) = (cluster.id(1), cluster.id(2));
    let hard = cluster.worlds[0].spawn(root, &[], on(second, false));
    let waits = cluster.worlds[0].spawn(root, &[], on(second, false));
    cluster.settle();
    assert_eq!(places(&cluster, &[hard, waits]), [Some(1), None]);
    cluster.kill(2);
    let soft = cluster.worlds[0].spawn(root, &[], on(third, true));
    let never = cluster.worlds[0].spawn(root, &[], on(third, false));
    cluster.settle();
    assert_eq!(cluster.runs_on(soft), Some(0), "another will do");
    assert_eq!(cluster.worlds[0].code_of(root, never), ErrorCode::Unschedulable);
    cluster.end();
}

#[test]
fn labels_choose_a_node() {
    let mut cluster = Cluster::new(&[4, 4, 4]);
    let root = cluster.job(0);
    let label = |value: &str, hard| {
        let mut options = options();
        options.placement.labels = vec![LabelSelector {
            key: "rack".into(),
            operator: LabelOperator::In,
            values: vec![value.into()],
            hard,
        }];
        options
    };
    let hard = cluster.worlds[0].spawn(root, &[], label("2", true));
    let soft = cluster.worlds[0].spawn(root, &[], label("1", false));
    let nowhere = cluster.worlds[0].spawn(root, &[], label("9", false));
    let never = cluster.worlds[0].spawn(root, &[], label("9", true));
    cluster.settle();
    assert_eq!(places(&cluster, &[hard, soft, nowhere]), [Some(2), Some(1), Some(0)]);
    let error = cluster.worlds[0].error_of(root, never.output(0));
    assert_eq!(error.code(), ErrorCode::Unschedulable);
    assert!(error.message().contains("3 nodes"), "{error}");
    cluster.end();
}

// contract: E2
#[test]
fn a_task_that_waits_says_what_the_nodes_lack() {
    let mut cluster = Cluster::new(&[1, 2, 4]);
    let root = cluster.job(0);
    let tasks: Vec<TaskId> = (0..2).map(|_| cluster.worlds[0].spawn(root, &[], with_cpus(4))).collect();
    cluster.settle();
    let why = cluster.worlds[0].node.explain(tasks[1]).expect("it is known");
    assert!(why.contains("1 of 2 other nodes are large enough"), "{why}");
    assert!(why.contains("at most 2 of cpus is free on one of them"), "{why}");
    cluster.end();
}

#[test]
fn in_a_large_cluster_a_task_finds_room_in_the_end() {
    let mut totals = vec![super::cpus(0); 9];
    totals[8] = super::cpus(1);
    let limits = crate::node::Limits { nodes_looked_at_max: 2, ..Default::default() };
    let mut cluster = Cluster::of(&totals, &limits);
    let root = cluster.job(0);
    let task = cluster.worlds[0].spawn(root, &[], options());
    for _ in 0..9 {
        let load = cluster.worlds[8].node.load();
        let id = cluster.id(8);
        cluster.worlds[0].event(|node, now, fx| node.node_load(now, id, load, fx));
        cluster.settle();
    }
    assert_eq!(cluster.runs_on(task), Some(8));
    cluster.end();
}

// contract: E2
#[test]
fn what_no_node_has_is_named() {
    let mut cluster = Cluster::new(&[1, 2, 4]);
    let root = cluster.job(0);
    let fits = cluster.worlds[0].spawn(root, &[], with_cpus(4));
    let never = cluster.worlds[0].spawn(root, &[], with_cpus(5));
    cluster.settle();
    assert_eq!(cluster.runs_on(fits), Some(2));
    let error = cluster.worlds[0].error_of(root, never.output(0));
    assert_eq!(error.code(), ErrorCode::Unschedulable);
    assert!(error.message().contains("no node has more than 4"), "{error}");
    cluster.end();
}

// contract: T4
#[test]
fn cancelling_reaches_a_task_elsewhere_and_its_children() {
    let mut cluster = Cluster::new(&[0, 2, 2]);
    let root = cluster.job(0);
    let (parent, at) = cluster.start(root, &[], options());
    let inside = cluster.worlds[at].caller(parent);
    let children = cluster.worlds[at].spawn_many(inside, 3);
    cluster.settle();
    assert!(children.iter().any(|child| cluster.runs_on(*child) != Some(at)), "one is on a third node");
    cluster.worlds[0].cancel(parent, false, true);
    cluster.settle();
    assert_eq!(cluster.worlds[0].code_of(root, parent), ErrorCode::TaskCancelled);
    for child in children {
        assert_eq!(cluster.runs_on(child), None);
    }
    cluster.end();
}

#[test]
fn a_task_that_is_cancelled_on_its_way_there_never_runs_again() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let task = cluster.worlds[0].spawn(root, &[], options());
    cluster.worlds[0].cancel(task, false, false);
    assert!(cluster.worlds[0].outcome(root, task.output(0)).is_none(), "it may run already");
    cluster.settle();
    assert_eq!(cluster.worlds[0].code_of(root, task), ErrorCode::TaskCancelled);
    assert_eq!(cluster.runs_on(task), None);
    cluster.end();
}

#[test]
fn a_deadline_is_kept_by_the_owner() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let task = cluster.worlds[0].spawn(root, &[], with_deadline(Duration::from_secs(5)));
    cluster.settle();
    assert_eq!(cluster.runs_on(task), Some(1));
    cluster.advance(Duration::from_secs(6));
    assert_eq!(cluster.worlds[0].code_of(root, task), ErrorCode::DeadlineExceeded);
    assert_eq!(cluster.runs_on(task), None);
    cluster.end();
}

// contract: J2
#[test]
fn a_job_that_ends_takes_what_it_has_elsewhere_with_it() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (parent, at) = cluster.start(root, &[], options());
    let inside = cluster.worlds[at].caller(parent);
    let child = cluster.worlds[at].spawn(inside, &[], options());
    cluster.settle();
    assert!(cluster.runs_on(child).is_some_and(|place| place != at && place != 0));
    let job = cluster.worlds[0].job_of(root);
    cluster.worlds[0].finish(root.task);
    assert!(!cluster.worlds[0].ended.contains_key(&job), "something of it still runs");
    cluster.settle();
    assert!(cluster.worlds[0].ended.contains_key(&job));
    assert_eq!(places(&cluster, &[parent, child]), [None, None]);
    cluster.end();
}

#[test]
fn a_task_that_is_on_its_way_when_its_job_ends_does_not_go_on() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (parent, at) = cluster.start(root, &[], options());
    let inside = cluster.worlds[at].caller(parent);
    let child = cluster.worlds[at].spawn(inside, &[], options());
    let job = cluster.worlds[0].job_of(root);
    cluster.worlds[0].finish(root.task);
    assert!(!cluster.worlds[0].ended.contains_key(&job));
    cluster.settle();
    assert!(cluster.worlds[0].ended.contains_key(&job));
    assert_eq!(places(&cluster, &[parent, child]), [None, None]);
    cluster.end();
}

#[test]
fn arguments_travel_with_their_task() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let object = cluster.worlds[0].put(root, value(77));
    let arguments = vec![Argument::Object(object), Argument::Value(value(5))];
    let task = cluster.worlds[0]
        .event(|node, now, fx| node.spawn(now, root, function("f"), arguments, options(), fx));
    let task = task.expect("accepted").task;
    cluster.settle();
    let sizes: Vec<u64> = cluster.worlds[1].running[&task].1.arguments.iter().map(|v| v.size).collect();
    assert_eq!(sizes, [77, 5]);
    cluster.finish(task);
    cluster.end();
}

// contract: E2
#[test]
fn what_must_stay_and_cannot_run_here_fails_although_others_could_run_it() {
    let mut cluster = Cluster::new(&[1, 4]);
    cluster.worlds[0].submit(Quantity::units(2), None);
    let end = cluster.worlds[0].ended.values().next().expect("it has failed").clone();
    let error = end.result.expect_err("a root stays where it is");
    assert_eq!(error.code(), ErrorCode::Unschedulable);
    assert!(error.message().contains("this node, which it cannot leave, has no more than 1"), "{error}");
    cluster.end();
}

#[test]
fn a_node_that_has_refused_says_when_it_has_room() {
    let limits = crate::node::Limits { foreign_tasks_in_line_max: 0, ..Default::default() };
    let mut cluster = Cluster::of(&[super::cpus(0), super::cpus(1)], &limits);
    let root = cluster.job(0);
    let own = cluster.job(1);
    let busy = cluster.worlds[1].spawn(own, &[], options());
    let task = cluster.worlds[0].spawn(root, &[], options());
    cluster.settle();
    assert_eq!(cluster.runs_on(task), None);
    cluster.worlds[1].finish(busy);
    cluster.advance(Duration::from_millis(1));
    assert_eq!(cluster.runs_on(task), Some(1));
    cluster.end();
}
