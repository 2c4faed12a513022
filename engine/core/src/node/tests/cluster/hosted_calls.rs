//! Calls of actors that live on another node than their owner's.

use std::time::Duration;

use super::Cluster;
use super::hosted::{create, on};
use crate::error::ErrorCode;
use crate::ids::{ActorId, LaneId, TaskId};
use crate::node::tests::harness::{SECOND, large, options, value, value_with};
use crate::node::{Caller, TaskState, Until, WaitState, Waitable};
use crate::options::{ActorOptions, CallOptions, Retries, Returns, Strategy};
use crate::resources::Quantity;
use crate::value::{Handle, Residence};

/// A job on the first node whose actor lives on the second; the third has room too.
pub struct Scene {
    pub cluster: Cluster,
    pub root: Caller,
    pub actor: ActorId,
    pub lane: LaneId,
}

pub fn scene(mut wants: ActorOptions) -> Scene {
    let mut cluster = Cluster::new(&[1, 2, 2]);
    let root = cluster.job(0);
    wants.placement.strategy = on(&cluster, 1).placement.strategy;
    let actor = create(&mut cluster, 0, root, wants);
    cluster.construct(actor);
    let lane = cluster.worlds[0].lane();
    Scene { cluster, root, actor, lane }
}

impl Scene {
    pub fn call(&mut self, options: CallOptions) -> TaskId {
        let call = self.cluster.worlds[0].call_with(self.root, self.actor, self.lane, &[], options);
        self.cluster.settle();
        call.expect("a call that is accepted")
    }

    /// A task on a node that has a handle to the actor, and a lane of its own.
    pub fn guest(&mut self, index: usize) -> (TaskId, Caller, LaneId) {
        let handle = Handle::Actor(self.actor);
        let message = self.cluster.worlds[0].put(self.root, value_with(&[handle]));
        let mut there = options();
        there.placement.strategy = Strategy::Node(self.cluster.id(index), false);
        let task = self.cluster.worlds[0].spawn(self.root, &[message], there);
        self.cluster.settle();
        let guest = self.cluster.worlds[index].caller(task);
        self.cluster.worlds[index].acquire(guest, handle);
        self.cluster.worlds[0].release(self.root, Handle::Object(message));
        let lane = self.cluster.worlds[index].lane();
        (task, guest, lane)
    }

    /// Where a call runs, and as what: where its caller's task is too it has another id.
    pub fn inside(&self, index: usize) -> TaskId {
        let methods = self.cluster.worlds[index].running.iter();
        let method = |call: &crate::work::Call| matches!(call.entry, crate::work::Entry::Method(_));
        let mut inside = methods.filter(|(_, (_, call))| method(call)).map(|(task, _)| *task);
        inside.next().expect("a call that runs")
    }
}

// contract: A1, A7
#[test]
fn calls_enter_one_by_one_in_order_even_when_an_argument_comes_late() {
    let mut scene = scene(ActorOptions::default());
    let slow = scene.cluster.worlds[0].spawn(scene.root, &[], options());
    scene.cluster.settle();
    let (root, actor, lane) = (scene.root, scene.actor, scene.lane);
    let first = scene.cluster.worlds[0].call(root, actor, lane, &[slow.output(0)]);
    let second = scene.call(CallOptions::default());
    assert_eq!((scene.cluster.runs_on(first), scene.cluster.runs_on(second)), (None, None));
    scene.cluster.finish(slow);
    assert_eq!((scene.cluster.runs_on(first), scene.cluster.runs_on(second)), (Some(1), None));
    let why = scene.cluster.worlds[0].node.explain(first).expect("known");
    assert!(why.contains(&format!("was given to {}, where", scene.cluster.id(1))), "{why}");
    scene.cluster.finish(first);
    assert_eq!(scene.cluster.runs_on(second), Some(1));
    scene.cluster.finish(second);
    for call in [first, second] {
        assert!(scene.cluster.worlds[0].outcome(root, call.output(0)).is_some_and(|o| o.is_ok()));
    }
    let view = scene.cluster.worlds[0].node.actor(actor).expect("known");
    assert_eq!((view.pending_calls, view.running_calls, view.ended_calls), (0, 0, 2));
    assert_eq!(scene.cluster.worlds[0].node.task(first).expect("kept").attempts[0].node, scene.cluster.id(1));
    scene.cluster.end();
}

