//! Quotas of tenants over several nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::headed::Headed;
use crate::error::ErrorCode;
use crate::ids::TaskId;
use crate::node::tests::harness::*;
use crate::node::tests::simulate::Random;
use crate::node::{Caller, Limits, NodeInfo, TaskState};
use crate::options::{ActorOptions, Strategy, TaskOptions};
use crate::quota::{QuotaKind, Quotas};
use crate::tenant::{TenantName, TenantSpec};
use crate::value::{Handle, Value};

const MS: Duration = Duration::from_millis(1);

fn name(text: &str) -> TenantName {
    text.parse().expect("a name")
}

fn quotas(limits: &[(QuotaKind, u64)]) -> Quotas {
    let mut quotas = Quotas::default();
    limits.iter().for_each(|(kind, max)| quotas[*kind] = Some(*max));
    quotas
}

/// Nodes that have told the head what they have, and a tenant `a` with these quotas.
fn cluster(counts: &[u64], limits: &[(QuotaKind, u64)]) -> Headed {
    let mut all = Headed::of(counts, &Limits::default());
    for index in 0..counts.len() {
        line_anew(&mut all, index);
    }
    set(&mut all, limits);
    all
}

/// A node joins, or comes back after its line broke.
fn line_anew(all: &mut Headed, index: usize) {
    all.break_line(index);
    let node = &all.cluster.worlds[index].node;
    let info = NodeInfo { id: node.id(), labels: Vec::new(), total: node.ledger().0.clone() };
    all.event(|head, now, fx| head.node_joins(now, info, fx)).expect("room");
    all.settle();
}

fn set(all: &mut Headed, limits: &[(QuotaKind, u64)]) {
    let spec = TenantSpec { quotas: quotas(limits), ..TenantSpec::new(name("a")) };
    all.event(|head, _, fx| head.set_tenant(spec, false, fx)).expect("room");
    all.settle();
}

/// A job of the tenant's on a node, whose root has begun.
fn job(all: &mut Headed, index: usize) -> Caller {
    let root = all.cluster.worlds[index].submit_of_tenant("a", 0);
    all.advance(100 * MS);
    all.cluster.worlds[index].caller(root)
}

/// Of a kind, what all nodes use.
fn used(all: &Headed, kind: QuotaKind) -> u64 {
    let alive = all.cluster.worlds.iter().zip(&all.cluster.alive).filter(|(_, alive)| **alive);
    alive
        .flat_map(|(world, _)| world.node.tenants.all())
        .filter(|(_, tenant)| tenant.name == name("a"))
        .map(|(_, tenant)| tenant.used_amounts()[kind])
        .sum()
}

/// A task that runs on its owner's node or nowhere.
fn here(all: &Headed, index: usize, cpus: u64) -> TaskOptions {
    let mut options = with_cpus(cpus);
    options.placement.strategy = Strategy::Node(all.cluster.id(index), false);
    options
}

fn running(all: &Headed) -> BTreeSet<(usize, TaskId)> {
    let of = |(index, world): (usize, &World)| {
        let roots: BTreeSet<TaskId> = world.roots.values().copied().collect();
        let tasks = world.running.keys().copied().filter(move |id| !roots.contains(id));
        tasks.map(move |id| (index, id)).collect::<Vec<_>>()
    };
    all.cluster.worlds.iter().enumerate().flat_map(of).collect()
}

#[test]
fn a_tenant_never_has_more_cpus_than_its_quota_on_all_nodes_together() {
    let mut all = cluster(&[4, 4, 4], &[(QuotaKind::Cpus, 50_000)]);
    let roots: Vec<Caller> = (0..3).map(|index| job(&mut all, index)).collect();
    for (index, root) in roots.iter().enumerate() {
        let options = here(&all, index, 1);
        for _ in 0..20 {
            all.cluster.worlds[index].spawn(*root, &[], options.clone());
        }
    }
    all.settle();
    all.advance(200 * MS);
    assert_eq!(used(&all, QuotaKind::Cpus), 50_000, "all of it is in use, wherever");
    let mut ended = [0; 3];
    for _ in 0..200 {
        let Some((index, task)) = running(&all).into_iter().nth(ended.iter().sum::<usize>() % 3) else {
            break;
        };
        all.cluster.worlds[index].finish(task);
        ended[index] += 1;
        all.settle();
        all.advance(50 * MS);
        assert!(used(&all, QuotaKind::Cpus) <= 50_000);
        if ended.iter().sum::<usize>() < 50 {
            assert!(used(&all, QuotaKind::Cpus) >= 40_000, "it is used, and not kept for nobody: {ended:?}");
        }
    }
    let left = running(&all);
    for (index, task) in left {
        all.cluster.worlds[index].finish(task);
        all.advance(100 * MS);
    }
    let done: usize = all.cluster.worlds.iter().map(|world| world.begun.len() - 1).sum();
    assert_eq!(done, 60, "every task has had its turn");
}

