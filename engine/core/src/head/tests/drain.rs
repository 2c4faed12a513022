//! Nodes that drain, as the head keeps account of them.

use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::head::{
    Change, Drain, Effect, Head, Limits, NodeStanding, Notice, Record, Submission, Submitted, Watch,
};
use crate::ids::{IdGenerator, JobId, NodeId};
use crate::node::{Load, NodeInfo};
use crate::resources::{Quantity, Resources};
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);

fn info(id: NodeId) -> NodeInfo {
    let total = Resources { cpus: Quantity::units(4), ..Resources::default() };
    NodeInfo { id, labels: Vec::new(), total }
}

/// A head that remembers, and three nodes.
fn scene() -> (Head, Vec<NodeId>) {
    let watch = Watch { joins_every: Duration::ZERO, ..Watch::default() };
    let limits = Limits { watch, ..Limits::default() };
    let mut head = Head::restore([1; 16], limits, Time(0), [], &mut Vec::new());
    let mut ids = IdGenerator::new([5; 16]);
    let nodes: Vec<NodeId> = (0..3).map(|_| ids.node()).collect();
    for node in &nodes {
        head.node_joins(Time(0), info(*node), &mut Vec::new()).expect("room");
    }
    (head, nodes)
}

/// What the nodes are told of drains and of who is gone.
fn told(fx: &[Effect]) -> Vec<(NodeId, String)> {
    let said = |effect: &Effect| match effect {
        Effect::Tell(to, Notice::Draining(id, left)) => Some((*to, format!("draining {id} {left:?}"))),
        Effect::Tell(to, Notice::Left(id, _)) => Some((*to, format!("left {id}"))),
        Effect::Tell(to, Notice::Dead(id, _)) => Some((*to, format!("dead {id}"))),
        _ => None,
    };
    fx.iter().filter_map(said).collect()
}

fn submit(head: &mut Head) -> (JobId, NodeId) {
    let submission = Submission::default();
    let Ok(Submitted::New(id)) = head.submit(Time(0), submission) else { panic!("it is new") };
    (id, head.place_job(id).expect("there are nodes"))
}

#[test]
fn everybody_hears_who_drains_and_the_node_itself_how_long_it_has() {
    let (mut head, nodes) = scene();
    let mut fx = Vec::new();
    head.drain(Time(0), nodes[0], None, &mut fx).expect("a member");
    let (id, none) = (nodes[0], None::<Duration>);
    assert_eq!(
        told(&fx),
        nodes.iter().map(|to| (*to, format!("draining {id} {none:?}"))).collect::<Vec<_>>()
    );
    fx.clear();
    head.drain(Time(0), id, None, &mut fx).expect("again");
    assert_eq!(told(&fx), [], "that is known");
    head.drain(Time(0), id, Some(SECOND * 20), &mut fx).expect("a deadline");
    head.drain(Time(0) + SECOND * 5, id, Some(SECOND * 60), &mut fx).expect("a longer one");
    assert_eq!(told(&fx), [(id, format!("draining {id} {:?}", Some(SECOND * 20)))]);
    fx.clear();
    // Whoever joins, or comes back, is told too.
    let new = IdGenerator::new([9; 16]).node();
    head.node_joins(Time(0), info(new), &mut fx).expect("room");
    assert_eq!(told(&fx), [(new, format!("draining {id} {none:?}"))]);
    fx.clear();
    head.node_joins(Time(0) + SECOND * 5, info(id), &mut fx).expect("it is back");
    assert!(told(&fx).contains(&(id, format!("draining {id} {:?}", Some(SECOND * 15)))), "{:?}", told(&fx));
    let deadline = Some(Time(0) + SECOND * 20);
    assert_eq!(head.standing(id), Some(NodeStanding::Draining(Drain { deadline })));
}

#[test]
fn a_node_that_drains_is_given_no_jobs() {
    let (mut head, nodes) = scene();
    let mut fx = Vec::new();
    for id in &nodes[..2] {
        head.drain(Time(0), *id, None, &mut fx).expect("a member");
    }
    assert!((0..5).all(|_| submit(&mut head).1 == nodes[2]));
    head.drain(Time(0), nodes[2], None, &mut fx).expect("the last one too");
    let error = head.least_busy_node().expect_err("nobody takes jobs");
    assert_eq!(error.code(), ErrorCode::Unschedulable);
    assert!(error.message().contains("drains"), "{error}");
}

#[test]
fn a_node_is_let_go_when_no_job_is_about_to_come() {
    let (mut head, nodes) = scene();
    let mut fx = Vec::new();
    let (job, home) = submit(&mut head);
    assert!(!head.let_go(Time(0), home, true, &mut fx), "nobody drains it");
    head.drain(Time(0), home, None, &mut fx).expect("a member");
    assert!(!head.let_go(Time(1), home, true, &mut fx), "its job has yet to come there");
    assert_eq!(head.nodes().count(), 3);
    head.withdraw_job(Time(1), job, &Error::new(ErrorCode::Unschedulable, "no node"));
    fx.clear();
    assert!(head.let_go(Time(2), home, true, &mut fx));
    assert!(told(&fx).iter().all(|(_, said)| *said == format!("left {home}")), "{:?}", told(&fx));
    assert_eq!(told(&fx).len(), nodes.len(), "it hears so itself");
    let died = fx.iter().position(|effect| matches!(effect, Effect::Died(..)));
    let own =
        fx.iter().position(|effect| matches!(effect, Effect::Tell(to, Notice::Left(..)) if *to == home));
    assert!(own < died, "before its line ends");
    assert_eq!(head.standing(home), Some(NodeStanding::Left));
    assert!(head.let_go(Time(3), home, true, &mut fx), "said again, it is the same");
    head.drain(Time(3), home, None, &mut fx).expect("it has left already");
    assert_eq!(head.node_joins(Time(3), info(home), &mut fx).expect_err("gone").code(), ErrorCode::NodeDied);
}

