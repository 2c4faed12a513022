//! Guaranteed shares of tenants: who makes room for whom, and what becomes of who did.

use std::time::Duration;

use crate::error::ErrorCode;
use crate::ids::TaskId;
use crate::node::tests::harness::*;
use crate::node::{Caller, Limits, TaskState, Until, Waitable};
use crate::options::{ActorOptions, TaskOptions};
use crate::resources::Resources;

const MIB: u64 = 1 << 20;

/// A task of one CPU that needs so much memory.
fn with_memory(memory: u64) -> TaskOptions {
    let mut options = with_cpus(1);
    options.placement.memory = Some(memory);
    options
}

/// A node with many CPUs and as little memory as four tasks of 100 MiB need, beside roots.
fn of_four() -> Resources {
    Resources { memory: 410 * MIB, ..cpus(100) }
}

fn spawn_many(world: &mut World, root: Caller, count: usize, options: &TaskOptions) -> Vec<TaskId> {
    (0..count).map(|_| world.spawn(root, &[], options.clone())).collect()
}

/// Those of these tasks that have begun and do not stand still.
fn going_on(world: &World, tasks: &[TaskId]) -> Vec<usize> {
    let goes_on =
        |task: &TaskId| world.running.get(task).is_some_and(|(sandbox, _)| !world.paused.contains(sandbox));
    (0..tasks.len()).filter(|at| goes_on(&tasks[*at])).collect()
}

/// Ends what goes on, until all tasks have ended.
fn finish_all(world: &mut World, tasks: &[TaskId]) {
    for _ in 0..=tasks.len() {
        for at in going_on(world, tasks) {
            world.finish(tasks[at]);
        }
    }
    for task in tasks {
        assert_eq!(world.state(*task), TaskState::Finished);
    }
}

fn preempted(world: &World) -> u64 {
    world.node.node_view().counters.tasks_preempted
}

#[test]
fn a_tenant_has_the_cpus_of_its_share_at_once() {
    let mut world = World::with_cpus(4);
    world.guarantee("b", 50);
    let (a, b) = (world.job_of_tenant("a"), world.job_of_tenant("b"));
    let of_a = spawn_many(&mut world, a, 6, &with_cpus(1));
    assert_eq!(going_on(&world, &of_a), [0, 1, 2, 3], "what b does not use others use");
    let of_b = spawn_many(&mut world, b, 6, &with_cpus(1));
    // The two that have begun last stand still.
    assert_eq!((going_on(&world, &of_a), going_on(&world, &of_b)), (vec![0, 1], vec![0, 1]));
    assert_eq!(world.state(of_a[3]), TaskState::Running);
    let why = world.node.explain(of_a[3]).expect("it is known");
    assert!(why.contains("stands still while another tenant has its guaranteed share"), "{why}");
    // Nothing more than the share is taken, and it is kept as long as b has tasks in line.
    world.advance(SECOND);
    world.finish(of_b[0]);
    assert_eq!((going_on(&world, &of_a), going_on(&world, &of_b)), (vec![0, 1], vec![1, 2]));
    // What stands still goes on before anything of its tenant begins.
    world.finish(of_a[0]);
    assert_eq!(going_on(&world, &of_a), [1, 2]);
    let all: Vec<TaskId> = of_a[1..].iter().chain(&of_b[1..]).copied().collect();
    finish_all(&mut world, &all);
    let counters = world.node.node_view().counters;
    assert_eq!((counters.tasks_preempted, counters.attempts_retried), (0, 0));
    assert!(world.paused.is_empty() && counters.sandboxes_paused == 2);
    world.end();
}

#[test]
fn one_task_after_the_other_has_its_share_beside_tasks_without_end() {
    let mut world = World::with_cpus(2);
    world.guarantee("b", 50);
    let a = world.job_of_tenant("a");
    let endless = spawn_many(&mut world, a, 8, &with_cpus(1));
    for _ in 0..300 {
        // A job whose root has a CPU, which it lends to its one task.
        let root = world.submit_of_tenant("b", 1);
        assert_eq!(going_on(&world, &[root]), [0]);
        let guest = world.caller(root);
        for _ in 0..3 {
            let task = world.spawn(guest, &[], with_cpus(1));
            world.wait(guest, &[Waitable::Object(task.output(0))], Until::AllOrFailure, None);
            assert_eq!((going_on(&world, &[task]), going_on(&world, &endless).len()), (vec![0], 1));
            world.finish(task);
            assert_eq!(going_on(&world, &[root]), [0]);
        }
        world.finish(root);
        assert_eq!(going_on(&world, &endless).len(), 2, "what b leaves is used");
    }
    let counters = world.node.node_view().counters;
    assert_eq!((counters.sandboxes_paused, counters.tasks_preempted), (300, 0), "once for each job");
}

