//! Actors that live on another node than their owner's: where they are placed, and what they hold there.

use std::time::Duration;

use super::Cluster;
use crate::error::ErrorCode;
use crate::ids::ActorId;
use crate::node::tests::harness::{cpus, large, options, value_with};
use crate::node::{Caller, Limits, Load, TaskState};
use crate::options::{ActorOptions, LabelOperator, LabelSelector, Strategy};
use crate::resources::{Quantity, Resources};
use crate::value::Handle;

/// Options of an actor that lives on this node.
pub fn on(cluster: &Cluster, index: usize) -> ActorOptions {
    let mut options = ActorOptions::default();
    options.placement.strategy = Strategy::Node(cluster.id(index), false);
    options
}

/// Creates an actor on behalf of a guest of this node.
#[track_caller]
pub fn create(cluster: &mut Cluster, index: usize, from: Caller, options: ActorOptions) -> ActorId {
    let actor = cluster.worlds[index].create(from, options);
    cluster.settle();
    actor
}

fn free_cpus(cluster: &Cluster, index: usize) -> Quantity {
    cluster.worlds[index].free().cpus
}

// contract: T5
#[test]
fn an_actor_lives_where_there_is_room_and_holds_nothing_once_it_is_there() {
    let mut cluster = Cluster::new(&[0, 2]);
    let root = cluster.job(0);
    let actor = create(&mut cluster, 0, root, ActorOptions::default());
    assert_eq!(free_cpus(&cluster, 1), Quantity::units(1), "1 to be placed");
    let view = cluster.worlds[0].node.actor(actor).expect("known");
    assert_eq!((view.state, view.node, view.instance), ("PENDING", Some(cluster.id(1)), None));
    assert_eq!(view.held.cpus, Quantity::units(1));
    assert_eq!(cluster.construct(actor), 1);
    assert_eq!(free_cpus(&cluster, 1), Quantity::units(2), "and then none");
    let view = cluster.worlds[0].node.actor(actor).expect("known");
    assert_eq!((view.state, view.held.cpus), ("ALIVE", Quantity::ZERO));
    assert!(
        cluster.worlds[1].free().memory < cluster.worlds[1].node.ledger().0.memory,
        "its memory it keeps"
    );
    cluster.worlds[0].kill(root, actor, false);
    cluster.settle();
    assert_eq!(cluster.worlds[1].free(), cluster.worlds[1].node.ledger().0);
    let view = cluster.worlds[0].node.actor(actor).expect("known");
    assert_eq!((view.state, view.node), ("DEAD", None));
    cluster.end();
}

// contract: T5
#[test]
fn what_is_asked_for_is_held_for_life_there() {
    let mut cluster = Cluster::new(&[0, 2]);
    let root = cluster.job(0);
    let mut wants = ActorOptions::default();
    wants.placement.cpus = Some(Quantity::units(2));
    let actor = create(&mut cluster, 0, root, wants);
    cluster.construct(actor);
    assert_eq!(free_cpus(&cluster, 1), Quantity::ZERO);
    let task = cluster.worlds[0].spawn(root, &[], options());
    cluster.settle();
    assert_eq!(cluster.runs_on(task), None, "the actor has it all");
    cluster.worlds[0].release(root, Handle::Actor(actor));
    cluster.settle();
    assert_eq!(cluster.runs_on(task), Some(1));
    cluster.finish(task);
    cluster.end();
}

// contract: E2
#[test]
fn what_no_node_has_is_named() {
    let mut cluster = Cluster::new(&[1, 4]);
    let root = cluster.job(0);
    let mut wants = ActorOptions::default();
    wants.placement.cpus = Some(Quantity::units(8));
    let actor = create(&mut cluster, 0, root, wants);
    let cause = cluster.worlds[0].node.actor(actor).and_then(|view| view.cause).expect("it is dead");
    assert_eq!(cause.code(), ErrorCode::ActorDied);
    assert!(cause.message().contains("8 of cpus, and no node has more than 4"), "{cause}");
    cluster.end();
}

