//! References, and bytes, that cross nodes.

use super::{Cluster, token};
use crate::error::ErrorCode;
use crate::ids::{ObjectId, TaskId};
use crate::node::tests::harness::{large, options, value_with};
use crate::node::{Caller, Until, WaitState, Waitable};
use crate::options::{ActorOptions, Lifetime};
use crate::value::{Handle, Residence};

/// A task on the second node and who it is there.
fn on_second(cluster: &mut Cluster, root: Caller, arguments: &[ObjectId]) -> (TaskId, Caller) {
    let task = cluster.worlds[0].spawn(root, arguments, options());
    cluster.settle();
    assert_eq!(cluster.runs_on(task), Some(1));
    let inside = cluster.worlds[1].caller(task);
    (task, inside)
}

fn take(cluster: &mut Cluster, index: usize, from: Caller, object: ObjectId) {
    cluster.worlds[index].acquire(from, Handle::Object(object));
}

fn exists(cluster: &Cluster, index: usize, object: ObjectId) -> bool {
    cluster.worlds[index].node.object(object).is_some()
}

// contract: O5
#[test]
fn a_large_result_stays_where_it_was_made_until_somebody_wants_it() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let (task, _) = on_second(&mut cluster, root, &[]);
    cluster.worlds[1].finish_with(task, vec![large(1 << 20)]);
    cluster.settle();
    let object = task.output(0);
    let place = |cluster: &Cluster, index: usize| cluster.worlds[index].node.object(object).map(|v| v.place);
    assert_eq!((place(&cluster, 0), place(&cluster, 1)), (Some("REMOTE"), Some("ARENA")));
    let wait = cluster.worlds[0].wait(root, &[Waitable::Value(object)], Until::AllOrFailure, None);
    assert!(matches!(wait, WaitState::Blocked(_)));
    cluster.settle();
    let value = cluster.worlds[0].outcome(root, object).expect("there").expect("a value");
    assert_eq!((value.place.residence(), token(&value.place)), (Residence::Arena, 1 << 20));
    // Freed at zero, at once, everywhere.
    cluster.worlds[0].release(root, Handle::Object(object));
    cluster.settle();
    assert!(!exists(&cluster, 0, object) && !exists(&cluster, 1, object));
    cluster.end();
}

// contract: O3, O6
#[test]
fn a_reference_inside_an_argument_keeps_its_object_alive_from_afar() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let inner = cluster.worlds[0].put(root, large(500_000));
    let outer = cluster.worlds[0].put(root, value_with(&[Handle::Object(inner)]));
    let (task, inside) = on_second(&mut cluster, root, &[outer]);
    take(&mut cluster, 1, inside, inner);
    for object in [inner, outer] {
        cluster.worlds[0].release(root, Handle::Object(object));
    }
    cluster.settle();
    assert!(exists(&cluster, 0, inner), "the guest on the other node holds it");
    let wait = cluster.worlds[1].get(inside, &[inner]).expect("it is not here");
    cluster.settle();
    assert!(cluster.worlds[1].is_awake(wait));
    let WaitState::Blocked(wait) =
        cluster.worlds[1].wait(inside, &[Waitable::Value(inner)], Until::AllOrFailure, None)
    else {
        panic!("its bytes are not here")
    };
    cluster.settle();
    assert!(cluster.worlds[1].is_awake(wait));
    let value = cluster.worlds[1].outcome(inside, inner).expect("there").expect("a value");
    assert_eq!(token(&value.place), 500_000);
    cluster.finish(task);
    assert!(!exists(&cluster, 0, inner), "nobody holds it any more");
    assert!(!exists(&cluster, 1, inner));
    cluster.end();
}

// contract: O6
#[test]
fn a_reference_is_passed_on_to_a_third_node() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let inner = cluster.worlds[0].put(root, value_with(&[]));
    let outer = cluster.worlds[0].put(root, value_with(&[Handle::Object(inner)]));
    let (parent, second) = cluster.start(root, &[outer], options());
    let third = 3 - second;
    let inside = cluster.worlds[second].caller(parent);
    take(&mut cluster, second, inside, inner);
    let message = cluster.worlds[second].put(inside, value_with(&[Handle::Object(inner)]));
    let child = cluster.worlds[second].spawn(inside, &[message], options());
    // The child is on its way, and whoever could hold the object lets go.
    cluster.worlds[second].finish(parent);
    for object in [inner, outer] {
        cluster.worlds[0].release(root, Handle::Object(object));
    }
    assert!(exists(&cluster, 0, inner));
    cluster.settle();
    assert_eq!(cluster.runs_on(child), Some(third));
    let deep = cluster.worlds[third].caller(child);
    take(&mut cluster, third, deep, inner);
    assert!(exists(&cluster, 0, inner), "the third node holds it now");
    let wait = cluster.worlds[third].get(deep, &[inner]).expect("it is not here");
    cluster.settle();
    assert!(cluster.worlds[third].is_awake(wait));
    cluster.finish(child);
    assert!(!exists(&cluster, 0, inner));
    cluster.end();
}