#[test]
fn roots_and_actors_stand_still_too_and_those_of_the_lowest_priority_first() {
    let mut world = World::with_cpus(3);
    world.guarantee("b", 67);
    let root = world.submit_of_tenant("a", 1);
    let guest = world.caller(root);
    let mut options = ActorOptions::default();
    (options.placement.cpus, options.placement.priority) = (Some(cpus(1).cpus), 1);
    let actor = world.actor(guest, options);
    let mut once = with_cpus(1);
    (once.retries.system, once.placement.priority) = (0, -1);
    let least = world.spawn(guest, &[], once);
    let all = [least, root];
    assert_eq!(going_on(&world, &all), [0, 1]);
    let b = world.job_of_tenant("b");
    let first = world.spawn(b, &[], with_cpus(1));
    assert_eq!((going_on(&world, &all), going_on(&world, &[first])), (vec![1], vec![0]));
    let second = world.spawn(b, &[], with_cpus(1));
    assert_eq!(going_on(&world, &[first, second]), [0, 1]);
    assert_eq!(world.paused.len(), 2, "an idle actor holds its CPU for life, and may be without it");
    // What an actor that stands still is asked waits inside.
    let lane = world.lane();
    let call = world.call(guest, actor, lane, &[]);
    assert_eq!(world.state(call), TaskState::Running);
    world.finish(first);
    world.finish(second);
    assert!(world.paused.is_empty());
    world.finish(call);
    world.finish(least);
    world.end();
}

#[test]
fn what_begins_to_wait_or_ends_before_it_stands_still_loses_nothing() {
    let mut world = World::with_cpus(2);
    world.guarantee("b", 100);
    let a = world.job_of_tenant("a");
    let of_a = spawn_many(&mut world, a, 2, &with_cpus(1));
    let b = world.job_of_tenant("b");
    let of_b = spawn_many(&mut world, b, 2, &with_cpus(1));
    assert_eq!((going_on(&world, &of_a).len(), going_on(&world, &of_b).len()), (0, 2));
    // One ends: nothing of it is left to go on.
    world.finish(of_a[1]);
    // The other waits for a task of its own, and then for nothing.
    let guest = world.caller(of_a[0]);
    let child = world.spawn(guest, &[], with_cpus(0));
    world.wait(guest, &[Waitable::Object(child.output(0))], Until::AllOrFailure, None);
    world.finish(of_b[0]);
    assert!(world.paused.is_empty(), "what waits need not stand still");
    assert_eq!(world.free().cpus, cpus(1).cpus);
    let of_b = [of_b[1], world.spawn(b, &[], with_cpus(1))];
    world.finish(child);
    assert_eq!(world.state(of_a[0]), TaskState::Blocked, "its CPUs are b's");
    world.finish(of_b[0]);
    assert_eq!(world.state(of_a[0]), TaskState::Running);
    world.finish(of_a[0]);
    world.finish(of_b[1]);
    world.end();
}

#[test]
fn nobody_is_left_with_less_than_its_own_share() {
    let mut world = World::with_cpus(4);
    for (tenant, percent) in [("a", 50), ("b", 25), ("c", 25)] {
        world.guarantee(tenant, percent);
    }
    let [a, b, c] = ["a", "b", "c"].map(|tenant| world.job_of_tenant(tenant));
    let of_a = spawn_many(&mut world, a, 10, &with_cpus(1));
    let of_b = spawn_many(&mut world, b, 10, &with_cpus(1));
    assert_eq!((going_on(&world, &of_a).len(), going_on(&world, &of_b).len()), (3, 1));
    let of_c = spawn_many(&mut world, c, 10, &with_cpus(1));
    let counts = [&of_a, &of_b, &of_c].map(|tasks| going_on(&world, tasks).len());
    assert_eq!(counts, [2, 1, 1]);
    // What is larger than the share gets none of it.
    let d = world.job_of_tenant("c");
    let big = world.spawn(d, &[], with_cpus(2));
    world.advance(SECOND);
    assert_eq!(world.state(big), TaskState::PendingPlacement);
    assert_eq!(world.node.node_view().counters.sandboxes_paused, 2);
    // A task that waits for memory has nobody stand still.
    let much = Resources { memory: 0, ..cpus(1) };
    let mut options = with_memory(world.free().memory + MIB);
    options.placement.cpus = Some(much.cpus);
    world.spawn(c, &[], options);
    assert_eq!(world.node.node_view().counters.sandboxes_paused, 2);
}