#[test]
fn labels_and_strategies_say_where_an_actor_lives() {
    let mut cluster = Cluster::new(&[4, 4, 4]);
    let root = cluster.job(0);
    let rack = |hard| LabelSelector {
        key: "rack".into(),
        operator: LabelOperator::In,
        values: vec!["2".into()],
        hard,
    };
    for hard in [true, false] {
        let mut wants = ActorOptions::default();
        wants.placement.labels = vec![rack(hard)];
        let actor = create(&mut cluster, 0, root, wants);
        assert_eq!(cluster.construct(actor), 2);
    }
    let wants = on(&cluster, 1);
    let actor = create(&mut cluster, 0, root, wants);
    assert_eq!(cluster.construct(actor), 1);
    let mut wants = ActorOptions::default();
    (wants.placement.strategy, wants.placement.cpus) = (Strategy::Spread, Some(Quantity::units(1)));
    let mut places: Vec<usize> = (0..3)
        .map(|_| {
            let actor = create(&mut cluster, 0, root, wants.clone());
            cluster.construct(actor)
        })
        .collect();
    places.sort();
    assert_eq!(places, [0, 1, 2]);
    cluster.end();
}

#[test]
fn by_default_nodes_are_filled_to_half_before_the_next() {
    let mut cluster = Cluster::new(&[4, 4]);
    let root = cluster.job(0);
    let mut wants = ActorOptions::default();
    wants.placement.cpus = Some(Quantity::units(1));
    let places: Vec<usize> = (0..4)
        .map(|_| {
            let actor = create(&mut cluster, 0, root, wants.clone());
            cluster.construct(actor)
        })
        .collect();
    assert_eq!(places, [0, 0, 1, 1]);
    cluster.end();
}

#[test]
fn a_constructor_that_is_refused_waits_until_there_is_room() {
    let limits = Limits { foreign_tasks_in_line_max: 0, ..Limits::default() };
    let mut cluster = Cluster::of(&[cpus(0), cpus(1)], &limits);
    let root = cluster.job(0);
    let own = cluster.job(1);
    let busy = cluster.worlds[1].spawn(own, &[], options());
    let actor = create(&mut cluster, 0, root, ActorOptions::default());
    assert_eq!(cluster.worlds[0].node.node_view().counters.tasks_refused, 1);
    let view = cluster.worlds[0].node.actor(actor).expect("known");
    assert_eq!((view.state, view.node), ("PENDING", None));
    let waiting = cluster.worlds[0].node.tasks(None, 9).into_iter().find(|task| task.actor == Some(actor));
    let why = cluster.worlds[0].node.explain(waiting.expect("its constructor").id).expect("known");
    assert!(why.contains("PENDING_PLACEMENT") && why.contains("cpus"), "{why}");
    cluster.worlds[1].finish(busy);
    cluster.advance(Duration::from_millis(1));
    assert_eq!(cluster.construct(actor), 1);
    cluster.end();
}

#[test]
fn an_actor_that_ends_while_its_constructor_is_refused_is_not_constructed() {
    let limits = Limits { foreign_tasks_in_line_max: 0, ..Limits::default() };
    let mut cluster = Cluster::of(&[cpus(0), cpus(1)], &limits);
    let root = cluster.job(0);
    let own = cluster.job(1);
    let busy = cluster.worlds[1].spawn(own, &[], options());
    let actor = cluster.worlds[0].create(root, ActorOptions::default());
    cluster.worlds[0].kill(root, actor, false);
    cluster.settle();
    cluster.worlds[1].finish(busy);
    cluster.settle();
    assert_eq!(cluster.worlds[0].actor_state(actor), "DEAD");
    assert_eq!(cluster.worlds[1].sandboxes.len(), 1, "the root of the other job");
    cluster.end();
}

// contract: A4
#[test]
fn an_actor_that_ends_while_its_constructor_waits_in_line_there_leaves_nothing() {
    for early in [true, false] {
        let mut cluster = Cluster::new(&[0, 1]);
        let root = cluster.job(0);
        let own = cluster.job(1);
        let busy = cluster.worlds[1].spawn(own, &[], options());
        let actor =
            cluster.worlds[0].create(root, ActorOptions { max_restarts: 3, ..ActorOptions::default() });
        if !early {
            cluster.settle();
        }
        cluster.worlds[0].kill(root, actor, false);
        cluster.settle();
        assert_eq!(cluster.worlds[0].actor_state(actor), "DEAD");
        cluster.worlds[1].finish(busy);
        cluster.settle();
        assert_eq!(cluster.worlds[1].sandboxes.len(), 1, "the root of the other job");
        assert_eq!(free_cpus(&cluster, 1), Quantity::units(1));
        cluster.end();
    }
}

