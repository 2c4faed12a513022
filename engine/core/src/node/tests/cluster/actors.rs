//! Calls of actors on other nodes, each of which lives on its owner's.

use std::time::Duration;

use super::Cluster;
use crate::error::ErrorCode;
use crate::ids::{ActorId, LaneId, TaskId};
use crate::node::Caller;
use crate::node::tests::harness::{large, options, value_with};
use crate::options::{ActorOptions, CallOptions, Retries};
use crate::value::Handle;

/// An actor on the first node, and a task on the second that has a handle to it.
struct Scene {
    cluster: Cluster,
    root: Caller,
    actor: ActorId,
    task: TaskId,
    guest: Caller,
    lane: LaneId,
}

fn scene(actor_options: ActorOptions) -> Scene {
    let mut cluster = Cluster::new(&[1, 1]);
    let root = cluster.job(0);
    let actor = cluster.worlds[0].actor(root, actor_options);
    let message = cluster.worlds[0].put(root, value_with(&[Handle::Actor(actor)]));
    let mut there = options();
    there.placement.strategy = crate::options::Strategy::Node(cluster.id(1), false);
    let task = cluster.worlds[0].spawn(root, &[message], there);
    cluster.settle();
    let guest = cluster.worlds[1].caller(task);
    cluster.worlds[1].acquire(guest, Handle::Actor(actor));
    cluster.worlds[0].release(root, Handle::Object(message));
    let lane = cluster.worlds[1].lane();
    Scene { cluster, root, actor, task, guest, lane }
}

impl Scene {
    fn call(&mut self, options: CallOptions) -> TaskId {
        let (guest, actor, lane) = (self.guest, self.actor, self.lane);
        let call = self.cluster.worlds[1].call_with(guest, actor, lane, &[], options);
        self.cluster.settle();
        call.expect("a call that is accepted")
    }

    fn code(&self, call: TaskId) -> ErrorCode {
        self.cluster.worlds[1].code_of(self.guest, call)
    }

    fn end(mut self) {
        if self.cluster.alive[1] && self.cluster.worlds[1].running.contains_key(&self.task) {
            self.cluster.finish(self.task);
        }
        self.cluster.end();
    }
}

// contract: A9
#[test]
fn a_call_from_another_node_is_served_and_its_result_comes_back() {
    let mut scene = scene(ActorOptions::default());
    let call = scene.call(CallOptions::default());
    assert_eq!(scene.cluster.runs_on(call), Some(0), "where the actor is");
    let wait = scene.cluster.worlds[1].block_on(scene.guest, call);
    scene.cluster.worlds[0].finish_with(call, vec![large(400_000)]);
    scene.cluster.settle();
    assert!(scene.cluster.worlds[1].is_awake(wait));
    let outcome = scene.cluster.worlds[1].outcome(scene.guest, call.output(0)).expect("there");
    assert_eq!(outcome.expect("a value").size, 400_000);
    scene.end();
}

// contract: A1
#[test]
fn calls_of_one_handle_run_in_order_even_when_an_argument_comes_late() {
    let mut scene = scene(ActorOptions::default());
    let slow = scene.cluster.worlds[1].spawn(scene.guest, &[], options());
    scene.cluster.settle();
    let (guest, actor, lane) = (scene.guest, scene.actor, scene.lane);
    let first = scene.cluster.worlds[1].call(guest, actor, lane, &[slow.output(0)]);
    let second = scene.cluster.worlds[1].call(guest, actor, lane, &[]);
    let other = scene.cluster.worlds[1].lane();
    let independent = scene.cluster.worlds[1].call(guest, actor, other, &[]);
    scene.cluster.settle();
    assert_eq!(scene.cluster.runs_on(independent), Some(0), "another handle waits for nobody");
    scene.cluster.finish(independent);
    assert_eq!((scene.cluster.runs_on(first), scene.cluster.runs_on(second)), (None, None));
    scene.cluster.finish(slow);
    assert_eq!((scene.cluster.runs_on(first), scene.cluster.runs_on(second)), (Some(0), None));
    scene.cluster.finish(first);
    scene.cluster.finish(second);
    scene.end();
}

// contract: A9
#[test]
fn a_handle_on_another_node_keeps_the_actor_alive() {
    let mut scene = scene(ActorOptions::default());
    scene.cluster.worlds[0].release(scene.root, Handle::Actor(scene.actor));
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "ALIVE");
    let kept = {
        // Something that outlives the task there, and holds the actor.
        let message = value_with(&[Handle::Actor(scene.actor)]);
        let object = scene.cluster.worlds[1].put(scene.guest, message);
        scene.cluster.worlds[1].spawn(scene.guest, &[object], options())
    };
    scene.cluster.settle();
    let task = scene.task;
    scene.cluster.finish(task);
    assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "ALIVE");
    scene.cluster.finish(kept);
    assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "DEAD");
    scene.end();
}

