//! Which nodes live.

use std::time::Duration;

use crate::error::ErrorCode;
use crate::head::{Effect, Head, Limits, Notice, Watch};
use crate::ids::{IdGenerator, NodeId};
use crate::node::{Load, NodeInfo};
use crate::resources::{Quantity, Resources};
use crate::time::Time;

const SECOND: Duration = Duration::from_secs(1);

fn cpus(count: u64) -> Resources {
    Resources { cpus: Quantity::units(count), ..Resources::default() }
}

fn info(id: NodeId) -> NodeInfo {
    NodeInfo { id, labels: Vec::new(), total: cpus(4) }
}

fn load(count: u64) -> Load {
    Load { free: cpus(count), version: 0 }
}

/// A head that tells of each node at once.
fn head_without_delay() -> Head {
    let watch = Watch { joins_every: Duration::ZERO, ..Watch::default() };
    Head::new([1; 16], Limits { watch, ..Limits::default() })
}

fn heads_and_nodes() -> (Head, Vec<NodeId>) {
    let mut ids = IdGenerator::new([5; 16]);
    let mut head = head_without_delay();
    let nodes: Vec<NodeId> = (0..3).map(|_| ids.node()).collect();
    for node in &nodes {
        head.node_joins(Time(0), info(*node), &mut Vec::new()).expect("room");
    }
    (head, nodes)
}

fn told(fx: &[Effect], to: NodeId) -> Vec<String> {
    let notice = |effect: &Effect| match effect {
        Effect::Tell(node, notice) if *node == to => Some(match notice {
            Notice::Joined(infos) => {
                let ids: Vec<String> = infos.iter().map(|info| info.id.to_string()).collect();
                format!("joined {}", ids.join(" "))
            }
            Notice::Dead(id, _) => format!("dead {id}"),
            Notice::Loads(loads) => format!("loads of {}", loads.len()),
            Notice::Group(notice) => format!("{notice:?}"),
            Notice::EndRun(run) => format!("end {run}"),
            Notice::BreakDeadlock(changes) => format!("deadlock after {changes}"),
            Notice::Draining(id, left) => format!("draining {id} {left:?}"),
            Notice::Left(id, _) => format!("left {id}"),
            Notice::Tenant(news) => format!("{news:?}"),
        }),
        _ => None,
    };
    fx.iter().filter_map(notice).collect()
}

#[test]
fn who_joins_hears_of_the_others_and_they_of_it() {
    let (mut head, nodes) = heads_and_nodes();
    let new = IdGenerator::new([9; 16]).node();
    let mut fx = Vec::new();
    head.node_joins(Time(1), info(new), &mut fx).expect("room");
    for node in &nodes {
        assert_eq!(told(&fx, *node), [format!("joined {new}")]);
    }
    assert_eq!(
        told(&fx, new),
        [joined(&head), "loads of 4".to_owned()],
        "all of them, and what they have free"
    );
}

/// A node that joins late is given work by others that have not heard of a death: of a job whose root the dead
/// node had it would never hear the end.
// contract: H3, J2
#[test]
fn who_joins_hears_which_nodes_died_before() {
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    assert_eq!(head.latest_departed().count(), 0);
    head.node_leaves(Time(1), nodes[1], "it was told to", &mut fx);
    head.node_leaves(Time(2), nodes[0], "it was told to", &mut fx);
    assert_eq!(head.latest_departed().collect::<Vec<_>>(), [nodes[0], nodes[1]]);
    let mut ids = IdGenerator::new([7; 16]);
    for _ in 0..300 {
        let node = ids.node();
        head.node_joins(Time(3), info(node), &mut fx).expect("room");
        head.node_leaves(Time(3), node, "it was told to", &mut fx);
    }
    assert_eq!(head.latest_departed().count(), 256, "a joining node is not told without bound");
}

/// What who joins is told of those who are there.
fn joined(head: &Head) -> String {
    let ids: Vec<String> = head.nodes().map(|(info, _)| info.id.to_string()).collect();
    format!("joined {}", ids.join(" "))
}

