//! Detached actors that live on another node than their owner's.

use super::Cluster;
use super::hosted::create;
use super::hosted_ends::{Scene, restarts, scene};
use crate::node::TaskState;
use crate::node::tests::harness::{options, value_with};
use crate::options::{ActorOptions, Lifetime, Strategy};
use crate::resources::Quantity;
use crate::value::Handle;
use crate::work::Life;

/// A detached actor that lives elsewhere, whose job has ended.
fn detached(max_restarts: i32) -> (Scene, usize) {
    let (mut scene, at) = scene(ActorOptions { lifetime: Lifetime::Detached, ..restarts(max_restarts, 0) });
    let job = scene.cluster.worlds[0].job_of(scene.root);
    scene.cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    scene.cluster.settle();
    assert!(scene.cluster.worlds[0].ended.contains_key(&job));
    scene.root = scene.cluster.job(0);
    scene.cluster.worlds[0].acquire(scene.root, Handle::Actor(scene.actor));
    (scene, at)
}

// contract: A8
#[test]
fn a_detached_actor_elsewhere_outlives_its_job() {
    let (mut scene, at) = detached(0);
    assert_eq!(scene.state(), "ALIVE");
    let call = scene.call();
    assert_eq!(scene.cluster.runs_on(call), Some(at));
    let inside = scene.cluster.worlds[at].caller(call);
    let child = scene.cluster.worlds[at].spawn(inside, &[], options());
    assert_eq!(scene.cluster.runs_on(child), Some(at), "it may still ask for everything");
    scene.cluster.finish(call);
    assert!(scene.is_ok(call));
    scene.cluster.assert_state(at, child, TaskState::Running);
    let job = scene.cluster.worlds[0].node.actor(scene.actor).expect("known").job;
    let there = &scene.cluster.worlds[at].node;
    assert_eq!(there.grants_from(job), Some(scene.cluster.id(0)));
    scene.cluster.worlds[0].kill(scene.root, scene.actor, false);
    scene.cluster.settle();
    scene.cluster.assert_state(at, child, TaskState::Cancelled);
    scene.assert_free(at);
    scene.cluster.end();
}

// contract: A8, A3
#[test]
fn a_detached_actor_restarts_anywhere_after_its_job_has_ended() {
    let (mut scene, at) = detached(2);
    scene.cluster.kill(at);
    assert_eq!(scene.cluster.construct(scene.actor), 3 - at);
    let call = scene.call();
    scene.cluster.worlds[3 - at].lose(call);
    scene.cluster.settle();
    assert_eq!(scene.cluster.construct(scene.actor), 3 - at, "and where it was before");
    let call = scene.call();
    scene.cluster.finish(call);
    assert!(scene.is_ok(call));
    scene.cluster.worlds[0].kill(scene.root, scene.actor, false);
    scene.cluster.settle();
    scene.cluster.end();
}

// contract: A8
#[test]
fn what_a_detached_actor_left_where_it_lived_before_ends_with_it() {
    let mut cluster = Cluster::new(&[0, 2, 2]);
    let root = cluster.job(0);
    let wants = ActorOptions { lifetime: Lifetime::Detached, ..restarts(1, 0) };
    let actor = create(&mut cluster, 0, root, wants);
    let at = cluster.construct(actor);
    let lane = cluster.worlds[0].lane();
    let call = cluster.worlds[0].call(root, actor, lane, &[]);
    cluster.settle();
    let inside = cluster.worlds[at].caller(call);
    let mut here = ActorOptions::default();
    here.placement.cpus = Some(Quantity::units(2));
    let child = cluster.worlds[at].create(inside, here);
    cluster.construct(child);
    cluster.worlds[at].finish_with(call, vec![value_with(&[Handle::Actor(child)])]);
    cluster.settle();
    let sandbox = cluster.worlds[at].sandboxes.iter();
    let own =
        |life: &crate::work::Life| matches!(life, crate::work::Life::Actor { actor: a, .. } if *a == actor);
    let sandbox = *sandbox.filter(|(_, sandbox)| own(&sandbox.life)).map(|(id, _)| id).next().expect("it");
    cluster.worlds[at].die(sandbox);
    cluster.settle();
    assert_eq!(cluster.construct(actor), 3 - at, "the child has all of the other");
    cluster.worlds[0].acquire(root, Handle::Actor(child));
    assert_eq!(cluster.worlds[at].actor_state(child), "ALIVE", "the actor goes on");
    cluster.worlds[0].kill(root, actor, false);
    cluster.settle();
    assert_eq!(cluster.worlds[at].actor_state(child), "DEAD");
    cluster.end();
}

// contract: A8, O9
#[test]
fn a_detached_actor_ends_with_its_owners_node_and_what_descends_from_it_too() {
    let (mut scene, at) = detached(5);
    let call = scene.call();
    let inside = scene.cluster.worlds[at].caller(call);
    let child = scene.cluster.worlds[at].spawn(inside, &[], options());
    scene.cluster.finish(call);
    assert_eq!(scene.cluster.runs_on(child), Some(at));
    scene.cluster.kill(0);
    assert_eq!(scene.cluster.runs_on(child), None);
    scene.assert_free(at);
    scene.cluster.end();
}

