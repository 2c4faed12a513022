//! Short tasks that are given to a node ahead of its room.

use std::time::Duration;

use super::Cluster;
use crate::ids::TaskId;
use crate::node::tests::harness::{cpus, options, with_cpus};
use crate::node::{Caller, Limits, TaskState};
use crate::options::{Retries, Strategy, TaskOptions};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A cluster whose first node, without CPUs, has seen so many tasks of a kind run for so long elsewhere.
fn knowing(counts: &[u64], tasks: usize, ran: Duration, options: &TaskOptions) -> (Cluster, Caller) {
    let mut cluster = Cluster::new(counts);
    let root = cluster.job(0);
    for _ in 0..tasks {
        run_one(&mut cluster, root, ran, options);
    }
    (cluster, root)
}

fn run_one(cluster: &mut Cluster, root: Caller, ran: Duration, options: &TaskOptions) {
    let (task, _) = cluster.start(root, &[], options.clone());
    cluster.advance(ran);
    cluster.finish(task);
}

fn spawn(cluster: &mut Cluster, root: Caller, count: usize, options: &TaskOptions) -> Vec<TaskId> {
    let tasks = (0..count).map(|_| cluster.worlds[0].spawn(root, &[], options.clone())).collect();
    cluster.settle();
    tasks
}

/// How many of these run on a node and how many are in line there.
fn at(cluster: &Cluster, index: usize, tasks: &[TaskId]) -> (usize, usize) {
    let node = &cluster.worlds[index].node;
    let waits =
        |task: &&TaskId| node.task(**task).is_some_and(|view| view.state == TaskState::PendingPlacement);
    (cluster.worlds[index].count_running(tasks), tasks.iter().filter(waits).count())
}

fn finish_all(cluster: &mut Cluster, tasks: &[TaskId]) {
    let mut left = tasks.to_vec();
    while !left.is_empty() {
        let at = left.iter().position(|task| cluster.runs_on(*task).is_some()).expect("one of them runs");
        cluster.finish(left.swap_remove(at));
    }
}

#[test]
fn once_tasks_of_a_kind_are_known_to_be_short_some_wait_where_they_will_run() {
    let (mut cluster, root) = knowing(&[0, 2], 4, MILLISECOND, &options());
    let tasks = spawn(&mut cluster, root, 10, &options());
    assert_eq!(at(&cluster, 1, &tasks), (2, 4), "one ahead for each that has ended there");
    assert_eq!(at(&cluster, 0, &tasks), (0, 4));
    cluster.assert_state(0, tasks[2], TaskState::Submitted);
    let why = cluster.worlds[0].node.explain(tasks[2]).expect("known");
    assert!(why.contains(&format!("is in line at {}", cluster.id(1))), "{why}");
    // No word is needed from the owner for the next one to begin.
    cluster.advance(MILLISECOND);
    cluster.worlds[1].finish(tasks[0]);
    assert_eq!(at(&cluster, 1, &tasks), (2, 3));
    cluster.settle();
    assert_eq!(at(&cluster, 1, &tasks).1, 4, "and the next ones come before they are needed");
    finish_all(&mut cluster, &tasks[1..]);
    cluster.end();
}

#[test]
fn the_ends_of_very_short_ones_go_together_and_not_late() {
    let (mut cluster, root) = knowing(&[0, 1], 16, MILLISECOND / 50, &options());
    let tasks = spawn(&mut cluster, root, 20, &options());
    // Not all have gone at once: they too wait for others, once twice as many are there.
    assert!(at(&cluster, 1, &tasks).1 < 16);
    cluster.advance(MILLISECOND);
    assert_eq!(at(&cluster, 1, &tasks), (1, 16));
    let has_heard = |cluster: &Cluster| {
        let has_ended = |task: &&TaskId| {
            cluster.worlds[0].node.task(**task).is_none_or(|view| view.state == TaskState::Finished)
        };
        tasks.iter().filter(has_ended).count()
    };
    // The owner is told at once of one that took longer.
    cluster.finish(tasks[0]);
    assert_eq!(has_heard(&cluster), 1);
    let mut heard = vec![1];
    let mut left = tasks[1..].to_vec();
    while !left.is_empty() {
        let Some(at) = left.iter().position(|task| cluster.runs_on(*task).is_some()) else {
            // What its owner holds back comes soon.
            cluster.advance(MILLISECOND);
            continue;
        };
        cluster.finish(left.swap_remove(at));
        heard.push(has_heard(&cluster));
    }
    assert_eq!(heard.last(), Some(&20), "the last one has none to wait for: {heard:?}");
    heard.dedup();
    assert!(heard.len() < 10, "of several at once: {heard:?}");

    // Alone it waits for none, and what waits does not wait long.
    let tasks = spawn(&mut cluster, root, 2, &options());
    cluster.finish(tasks[0]);
    cluster.advance(MILLISECOND);
    assert_eq!(cluster.runs_on(tasks[1]), Some(1));
    cluster.finish(tasks[1]);
    cluster.end();
}