// contract: A7
#[test]
fn a_group_that_is_full_does_not_block_another_and_the_bounds_hold() {
    let groups = vec![("io".to_owned(), 2)];
    let mut scene = scene(ActorOptions { concurrency_groups: groups, ..ActorOptions::default() });
    let mut calls = Vec::new();
    for group in [None, None, Some("io"), Some("io"), Some("io")] {
        scene.lane = scene.cluster.worlds[0].lane();
        let concurrency_group = group.map(str::to_owned);
        calls.push(scene.call(CallOptions { concurrency_group, ..CallOptions::default() }));
    }
    let inside =
        |scene: &Scene| calls.iter().map(|call| scene.cluster.runs_on(*call).is_some()).collect::<Vec<_>>();
    assert_eq!(inside(&scene), [true, false, true, true, false]);
    scene.cluster.finish(calls[2]);
    assert_eq!(inside(&scene), [true, false, false, true, true]);
    scene.cluster.finish(calls[0]);
    assert_eq!(inside(&scene), [false, true, false, true, true]);
    for call in [1, 3, 4] {
        scene.cluster.finish(calls[call]);
    }
    scene.cluster.end();
}

#[test]
fn a_large_result_stays_where_it_was_made_until_it_is_wanted() {
    let mut scene = scene(ActorOptions::default());
    let call = scene.call(CallOptions::default());
    scene.cluster.worlds[1].finish_with(call, vec![large(1 << 20)]);
    scene.cluster.settle();
    let object = call.output(0);
    let wait =
        scene.cluster.worlds[0].wait(scene.root, &[Waitable::Value(object)], Until::AllOrFailure, None);
    let WaitState::Blocked(wait) = wait else { panic!("it is not here") };
    scene.cluster.settle();
    assert!(scene.cluster.worlds[0].is_awake(wait));
    scene.cluster.worlds[0].release(scene.root, Handle::Object(object));
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[1].node.object_count(), 0);
    scene.cluster.end();
}

// contract: O6
#[test]
fn a_large_result_for_a_third_node_is_kept_for_that_one() {
    let mut scene = scene(ActorOptions::default());
    let (task, guest, lane) = scene.guest(2);
    let call = scene.cluster.worlds[2].call(guest, scene.actor, lane, &[]);
    scene.cluster.settle();
    assert_eq!(scene.cluster.runs_on(call), Some(1));
    scene.cluster.worlds[1].finish_with(call, vec![large(1 << 20)]);
    scene.cluster.settle();
    let object = call.output(0);
    scene.cluster.worlds[2].wait(guest, &[Waitable::Value(object)], Until::AllOrFailure, None);
    scene.cluster.settle();
    let outcome = scene.cluster.worlds[2].outcome(guest, object).expect("there").expect("a value");
    assert_eq!(outcome.place.residence(), Residence::Arena);
    assert!(scene.cluster.worlds[0].node.object(object).is_none(), "the actor's owner has nothing of it");
    scene.cluster.worlds[2].release(guest, Handle::Object(object));
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[1].node.object_count(), 0);
    scene.cluster.finish(task);
    scene.cluster.end();
}

#[test]
fn what_is_kept_for_a_third_node_outlives_the_actors_owner() {
    for told in [true, false] {
        let mut scene = scene(ActorOptions::default());
        let job = scene.cluster.job(2);
        let (actor, owner) = (scene.actor, scene.cluster.id(0));
        scene.cluster.worlds[2]
            .event(|node, _, _| node.found_actor(job.instance, actor, owner))
            .expect("it lives");
        scene.cluster.settle();
        let lane = scene.cluster.worlds[2].lane();
        let call = scene.cluster.worlds[2].call(job, actor, lane, &[]);
        scene.cluster.settle();
        scene.cluster.worlds[1].finish_with(call, vec![large(1 << 20)]);
        if told {
            scene.cluster.settle();
        }
        scene.cluster.kill(0);
        let object = call.output(0);
        match told {
            true => {
                scene.cluster.worlds[2].wait(job, &[Waitable::Value(object)], Until::AllOrFailure, None);
                scene.cluster.settle();
                let outcome = scene.cluster.worlds[2].outcome(job, object).expect("there");
                assert_eq!(outcome.expect("a value").place.residence(), Residence::Arena);
            }
            false => {
                assert_eq!(scene.cluster.worlds[2].code_of(job, call), ErrorCode::ActorDied);
                assert_eq!(scene.cluster.worlds[1].node.object_count(), 0, "nobody was told of it");
            }
        }
        scene.cluster.end();
    }
}

