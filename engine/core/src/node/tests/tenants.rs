//! Whose turn it is when several tenants want the same node.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{JobId, TaskId};
use crate::node::tests::harness::*;
use crate::node::{Caller, TaskState, Until, Waitable};
use crate::options::{ActorOptions, TaskOptions};
use crate::quota::{Amounts, TenantNews};
use crate::resources::{Quantity, Resources};
use crate::tenant::TenantSpec;

const MILLISECOND: Duration = Duration::from_millis(1);

fn weigh(world: &mut World, tenant: &str, weight: u32) {
    let spec = TenantSpec { weight, ..TenantSpec::new(tenant.parse().expect("a name")) };
    let news = TenantNews { spec, version: 1, granted: Amounts::default(), heard: 0, is_wanted: false };
    world.event(|node, now, fx| node.tenant_news(now, news, fx));
}

fn spawn_many(world: &mut World, root: Caller, count: usize, options: &TaskOptions) -> Vec<TaskId> {
    (0..count).map(|_| world.spawn(root, &[], options.clone())).collect()
}

/// Lets each task run for `ran` and ends them, `rounds` times all that run; how many of each job have ended.
fn run(world: &mut World, rounds: usize, ran: Duration) -> BTreeMap<JobId, usize> {
    let mut ended = BTreeMap::new();
    for _ in 0..rounds {
        world.now = world.now + ran;
        let roots: Vec<TaskId> = world.roots.values().copied().collect();
        let running: Vec<TaskId> = world.running.keys().copied().filter(|id| !roots.contains(id)).collect();
        for task in running {
            let (instance, _) = world.running[&task];
            *ended.entry(world.sandboxes[&instance].job).or_insert(0) += 1;
            world.finish(task);
        }
    }
    ended
}

fn running_of(world: &World, root: Caller) -> usize {
    let job = world.job_of(root);
    let of_it = world
        .running
        .iter()
        .filter(|(id, (sandbox, _))| world.sandboxes[sandbox].job == job && **id != root.task);
    of_it.count()
}

#[test]
fn tenants_that_want_the_same_get_the_same_however_much_one_asks_for() {
    let mut world = World::with_cpus(4);
    world.checks = false;
    let (a, b) = (world.job_of_tenant("a"), world.job_of_tenant("b"));
    spawn_many(&mut world, a, 20_000, &with_cpus(1));
    spawn_many(&mut world, b, 500, &with_cpus(1));
    assert_eq!((running_of(&world, a), running_of(&world, b)), (4, 0), "b came when all was taken");
    let ended = run(&mut world, 200, MILLISECOND);
    let (of_a, of_b) = (ended[&world.job_of(a)], ended[&world.job_of(b)]);
    assert!(of_a.abs_diff(of_b) <= 8, "{of_a} and {of_b} of 800");
    // And the jobs of one tenant do not make it two.
    let c = world.job_of_tenant("b");
    spawn_many(&mut world, c, 500, &with_cpus(1));
    let ended = run(&mut world, 20, MILLISECOND);
    let of_b: usize = [b, c].iter().filter_map(|root| ended.get(&world.job_of(*root))).sum();
    assert!(ended[&world.job_of(a)].abs_diff(of_b) <= 8, "{ended:?}");
}

#[test]
fn weights_divide_the_node_also_where_one_task_runs_at_a_time() {
    for cpus in [1, 4] {
        let mut world = World::with_cpus(cpus);
        weigh(&mut world, "a", 3);
        let (a, b) = (world.job_of_tenant("a"), world.job_of_tenant("b"));
        weigh(&mut world, "b", 1);
        spawn_many(&mut world, a, 800, &with_cpus(1));
        spawn_many(&mut world, b, 800, &with_cpus(1));
        let ended = run(&mut world, 800 / cpus as usize, 10 * MILLISECOND);
        let (of_a, of_b) = (ended[&world.job_of(a)], ended[&world.job_of(b)]);
        assert!((560..=640).contains(&of_a), "{of_a} and {of_b} of 800 on {cpus} CPUs");
    }
}

#[test]
fn the_first_task_of_a_tenant_is_the_next_to_start_whoever_has_a_hundred_thousand_in_line() {
    let mut world = World::with_cpus(2);
    world.checks = false;
    let a = world.job_of_tenant("a");
    spawn_many(&mut world, a, 100_000, &with_cpus(1));
    run(&mut world, 1_000, MILLISECOND);
    let b = world.job_of_tenant("b");
    let first = world.spawn(b, &[], with_cpus(1));
    assert_eq!(world.state(first), TaskState::PendingPlacement);
    let one = *world.running.keys().find(|id| **id != a.task && **id != b.task).expect("a runs");
    world.finish(one);
    assert_eq!(world.state(first), TaskState::Running, "it waited for one task to end");
    // Not because it has a long time to make up for: the next is a's.
    spawn_many(&mut world, b, 100, &with_cpus(1));
    let ended = run(&mut world, 40, MILLISECOND);
    assert!(ended[&world.job_of(a)] >= 38, "{ended:?}");
}