// contract: H1
#[test]
fn a_node_is_watched_from_its_welcome_on() {
    let node = IdGenerator::new([5; 16]).node();
    let mut head = Head::new([1; 16], Limits::default());
    let watch = Limits::default().watch;
    let mut fx = Vec::new();
    head.node_joins(Time(0), info(node), &mut fx).expect("room");
    head.welcome_waits(Time(0), node, &mut fx);
    // The disk takes its time.
    let at = Time(0) + watch.silence_max * 3;
    head.timer(at, &mut fx);
    assert!(head.is_alive(node));
    head.node_welcomed(at, node, &mut fx);
    let silent_at = at + watch.silence_max;
    assert!(fx.iter().any(|effect| matches!(effect, Effect::ArmTimer(armed) if *armed <= silent_at)));
    head.timer(silent_at, &mut fx);
    assert!(!head.is_alive(node), "it said nothing");
    // One that can not be welcomed does not stay.
    let other = IdGenerator::new([6; 16]).node();
    head.node_joins(silent_at, info(other), &mut fx).expect("room");
    head.welcome_waits(silent_at, other, &mut fx);
    let late = silent_at + watch.silence_max + watch.welcome_max;
    head.timer(late, &mut fx);
    // The head itself was asleep so long.
    head.timer(late + watch.reconnect_max, &mut fx);
    assert!(!head.is_alive(other));
}

#[test]
fn nodes_that_join_together_are_told_of_together() {
    let mut ids = IdGenerator::new([5; 16]);
    let mut head = Head::new([1; 16], Limits::default());
    let nodes: Vec<NodeId> = (0..5).map(|_| ids.node()).collect();
    let mut fx = Vec::new();
    let at = |millis| Time(0) + Duration::from_millis(millis);
    head.node_joins(at(0), info(nodes[0]), &mut fx).expect("room");
    for (node, millis) in nodes[1..4].iter().zip(1..) {
        head.node_joins(at(millis), info(*node), &mut fx).expect("room");
    }
    assert!(fx.iter().all(|effect| matches!(effect, Effect::ArmTimer(_))), "the first is alone");
    head.timer(at(20), &mut fx);
    let mut sorted = nodes[1..4].to_vec();
    sorted.sort();
    let newcomers: Vec<String> = sorted.iter().map(NodeId::to_string).collect();
    assert_eq!(told(&fx, nodes[0]), [format!("joined {}", newcomers.join(" "))]);
    for node in &nodes[1..4] {
        assert_eq!(told(&fx, *node), [joined(&head), "loads of 4".to_owned()]);
    }
    // Long after the others it is told of at once.
    fx.clear();
    head.node_joins(at(100), info(nodes[4]), &mut fx).expect("room");
    assert_eq!(told(&fx, nodes[0]), [format!("joined {}", nodes[4])]);
    // One that is gone before the others were told of it is told of before its death.
    fx.clear();
    let late = ids.node();
    head.node_joins(at(101), info(late), &mut fx).expect("room");
    head.node_leaves(at(102), late, "it was told to", &mut fx);
    assert_eq!(told(&fx, nodes[0]), [format!("joined {late}"), format!("dead {late}")]);
}

#[test]
fn what_is_free_is_told_to_those_who_look_for_room() {
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    head.wants_loads(nodes[0], false, &mut fx);
    head.heard_of(Time(0), nodes[2], load(3), &mut fx);
    head.timer(Time(0) + Duration::from_millis(100), &mut fx);
    let loads = |fx: &[Effect]| nodes.iter().map(|node| told(fx, *node).len()).collect::<Vec<_>>();
    assert_eq!(loads(&fx), [0, 1, 0], "one does not look, and one knows what it has itself");
    // It begins to look: it is told of all at once, and of what changes from then on.
    fx.clear();
    head.wants_loads(nodes[0], true, &mut fx);
    assert_eq!(told(&fx, nodes[0]), ["loads of 3"]);
    head.wants_loads(nodes[0], true, &mut fx);
    assert_eq!(told(&fx, nodes[0]).len(), 1, "it was told");
    fx.clear();
    head.heard_of(Time(1), nodes[2], load(2), &mut fx);
    head.timer(Time(0) + Duration::from_millis(200), &mut fx);
    assert_eq!(loads(&fx), [1, 1, 0]);
    // On a new line it is told until it says that it need not.
    head.wants_loads(nodes[0], false, &mut fx);
    head.node_joins(Time(2), info(nodes[0]), &mut fx).expect("it is a member");
    fx.clear();
    head.heard_of(Time(3), nodes[2], load(1), &mut fx);
    head.timer(Time(0) + Duration::from_millis(300), &mut fx);
    assert_eq!(loads(&fx), [1, 1, 0]);
}