// contract: J2, A8
#[test]
fn a_call_of_a_detached_actor_elsewhere_is_its_own_once_its_caller_has_ended() {
    let (mut scene, at) = detached(0);
    let call = scene.call();
    let job = scene.cluster.worlds[0].job_of(scene.root);
    scene.cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    scene.cluster.settle();
    assert!(scene.cluster.worlds[0].ended.contains_key(&job));
    assert_eq!(scene.cluster.worlds[at].interrupts, [call]);
    scene.cluster.finish(call);
    assert_eq!(scene.state(), "ALIVE");
    let root = scene.cluster.job(0);
    scene.cluster.worlds[0].acquire(root, Handle::Actor(scene.actor));
    scene.cluster.worlds[0].kill(root, scene.actor, false);
    scene.cluster.settle();
    scene.assert_free(at);
    scene.cluster.end();
}

// contract: A8
#[test]
fn what_one_of_a_job_of_a_dead_node_is_granted_its_owner_knows() {
    let mut cluster = Cluster::new(&[0, 0, 2]);
    let root = cluster.job(0);
    let job = cluster.worlds[0].job_of(root);
    let mut there = options();
    there.placement.cpus = Some(Quantity::ZERO);
    there.placement.strategy = Strategy::Node(cluster.id(1), false);
    let (task, _) = cluster.start(root, &[], there);
    let guest = cluster.worlds[1].caller(task);
    let wants = ActorOptions { lifetime: Lifetime::Detached, ..restarts(1, 0) };
    let actor = create(&mut cluster, 1, guest, wants);
    assert_eq!(cluster.construct(actor), 2);
    cluster.kill(0);
    assert_eq!(cluster.worlds[2].node.grants_from(job), Some(cluster.id(1)));
    assert_eq!(cluster.worlds[1].actor_state(actor), "ALIVE");
    cluster.worlds[1].event(|node, now, fx| {
        node.kill(now, actor, false, fx);
        node.schedule(now, fx);
    });
    cluster.settle();
    assert_eq!(cluster.worlds[2].node.grants_from(job), None);
    cluster.end();
}

// contract: A8
#[test]
fn one_that_is_not_begun_where_its_job_was_forgotten_leaves_nothing() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let mut wants = ActorOptions { lifetime: Lifetime::Detached, ..restarts(1, 0) };
    wants.placement.cpus = Some(Quantity::units(1));
    let actor = create(&mut cluster, 0, root, wants);
    assert_eq!(cluster.construct(actor), 1);
    let job = cluster.worlds[0].job_of(root);
    cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    cluster.settle();
    let other = cluster.job(1);
    let sandbox = *cluster.worlds[1].sandboxes.iter().find(|(_, s)| s.job == job).expect("the actor's").0;
    cluster.worlds[1].die(sandbox);
    assert!(cluster.worlds[1].forgotten.contains(&job));
    // The owner does not know of this one.
    let task = cluster.worlds[1].spawn(other, &[], options());
    cluster.settle();
    let view = cluster.worlds[0].node.actor(actor).expect("known");
    assert_eq!((view.state, view.node), ("RESTARTING", Some(cluster.id(1))), "it is in line there");
    assert!(cluster.worlds[1].node.home_of(job).is_some());
    cluster.worlds[0].event(|node, now, fx| {
        node.kill(now, actor, false, fx);
        node.schedule(now, fx);
    });
    cluster.settle();
    assert_eq!(cluster.worlds[1].node.home_of(job), None);
    cluster.finish(task);
    cluster.end();
}

// contract: A8, J2
#[test]
fn a_job_ends_before_the_sandbox_of_a_detached_one_has_and_is_forgotten_after() {
    let mut cluster = Cluster::new(&[2, 0]);
    let root = cluster.job(0);
    let job = cluster.worlds[0].job_of(root);
    let mut there = options();
    there.placement.cpus = Some(Quantity::ZERO);
    there.placement.strategy = Strategy::Node(cluster.id(1), false);
    let (task, _) = cluster.start(root, &[], there);
    let guest = cluster.worlds[1].caller(task);
    let mut wants = ActorOptions { lifetime: Lifetime::Detached, ..restarts(0, 0) };
    wants.placement.strategy = Strategy::Node(cluster.id(0), false);
    let actor = create(&mut cluster, 1, guest, wants);
    assert_eq!(cluster.construct(actor), 0, "on the node of its job's root");
    let is_its = |life: &Life| matches!(life, Life::Actor { .. });
    let sandbox = *cluster.worlds[0].sandboxes.iter().find(|(_, s)| is_its(&s.life)).expect("it lives").0;
    cluster.worlds[0].slow_stops = true;
    cluster.worlds[1].kill(guest, actor, false);
    cluster.settle();
    cluster.worlds[0].slow_stops = false;
    cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    cluster.settle();
    assert!(cluster.worlds[0].ended.contains_key(&job));
    assert!(!cluster.worlds[0].forgotten.contains(&job), "a sandbox of it is there");
    cluster.worlds[0].gone(sandbox);
    cluster.settle();
    assert!(cluster.worlds[0].forgotten.contains(&job));
    cluster.end();
}