#[test]
fn the_part_of_a_node_that_dies_is_there_again() {
    let mut all = cluster(&[4, 4], &[(QuotaKind::Cpus, 20_000)]);
    let first = job(&mut all, 0);
    let options = here(&all, 0, 1);
    for _ in 0..2 {
        all.cluster.worlds[0].spawn(first, &[], options.clone());
    }
    all.settle();
    let second = job(&mut all, 1);
    let options = here(&all, 1, 2);
    let waits = all.cluster.worlds[1].spawn(second, &[], options);
    all.settle();
    all.advance(500 * MS);
    assert_eq!(all.cluster.worlds[1].state(waits), TaskState::PendingPlacement);
    let why = all.cluster.worlds[1].node.explain(waits).expect("it is there");
    assert!(why.contains("the quota of the tenant a (cpus_max)"), "{why}");
    all.kill(0);
    all.advance(100 * MS);
    assert_eq!(all.cluster.worlds[1].state(waits), TaskState::Running);
}

#[test]
fn a_smaller_quota_holds_once_what_runs_has_ended_and_a_larger_at_once() {
    let mut all = cluster(&[4, 4], &[(QuotaKind::Cpus, 60_000)]);
    for index in 0..2 {
        let root = job(&mut all, index);
        let options = here(&all, index, 1);
        for _ in 0..10 {
            all.cluster.worlds[index].spawn(root, &[], options.clone());
        }
    }
    all.settle();
    all.advance(200 * MS);
    assert_eq!(used(&all, QuotaKind::Cpus), 60_000);
    set(&mut all, &[(QuotaKind::Cpus, 20_000)]);
    for (index, task) in running(&all) {
        let before = used(&all, QuotaKind::Cpus);
        all.cluster.worlds[index].finish(task);
        all.advance(100 * MS);
        assert!(used(&all, QuotaKind::Cpus) <= before.max(20_000));
    }
    assert_eq!(used(&all, QuotaKind::Cpus), 20_000);
    set(&mut all, &[(QuotaKind::Cpus, 80_000)]);
    all.advance(100 * MS);
    assert_eq!(used(&all, QuotaKind::Cpus), 80_000);
    set(&mut all, &[]);
    all.advance(100 * MS);
    assert_eq!(used(&all, QuotaKind::Cpus), 80_000, "as much as there is");
}

#[test]
fn what_can_never_be_within_the_quota_is_refused_and_the_rest_goes_on() {
    let mut all = cluster(&[4], &[(QuotaKind::Cpus, 10_000), (QuotaKind::MemoryBytes, 1 << 30)]);
    let root = job(&mut all, 0);
    let world = &mut all.cluster.worlds[0];
    let big = world.spawn(root, &[], with_cpus(2));
    let error = world.error_of(root, big.output(0));
    assert_eq!(error.code(), ErrorCode::QuotaExceeded);
    assert!(error.message().contains("asks for 2 CPUs"), "{error}");
    let fat = world.spawn(root, &[], with_memory(2 << 30));
    assert_eq!(world.error_of(root, fat.output(0)).code(), ErrorCode::QuotaExceeded);
    let small = world.spawn(root, &[], with_cpus(1));
    all.advance(50 * MS);
    assert_eq!(all.cluster.worlds[0].state(small), TaskState::Running);
}

#[test]
fn tasks_and_actors_beyond_the_quota_are_refused_on_whichever_node() {
    let mut all = cluster(&[4, 4], &[(QuotaKind::QueuedTasks, 10), (QuotaKind::Actors, 2)]);
    let roots: Vec<Caller> = (0..2).map(|index| job(&mut all, index)).collect();
    all.settle();
    all.advance(100 * MS);
    // Each root is one of the ten. A node may keep a little ahead that another lacks.
    let mut accepted = 2;
    for _ in 0..10 {
        for (index, root) in roots.iter().enumerate() {
            let options = here(&all, index, 4);
            match all.cluster.worlds[index].try_spawn(*root, Vec::new(), options) {
                Ok(_) => accepted += 1,
                Err(refused) => {
                    assert_eq!(refused.code(), ErrorCode::QuotaExceeded);
                    assert!(refused.message().contains("queued_tasks_max"), "{refused}");
                }
            }
            all.advance(100 * MS);
        }
    }
    assert!((8..=10).contains(&accepted), "{accepted} were accepted of 10");
    let (index, _) = running(&all).into_iter().next().expect("one runs");
    while let Some((_, task)) = running(&all).into_iter().find(|(at, _)| *at == index) {
        all.cluster.worlds[index].finish(task);
        all.advance(100 * MS);
    }
    let other = 1 - index;
    let options = here(&all, other, 4);
    all.cluster.worlds[other]
        .try_spawn(roots[other], Vec::new(), options)
        .expect("some have ended elsewhere");
}