// contract: A3
#[test]
fn calls_of_an_actor_whose_node_dies_fail_at_once() {
    let mut cluster = Cluster::new(&[1, 0, 1]);
    let root = cluster.job(0);
    let maker = {
        let mut there = options();
        there.placement.strategy = crate::options::Strategy::Node(cluster.id(2), false);
        cluster.worlds[0].spawn(root, &[], there)
    };
    cluster.settle();
    let inside = cluster.worlds[2].caller(maker);
    let light = {
        let mut options = ActorOptions::default();
        options.placement.cpus = Some(crate::resources::Quantity::ZERO);
        options.placement.strategy = crate::options::Strategy::Node(cluster.id(2), false);
        options
    };
    let actor = cluster.worlds[2].actor(inside, light);
    cluster.worlds[2].finish_with(maker, vec![value_with(&[Handle::Actor(actor)])]);
    cluster.settle();
    cluster.worlds[0].acquire(root, Handle::Actor(actor));
    let lane = cluster.worlds[0].lane();
    let call = cluster.worlds[0].call(root, actor, lane, &[]);
    cluster.settle();
    assert_eq!(cluster.runs_on(call), Some(2));
    cluster.kill(2);
    assert_eq!(cluster.worlds[0].code_of(root, call), ErrorCode::ActorDied);
    let error = cluster.worlds[0].call_with(root, actor, lane, &[], CallOptions::default());
    assert_eq!(error.expect_err("it is dead").code(), ErrorCode::ActorDied);
    cluster.end();
}

#[test]
fn an_actor_goes_on_when_its_caller_dies() {
    let mut scene = scene(ActorOptions::default());
    let running = scene.call(CallOptions::default());
    let queued = scene.call(CallOptions::default());
    scene.cluster.kill(1);
    assert_eq!(scene.cluster.worlds[0].interrupts, [running], "it is asked to end");
    assert_eq!(scene.cluster.runs_on(queued), None);
    assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "ALIVE");
    scene.cluster.finish(running);
    let lane = scene.cluster.worlds[0].lane();
    let own = scene.cluster.worlds[0].call(scene.root, scene.actor, lane, &[]);
    scene.cluster.finish(own);
    scene.end();
}

// contract: A3
#[test]
fn a_call_in_flight_is_tried_again_after_a_restart() {
    let mut scene = scene(ActorOptions { max_restarts: 1, max_task_retries: 1, ..ActorOptions::default() });
    let call = scene.call(CallOptions::default());
    scene.cluster.worlds[0].lose(call);
    scene.cluster.worlds[0].construct(scene.actor);
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[0].running[&call].1.attempt, 1);
    scene.cluster.finish(call);
    assert!(scene.cluster.worlds[1].outcome(scene.guest, call.output(0)).is_some_and(|o| o.is_ok()));
    scene.end();
}

// contract: A5
#[test]
fn a_queued_call_is_cancelled_and_a_running_one_is_asked() {
    let mut scene = scene(ActorOptions::default());
    let running = scene.call(CallOptions::default());
    let queued = scene.call(CallOptions::default());
    for call in [running, queued] {
        scene.cluster.worlds[1].cancel(call, false, true);
    }
    scene.cluster.settle();
    assert_eq!(scene.code(queued), ErrorCode::TaskCancelled);
    assert_eq!(scene.cluster.worlds[0].interrupts, [running]);
    scene.cluster.finish(running);
    assert!(scene.cluster.worlds[1].outcome(scene.guest, running.output(0)).is_some_and(|o| o.is_ok()));
    scene.end();
}

// contract: A5
#[test]
fn at_a_calls_deadline_the_incarnation_ends() {
    let mut scene = scene(ActorOptions { max_restarts: 1, ..ActorOptions::default() });
    let deadline = Some(Duration::from_secs(2));
    let call = scene.call(CallOptions { deadline, ..CallOptions::default() });
    scene.cluster.advance(Duration::from_secs(3));
    assert_eq!(scene.code(call), ErrorCode::DeadlineExceeded);
    assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "RESTARTING");
    scene.cluster.worlds[0].construct(scene.actor);
    scene.end();
}