#[test]
fn memory_of_a_share_is_had_of_tasks_that_begin_anew() {
    let mut world = World::new(of_four(), Limits::default());
    world.guarantee("b", 50);
    let (a, b) = (world.job_of_tenant("a"), world.job_of_tenant("b"));
    let of_a = spawn_many(&mut world, a, 6, &with_memory(100 * MIB));
    assert_eq!(going_on(&world, &of_a), [0, 1, 2, 3]);
    let of_b = spawn_many(&mut world, b, 6, &with_memory(100 * MIB));
    assert_eq!(going_on(&world, &of_b).len(), 0, "what runs may end by itself");
    world.advance(Duration::from_millis(100));
    assert_eq!((going_on(&world, &of_a), going_on(&world, &of_b)), (vec![0, 1], vec![0, 1]));
    // It costs none of their retries, and nobody hears whose share it was.
    assert_eq!((preempted(&world), world.state(of_a[2])), (2, TaskState::PendingPlacement));
    let view = world.node.task(of_a[2]).expect("it waits");
    let cause = view.attempts[0].cause.as_ref().expect("one attempt has ended");
    assert_eq!(cause.code(), ErrorCode::WorkerDied);
    assert!(cause.message().contains("another tenant came for its guaranteed share"), "{cause}");
    let all: Vec<TaskId> = of_a.into_iter().chain(of_b).collect();
    finish_all(&mut world, &all);
    world.end();
}

#[test]
fn what_may_not_be_tried_again_is_not_preempted() {
    let mut world = World::new(of_four(), Limits::default());
    world.guarantee("b", 100);
    let a = world.job_of_tenant("a");
    let mut once = with_memory(200 * MIB);
    once.retries.system = 0;
    let of_a = spawn_many(&mut world, a, 2, &once);
    let b = world.job_of_tenant("b");
    let of_b = spawn_many(&mut world, b, 2, &with_memory(200 * MIB));
    world.advance(SECOND);
    assert_eq!((going_on(&world, &of_a).len(), going_on(&world, &of_b).len()), (2, 0));
    world.finish(of_a[0]);
    assert_eq!(world.state(of_b[0]), TaskState::Running);
    finish_all(&mut world, &[of_a[1], of_b[0], of_b[1]]);
    world.end();
}

#[test]
fn a_task_that_was_preempted_often_enough_begins_beside_the_shares_of_others() {
    let limits = Limits { preemptions_per_task_max: 2, ..Default::default() };
    let mut world = World::new(of_four(), limits);
    world.guarantee("b", 75);
    let (a, b) = (world.job_of_tenant("a"), world.job_of_tenant("b"));
    let mut low = with_memory(150 * MIB);
    low.placement.priority = -1;
    let least = world.spawn(a, &[], low);
    let small = world.spawn(a, &[], with_memory(90 * MIB));
    for round in 1..=20 {
        // Its tenant comes again and again, and has its share each time.
        let of_b = world.spawn(b, &[], with_memory(300 * MIB));
        world.advance(Duration::from_millis(100));
        assert_eq!(world.state(of_b), TaskState::Running, "round {round}");
        assert_eq!(world.state(small), TaskState::Running);
        assert_eq!(preempted(&world), round.min(2));
        world.finish(of_b);
        let expected = if round < 2 { TaskState::Running } else { TaskState::PendingPlacement };
        assert_eq!(world.state(least), expected);
    }
    let why = world.node.explain(least).expect("it is known");
    assert!(why.contains("beside other tenants' shares, after 2 preemptions"), "{why}");
    // What no share covers is enough for it, or b has less than what is left.
    world.guarantee("b", 25);
    world.finish(small);
    assert_eq!(world.state(least), TaskState::Running);
    world.finish(least);
    world.end();
}
