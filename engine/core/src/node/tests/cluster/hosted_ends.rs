//! Ends of actors that live on another node than their owner's, and of the nodes.

use super::Cluster;
use super::hosted::{create, on};
use crate::error::ErrorCode;
use crate::ids::{ActorId, LaneId, TaskId};
use crate::node::tests::harness::{error, failure, large, options, value, value_with};
use crate::node::{Caller, Packet};
use crate::options::{ActorOptions, CallOptions, Strategy};
use crate::resources::Quantity;
use crate::value::Handle;

pub struct Scene {
    pub cluster: Cluster,
    pub root: Caller,
    pub actor: ActorId,
    lane: LaneId,
}

/// A job on the first node, which has no CPU, and its actor, which lives on one of two others.
pub fn scene(wants: ActorOptions) -> (Scene, usize) {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let actor = create(&mut cluster, 0, root, wants);
    let index = cluster.construct(actor);
    let lane = cluster.worlds[0].lane();
    (Scene { cluster, root, actor, lane }, index)
}

pub fn restarts(max_restarts: i32, max_task_retries: i32) -> ActorOptions {
    ActorOptions { max_restarts, max_task_retries, ..ActorOptions::default() }
}

impl Scene {
    pub fn call(&mut self) -> TaskId {
        let call = self.cluster.worlds[0].call(self.root, self.actor, self.lane, &[]);
        self.cluster.settle();
        call
    }

    pub fn state(&self) -> &'static str {
        self.cluster.worlds[0].actor_state(self.actor)
    }

    fn code(&self, call: TaskId) -> ErrorCode {
        self.cluster.worlds[0].code_of(self.root, call)
    }

    pub fn is_ok(&self, call: TaskId) -> bool {
        self.cluster.worlds[0].outcome(self.root, call.output(0)).is_some_and(|outcome| outcome.is_ok())
    }

    /// Nothing of the actor is on a node any more.
    #[track_caller]
    pub fn assert_free(&self, index: usize) {
        let world = &self.cluster.worlds[index];
        assert_eq!(world.free(), world.node.ledger().0);
        assert!(world.sandboxes.is_empty());
    }
}

// contract: A4, T5
#[test]
fn kill_ends_it_now_and_calls_in_flight_fail() {
    let (mut scene, at) = scene(restarts(3, 3));
    let running = scene.call();
    let queued = scene.call();
    scene.cluster.worlds[0].kill(scene.root, scene.actor, false);
    scene.cluster.settle();
    assert_eq!((scene.code(running), scene.code(queued)), (ErrorCode::ActorDied, ErrorCode::ActorDied));
    assert_eq!(scene.state(), "DEAD");
    scene.assert_free(at);
    scene.cluster.end();
}

// contract: A4
#[test]
fn kill_with_restart_is_under_the_budget() {
    let (mut scene, _) = scene(restarts(1, 0));
    let running = scene.call();
    let queued = scene.call();
    scene.cluster.worlds[0].kill(scene.root, scene.actor, true);
    scene.cluster.settle();
    assert_eq!((scene.code(running), scene.state()), (ErrorCode::ActorDied, "RESTARTING"));
    scene.cluster.construct(scene.actor);
    scene.cluster.finish(queued);
    assert!(scene.is_ok(queued));
    scene.cluster.worlds[0].kill(scene.root, scene.actor, true);
    scene.cluster.settle();
    assert_eq!(scene.state(), "DEAD");
    scene.cluster.end();
}

// contract: A4
#[test]
fn the_last_handle_ends_it_after_its_queued_calls() {
    let (mut scene, at) = scene(restarts(3, 0));
    let calls = [scene.call(), scene.call()];
    scene.cluster.worlds[0].release(scene.root, Handle::Actor(scene.actor));
    scene.cluster.settle();
    for call in calls {
        assert_eq!(scene.state(), "ALIVE");
        scene.cluster.finish(call);
        assert!(scene.is_ok(call));
    }
    assert_eq!(scene.state(), "DEAD");
    scene.assert_free(at);
    scene.cluster.end();
}

// contract: J2
#[test]
fn a_job_that_ends_takes_its_actors_elsewhere_with_it() {
    let (mut scene, at) = scene(restarts(3, 3));
    let call = scene.call();
    let inside = scene.cluster.worlds[at].caller(call);
    scene.cluster.worlds[at].spawn(inside, &[], options());
    scene.cluster.settle();
    let job = scene.cluster.worlds[0].job_of(scene.root);
    scene.cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    assert!(!scene.cluster.worlds[0].ended.contains_key(&job), "something of it is elsewhere");
    scene.cluster.settle();
    assert!(scene.cluster.worlds[0].ended.contains_key(&job));
    scene.assert_free(at);
    scene.cluster.end();
}