#[test]
fn one_may_come_together_with_that_which_it_waits_for() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let tasks = spawn(&mut cluster, root, 3, &options());
    assert_eq!(at(&cluster, 1, &tasks), (1, 0), "nothing is known of them");
    cluster.advance(MILLISECOND);
    cluster.finish(tasks[0]);
    assert_eq!(at(&cluster, 1, &tasks), (1, 1));
    finish_all(&mut cluster, &tasks[1..]);
    cluster.end();
}

#[test]
fn no_more_wait_there_than_a_few_milliseconds_of_work_and_no_more_than_the_limit() {
    // Of 2 ms: for each CPU one that runs, and as many as take 5 ms.
    let (mut cluster, root) = knowing(&[0, 2], 40, 2 * MILLISECOND, &options());
    let tasks = spawn(&mut cluster, root, 40, &options());
    assert_eq!(at(&cluster, 1, &tasks), (2, 6));
    finish_all(&mut cluster, &tasks);
    cluster.end();

    let limits = Limits { ahead_tasks_max: 3, ..Limits::default() };
    let mut cluster = Cluster::of(&[cpus(0), cpus(2)], &limits);
    let root = cluster.job(0);
    (0..10).for_each(|_| run_one(&mut cluster, root, MILLISECOND, &options()));
    let tasks = spawn(&mut cluster, root, 40, &options());
    assert_eq!(at(&cluster, 1, &tasks), (2, 3));
    finish_all(&mut cluster, &tasks);
    cluster.end();
}

#[test]
fn long_and_unknown_ones_wait_at_their_owner() {
    for ran in [0, 4] {
        let (mut cluster, root) = knowing(&[0, 2], ran, 20 * MILLISECOND, &options());
        let tasks = spawn(&mut cluster, root, 6, &options());
        assert_eq!(at(&cluster, 1, &tasks), (2, 0));
        assert_eq!(at(&cluster, 0, &tasks), (0, 4));
        finish_all(&mut cluster, &tasks);
        cluster.end();
    }
}

#[test]
fn a_long_one_in_between_changes_little_and_several_stop_it_until_many_were_short_again() {
    let (mut cluster, root) = knowing(&[0, 2], 10, MILLISECOND, &options());
    run_one(&mut cluster, root, Duration::from_secs(1), &options());
    let tasks = spawn(&mut cluster, root, 6, &options());
    assert_eq!(at(&cluster, 1, &tasks), (2, 4));
    finish_all(&mut cluster, &tasks);
    (0..4).for_each(|_| run_one(&mut cluster, root, Duration::from_secs(1), &options()));
    let tasks = spawn(&mut cluster, root, 6, &options());
    assert_eq!(at(&cluster, 1, &tasks), (2, 0));
    finish_all(&mut cluster, &tasks);
    (0..40).for_each(|_| run_one(&mut cluster, root, MILLISECOND, &options()));
    let tasks = spawn(&mut cluster, root, 6, &options());
    assert_eq!(at(&cluster, 1, &tasks), (2, 4));
    finish_all(&mut cluster, &tasks);
    cluster.end();
}

#[test]
fn what_has_not_begun_soon_goes_back_and_runs_elsewhere() {
    let on_first = TaskOptions { retries: Retries { system: 1, ..Retries::default() }, ..options() };
    let (mut cluster, root) = knowing(&[0, 1], 4, MILLISECOND, &on_first);
    let tasks = spawn(&mut cluster, root, 4, &on_first);
    assert_eq!(at(&cluster, 1, &tasks), (1, 3));
    cluster.advance(49 * MILLISECOND);
    assert_eq!(at(&cluster, 1, &tasks), (1, 3));
    cluster.advance(MILLISECOND);
    assert_eq!((at(&cluster, 1, &tasks), at(&cluster, 0, &tasks)), ((1, 0), (0, 3)));
    assert_eq!(cluster.worlds[0].node.node_view().counters.tasks_refused, 3);
    // None is given ahead again before one has ended there.
    cluster.advance(50 * MILLISECOND);
    assert_eq!(at(&cluster, 1, &tasks), (1, 0));
    finish_all(&mut cluster, &tasks);
    for task in tasks {
        let attempts = cluster.worlds[0].node.task(task).expect("known").attempts;
        assert_eq!(attempts.len(), 1, "a task that was handed back has not failed");
    }
    cluster.end();
}