#[test]
fn a_caller_on_the_actors_own_node_gets_its_result_by_way_of_the_owner() {
    let mut scene = scene(ActorOptions::default());
    let (task, guest, lane) = scene.guest(1);
    let sent = scene.cluster.worlds[1].call(guest, scene.actor, lane, &[]);
    let wait = scene.cluster.worlds[1].block_on(guest, sent);
    scene.cluster.settle();
    let inside = scene.inside(1);
    assert_ne!(inside, sent, "the caller's node knows both");
    scene.cluster.worlds[1].finish_with(inside, vec![large(1 << 20)]);
    assert!(!scene.cluster.worlds[1].is_awake(wait), "the actor's owner has not heard of it");
    scene.cluster.settle();
    assert!(scene.cluster.worlds[1].is_awake(wait));
    let outcome = scene.cluster.worlds[1].outcome(guest, sent.output(0)).expect("there").expect("a value");
    assert_eq!(outcome.place.residence(), Residence::Arena, "it has not moved");
    // One that is doomed leaves nothing on its way back.
    let sent = scene.cluster.worlds[1]
        .call_with(
            guest,
            scene.actor,
            lane,
            &[],
            CallOptions { deadline: Some(SECOND), ..CallOptions::default() },
        )
        .expect("accepted");
    scene.cluster.settle();
    let inside = scene.inside(1);
    for world in &mut scene.cluster.worlds {
        world.advance(2 * SECOND);
    }
    scene.cluster.worlds[1].finish_with(inside, vec![large(1 << 20)]);
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[1].code_of(guest, sent), ErrorCode::DeadlineExceeded);
    scene.cluster.finish(task);
    scene.cluster.end();
}

#[test]
fn a_call_asks_for_everything_that_a_task_may() {
    let mut scene = scene(ActorOptions::default());
    let call = scene.call(CallOptions::default());
    let inside = scene.cluster.worlds[1].caller(call);
    let put = scene.cluster.worlds[1].put(inside, large(400_000));
    let child = scene.cluster.worlds[1].spawn(inside, &[put], options());
    let wait = scene.cluster.worlds[1].block_on(inside, child);
    scene.cluster.settle();
    scene.cluster.finish(child);
    assert!(scene.cluster.worlds[1].is_awake(wait));
    let made = value_with(&[Handle::Object(child.output(0)), Handle::Object(put)]);
    scene.cluster.worlds[1].finish_with(call, vec![made]);
    scene.cluster.settle();
    let outcome = scene.cluster.worlds[0].outcome(scene.root, call.output(0)).expect("there");
    assert_eq!(outcome.expect("a value").handles.len(), 2);
    scene.cluster.worlds[0].acquire(scene.root, Handle::Object(child.output(0)));
    let wait = scene.cluster.worlds[0].get(scene.root, &[child.output(0)]).expect("it is elsewhere");
    scene.cluster.settle();
    assert!(scene.cluster.worlds[0].is_awake(wait));
    scene.cluster.end();
}

// contract: A9
#[test]
fn a_guest_that_asks_for_its_own_actor_has_a_handle_that_works() {
    let mut scene = scene(ActorOptions { max_concurrency: 2, ..ActorOptions::default() });
    let call = scene.call(CallOptions::default());
    let inside = scene.cluster.worlds[1].caller(call);
    scene.cluster.worlds[1].acquire(inside, Handle::Actor(scene.actor));
    let lane = scene.cluster.worlds[1].lane();
    let own = scene.cluster.worlds[1].call(inside, scene.actor, lane, &[]);
    scene.cluster.settle();
    let (root, actor) = (scene.root, scene.actor);
    scene.cluster.worlds[0].release(root, Handle::Actor(actor));
    scene.cluster.finish(call);
    assert_eq!(scene.cluster.worlds[0].actor_state(actor), "ALIVE", "it holds itself");
    let second = scene.inside(1);
    scene.cluster.finish(second);
    assert!(scene.cluster.worlds[1].outcome(inside, own.output(0)).is_some_and(|o| o.is_ok()));
    scene.cluster.worlds[1].release(inside, Handle::Actor(actor));
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[0].actor_state(actor), "DEAD");
    scene.cluster.end();
}