// contract: O6
#[test]
fn a_reference_comes_back_inside_a_result() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let (task, inside) = on_second(&mut cluster, root, &[]);
    let made = cluster.worlds[1].put(inside, large(300_000));
    cluster.worlds[1].finish_with(task, vec![value_with(&[Handle::Object(made)])]);
    cluster.settle();
    take(&mut cluster, 0, root, made);
    cluster.worlds[0].release_output(root, task);
    cluster.settle();
    assert!(exists(&cluster, 1, made), "its owner keeps it for the other node");
    let WaitState::Blocked(wait) =
        cluster.worlds[0].wait(root, &[Waitable::Value(made)], Until::AllOrFailure, None)
    else {
        panic!("it is not here")
    };
    cluster.settle();
    assert!(cluster.worlds[0].is_awake(wait));
    cluster.worlds[0].release(root, Handle::Object(made));
    cluster.settle();
    assert!(!exists(&cluster, 0, made) && !exists(&cluster, 1, made));
    cluster.end();
}

#[test]
fn an_object_is_given_again_while_its_release_is_on_its_way() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let inner = cluster.worlds[0].put(root, value_with(&[]));
    let outer = cluster.worlds[0].put(root, value_with(&[Handle::Object(inner)]));
    let (first, inside) = on_second(&mut cluster, root, &[outer]);
    take(&mut cluster, 1, inside, inner);
    cluster.worlds[1].finish(first);
    cluster.collect();
    let release = std::mem::take(&mut cluster.flying);
    // The node is thought to be full, as nobody has heard of the end yet.
    let load = cluster.worlds[1].node.load();
    let id = cluster.id(1);
    let second = cluster.worlds[0].spawn(root, &[outer], options());
    for object in [inner, outer] {
        cluster.worlds[0].release(root, Handle::Object(object));
    }
    for packet in release {
        cluster.deliver(packet);
    }
    cluster.worlds[0].event(|node, now, fx| node.node_load(now, id, load, fx));
    cluster.settle();
    assert!(exists(&cluster, 0, inner));
    assert_eq!(cluster.runs_on(second), Some(1));
    cluster.finish(second);
    assert!(!exists(&cluster, 0, inner));
    cluster.end();
}

// contract: O1
#[test]
fn an_object_that_is_not_made_yet_is_waited_for_from_afar() {
    let mut cluster = Cluster::new(&[1, 1]);
    let root = cluster.job(0);
    let slow = cluster.worlds[0].spawn(root, &[], options());
    let outer = cluster.worlds[0].put(root, value_with(&[Handle::Object(slow.output(0))]));
    let (task, inside) = on_second(&mut cluster, root, &[outer]);
    take(&mut cluster, 1, inside, slow.output(0));
    let wait = cluster.worlds[1].get(inside, &[slow.output(0)]).expect("it is not made yet");
    cluster.settle();
    assert!(!cluster.worlds[1].is_awake(wait));
    cluster.finish(slow);
    assert!(cluster.worlds[1].is_awake(wait));
    let second = cluster.worlds[1].spawn(inside, &[slow.output(0)], options());
    cluster.settle();
    assert!(cluster.runs_on(second).is_some());
    cluster.finish(second);
    cluster.finish(task);
    cluster.end();
}

#[test]
fn a_large_argument_is_fetched_by_the_node_that_needs_it() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let object = cluster.worlds[0].put(root, large(2 << 20));
    let task = cluster.worlds[0].spawn(root, &[object], options());
    cluster.settle();
    let argument = cluster.worlds[1].running[&task].1.arguments[0].clone();
    assert_eq!((argument.place.residence(), token(&argument.place)), (Residence::Arena, 2 << 20));
    cluster.finish(task);
    assert!(!exists(&cluster, 1, object), "it was there for the task only");
    cluster.end();
}

