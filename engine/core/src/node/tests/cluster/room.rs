//! Many owners that see the same room.

use std::time::Duration;

use super::Cluster;
use crate::ids::TaskId;
use crate::node::tests::harness::{cpus, options};
use crate::node::{Caller, Limits, TaskState};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Owners without CPUs, and nodes that have so many.
fn owners_and_runners(owners: usize, runners: usize, count: u64, limits: &Limits) -> (Cluster, Vec<Caller>) {
    let totals: Vec<_> = (0..owners + runners).map(|at| cpus(if at < owners { 0 } else { count })).collect();
    let mut cluster = Cluster::of(&totals, limits);
    let roots = (0..owners).map(|owner| cluster.job(owner)).collect();
    (cluster, roots)
}

/// Each owner spawns so many, before any hears of the others'.
fn spawn_all(cluster: &mut Cluster, roots: &[Caller], count: usize) -> Vec<TaskId> {
    let mut tasks = Vec::new();
    for (owner, root) in roots.iter().enumerate() {
        tasks.extend((0..count).map(|_| cluster.worlds[owner].spawn(*root, &[], options())));
    }
    tasks
}

fn running(cluster: &Cluster, tasks: &[TaskId]) -> usize {
    tasks.iter().filter(|task| cluster.runs_on(**task).is_some()).count()
}

/// The longest line at a node that is no owner.
fn longest_line(cluster: &Cluster, owners: usize) -> u64 {
    let runners = cluster.worlds[owners..].iter();
    let line = |view: crate::node::NodeView| view.by_state[TaskState::PendingPlacement as usize];
    runners.map(|world| line(world.node.node_view())).max().unwrap_or(0)
}

fn refusals(cluster: &Cluster, owners: usize) -> u64 {
    cluster.worlds[..owners].iter().map(|world| world.node.node_view().counters.tasks_refused).sum()
}

fn finish_all(cluster: &mut Cluster, mut tasks: Vec<TaskId>) {
    while !tasks.is_empty() {
        let at = tasks.iter().position(|task| cluster.runs_on(*task).is_some());
        match at {
            Some(at) => cluster.finish(tasks.swap_remove(at)),
            None => cluster.advance(MILLISECOND),
        }
    }
}

#[test]
fn owners_that_see_the_same_room_do_not_stand_in_line_for_it_while_other_nodes_are_idle() {
    const OWNERS: usize = 20;
    let (mut cluster, roots) = owners_and_runners(OWNERS, 20, 4, &Limits::default());
    let tasks = spawn_all(&mut cluster, &roots, 5);
    cluster.settle();
    assert!(longest_line(&cluster, OWNERS) <= 2);
    let begun = running(&cluster, &tasks);
    assert!(begun >= 72, "{begun} of 80 CPUs work, and 100 tasks wait for them");
    finish_all(&mut cluster, tasks);
    cluster.end();
}

#[test]
fn owners_in_a_large_cluster_begin_to_look_at_different_nodes() {
    const OWNERS: usize = 12;
    let limits = Limits { nodes_looked_at_max: 4, ..Limits::default() };
    let (mut cluster, roots) = owners_and_runners(OWNERS, 48, 1, &limits);
    let tasks = spawn_all(&mut cluster, &roots, 1);
    cluster.settle();
    let nodes: std::collections::BTreeSet<_> =
        tasks.iter().filter_map(|task| cluster.runs_on(*task)).collect();
    assert!(nodes.len() >= OWNERS - 2, "they run on {} nodes at once", nodes.len());
    assert!(refusals(&cluster, OWNERS) <= 2);
    finish_all(&mut cluster, tasks);
    cluster.end();
}