// contract: H1
#[test]
fn a_silent_node_is_dead_within_three_seconds() {
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    for second in 1..3 {
        for node in &nodes[..2] {
            assert!(head.heard_of(Time(0) + SECOND * second, *node, load(4), &mut fx));
        }
        head.timer(Time(0) + SECOND * second, &mut fx);
    }
    assert!(told(&fx, nodes[0]).is_empty());
    head.timer(Time(0) + SECOND * 3, &mut fx);
    assert_eq!(told(&fx, nodes[0]), [format!("dead {}", nodes[2])]);
    assert!(told(&fx, nodes[2]).is_empty());
    assert_eq!(head.nodes().count(), 2);
}

// contract: H1
#[test]
fn a_broken_connection_is_death_unless_it_is_made_anew_soon() {
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    for node in &nodes[1..] {
        head.connection_broke(Time(0), *node, &mut fx);
    }
    let soon = Time(0) + Duration::from_millis(400);
    assert!(head.heard_of(soon, nodes[1], load(4), &mut fx));
    head.timer(Time(0) + Duration::from_millis(500), &mut fx);
    assert_eq!(told(&fx, nodes[0]), [format!("dead {}", nodes[2])]);
}

// contract: H3
#[test]
fn who_was_declared_dead_starts_afresh() {
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    head.node_leaves(Time(0), nodes[0], "it was told to", &mut fx);
    assert!(!head.heard_of(Time(1), nodes[0], load(1), &mut fx));
    let error = head.node_joins(Time(1), info(nodes[0]), &mut fx).expect_err("fenced");
    assert_eq!(error.code(), ErrorCode::NodeDied);
    assert!(matches!(head.is_dead(nodes[0]), Some(Notice::Dead(id, _)) if id == nodes[0]));
    assert!(head.is_dead(nodes[1]).is_none());
}

// contract: J2
#[test]
fn a_job_goes_to_the_node_with_the_fewest_and_fails_with_it() {
    use crate::head::{JobState, Submission, Submitted};
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    head.heard_of(Time(0), nodes[1], load(8), &mut fx);
    let submit = |head: &mut Head| {
        let submission = Submission::default();
        let Ok(Submitted::New(id)) = head.submit(Time(0), submission) else { panic!("it is new") };
        (id, head.place_job(id).expect("there are nodes"))
    };
    let (first, home) = submit(&mut head);
    assert_eq!(home, nodes[1], "it has most free");
    let (second, other) = submit(&mut head);
    assert_ne!(other, home, "it has a job already");
    head.node_leaves(Time(1), home, "it was told to", &mut fx);
    let record = head.job(first).expect("it is kept");
    assert_eq!(record.state, JobState::Failed);
    assert_eq!(record.error.as_ref().map(|error| error.code()), Some(ErrorCode::NodeDied));
    assert_eq!(head.job(second).expect("it is there").state, JobState::Pending);
    // Another head, which has started afresh, hears of it from its node, once.
    let mut afresh = Head::new([9; 16], Limits::default());
    afresh.node_joins(Time(0), info(other), &mut fx).expect("room");
    let submission = head.job(second).expect("it is there").submission.clone();
    assert!(afresh.job_is_known(Time(0), second, submission.clone(), other));
    assert!(!afresh.job_is_known(Time(0), second, submission, other));
    assert_eq!(afresh.job(second).expect("known").state, JobState::Running);
    afresh.node_leaves(Time(1), other, "it was told to", &mut fx);
    assert_eq!(afresh.job(second).expect("known").state, JobState::Failed);
    for node in nodes {
        head.node_leaves(Time(1), node, "it was told to", &mut fx);
    }
    assert_eq!(head.place_job(second).expect_err("no node").code(), ErrorCode::Unschedulable);
    let forgotten = |fx: &[Effect]| fx.iter().any(|effect| matches!(effect, Effect::JobForgotten(_)));
    assert!(!forgotten(&fx), "there is room for both");
    head.limits.ended_jobs_max = 1;
    head.node_joins(Time(2), info(IdGenerator::new([9; 16]).node()), &mut fx).expect("room");
    let (third, home) = submit(&mut head);
    fx.clear();
    head.node_leaves(Time(3), home, "it was told to", &mut fx);
    assert!(forgotten(&fx), "an older one makes room for {third}");
}