#[test]
fn what_a_tenant_used_while_nobody_wanted_it_is_not_held_against_it() {
    let mut world = World::with_cpus(2);
    // b is there and wants next to nothing.
    let b = world.job_of_tenant("b");
    world.actor(b, ActorOptions::default());
    let a = world.job_of_tenant("a");
    spawn_many(&mut world, a, 400, &with_cpus(1));
    run(&mut world, 100, 60 * SECOND);
    spawn_many(&mut world, b, 400, &with_cpus(1));
    let ended = run(&mut world, 100, MILLISECOND);
    assert!(ended[&world.job_of(a)] >= 90, "{ended:?}");
    assert!(ended[&world.job_of(b)] >= 90, "{ended:?}");
}

/// The example of "Dominant Resource Fairness" (NSDI 2011), section 4.1: 9 CPUs and 18 GB; tasks of A want 1
/// CPU and 4 GB, of B 3 CPUs and 1 GB. A gets three tasks, B two: each two thirds of what it wants most of.
#[test]
fn shares_are_of_what_each_tenant_wants_most_of() {
    let total = Resources { cpus: Quantity::units(9), memory: 18 << 30, ..Resources::default() };
    let mut world = World::new(total, Default::default());
    let (a, b) = (world.job_of_tenant("a"), world.job_of_tenant("b"));
    // So that both wait before the first of them runs.
    let blocker = world.spawn(a, &[], with_cpus(9));
    let wants = |cpus, memory| {
        let mut options = with_cpus(cpus);
        options.placement.memory = Some(memory);
        options
    };
    spawn_many(&mut world, a, 20, &wants(1, (4 << 30) - (1 << 20)));
    spawn_many(&mut world, b, 20, &wants(3, (1 << 30) - (1 << 20)));
    world.finish(blocker);
    assert_eq!((running_of(&world, a), running_of(&world, b)), (3, 2));
    world.end();
}

#[test]
fn what_has_waited_for_long_is_not_passed_by_other_tenants_for_ever() {
    let limits = crate::node::Limits { passed_over_max: 5, ..Default::default() };
    let mut world = World::new(cpus(2), limits);
    let (a, b) = (world.job_of_tenant("a"), world.job_of_tenant("b"));
    spawn_many(&mut world, a, 200, &with_cpus(1));
    let big = world.spawn(b, &[], with_cpus(2));
    for _ in 0..20 {
        if world.state(big) == TaskState::Running {
            break;
        }
        world.now = world.now + MILLISECOND;
        let one = world.running.keys().copied().find(|id| *id != a.task && *id != b.task);
        world.finish(one.expect("a runs"));
    }
    assert_eq!(world.state(big), TaskState::Running);
}

#[test]
fn a_tenant_whose_jobs_have_gone_is_forgotten_in_time() {
    let mut world = World::with_cpus(2);
    world.checks = false;
    for n in 0..2_100 {
        let root = world.job_of_tenant(&format!("t{n}"));
        world.finish(root.task);
    }
    assert_eq!(world.node.leftover(), None);
    assert!(world.node.tenants.all().count() <= 1_001, "{}", world.node.tenants.all().count());
}

#[test]
fn calls_that_go_on_take_turns_with_the_tasks_of_other_tenants() {
    let mut world = World::with_cpus(2);
    world.checks = false;
    // A hundred calls of a wait, each of which has lent its CPU.
    let a = world.job_of_tenant("a");
    let mut parents = Vec::new();
    for _ in 0..100 {
        let parent = world.spawn(a, &[], with_cpus(1));
        let guest = world.caller(parent);
        let child = world.spawn(guest, &[], with_cpus(0));
        let item = Waitable::Object(child.output(0));
        world.wait(guest, &[item], Until::AllOrFailure, Some(SECOND));
        parents.push((parent, child));
    }
    let b = world.job_of_tenant("b");
    spawn_many(&mut world, b, 100, &with_cpus(1));
    // All of their waits end at once.
    world.advance(SECOND);
    parents.iter().for_each(|(_, child)| world.finish(*child));
    let ended = run(&mut world, 50, MILLISECOND);
    let (of_a, of_b) = (ended[&world.job_of(a)], ended[&world.job_of(b)]);
    assert!(of_a.abs_diff(of_b) <= 6, "{of_a} and {of_b}");
    run(&mut world, 100, MILLISECOND);
    assert!(parents.iter().all(|(task, _)| world.state(*task).is_end()), "all of them went on");
}