#[test]
fn what_comes_together_and_fits_is_not_refused() {
    let limits = Limits { foreign_tasks_in_line_max: 0, ..Limits::default() };
    let (mut cluster, roots) = owners_and_runners(1, 1, 4, &limits);
    let tasks = spawn_all(&mut cluster, &roots, 4);
    cluster.collect();
    // As one packet: all of them are in line before any begins.
    let mut packets = std::mem::take(&mut cluster.flying).into_iter();
    let mut first = packets.next().expect("they are on their way");
    packets.for_each(|packet| first.messages.extend(packet.messages));
    assert_eq!(first.messages.len(), 4);
    cluster.deliver(first);
    cluster.settle();
    assert_eq!((running(&cluster, &tasks), refusals(&cluster, 1)), (4, 0));
    finish_all(&mut cluster, tasks);
    cluster.end();
}

#[test]
fn those_that_were_refused_hear_of_room_one_after_the_other() {
    const OWNERS: usize = 8;
    let limits = Limits { foreign_tasks_in_line_max: 0, ..Limits::default() };
    let (mut cluster, roots) = owners_and_runners(OWNERS, 1, 1, &limits);
    let tasks = spawn_all(&mut cluster, &roots, 1);
    cluster.settle();
    assert_eq!((running(&cluster, &tasks), refusals(&cluster, OWNERS)), (1, 7));
    let mut left = tasks;
    while left.len() > 1 {
        let at = left.iter().position(|task| cluster.runs_on(*task).is_some()).expect("one runs");
        cluster.finish(left.swap_remove(at));
        cluster.advance(MILLISECOND);
        assert_eq!(running(&cluster, &left), 1);
    }
    assert_eq!(refusals(&cluster, OWNERS), 7, "nobody came in vain");
    finish_all(&mut cluster, left);
    cluster.end();
}

#[test]
fn room_that_the_first_does_not_want_is_told_to_more_and_more() {
    const OWNERS: usize = 8;
    let limits = Limits { foreign_tasks_in_line_max: 0, ..Limits::default() };
    let (mut cluster, roots) = owners_and_runners(OWNERS, 1, 1, &limits);
    let tasks = spawn_all(&mut cluster, &roots, 1);
    cluster.settle();
    let runs = *tasks.iter().find(|task| cluster.runs_on(**task).is_some()).expect("one runs");
    let last = *tasks.last().expect("eight");
    assert_ne!(runs, last);
    // Only the last still wants it.
    for (owner, task) in tasks.iter().enumerate().filter(|(_, task)| **task != runs && **task != last) {
        cluster.worlds[owner].cancel(*task, false, false);
    }
    cluster.finish(runs);
    let mut waited = 0;
    while cluster.runs_on(last).is_none() {
        waited += 1;
        assert!(waited <= 3, "1, 2 and 4 of seven are told");
        cluster.advance(MILLISECOND);
    }
    finish_all(&mut cluster, vec![last]);
    cluster.end();
}

#[test]
fn a_node_hears_what_others_have_free_as_long_as_it_looks_for_room() {
    let (mut cluster, roots) = owners_and_runners(1, 1, 1, &Limits::default());
    let asked = |cluster: &mut Cluster, at: usize| std::mem::take(&mut cluster.worlds[at].asks_for_loads);
    cluster.advance(MILLISECOND);
    let tasks = spawn_all(&mut cluster, &roots, 1);
    cluster.settle();
    cluster.advance(3 * Duration::from_secs(1));
    assert_eq!((asked(&mut cluster, 0), asked(&mut cluster, 1)), (vec![false], vec![false]));
    finish_all(&mut cluster, tasks);
    let tasks = spawn_all(&mut cluster, &roots, 2);
    cluster.settle();
    assert_eq!((asked(&mut cluster, 0), asked(&mut cluster, 1)), (vec![true], vec![]), "at once, and once");
    finish_all(&mut cluster, tasks);
    cluster.worlds[0].event(|node, _, _| node.head_line_anew());
    assert_eq!(asked(&mut cluster, 0), [true], "who listens on a new line knows nothing of it");
    cluster.advance(3 * Duration::from_secs(1));
    assert_eq!(asked(&mut cluster, 0), [false]);
    cluster.worlds[0].event(|node, _, _| node.head_line_anew());
    assert_eq!(asked(&mut cluster, 0), [false]);
    cluster.end();
}