// contract: J2
#[test]
fn a_callers_job_that_ends_leaves_the_actor_alone_and_asks_its_call_to_end() {
    let (mut scene, at) = scene(restarts(0, 0));
    let other = scene.cluster.job(0);
    scene.cluster.worlds[0].acquire(other, Handle::Actor(scene.actor));
    let call = scene.cluster.worlds[0].call(other, scene.actor, scene.lane, &[]);
    scene.cluster.settle();
    let job = scene.cluster.worlds[0].job_of(other);
    scene.cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    scene.cluster.settle();
    assert!(scene.cluster.worlds[0].ended.contains_key(&job));
    assert_eq!(scene.cluster.worlds[at].interrupts, [call]);
    scene.cluster.finish(call);
    assert_eq!(scene.state(), "ALIVE");
    let own = scene.call();
    scene.cluster.finish(own);
    assert!(scene.is_ok(own));
    scene.cluster.end();
}

// contract: A3
#[test]
fn a_guests_own_death_is_told_and_the_actor_restarts_within_its_budget() {
    for retries in [0, 1] {
        let (mut scene, at) = scene(restarts(1, retries));
        let running = scene.call();
        let queued = scene.call();
        scene.cluster.worlds[at].trap(running, error(ErrorCode::WorkerDied));
        scene.cluster.settle();
        assert_eq!(scene.state(), "RESTARTING");
        assert_eq!(scene.cluster.runs_on(queued), None, "it waits for the restart");
        scene.cluster.construct(scene.actor);
        if retries == 0 {
            assert_eq!(scene.code(running), ErrorCode::WorkerDied);
        } else {
            scene.cluster.finish(running);
            assert!(scene.is_ok(running));
        }
        scene.cluster.finish(queued);
        assert!(scene.is_ok(queued));
        let last = scene.call();
        let at = scene.cluster.runs_on(last).expect("it runs");
        scene.cluster.worlds[at].trap(last, error(ErrorCode::OutOfMemory));
        scene.cluster.settle();
        assert_eq!((scene.code(last), scene.state()), (ErrorCode::OutOfMemory, "DEAD"));
        let cause = scene.cluster.worlds[0].node.actor(scene.actor).and_then(|view| view.cause);
        assert!(cause.is_some_and(|cause| cause.message().contains("out_of_memory")));
        for index in 1..3 {
            scene.assert_free(index);
        }
        scene.cluster.end();
    }
}

// contract: A2, A3
#[test]
fn a_call_that_was_on_its_way_to_an_incarnation_that_ended_was_not_begun() {
    let (mut scene, at) = scene(restarts(1, 0));
    let late = scene.cluster.worlds[0].call(scene.root, scene.actor, scene.lane, &[]);
    let sandbox = *scene.cluster.worlds[at].sandboxes.keys().next().expect("the actor's");
    scene.cluster.worlds[at].die(sandbox);
    scene.cluster.settle();
    assert_eq!(scene.state(), "RESTARTING");
    scene.cluster.construct(scene.actor);
    scene.cluster.finish(late);
    assert!(scene.is_ok(late), "without a retry");
    scene.cluster.end();
}

// contract: A3
#[test]
fn a_constructor_whose_sandbox_is_lost_elsewhere_runs_again() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let actor = create(&mut cluster, 0, root, restarts(1, 0));
    let (at, task) = cluster.constructor(actor);
    cluster.worlds[at].lose(task);
    cluster.settle();
    assert_eq!(cluster.worlds[0].actor_state(actor), "RESTARTING");
    let (at, task) = cluster.constructor(actor);
    let sandbox = cluster.worlds[at].caller(task).instance;
    let life = &cluster.worlds[at].sandboxes[&sandbox].life;
    assert!(matches!(life, crate::work::Life::Actor { was_restarted: true, .. }), "{life:?}");
    cluster.worlds[at].lose(task);
    cluster.settle();
    assert_eq!(cluster.worlds[0].actor_state(actor), "DEAD");
    cluster.end();
}

// contract: A3
#[test]
fn an_actor_whose_node_dies_lives_on_another() {
    for retries in [0, 1] {
        let (mut scene, at) = scene(restarts(1, retries));
        let done = scene.call();
        scene.cluster.finish(done);
        let running = scene.call();
        let queued = scene.call();
        scene.cluster.kill(at);
        assert_eq!(scene.state(), "RESTARTING");
        assert_eq!(scene.cluster.construct(scene.actor), 3 - at);
        let view = scene.cluster.worlds[0].node.actor(scene.actor).expect("known");
        assert_eq!((view.node, view.restarts), (Some(scene.cluster.id(3 - at)), 1));
        if retries == 0 {
            assert_eq!(scene.code(running), ErrorCode::ActorDied);
        } else {
            scene.cluster.finish(running);
            assert!(scene.is_ok(running));
        }
        scene.cluster.finish(queued);
        assert!(scene.is_ok(queued) && scene.is_ok(done));
        scene.cluster.kill(3 - at);
        assert_eq!(scene.state(), "DEAD");
        let cause = scene.cluster.worlds[0].node.actor(scene.actor).and_then(|view| view.cause);
        assert!(cause.is_some_and(|cause| cause.message().contains(&scene.cluster.id(3 - at).to_string())));
        scene.cluster.end();
    }
}