#[test]
fn nothing_is_refused_far_from_the_quota_however_fast_it_comes() {
    for answered_every in [1, 3, 7] {
        let mut all = cluster(&[2], &[(QuotaKind::QueuedTasks, 20_000)]);
        let root = job(&mut all, 0);
        // The head answers meanwhile, and no time passes.
        for count in 0..2_000 {
            let spawned = all.cluster.worlds[0].try_spawn(root, Vec::new(), with_cpus(1));
            assert!(spawned.is_ok(), "after {count} of 20 000: {spawned:?}");
            if count % answered_every == 0 {
                all.settle();
            }
        }
    }
}

#[test]
fn bytes_of_objects_beyond_the_quota_are_refused_and_those_of_results_are_kept() {
    let mut all = cluster(&[4], &[(QuotaKind::ObjectBytes, 100_000)]);
    let root = job(&mut all, 0);
    all.settle();
    let world = &mut all.cluster.worlds[0];
    let put = |world: &mut World, value: Value| world.event(|node, now, fx| node.put(now, root, value, fx));
    // Large and small ones, and those that are empty.
    let first = put(world, large(60_000)).expect("room");
    put(world, value(30_000)).expect("room");
    put(world, Value::empty()).expect("room");
    let refused = put(world, value(20_000)).expect_err("too much");
    assert_eq!(refused.code(), ErrorCode::QuotaExceeded);
    let says = "may have 97.7 KiB of objects at once (object_bytes_max), of which 88.6 KiB";
    assert!(refused.message().contains(says), "{refused}");
    // What a task returns is not lost, but then nothing more is spawned.
    let task = world.spawn(root, &[], options());
    world.finish_with(task, vec![large(50_000)]);
    assert!(matches!(world.node.outcome(root, task.output(0)), Some(Ok(_))));
    let refused = world.try_spawn(root, Vec::new(), options()).expect_err("nothing is left");
    assert!(refused.message().contains("object_bytes_max"), "{refused}");
    // It counts as long as it is there.
    world.release(root, Handle::Object(first));
    put(world, value(10)).expect("room");
    world.try_spawn(root, Vec::new(), options()).expect("room");
}

#[test]
fn actors_count_until_they_are_dead() {
    let mut all = cluster(&[4], &[(QuotaKind::Actors, 2)]);
    let root = job(&mut all, 0);
    let world = &mut all.cluster.worlds[0];
    let first = world.actor(root, ActorOptions::default());
    world.actor(root, ActorOptions::default());
    let refused = world.try_create(root, Vec::new(), ActorOptions::default()).expect_err("two are there");
    assert_eq!(refused.code(), ErrorCode::QuotaExceeded);
    world.kill(root, first, false);
    world.actor(root, ActorOptions::default());
}

#[test]
fn other_tenants_are_not_held_up_by_one_at_its_quota() {
    let mut all = cluster(&[2], &[(QuotaKind::Sandboxes, 2)]);
    let a = job(&mut all, 0);
    let b = all.cluster.worlds[0].job_of_tenant("b");
    all.advance(50 * MS);
    let world = &mut all.cluster.worlds[0];
    let tasks: Vec<TaskId> = (0..5).map(|_| world.spawn(a, &[], with_cpus(1))).collect();
    let other = world.spawn(b, &[], with_cpus(1));
    all.advance(50 * MS);
    let world = &mut all.cluster.worlds[0];
    // Its root is one of the two.
    assert_eq!(world.state(tasks[0]), TaskState::Running);
    assert_eq!(world.state(tasks[1]), TaskState::PendingPlacement);
    assert_eq!(world.state(other), TaskState::Running);
}