#[test]
fn a_head_that_starts_afresh_learns_of_nodes_from_others() {
    let mut head = head_without_delay();
    let mut ids = IdGenerator::new([5; 16]);
    let (first, second) = (ids.node(), ids.node());
    let mut fx = Vec::new();
    head.node_joins(Time(0), info(first), &mut fx).expect("room");
    head.node_is_known(Time(0), info(second), &mut fx);
    assert!(head.is_alive(second));
    head.heard_of(Time(0) + SECOND * 2, first, load(4), &mut fx);
    head.timer(Time(0) + SECOND * 3, &mut fx);
    assert_eq!(told(&fx, first), [format!("joined {second}"), format!("dead {second}")].map(String::from));
    head.node_is_known(Time(0) + SECOND * 3, info(second), &mut fx);
    assert!(!head.is_alive(second), "who was declared dead stays dead");
}

#[test]
fn what_is_free_is_passed_on_in_batches_when_it_changes() {
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    head.heard_of(Time(0), nodes[0], load(3), &mut fx);
    head.heard_of(Time(1), nodes[1], load(2), &mut fx);
    head.heard_of(Time(2), nodes[2], load(4), &mut fx);
    assert!(fx.iter().all(|effect| matches!(effect, Effect::ArmTimer(_))));
    head.timer(Time(0) + Duration::from_millis(100), &mut fx);
    let loads = nodes.iter().map(|node| told(&fx, *node)).collect::<Vec<_>>();
    assert_eq!(loads, [vec!["loads of 2"], vec!["loads of 2"], vec!["loads of 2"]]);
    let lists = fx.iter().filter_map(|effect| match effect {
        Effect::Tell(_, Notice::Loads(list)) => Some(list.as_ptr()),
        _ => None,
    });
    assert_eq!(lists.collect::<std::collections::BTreeSet<_>>().len(), 1, "one list for all");
    fx.clear();
    head.timer(Time(0) + Duration::from_millis(200), &mut fx);
    assert!(nodes.iter().all(|node| told(&fx, *node).is_empty()), "nothing has changed");
}

#[test]
fn a_head_that_was_asleep_gives_the_nodes_time_to_be_heard() {
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    head.timer(Time(0) + SECOND * 60, &mut fx);
    assert_eq!(head.nodes().count(), 3);
    assert!(head.heard_of(Time(0) + SECOND * 60, nodes[0], load(4), &mut fx));
    head.timer(Time(0) + SECOND * 61, &mut fx);
    assert_eq!(head.nodes().count(), 1, "who has said nothing since is dead");
}

#[test]
fn nodes_are_bounded() {
    let watch = Watch { nodes_max: 1, ..Watch::default() };
    let mut head = Head::new([1; 16], Limits { watch, ..Limits::default() });
    let mut ids = IdGenerator::new([5; 16]);
    let first = ids.node();
    head.node_joins(Time(0), info(first), &mut Vec::new()).expect("room");
    let error = head.node_joins(Time(0), info(ids.node()), &mut Vec::new()).expect_err("full");
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    head.node_joins(Time(0), info(first), &mut Vec::new()).expect("it is here already");
}

#[test]
fn a_job_goes_where_nobody_answers_only_when_there_is_no_other_node() {
    let (mut head, nodes) = heads_and_nodes();
    let mut fx = Vec::new();
    head.heard_of(Time(0), nodes[1], load(8), &mut fx);
    assert_eq!(head.least_busy_node().expect("there are nodes"), nodes[1], "it has most free");
    head.connection_broke(Time(1), nodes[1], &mut fx);
    let other = head.least_busy_node().expect("there are nodes");
    assert_ne!(other, nodes[1]);
    let others: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != nodes[1]).collect();
    assert_eq!(head.least_busy_node_but(&others).expect("one is left"), nodes[1]);
    let error = head.least_busy_node_but(&nodes).expect_err("none is left");
    assert_eq!(error.code(), ErrorCode::Unschedulable);
}