// contract: A3
#[test]
fn an_actor_whose_node_dies_while_its_constructor_runs_is_constructed_on_another() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let actor = create(&mut cluster, 0, root, restarts(1, 0));
    let (at, _) = cluster.constructor(actor);
    cluster.kill(at);
    assert_eq!(cluster.construct(actor), 3 - at);
    assert_eq!(cluster.worlds[0].actor_state(actor), "ALIVE");
    cluster.end();
}

// contract: E2
#[test]
fn an_actor_that_only_the_dead_node_could_have_is_dead() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let actor = create(&mut cluster, 0, root, restarts(5, 0));
    cluster.construct(actor);
    cluster.kill(1);
    let cause = cluster.worlds[0].node.actor(actor).and_then(|view| view.cause).expect("it is dead");
    assert!(cause.message().contains("cpus"), "{cause}");
    cluster.end();
}

// contract: O9, J2
#[test]
fn an_actor_whose_owner_dies_ends_at_once_with_its_children() {
    let (mut scene, at) = scene(restarts(5, 5));
    let call = scene.call();
    let inside = scene.cluster.worlds[at].caller(call);
    let child = scene.cluster.worlds[at].spawn(inside, &[], options());
    scene.cluster.settle();
    scene.cluster.kill(0);
    assert_eq!((scene.cluster.runs_on(call), scene.cluster.runs_on(child)), (None, None));
    for index in 1..3 {
        scene.assert_free(index);
    }
    scene.cluster.end();
}

// contract: O9
#[test]
fn what_a_dead_owners_actor_had_made_fails_for_others() {
    let (mut scene, at) = scene(restarts(0, 0));
    let other = scene.cluster.job(3 - at);
    let (actor, owner) = (scene.actor, scene.cluster.id(0));
    scene.cluster.worlds[3 - at]
        .event(|node, _, _| node.found_actor(other.instance, actor, owner))
        .expect("it lives");
    scene.cluster.settle();
    let lane = scene.cluster.worlds[3 - at].lane();
    let call = scene.cluster.worlds[3 - at].call(other, actor, lane, &[]);
    scene.cluster.settle();
    assert_eq!(scene.cluster.runs_on(call), Some(at));
    scene.cluster.kill(0);
    assert_eq!(scene.cluster.worlds[3 - at].code_of(other, call), ErrorCode::ActorDied);
    scene.assert_free(at);
    scene.cluster.end();
}

// contract: H3
#[test]
fn nothing_that_a_fenced_node_says_of_an_actor_has_an_effect() {
    let (mut scene, at) = scene(restarts(1, 0));
    let call = scene.call();
    scene.cluster.worlds[at].finish_with(call, vec![large(1 << 20)]);
    let sandbox = *scene.cluster.worlds[at].sandboxes.keys().next().expect("the actor's");
    scene.cluster.worlds[at].die(sandbox);
    scene.cluster.collect();
    let late = std::mem::take(&mut scene.cluster.flying);
    scene.cluster.kill(at);
    scene.cluster.construct(scene.actor);
    for packet in late {
        scene.cluster.deliver(packet);
    }
    scene.cluster.settle();
    let view = scene.cluster.worlds[0].node.actor(scene.actor).expect("known");
    assert_eq!((view.state, view.restarts), ("ALIVE", 1));
    assert_eq!(scene.code(call), ErrorCode::ActorDied);
    scene.cluster.end();
}

/// Delivers packets between two nodes only.
fn deliver_to(cluster: &mut Cluster, index: usize) {
    cluster.collect();
    let id = cluster.id(index);
    let (meant, others): (Vec<Packet>, Vec<Packet>) =
        std::mem::take(&mut cluster.flying).into_iter().partition(|packet| packet.to == id);
    cluster.flying = others;
    meant.into_iter().for_each(|packet| cluster.deliver(packet));
}