// contract: A3
#[test]
fn a_constructor_elsewhere_that_fails_is_the_actors_death_and_says_why() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let actor = create(&mut cluster, 0, root, ActorOptions { max_restarts: 3, ..ActorOptions::default() });
    let lane = cluster.worlds[0].lane();
    let call = cluster.worlds[0].call(root, actor, lane, &[]);
    let (index, task) = cluster.constructor(actor);
    cluster.worlds[index].fail(task, super::failure("setup"));
    cluster.settle();
    let error = cluster.worlds[0].error_of(root, call.output(0));
    assert_eq!(error.code(), ErrorCode::ActorDied);
    assert!(
        error.message().contains("its constructor failed") && error.message().contains("setup"),
        "{error}"
    );
    let at = error.path().first().map(|frame| frame.node.clone());
    assert_eq!(at, Some(cluster.id(1).to_string()), "{error:?}");
    assert_eq!(cluster.worlds[1].free(), cluster.worlds[1].node.ledger().0);
    cluster.end();
}

#[test]
fn the_arguments_of_a_constructor_travel_with_it_and_stay_for_its_restarts() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let inner = cluster.worlds[0].put(root, large(1 << 20));
    let outer = cluster.worlds[0].put(root, value_with(&[Handle::Object(inner)]));
    let arguments = [outer, inner].map(crate::value::Argument::Object).to_vec();
    let options = ActorOptions { max_restarts: 1, ..ActorOptions::default() };
    let actor = cluster.worlds[0].try_create(root, arguments, options).expect("accepted");
    for object in [inner, outer] {
        cluster.worlds[0].release(root, Handle::Object(object));
    }
    cluster.settle();
    for _ in 0..2 {
        let (index, task) = cluster.constructor(actor);
        let arguments = cluster.worlds[index].running[&task].1.arguments.clone();
        assert_eq!((arguments[0].handles.len(), arguments[1].size), (1, 1 << 20));
        cluster.worlds[index].lose(task);
        cluster.settle();
    }
    assert_eq!(cluster.worlds[0].actor_state(actor), "DEAD");
    assert!(cluster.worlds.iter().all(|world| world.node.object_count() == 0));
    cluster.end();
}

#[test]
fn memory_that_an_actor_holds_elsewhere_is_not_given_twice() {
    let mib = |count: u64| Resources { memory: count << 20, ..cpus(1) };
    let mut cluster = Cluster::of(&[cpus(0), mib(100)], &Limits::default());
    let root = cluster.job(0);
    let mut wants = ActorOptions::default();
    wants.placement.memory = Some(60 << 20);
    let first = create(&mut cluster, 0, root, wants.clone());
    cluster.construct(first);
    wants.placement.labels = vec![LabelSelector {
        key: "rack".into(),
        operator: LabelOperator::In,
        values: vec!["1".into()],
        hard: true,
    }];
    let second = create(&mut cluster, 0, root, wants);
    assert_eq!(cluster.worlds[1].sandboxes.len(), 1);
    assert_eq!(cluster.worlds[0].actor_state(second), "PENDING");
    cluster.worlds[0].kill(root, first, false);
    cluster.settle();
    assert_eq!(cluster.construct(second), 1);
    cluster.end();
}

// contract: T2
#[test]
fn a_task_behind_an_actor_that_holds_all_for_life_is_given_back_and_waits_at_its_owner() {
    let mut cluster = Cluster::new(&[0, 1, 0]);
    let (root, other) = (cluster.job(0), cluster.job(2));
    let busy = cluster.worlds[0].spawn(root, &[], options());
    cluster.settle();
    let mut wants = ActorOptions::default();
    wants.placement.cpus = Some(Quantity::units(1));
    let load = cluster.worlds[1].node.load();
    let room = Load { free: cpus(1), ..load };
    // It is thought to have room, as it would be once nobody had heard of the first task.
    for index in [0, 2] {
        let (there, room) = (cluster.id(1), room.clone());
        cluster.worlds[index].event(|node, now, fx| node.node_load(now, there, room, fx));
    }
    let actor = cluster.worlds[0].create(root, wants);
    let task = cluster.worlds[2].spawn(other, &[], options());
    cluster.settle();
    cluster.assert_state(1, task, TaskState::PendingPlacement);
    cluster.finish(busy);
    assert_eq!(cluster.construct(actor), 1);
    cluster.assert_state(1, task, TaskState::Cancelled);
    cluster.assert_state(2, task, TaskState::PendingPlacement);
    cluster.worlds[0].kill(root, actor, false);
    cluster.settle();
    cluster.advance(Duration::from_millis(1));
    assert_eq!(cluster.runs_on(task), Some(1), "there is room now");
    cluster.finish(task);
    cluster.end();
}