#[test]
fn a_node_that_has_no_room_for_long_does_not_take_them() {
    let (mut cluster, root) = knowing(&[0, 1], 4, MILLISECOND, &options());
    let other = cluster.job(1);
    let actor = cluster.worlds[1].actor(other, {
        let mut options = crate::options::ActorOptions::default();
        options.placement.cpus = Some(crate::resources::Quantity::units(1));
        options
    });
    let tasks = spawn(&mut cluster, root, 4, &options());
    assert_eq!((at(&cluster, 1, &tasks), at(&cluster, 0, &tasks)), ((0, 0), (0, 4)));
    cluster.worlds[1].kill(other, actor, false);
    cluster.advance(MILLISECOND);
    finish_all(&mut cluster, &tasks);
    cluster.end();
}

#[test]
fn what_was_in_line_at_a_node_that_died_runs_elsewhere() {
    let (mut cluster, root) = knowing(&[0, 1, 1], 0, MILLISECOND, &options());
    for _ in 0..4 {
        let pair = spawn(&mut cluster, root, 2, &options());
        cluster.advance(MILLISECOND);
        finish_all(&mut cluster, &pair);
    }
    let tasks = spawn(&mut cluster, root, 6, &options());
    assert_eq!((at(&cluster, 1, &tasks), at(&cluster, 2, &tasks)), ((1, 2), (1, 2)), "by turns");
    cluster.kill(1);
    finish_all(&mut cluster, &tasks);
    tasks.iter().for_each(|task| cluster.assert_state(0, *task, TaskState::Finished));
    cluster.end();
}

/// When a node dies nobody knows whether what was in line there had begun.
#[test]
fn what_may_not_be_tried_again_does_not_wait_elsewhere() {
    let options = TaskOptions { retries: Retries { system: 0, ..Retries::default() }, ..options() };
    let (mut cluster, root) = knowing(&[0, 1], 4, MILLISECOND, &options);
    let tasks = spawn(&mut cluster, root, 4, &options);
    assert_eq!(at(&cluster, 1, &tasks), (1, 0));
    finish_all(&mut cluster, &tasks);
    cluster.end();
}

#[test]
fn one_that_is_cancelled_in_line_never_begins() {
    let (mut cluster, root) = knowing(&[0, 1], 4, MILLISECOND, &options());
    let tasks = spawn(&mut cluster, root, 3, &options());
    assert_eq!(at(&cluster, 1, &tasks), (1, 2));
    cluster.worlds[0].cancel(tasks[1], false, false);
    cluster.settle();
    cluster.assert_state(0, tasks[1], TaskState::Cancelled);
    assert_eq!(at(&cluster, 1, &tasks), (1, 1));
    finish_all(&mut cluster, &[tasks[0], tasks[2]]);
    assert!(cluster.worlds[1].begun.iter().all(|(task, _)| *task != tasks[1]));
    cluster.end();
}

#[test]
fn none_is_given_ahead_past_others_that_want_the_node() {
    let (mut cluster, root) = knowing(&[0, 2], 4, MILLISECOND, &options());
    let first = spawn(&mut cluster, root, 1, &options());
    let large = spawn(&mut cluster, root, 1, &with_cpus(2));
    let tasks = spawn(&mut cluster, root, 4, &options());
    assert_eq!(at(&cluster, 1, &tasks), (1, 0), "there is room for one");
    cluster.finish(first[0]);
    assert_eq!(at(&cluster, 1, &tasks), (2, 0));
    finish_all(&mut cluster, &[tasks, large].concat());
    cluster.end();
}

#[test]
fn it_goes_by_what_was_asked_for() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let with = |strategy| {
        let mut options = options();
        options.placement.strategy = strategy;
        options
    };
    let spread = with(Strategy::Spread);
    for _ in 0..4 {
        let pair = spawn(&mut cluster, root, 2, &spread);
        cluster.advance(MILLISECOND);
        finish_all(&mut cluster, &pair);
    }
    let tasks = spawn(&mut cluster, root, 6, &spread);
    assert_eq!((at(&cluster, 1, &tasks), at(&cluster, 2, &tasks)), ((1, 2), (1, 2)));
    finish_all(&mut cluster, &tasks);
    for soft in [false, true] {
        let there = with(Strategy::Node(cluster.id(2), soft));
        (0..3).for_each(|_| run_one(&mut cluster, root, MILLISECOND, &there));
        let tasks = spawn(&mut cluster, root, 3, &there);
        assert_eq!((at(&cluster, 1, &tasks), at(&cluster, 2, &tasks)), ((0, 0), (1, 2)));
        finish_all(&mut cluster, &tasks);
    }
    cluster.end();
}