// contract: T2
#[test]
fn a_blocked_call_gives_the_cpus_of_its_actor_back_where_it_runs() {
    let mut wants = ActorOptions::default();
    wants.placement.cpus = Some(Quantity::units(2));
    let mut scene = scene(wants);
    let call = scene.call(CallOptions::default());
    let inside = scene.cluster.worlds[1].caller(call);
    assert_eq!(scene.cluster.worlds[1].free().cpus, Quantity::ZERO);
    let mut here = options();
    here.placement.strategy = Strategy::Node(scene.cluster.id(1), false);
    let child = scene.cluster.worlds[1].spawn(inside, &[], here);
    assert_eq!(scene.cluster.runs_on(child), None);
    let wait = scene.cluster.worlds[1].block_on(inside, child);
    assert_eq!(scene.cluster.runs_on(child), Some(1));
    scene.cluster.finish(child);
    assert!(scene.cluster.worlds[1].is_awake(wait));
    assert_eq!(scene.cluster.worlds[1].free().cpus, Quantity::ZERO);
    scene.cluster.finish(call);
    scene.cluster.end();
}

#[test]
fn application_failures_are_retried_by_the_owner() {
    let mut scene = scene(ActorOptions::default());
    let retries = Retries { system: 0, application: 1, kinds: Vec::new() };
    let call = scene.call(CallOptions { retries, ..CallOptions::default() });
    for attempt in 0..2 {
        assert_eq!(scene.cluster.worlds[1].running[&call].1.attempt, attempt);
        scene.cluster.worlds[1].fail(call, super::failure("flaky"));
        scene.cluster.settle();
    }
    let error = scene.cluster.worlds[0].error_of(scene.root, call.output(0));
    assert_eq!(error.code(), ErrorCode::TaskFailed);
    assert_eq!(error.path().len(), 1, "{error:?}");
    assert_eq!(error.path()[0].node, scene.cluster.id(1).to_string());
    scene.cluster.end();
}

// contract: A6
#[test]
fn pending_calls_are_counted_at_the_owner() {
    let mut scene = scene(ActorOptions { max_pending_calls: Some(1), ..ActorOptions::default() });
    let first = scene.call(CallOptions::default());
    let (root, actor, lane) = (scene.root, scene.actor, scene.lane);
    let second = scene.cluster.worlds[0].call_with(root, actor, lane, &[], CallOptions::default());
    assert_eq!(second.expect_err("one is pending").code(), ErrorCode::PendingCallsExceeded);
    scene.cluster.finish(first);
    let third = scene.call(CallOptions::default());
    scene.cluster.finish(third);
    scene.cluster.end();
}

// contract: A2
#[test]
fn no_call_runs_twice_when_packets_are_lost_and_repeated() {
    let mut scene = scene(ActorOptions::default());
    let (root, actor, lane) = (scene.root, scene.actor, scene.lane);
    let calls: Vec<TaskId> = (0..4).map(|_| scene.cluster.worlds[0].call(root, actor, lane, &[])).collect();
    for round in 0..40 {
        scene.cluster.collect();
        let flying = std::mem::take(&mut scene.cluster.flying);
        for (index, packet) in flying.into_iter().enumerate() {
            if (round + index) % 3 > 0 {
                scene.cluster.deliver(packet.clone());
                scene.cluster.deliver(packet);
            }
        }
        for call in &calls {
            if scene.cluster.worlds[1].running.contains_key(call) {
                scene.cluster.worlds[1].finish_with(*call, vec![value(8)]);
            }
        }
        for world in &mut scene.cluster.worlds {
            world.advance(Duration::from_millis(210));
        }
    }
    scene.cluster.settle();
    let begun: Vec<TaskId> =
        scene.cluster.worlds[1].begun.iter().map(|(task, _)| *task).filter(|t| calls.contains(t)).collect();
    assert_eq!(begun, calls);
    scene.cluster.end();
}

