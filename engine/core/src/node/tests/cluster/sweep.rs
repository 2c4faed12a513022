//! Objects of an ended job that hold one another across nodes.

use super::Cluster;
use super::hosted::create;
use super::hosted_ends::restarts;
use crate::ids::{ActorId, JobId, ObjectId};
use crate::node::Caller;
use crate::node::tests::harness::{options, value_with};
use crate::options::{ActorOptions, Lifetime, Strategy, TaskOptions};
use crate::resources::Quantity;
use crate::value::Handle;

fn on(cluster: &Cluster, index: usize) -> TaskOptions {
    let mut wants = options();
    wants.placement.cpus = Some(Quantity::ZERO);
    wants.placement.strategy = Strategy::Node(cluster.id(index), false);
    wants
}

/// An object of the first node and one of the second that hold each other, of this job.
fn cycle(cluster: &mut Cluster, root: Caller) -> [ObjectId; 2] {
    let wants = on(cluster, 0);
    let here = cluster.worlds[0].spawn(root, &[], wants);
    let first = here.output(0);
    let carrier = cluster.worlds[0].put(root, value_with(&[Handle::Object(first)]));
    let wants = on(cluster, 1);
    let (there, at) = cluster.start(root, &[carrier], wants);
    assert_eq!(at, 1);
    let guest = cluster.worlds[1].caller(there);
    cluster.worlds[1].acquire(guest, Handle::Object(first));
    let second = cluster.worlds[1].put(guest, value_with(&[Handle::Object(first)]));
    cluster.worlds[1].finish_with(there, vec![value_with(&[Handle::Object(second)])]);
    cluster.settle();
    cluster.worlds[0].finish_with(here, vec![value_with(&[Handle::Object(second)])]);
    cluster.settle();
    [first, second]
}

fn exist(cluster: &Cluster, objects: [ObjectId; 2]) -> [bool; 2] {
    [0, 1].map(|index| cluster.worlds[index].node.object(objects[index]).is_some())
}

fn stop(cluster: &mut Cluster, job: JobId) {
    cluster.worlds[0].event(|node, now, fx| node.stop_job(now, job, "enough", fx));
    cluster.settle();
    assert!(cluster.worlds[0].ended.contains_key(&job));
}

fn kill(cluster: &mut Cluster, actor: ActorId) {
    cluster.worlds[0].event(|node, now, fx| {
        node.kill(now, actor, false, fx);
        node.schedule(now, fx);
    });
    cluster.settle();
}

// contract: O6, J2
#[test]
fn objects_of_two_nodes_that_hold_each_other_go_with_their_job() {
    let mut cluster = Cluster::new(&[1, 1]);
    let root = cluster.job(0);
    let job = cluster.worlds[0].job_of(root);
    let objects = cycle(&mut cluster, root);
    stop(&mut cluster, job);
    assert_eq!(exist(&cluster, objects), [false, false]);
    cluster.end();
}

// contract: O6, A8
#[test]
fn they_go_with_the_last_detached_actor_of_their_job() {
    for at in [0, 1] {
        let mut cluster = Cluster::new(&[1, 1]);
        let root = cluster.job(0);
        let job = cluster.worlds[0].job_of(root);
        let mut wants = ActorOptions { lifetime: Lifetime::Detached, ..restarts(0, 0) };
        wants.placement.strategy = Strategy::Node(cluster.id(at), false);
        let actor = create(&mut cluster, 0, root, wants);
        assert_eq!(cluster.construct(actor), at);
        let objects = cycle(&mut cluster, root);
        stop(&mut cluster, job);
        kill(&mut cluster, actor);
        assert_eq!(exist(&cluster, objects), [false, false], "it lived on {at}");
        cluster.end();
    }
}

/// Such objects of a job that has ended, of which another job holds the first.
fn held_by_another(cluster: &mut Cluster) -> (Caller, [ObjectId; 2]) {
    let root = cluster.job(0);
    let job = cluster.worlds[0].job_of(root);
    let objects = cycle(cluster, root);
    let other = cluster.job(0);
    cluster.worlds[0].acquire(other, Handle::Object(objects[0]));
    stop(cluster, job);
    assert_eq!(exist(cluster, objects), [true, true]);
    (other, objects)
}

// contract: O6, J2
#[test]
fn they_go_with_the_last_other_job_that_held_one_of_them() {
    let mut cluster = Cluster::new(&[1, 1]);
    let (other, objects) = held_by_another(&mut cluster);
    let job = cluster.worlds[0].job_of(other);
    stop(&mut cluster, job);
    assert_eq!(exist(&cluster, objects), [false, false]);
    cluster.end();
}

// contract: O6, J2
#[test]
fn they_go_when_another_job_lets_go_of_one_of_them_and_goes_on() {
    let mut cluster = Cluster::new(&[1, 1]);
    let (other, objects) = held_by_another(&mut cluster);
    cluster.worlds[0].release(other, Handle::Object(objects[0]));
    cluster.settle();
    assert_eq!(exist(&cluster, objects), [false, false]);
    cluster.end();
}

// contract: O6
#[test]
fn what_another_job_was_given_by_an_actor_elsewhere_stays() {
    let mut cluster = Cluster::new(&[0, 2]);
    let root = cluster.job(0);
    let job = cluster.worlds[0].job_of(root);
    let wants = on(&cluster, 1);
    let (there, _) = cluster.start(root, &[], wants);
    let guest = cluster.worlds[1].caller(there);
    let object = cluster.worlds[1].put(guest, value_with(&[]));
    let actor = cluster.worlds[1].actor(guest, ActorOptions::default());
    let other = cluster.job(0);
    let owner = cluster.id(1);
    cluster.worlds[0].event(|node, _, _| node.found_actor(other.instance, actor, owner)).expect("alive");
    cluster.settle();
    let lane = cluster.worlds[0].lane();
    let call = cluster.worlds[0].call(other, actor, lane, &[]);
    cluster.settle();
    let inside = cluster.worlds[1].caller(call);
    cluster.worlds[1].acquire(inside, Handle::Object(object));
    cluster.worlds[1].finish_with(call, vec![value_with(&[Handle::Object(object)])]);
    cluster.settle();
    cluster.worlds[0].acquire(other, Handle::Object(object));
    stop(&mut cluster, job);
    cluster.settle();
    assert!(cluster.worlds[1].node.object(object).is_some(), "the other job holds it");
    let wait = cluster.worlds[0].get(other, &[object]);
    cluster.settle();
    assert!(wait.is_none_or(|wait| cluster.worlds[0].is_awake(wait)));
    assert!(cluster.worlds[0].outcome(other, object).expect("there").is_ok());
    cluster.end();
}