// contract: J2
#[test]
fn at_its_deadline_a_node_goes_as_one_that_dies() {
    let (mut head, _) = scene();
    let mut fx = Vec::new();
    let (job, home) = submit(&mut head);
    head.job_started(Time(0), job);
    head.drain(Time(0), home, Some(SECOND), &mut fx).expect("a member");
    fx.clear();
    assert!(head.let_go(Time(0) + SECOND, home, false, &mut fx));
    let others = told(&fx).into_iter().filter(|(to, _)| *to != home);
    assert!(others.map(|(_, said)| said).all(|said| said == format!("dead {home}")));
    assert!(told(&fx).contains(&(home, format!("left {home}"))));
    assert_eq!(head.standing(home), Some(NodeStanding::Left));
    assert_eq!(head.job(job).expect("kept").error.as_ref().map(|e| e.code()), Some(ErrorCode::NodeDied));
}

#[test]
fn a_dead_node_that_is_revoked_counts_as_having_left_after_a_restart_too() {
    let (mut head, nodes) = scene();
    let mut fx = Vec::new();
    let id = nodes[0];
    head.revoke(id, &mut fx);
    assert!(fx.is_empty(), "it lives");
    head.node_leaves(Time(0), id, "it was killed", &mut fx);
    assert_eq!(head.standing(id), Some(NodeStanding::Dead));
    head.take_changes();
    let others: Vec<NodeId> = head.nodes().map(|(info, _)| info.id).collect();
    fx.clear();
    head.revoke(id, &mut fx);
    assert_eq!(others.len(), 2);
    assert_eq!(told(&fx), others.iter().map(|to| (*to, format!("dead {id}"))).collect::<Vec<_>>());
    assert_eq!(head.standing(id), Some(NodeStanding::Left));
    head.drain(Time(0), id, None, &mut fx).expect("it has left");
    assert!(head.nodes_left().eq([id]));
    let kept = head.take_changes().into_iter().filter_map(|change| match change {
        Change::Put(record) => Some(record),
        Change::Delete(_) => None,
    });
    let back = Head::restore([2; 16], Limits::default(), Time(0), kept.collect::<Vec<Record>>(), &mut fx);
    assert!(back.nodes_left().eq([id]));
}

#[test]
fn who_cannot_be_drained_is_named() {
    let (mut head, nodes) = scene();
    let mut fx = Vec::new();
    let stranger = IdGenerator::new([9; 16]).node();
    let error = head.drain(Time(0), stranger, None, &mut fx).expect_err("unknown");
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert!(error.message().contains(&stranger.to_string()), "{error}");
    head.node_leaves(Time(0), nodes[1], "it was killed", &mut fx);
    let error = head.drain(Time(0), nodes[1], None, &mut fx).expect_err("dead");
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(head.standing(nodes[1]), Some(NodeStanding::Dead));
}

// contract: H2
#[test]
fn a_head_that_comes_back_goes_on_with_the_drain() {
    let (mut head, nodes) = scene();
    let mut fx = Vec::new();
    head.drain(Time(0), nodes[0], Some(SECOND * 30), &mut fx).expect("a member");
    head.drain(Time(0), nodes[1], None, &mut fx).expect("a member");
    assert!(head.let_go(Time(1), nodes[1], true, &mut fx));
    let records = head.take_changes().into_iter().filter_map(|change| match change {
        Change::Put(record) => Some(record),
        Change::Delete(_) => None,
    });
    let records: Vec<Record> = records.collect();
    let now = Time(0) + SECOND * 10;
    let mut back = Head::restore([2; 16], Limits::default(), now, records, &mut fx);
    let deadline = Some(Time(0) + SECOND * 30);
    assert_eq!(back.standing(nodes[0]), Some(NodeStanding::Draining(Drain { deadline })));
    assert_eq!(back.standing(nodes[1]), Some(NodeStanding::Left));
    assert_eq!(back.standing(nodes[2]), Some(NodeStanding::Alive));
    fx.clear();
    back.node_joins(now, info(nodes[0]), &mut fx).expect("it is back");
    assert!(told(&fx).contains(&(nodes[0], format!("draining {} {:?}", nodes[0], Some(SECOND * 20)))));
    let load = Load { free: info(nodes[2]).total, version: 1 };
    back.heard_of(now, nodes[2], load, &mut fx);
    assert_eq!(back.least_busy_node().expect("one takes jobs"), nodes[2]);
}