#[test]
fn calls_that_go_on_do_not_take_a_tenant_beyond_its_quota() {
    let mut all = cluster(&[8], &[(QuotaKind::Cpus, 20_000)]);
    let root = job(&mut all, 0);
    all.advance(50 * MS);
    let slow = all.cluster.worlds[0].spawn(root, &[], with_cpus(1));
    all.advance(50 * MS);
    let world = &mut all.cluster.worlds[0];
    // Parents that block give their CPUs to the next.
    let parents: Vec<TaskId> = (0..6)
        .map(|_| {
            let parent = world.spawn(root, &[], with_cpus(1));
            let guest = world.caller(parent);
            world.acquire(guest, crate::value::Handle::Object(slow.output(0)));
            world.block_on(guest, slow);
            parent
        })
        .collect();
    assert!(parents.iter().all(|parent| world.state(*parent) == TaskState::Blocked));
    world.finish(slow);
    let goes_on = parents.iter().filter(|parent| world.state(**parent) == TaskState::Running).count();
    assert_eq!(goes_on, 2);
    let first = *parents.iter().find(|parent| world.state(**parent) == TaskState::Running).expect("two");
    world.finish(first);
    assert_eq!(used(&all, QuotaKind::Cpus), 20_000);
}

#[test]
fn a_head_that_comes_back_lends_nothing_until_all_have_said_what_they_have() {
    let mut all = cluster(&[4, 4], &[(QuotaKind::Cpus, 20_000)]);
    let first = job(&mut all, 0);
    let options = here(&all, 0, 1);
    for _ in 0..2 {
        all.cluster.worlds[0].spawn(first, &[], options.clone());
    }
    all.settle();
    all.advance(50 * MS);
    assert_eq!(used(&all, QuotaKind::Cpus), 20_000);
    // Another head, which knows the tenant and nothing of what was lent.
    all.head = crate::head::Head::new([8; 16], crate::head::Limits::default());
    all.lines.clear();
    let node = &all.cluster.worlds[0].node;
    let info = NodeInfo { id: node.id(), labels: Vec::new(), total: node.ledger().0.clone() };
    all.event(|head, now, fx| head.node_joins(now, info, fx)).expect("room");
    set(&mut all, &[(QuotaKind::Cpus, 20_000)]);
    line_anew(&mut all, 1);
    let second = job(&mut all, 1);
    let options = here(&all, 1, 1);
    all.cluster.worlds[1].spawn(second, &[], options);
    all.advance(200 * MS);
    assert_eq!(used(&all, QuotaKind::Cpus), 20_000);
    line_anew(&mut all, 0);
    all.advance(200 * MS);
    assert_eq!(used(&all, QuotaKind::Cpus), 20_000);
}

/// Tasks of random sizes on random nodes, lines that break, nodes that die, quotas that change: what is in use
/// is never beyond the largest quota that still holds for what runs, and every task has its turn.
#[test]
fn whatever_happens_the_quota_holds_and_everybody_has_a_turn() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut quota = random.of([10_000, 25_000, 70_000]);
        let mut all = cluster(&[4, 4, 4], &[(QuotaKind::Cpus, quota), (QuotaKind::Sandboxes, 12)]);
        let roots: Vec<Caller> = (0..3).map(|index| job(&mut all, index)).collect();
        all.advance(100 * MS);
        let mut bound = quota;
        for _ in 0..120 {
            let index = random.below(3);
            let is_alive = all.cluster.alive[index];
            match random.below(10) {
                0..=3 if is_alive => {
                    let cpus = random.of([1, 1, 2]).min(quota / 10_000);
                    let options = here(&all, index, cpus);
                    all.cluster.worlds[index].spawn(roots[index], &[], options);
                }
                4..=6 => {
                    let tasks: Vec<_> =
                        running(&all).into_iter().filter(|(i, _)| all.cluster.alive[*i]).collect();
                    if let Some((index, task)) = random.pick(&tasks) {
                        all.cluster.worlds[index].finish(task);
                    }
                }
                7 if is_alive => {
                    line_anew(&mut all, index);
                }
                8 if random.once_in(8) && is_alive && index > 0 => all.kill(index),
                9 if random.once_in(4) => {
                    quota = random.of([20_000, 40_000]);
                    bound = bound.max(quota);
                    set(&mut all, &[(QuotaKind::Cpus, quota), (QuotaKind::Sandboxes, 12)]);
                }
                _ => all.advance(10 * MS),
            }
            assert!(used(&all, QuotaKind::Cpus) <= bound, "seed {seed}");
            assert!(used(&all, QuotaKind::Sandboxes) <= 12, "seed {seed}");
            assert_eq!(all.head.broken_ledger(), None, "seed {seed}");
        }
        for _ in 0..400 {
            all.advance(50 * MS);
            let tasks: Vec<_> = running(&all).into_iter().filter(|(i, _)| all.cluster.alive[*i]).collect();
            let Some((index, task)) = random.pick(&tasks) else { break };
            all.cluster.worlds[index].finish(task);
        }
        for (world, _) in all.cluster.worlds.iter().zip(&all.cluster.alive).filter(|(_, alive)| **alive) {
            assert_eq!(world.node.tenants.tasks_in_line, 0, "seed {seed}: something still waits");
        }
    }
}