// contract: A6
#[test]
fn pending_calls_are_bounded_from_afar_too() {
    let mut scene = scene(ActorOptions { max_pending_calls: Some(1), ..ActorOptions::default() });
    let first = scene.call(CallOptions::default());
    let second = scene.call(CallOptions::default());
    assert_eq!(scene.code(second), ErrorCode::PendingCallsExceeded);
    scene.cluster.finish(first);
    let third = scene.call(CallOptions::default());
    scene.cluster.finish(third);
    scene.end();
}

// contract: A4
#[test]
fn an_actor_is_killed_from_afar() {
    let mut scene = scene(ActorOptions::default());
    let call = scene.call(CallOptions::default());
    scene.cluster.worlds[1].kill(scene.guest, scene.actor, false);
    scene.cluster.settle();
    assert_eq!(scene.code(call), ErrorCode::ActorDied);
    assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "DEAD");
    scene.end();
}

#[test]
fn application_failures_are_retried_at_the_actor() {
    let mut scene = scene(ActorOptions::default());
    let retries = Retries { system: 0, application: 1, kinds: Vec::new() };
    let call = scene.call(CallOptions { retries, ..CallOptions::default() });
    scene.cluster.worlds[0].fail(call, super::failure("flaky"));
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[0].running[&call].1.attempt, 1);
    scene.cluster.worlds[0].fail(call, super::failure("flaky"));
    scene.cluster.settle();
    assert_eq!(scene.code(call), ErrorCode::TaskFailed);
    scene.end();
}

// contract: A5, T4
#[test]
fn cancelling_a_task_elsewhere_asks_its_calls_to_end_and_ends_no_actor() {
    let mut scene = scene(ActorOptions::default());
    let call = scene.call(CallOptions::default());
    let task = scene.task;
    scene.cluster.worlds[0].cancel(task, false, true);
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[0].code_of(scene.root, task), ErrorCode::TaskCancelled);
    assert_eq!(scene.cluster.worlds[0].interrupts, [call]);
    assert_eq!(scene.cluster.worlds[0].actor_state(scene.actor), "ALIVE");
    scene.cluster.finish(call);
    scene.end();
}

// contract: A8
#[test]
fn a_named_actor_is_found_from_another_node_and_kept_alive() {
    let mut scene = scene(ActorOptions::default());
    let stranger = scene.cluster.job(1);
    let (actor, owner) = (scene.actor, scene.cluster.id(0));
    let found = |cluster: &mut Cluster| {
        let found = cluster.worlds[1].event(|node, _, _| node.found_actor(stranger.instance, actor, owner));
        cluster.settle();
        found
    };
    found(&mut scene.cluster).expect("its node lives");
    found(&mut scene.cluster).expect("again");
    let lane = scene.cluster.worlds[1].lane();
    let call = scene.cluster.worlds[1].call(stranger, actor, lane, &[]);
    scene.cluster.settle();
    assert_eq!(scene.cluster.runs_on(call), Some(0));
    scene.cluster.finish(call);
    // Whoever had it before lets it go: the one who looked it up holds it.
    scene.cluster.worlds[0].release(scene.root, Handle::Actor(actor));
    let task = scene.task;
    scene.cluster.finish(task);
    assert_eq!(scene.cluster.worlds[0].actor_state(actor), "ALIVE");
    for _ in 0..2 {
        scene.cluster.worlds[1].release(stranger, Handle::Actor(actor));
    }
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[0].actor_state(actor), "DEAD");
    scene.cluster.end();
}

#[test]
fn a_named_actor_that_is_gone_when_it_is_found_fails_its_calls() {
    let mut scene = scene(ActorOptions::default());
    let stranger = scene.cluster.job(1);
    let (actor, owner) = (scene.actor, scene.cluster.id(0));
    scene.cluster.worlds[0].release(scene.root, Handle::Actor(actor));
    let task = scene.task;
    scene.cluster.finish(task);
    scene.cluster.worlds[1]
        .event(|node, _, _| node.found_actor(stranger.instance, actor, owner))
        .expect("its node lives");
    scene.cluster.settle();
    let lane = scene.cluster.worlds[1].lane();
    let call = scene.cluster.worlds[1].call(stranger, actor, lane, &[]);
    scene.cluster.settle();
    assert_eq!(scene.cluster.worlds[1].code_of(stranger, call), ErrorCode::ActorDied);
    scene.cluster.kill(0);
    let found = scene.cluster.worlds[1].event(|node, _, _| node.found_actor(stranger.instance, actor, owner));
    assert_eq!(found.expect_err("its node is dead").code(), ErrorCode::ActorDied);
    scene.cluster.end();
}