#[test]
fn a_task_goes_where_its_arguments_are() {
    let mut cluster = Cluster::new(&[4, 4]);
    let root = cluster.job(0);
    let mut there = options();
    there.placement.strategy = crate::options::Strategy::Node(cluster.id(1), false);
    let maker = cluster.worlds[0].spawn(root, &[], there);
    cluster.settle();
    cluster.worlds[1].finish_with(maker, vec![large(8 << 20)]);
    cluster.settle();
    let user = cluster.worlds[0].spawn(root, &[maker.output(0)], options());
    cluster.settle();
    assert_eq!(cluster.runs_on(user), Some(1));
    cluster.finish(user);
    cluster.end();
}

// contract: O8
#[test]
fn bytes_that_a_node_has_lost_are_made_again() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let (task, _) = on_second(&mut cluster, root, &[]);
    cluster.worlds[1].finish_with(task, vec![large(1 << 20)]);
    cluster.settle();
    let object = task.output(0);
    let WaitState::Blocked(wait) =
        cluster.worlds[0].wait(root, &[Waitable::Value(object)], Until::AllOrFailure, None)
    else {
        panic!("it is not here")
    };
    let cause = super::error(ErrorCode::ObjectLost);
    cluster.worlds[0].fetches.clear();
    cluster.worlds[0].event(|node, now, fx| node.restored(now, object, Err(cause), fx));
    cluster.settle();
    assert_eq!(cluster.runs_on(task), Some(1), "it runs again");
    cluster.worlds[1].finish_with(task, vec![large(1 << 20)]);
    cluster.settle();
    assert!(cluster.worlds[0].is_awake(wait));
    cluster.end();
}

// contract: O8
#[test]
fn a_copy_that_the_owner_has_is_kept_when_others_cannot_reach_the_holder() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let (task, _) = on_second(&mut cluster, root, &[]);
    cluster.worlds[1].finish_with(task, vec![large(1 << 20)]);
    cluster.settle();
    let object = task.output(0);
    cluster.worlds[0].wait(root, &[Waitable::Value(object)], Until::AllOrFailure, None);
    cluster.settle();
    let holder = cluster.id(1);
    let failure = crate::node::Failure::plain(super::error(ErrorCode::ObjectLost));
    let message = crate::node::Message::Missing(object, holder, failure);
    // As a third node would say it.
    let from = crate::ids::IdGenerator::new([99; 16]).node();
    let (to, load) = (cluster.id(0), crate::node::Load::default());
    let packet = crate::node::Packet { from, to, first: 1, messages: vec![message], received: 0, load };
    cluster.worlds[0].event(|node, now, fx| node.packet(now, packet, fx));
    cluster.worlds[0].event(|node, now, fx| node.node_dead(now, from, fx));
    cluster.settle();
    assert_eq!(cluster.runs_on(task), None, "there is no need to run it again");
    assert!(!exists(&cluster, 1, object), "its bytes there are not needed any more");
    let value = cluster.worlds[0].outcome(root, object).expect("there").expect("a value");
    assert_eq!(value.place.residence(), Residence::Arena);
    cluster.end();
}

// contract: O6, A8
#[test]
fn bytes_kept_elsewhere_outlive_their_job_when_a_detached_actor_holds_the_object() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let (task, _) = on_second(&mut cluster, root, &[]);
    cluster.worlds[1].finish_with(task, vec![large(1 << 20)]);
    cluster.settle();
    let object = task.output(0);
    let mut options = ActorOptions { lifetime: Lifetime::Detached, ..ActorOptions::default() };
    options.placement.cpus = Some(crate::resources::Quantity::ZERO);
    let actor = cluster.worlds[0].actor(root, options);
    let lane = cluster.worlds[0].lane();
    let message = cluster.worlds[0].put(root, value_with(&[Handle::Object(object)]));
    let call = cluster.worlds[0].call(root, actor, lane, &[message]);
    let inside = cluster.worlds[0].caller(call);
    take(&mut cluster, 0, inside, object);
    let job = cluster.worlds[0].job_of(root);
    cluster.worlds[0].finish(root.task);
    cluster.settle();
    assert!(cluster.worlds[0].ended.contains_key(&job));
    let WaitState::Blocked(wait) =
        cluster.worlds[0].wait(inside, &[Waitable::Value(object)], Until::AllOrFailure, None)
    else {
        panic!("it is not here")
    };
    cluster.settle();
    assert!(cluster.worlds[0].is_awake(wait));
    let value = cluster.worlds[0].outcome(inside, object).expect("there").expect("a value");
    assert_eq!(token(&value.place), 1 << 20);
    cluster.worlds[0].release(inside, Handle::Object(object));
    cluster.finish(call);
    assert!(!exists(&cluster, 1, object), "nobody holds it any more");
}