#[test]
fn the_arguments_of_calls_travel_as_those_of_tasks() {
    let mut scene = scene(ActorOptions::default());
    let (task, guest, lane) = scene.guest(2);
    let object = scene.cluster.worlds[2].put(guest, large(1 << 20));
    let holder = scene.cluster.worlds[2].put(guest, value_with(&[Handle::Object(object)]));
    let call = scene.cluster.worlds[2].call(guest, scene.actor, lane, &[object, holder]);
    for object in [object, holder] {
        scene.cluster.worlds[2].release(guest, Handle::Object(object));
    }
    scene.cluster.settle();
    let (_, running) = &scene.cluster.worlds[1].running[&call];
    assert_eq!((running.arguments[0].size, running.arguments[1].handles.len()), (1 << 20, 1));
    let inside = scene.cluster.worlds[1].caller(call);
    scene.cluster.worlds[1].acquire(inside, Handle::Object(object));
    scene.cluster.finish(call);
    assert_eq!(
        scene.cluster.worlds[2].node.object_count(),
        2,
        "the actor kept what it was given, and a result"
    );
    scene.cluster.worlds[1].release(inside, Handle::Object(object));
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[2].node.object_count(), 1);
    scene.cluster.finish(task);
    scene.cluster.end();
}

#[test]
fn the_wrong_number_of_values_is_the_calls_failure() {
    let mut scene = scene(ActorOptions::default());
    let (root, actor, lane) = (scene.root, scene.actor, scene.lane);
    let options = CallOptions { returns: Returns::Fixed(2), ..CallOptions::default() };
    let call = scene.cluster.worlds[0].call_with(root, actor, lane, &[], options).expect("accepted");
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[1].running[&call].1.returns, Returns::Fixed(2));
    scene.cluster.worlds[1].finish_with(call, vec![value(8)]);
    scene.cluster.settle();
    let error = scene.cluster.worlds[0].error_of(root, call.output(1));
    assert!(error.message().contains("1 values where 2 were declared"), "{error}");
    scene.cluster.end();
}

#[test]
fn each_call_is_counted_once_over_all_nodes() {
    let mut scene = scene(ActorOptions::default());
    let (_, guest, lane) = scene.guest(2);
    let of = |scene: &Scene, index: usize| {
        let progress = scene.cluster.worlds[index].node.progress();
        [TaskState::Submitted, TaskState::Running, TaskState::Finished].map(|state| progress.of(state))
    };
    // The root and the guest, and the constructor that has ended.
    assert_eq!([of(&scene, 0), of(&scene, 1), of(&scene, 2)], [[0, 2, 1], [0; 3], [0; 3]]);
    let call = scene.cluster.worlds[2].call(guest, scene.actor, lane, &[]);
    scene.cluster.settle();
    let own = scene.call(CallOptions::default());
    assert_eq!([of(&scene, 0), of(&scene, 1), of(&scene, 2)], [[1, 2, 1], [0; 3], [0, 1, 0]]);
    let inside = scene.inside(1);
    scene.cluster.finish(inside);
    assert_eq!(scene.cluster.runs_on(own), Some(1));
    assert_eq!([of(&scene, 0), of(&scene, 1), of(&scene, 2)], [[0, 3, 1], [0; 3], [0, 0, 1]]);
    let second = scene.cluster.worlds[2].call(guest, scene.actor, lane, &[]);
    scene.cluster.finish(own);
    assert_eq!([of(&scene, 0), of(&scene, 1), of(&scene, 2)], [[0, 2, 2], [0; 3], [0, 1, 1]]);
    assert_ne!(call, second);
    // The call goes on, and is its actor's node's from now on.
    scene.cluster.kill(2);
    assert_eq!(of(&scene, 1), [0; 3]);
    let inside = scene.inside(1);
    scene.cluster.finish(inside);
    scene.cluster.end();
}