// contract: A3
#[test]
fn what_is_said_of_an_earlier_incarnation_has_no_effect_on_the_next() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let wants = ActorOptions { max_concurrency: 2, ..restarts(2, 0) };
    let actor = create(&mut cluster, 0, root, wants);
    cluster.construct(actor);
    let lane = cluster.worlds[0].lane();
    let first = cluster.worlds[0].call(root, actor, lane, &[]);
    cluster.settle();
    // It dies, and before that is known it is killed, and a call is cancelled with force.
    let sandbox = cluster.worlds[1].caller(first).instance;
    cluster.worlds[1].die(sandbox);
    cluster.worlds[0].kill(root, actor, true);
    cluster.worlds[0].cancel(first, true, true);
    deliver_to(&mut cluster, 0);
    assert_eq!(cluster.worlds[0].actor_state(actor), "RESTARTING");
    cluster.settle();
    cluster.construct(actor);
    let view = cluster.worlds[0].node.actor(actor).expect("known");
    assert_eq!((view.state, view.restarts), ("ALIVE", 1), "the earlier one is what was to end");
    assert_eq!(cluster.worlds[0].code_of(root, first), ErrorCode::TaskCancelled);
    cluster.end();
}

#[test]
fn an_end_that_crosses_the_constructors_success_ends_it_there() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let actor = create(&mut cluster, 0, root, restarts(0, 0));
    let (at, task) = cluster.constructor(actor);
    cluster.worlds[at].finish(task);
    cluster.worlds[0].release(root, Handle::Actor(actor));
    cluster.settle();
    assert_eq!(cluster.worlds[0].actor_state(actor), "DEAD");
    assert!(cluster.worlds[1].sandboxes.is_empty());
    cluster.end();
}

#[test]
fn a_sandbox_that_is_slow_to_end_holds_what_it_has_until_then() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let mut wants = restarts(1, 0);
    wants.placement.cpus = Some(Quantity::units(1));
    let actor = create(&mut cluster, 0, root, wants);
    cluster.construct(actor);
    cluster.worlds[1].slow_stops = true;
    cluster.worlds[0].kill(root, actor, true);
    cluster.settle();
    let lane = cluster.worlds[0].lane();
    let call = cluster.worlds[0].call(root, actor, lane, &[]);
    cluster.settle();
    assert_eq!(cluster.runs_on(call), None);
    assert_eq!(cluster.worlds[1].free().cpus, Quantity::ZERO);
    let sandbox = *cluster.worlds[1].sandboxes.keys().next().expect("it ends");
    cluster.worlds[1].gone(sandbox);
    cluster.settle();
    cluster.construct(actor);
    cluster.finish(call);
    cluster.worlds[1].slow_stops = false;
    cluster.end();
}

#[test]
fn a_failing_call_does_not_end_its_actor() {
    let (mut scene, at) = scene(restarts(0, 0));
    let call = scene.call();
    scene.cluster.worlds[at].fail(call, failure("oops"));
    scene.cluster.settle();
    assert_eq!((scene.code(call), scene.state()), (ErrorCode::TaskFailed, "ALIVE"));
    scene.cluster.end();
}

#[test]
fn a_result_and_the_end_of_its_actor_come_in_one_report() {
    let (mut scene, at) = scene(restarts(1, 0));
    let call = scene.call();
    let queued = scene.call();
    let instance = scene.cluster.worlds[at].caller(call).instance;
    scene.cluster.worlds[at].sandboxes.remove(&instance);
    scene.cluster.worlds[at].running.remove(&call);
    let report =
        crate::work::CallReport { task: call, result: Ok(vec![value(8)]), usage: Default::default() };
    let calls = smallvec::SmallVec::from_elem(report, 1);
    let report = crate::work::GoneReport { instance, calls, cause: Some(error(ErrorCode::WorkerDied)) };
    scene.cluster.worlds[at].event(|node, now, fx| node.gone(now, report, fx));
    scene.cluster.settle();
    assert!(scene.is_ok(call));
    scene.cluster.construct(scene.actor);
    scene.cluster.finish(queued);
    assert!(scene.is_ok(queued), "it was never begun");
    scene.cluster.end();
}

#[test]
fn an_actor_on_a_node_of_its_choice_is_called_from_a_task_beside_it() {
    let mut cluster = Cluster::new(&[0, 2]);
    let root = cluster.job(0);
    let wants = on(&cluster, 1);
    let actor = create(&mut cluster, 0, root, wants);
    cluster.construct(actor);
    let message = cluster.worlds[0].put(root, value_with(&[Handle::Actor(actor)]));
    let mut there = options();
    there.placement.strategy = Strategy::Node(cluster.id(1), false);
    let task = cluster.worlds[0].spawn(root, &[message], there);
    cluster.settle();
    let guest = cluster.worlds[1].caller(task);
    cluster.worlds[1].acquire(guest, Handle::Actor(actor));
    let lane = cluster.worlds[1].lane();
    cluster.worlds[1].call_with(guest, actor, lane, &[], CallOptions::default()).expect("accepted");
    cluster.settle();
    // Its node's death is its own, and the caller's, and the actor's.
    cluster.kill(1);
    assert_eq!(cluster.worlds[0].actor_state(actor), "DEAD");
    cluster.end();
}
