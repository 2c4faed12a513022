//! Nodes that drain.

use std::time::Duration;

use super::Cluster;
use super::headed::{Headed, inside};
use super::hosted::create;
use crate::error::ErrorCode;
use crate::group::{GroupState, GroupStrategy};
use crate::ids::ActorId;
use crate::node::tests::harness::{SECOND, large, options, value_with, with_cpus};
use crate::node::{Caller, TaskState, Until, WaitState, Waitable};
use crate::options::{ActorOptions, Retries, Strategy, TaskOptions};
use crate::resources::Quantity;
use crate::value::{Handle, Residence};

impl Cluster {
    /// Everybody is told that a node drains.
    fn drain(&mut self, index: usize, deadline: Option<Duration>) {
        let id = self.id(index);
        for world in &mut self.worlds {
            world.event(|node, now, fx| node.node_drains(now, id, deadline, fx));
        }
        self.settle();
    }

    /// A node that has asked for it is let go, and the others are told; whether with nothing on it.
    #[track_caller]
    fn let_go(&mut self, index: usize) -> bool {
        let in_order = self.worlds[index].leaves.expect("it has asked to leave");
        self.alive[index] = false;
        let id = self.id(index);
        self.flying.retain(|packet| packet.from != id && packet.to != id);
        for other in 0..self.worlds.len() {
            if self.alive[other] {
                self.worlds[other].event(|node, now, fx| match in_order {
                    true => node.node_left(now, id, fx),
                    false => node.node_dead(now, id, fx),
                });
            }
        }
        self.settle();
        in_order
    }

    fn attempts(&self, task: crate::ids::TaskId) -> usize {
        self.worlds[0].node.task(task).expect("known").attempts.len()
    }
}

/// Options of what runs on this node if it can.
fn soft(cluster: &Cluster, index: usize) -> TaskOptions {
    let mut options = options();
    options.placement.strategy = Strategy::Node(cluster.id(index), true);
    options
}

fn once() -> Retries {
    Retries { system: 0, ..Retries::default() }
}

// contract: T7
#[test]
fn a_node_that_drains_takes_nothing_new_and_goes_when_what_runs_has_ended() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (task, at) = cluster.start(root, &[], TaskOptions { retries: once(), ..options() });
    let other = 3 - at;
    cluster.drain(at, None);
    let more = cluster.worlds[0].spawn_many(root, 2);
    cluster.settle();
    assert_eq!((cluster.runs_on(more[0]), cluster.runs_on(more[1])), (Some(other), None));
    assert_eq!(cluster.worlds[at].leaves, None, "a task runs");
    let view = cluster.worlds[at].node.node_view().drain.expect("it drains");
    assert_eq!((view.tasks, view.jobs, view.actors, view.deadline), (1, 0, 0, None));
    cluster.finish(task);
    cluster.advance(SECOND);
    assert!(cluster.let_go(at), "nothing is on it");
    assert!(cluster.worlds[0].outcome(root, task.output(0)).is_some_and(|outcome| outcome.is_ok()));
    cluster.finish(more[0]);
    cluster.finish(more[1]);
    cluster.end();
}

#[test]
fn a_node_on_which_nothing_is_goes_at_once() {
    let mut cluster = Cluster::new(&[1, 1]);
    cluster.drain(1, None);
    assert!(cluster.let_go(1));
    let root = cluster.job(0);
    let (task, at) = cluster.start(root, &[], options());
    assert_eq!(at, 0);
    cluster.finish(task);
    cluster.end();
}

#[test]
fn what_waits_there_goes_back_and_costs_no_attempt() {
    let mut cluster = Cluster::new(&[0, 1, 0]);
    let root = cluster.job(0);
    let own = cluster.job(1);
    let busy = cluster.worlds[1].spawn(own, &[], options());
    let waits = cluster.worlds[0].spawn(root, &[], TaskOptions { retries: once(), ..options() });
    cluster.settle();
    let here = cluster.worlds[1].node.task(waits).expect("it is in line there").state;
    assert_eq!(here, TaskState::PendingPlacement);
    cluster.drain(1, None);
    cluster.assert_state(0, waits, TaskState::PendingPlacement);
    assert_eq!(cluster.attempts(waits), 0);
    // There is no other node for it: it waits until there is, or is none any more.
    cluster.worlds[1].finish(busy);
    cluster.worlds[1].finish(own.task);
    cluster.advance(SECOND);
    assert!(cluster.let_go(1));
    assert_eq!(cluster.worlds[0].code_of(root, waits), ErrorCode::Unschedulable);
    cluster.end();
}

#[test]
fn what_a_node_is_given_as_it_leaves_was_never_begun() {
    let mut cluster = Cluster::new(&[0, 2, 2]);
    let root = cluster.job(0);
    let left = cluster.id(1);
    // It drains and is empty before the owner has heard of it.
    cluster.worlds[1].event(|node, now, fx| node.node_drains(now, left, None, fx));
    let wants = TaskOptions { retries: once(), ..soft(&cluster, 1) };
    let task = cluster.worlds[0].spawn(root, &[], wants.clone());
    let actor = cluster.worlds[0]
        .create(root, ActorOptions { placement: wants.placement, ..ActorOptions::default() });
    cluster.assert_state(0, task, TaskState::Submitted);
    cluster.worlds[0].outbox.clear();
    assert!(cluster.let_go(1));
    assert_eq!(cluster.runs_on(task), Some(2), "it may be tried once, and was not yet");
    cluster.finish(task);
    assert_eq!(cluster.construct(actor), 2, "which is no restart");
    assert_eq!(cluster.worlds[0].node.actor(actor).expect("known").restarts, 0);
    cluster.end();
}

// contract: O8
#[test]
fn objects_that_only_it_has_go_to_their_owner_and_nothing_is_made_again() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let mut made = Vec::new();
    for _ in 0..20 {
        let (task, at) = cluster.start(root, &[], soft(&cluster, 1));
        assert_eq!(at, 1);
        cluster.worlds[1].finish_with(task, vec![large(4 << 20)]);
        cluster.settle();
        made.push(task);
    }
    let (last, at) = cluster.start(root, &[made[0].output(0)], soft(&cluster, 1));
    assert_eq!(at, 1);
    cluster.drain(1, None);
    assert_eq!(cluster.worlds[1].leaves, None, "a task runs");
    let moved = |cluster: &Cluster| cluster.worlds[0].node.node_view().counters.objects_moved;
    assert_eq!(moved(&cluster), 20);
    // What is made there now goes too.
    cluster.worlds[1].finish_with(last, vec![large(4 << 20)]);
    cluster.settle();
    cluster.advance(SECOND);
    assert_eq!(moved(&cluster), 21);
    assert!(cluster.let_go(1));
    for task in made.iter().chain([&last]) {
        let value = cluster.worlds[0].outcome(root, task.output(0)).expect("there").expect("a value");
        assert_eq!(value.place.residence(), Residence::Arena);
        assert_eq!(cluster.attempts(*task), 1);
    }
    assert_eq!(cluster.worlds[0].node.node_view().counters.tasks_rebuilt, 0);
    // Whoever needs them elsewhere finds them.
    let (reader, at) = cluster.start(root, &[made[1].output(0), last.output(0)], soft(&cluster, 2));
    assert_eq!(at, 2);
    cluster.finish(reader);
    cluster.end();
}

#[test]
fn a_borrower_of_an_object_that_has_moved_asks_its_owner() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (task, _) = cluster.start(root, &[], soft(&cluster, 1));
    cluster.worlds[1].finish_with(task, vec![large(4 << 20)]);
    cluster.settle();
    let handle = Handle::Object(task.output(0));
    let message = cluster.worlds[0].put(root, value_with(&[handle]));
    let (reader, at) = cluster.start(root, &[message], soft(&cluster, 2));
    let inside = cluster.worlds[at].caller(reader);
    cluster.worlds[at].acquire(inside, handle);
    cluster.settle();
    // It knows where the bytes are, and has not got them.
    let item = [Waitable::Object(task.output(0))];
    cluster.worlds[at].wait(inside, &item, Until::AllOrFailure, None);
    cluster.settle();
    cluster.drain(1, None);
    cluster.advance(SECOND);
    assert!(cluster.let_go(1));
    let item = [Waitable::Value(task.output(0))];
    let WaitState::Blocked(wait) = cluster.worlds[at].wait(inside, &item, Until::AllOrFailure, None) else {
        panic!("it is not here")
    };
    cluster.settle();
    assert!(cluster.worlds[at].is_awake(wait));
    let value = cluster.worlds[at].outcome(inside, task.output(0)).expect("there").expect("a value");
    assert_eq!(value.place.residence(), Residence::Arena);
    assert_eq!(cluster.attempts(task), 1);
    cluster.finish(reader);
    cluster.end();
}

// contract: T7
#[test]
fn at_the_deadline_tasks_run_elsewhere_and_it_costs_no_retry() {
    let mut cluster = Cluster::new(&[0, 1, 2]);
    let root = cluster.job(0);
    let retries = Retries { system: 1, ..Retries::default() };
    let (task, at) = cluster.start(root, &[], TaskOptions { retries, ..soft(&cluster, 1) });
    assert_eq!(at, 1);
    let child = cluster.worlds[1].caller(task);
    let child = cluster.worlds[1].spawn(child, &[], options());
    cluster.drain(1, Some(SECOND * 10));
    cluster.drain(1, Some(SECOND * 60));
    cluster.advance(SECOND * 9);
    assert_eq!(cluster.runs_on(task), Some(1), "it may end until then");
    assert_eq!(cluster.runs_on(child), Some(2), "what it spawns goes elsewhere");
    cluster.advance(SECOND);
    assert_eq!(cluster.runs_on(task), Some(2), "the shorter deadline counts");
    assert_eq!(cluster.runs_on(child), None, "nobody waits for it");
    cluster.advance(SECOND);
    assert!(cluster.let_go(1), "what ran there was ended");
    let attempts = cluster.worlds[0].node.task(task).expect("known").attempts;
    assert_eq!(attempts[0].cause.as_ref().map(|cause| cause.code()), Some(ErrorCode::NodeDied));
    cluster.worlds[2].lose(task);
    cluster.settle();
    assert_eq!(cluster.runs_on(task), Some(2), "its one retry is still there");
    cluster.finish(task);
    assert_eq!(cluster.worlds[0].node.node_view().counters.tasks_drained, 1);
    cluster.end();
}

#[test]
fn at_the_deadline_what_may_run_once_only_fails_and_says_why() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let (task, at) = cluster.start(root, &[], TaskOptions { retries: once(), ..options() });
    let id = cluster.id(at);
    cluster.drain(at, Some(SECOND));
    cluster.advance(SECOND);
    let error = cluster.worlds[0].error_of(root, task.output(0));
    assert_eq!(error.code(), ErrorCode::NodeDied);
    assert!(error.message().contains(&id.to_string()) && error.message().contains("drained"), "{error}");
    assert!(cluster.let_go(at));
    cluster.end();
}

fn restarting(cluster: &Cluster, index: usize, max_restarts: i32) -> ActorOptions {
    ActorOptions { placement: soft(cluster, index).placement, max_restarts, ..ActorOptions::default() }
}

fn actor_at(cluster: &mut Cluster, root: Caller, wants: ActorOptions) -> ActorId {
    let actor = create(cluster, 0, root, wants);
    cluster.construct(actor);
    actor
}

// contract: A1, A3
#[test]
fn an_actor_leaves_when_no_call_is_inside_and_those_that_wait_are_served_elsewhere() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let wants = restarting(&cluster, 1, 1);
    let actor = actor_at(&mut cluster, root, wants);
    let lane = cluster.worlds[0].lane();
    let calls: Vec<_> = (0..3).map(|_| cluster.worlds[0].call(root, actor, lane, &[])).collect();
    cluster.settle();
    assert_eq!(cluster.runs_on(calls[0]), Some(1));
    cluster.drain(1, None);
    assert_eq!((cluster.runs_on(calls[0]), cluster.runs_on(calls[1])), (Some(1), None));
    cluster.finish(calls[0]);
    assert_eq!(cluster.construct(actor), 2, "it is made anew elsewhere");
    for call in &calls[1..] {
        assert_eq!(cluster.runs_on(*call), Some(2));
        cluster.finish(*call);
    }
    assert!(calls.iter().all(|call| cluster.attempts(*call) == 1), "no call was cut short");
    assert_eq!(cluster.worlds[0].node.actor(actor).expect("known").restarts, 1);
    cluster.advance(SECOND);
    assert!(cluster.let_go(1));
    cluster.end();
}

// contract: A3
#[test]
fn an_actor_that_may_not_restart_is_waited_for_until_the_deadline() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let root = cluster.job(0);
    let wants = restarting(&cluster, 1, 0);
    let actor = actor_at(&mut cluster, root, wants);
    let lane = cluster.worlds[0].lane();
    cluster.drain(1, None);
    let call = cluster.worlds[0].call(root, actor, lane, &[]);
    cluster.settle();
    cluster.finish(call);
    assert_eq!(cluster.worlds[1].leaves, None);
    assert_eq!(cluster.worlds[1].node.node_view().drain.expect("it drains").actors, 1);
    cluster.drain(1, Some(SECOND));
    cluster.advance(SECOND * 2);
    assert!(cluster.let_go(1));
    let cause = cluster.worlds[0].node.actor(actor).and_then(|view| view.cause).expect("it is dead");
    assert!(cause.message().contains("drained"), "{cause}");
    cluster.end();
}

#[test]
fn an_actor_that_only_that_node_could_run_stays_until_the_deadline() {
    let mut cluster = Cluster::new(&[0, 1, 0]);
    let root = cluster.job(0);
    let mut wants = restarting(&cluster, 1, -1);
    wants.placement.cpus = Some(Quantity::units(1));
    let actor = actor_at(&mut cluster, root, wants);
    cluster.drain(1, None);
    assert_eq!(cluster.worlds[0].actor_state(actor), "ALIVE");
    assert_eq!(cluster.worlds[1].leaves, None);
    cluster.end();
}

// contract: J2, O9
#[test]
fn what_a_node_owns_is_waited_for_or_ends_with_it() {
    for deadline in [None, Some(SECOND)] {
        let mut cluster = Cluster::new(&[1, 1]);
        let root = cluster.job(0);
        let (task, at) = cluster.start(root, &[], soft(&cluster, 1));
        assert_eq!(at, 1);
        cluster.drain(0, deadline);
        assert_eq!(cluster.worlds[0].leaves, None);
        cluster.advance(SECOND * 2);
        if deadline.is_none() {
            cluster.finish(task);
            assert_eq!(cluster.worlds[0].leaves, None, "the job goes on");
            cluster.worlds[0].finish(root.task);
            cluster.settle();
            cluster.advance(SECOND);
        }
        assert_eq!(cluster.let_go(0), deadline.is_none());
        assert_eq!(cluster.runs_on(task), None);
        cluster.end();
    }
}

// contract: O9
#[test]
fn an_object_that_its_task_has_put_keeps_a_node_as_long_as_somebody_holds_it() {
    let mut cluster = Cluster::new(&[0, 1]);
    let root = cluster.job(0);
    let (task, at) = cluster.start(root, &[], options());
    let inside = cluster.worlds[at].caller(task);
    let put = cluster.worlds[at].put(inside, large(1 << 20));
    cluster.worlds[at].finish_with(task, vec![value_with(&[Handle::Object(put)])]);
    cluster.settle();
    cluster.drain(at, None);
    cluster.advance(SECOND);
    assert_eq!(cluster.worlds[at].leaves, None);
    let view = cluster.worlds[at].node.node_view().drain.expect("it drains");
    assert_eq!((view.tasks, view.objects, view.bytes), (0, 1, 1 << 20));
    cluster.worlds[0].release_output(root, task);
    cluster.settle();
    cluster.advance(SECOND);
    assert!(cluster.let_go(at));
    cluster.end();
}

#[test]
fn two_nodes_that_drain_give_each_other_nothing() {
    let mut cluster = Cluster::new(&[0, 1, 1, 1]);
    let root = cluster.job(0);
    let (task, at) = cluster.start(root, &[], soft(&cluster, 1));
    assert_eq!(at, 1);
    cluster.drain(1, Some(SECOND));
    cluster.drain(2, None);
    assert!(cluster.let_go(2));
    cluster.advance(SECOND);
    assert_eq!(cluster.runs_on(task), Some(3));
    assert!(cluster.let_go(1));
    cluster.finish(task);
    cluster.end();
}

#[test]
fn a_nodes_own_work_runs_there_when_nobody_else_could_run_it() {
    let mut cluster = Cluster::new(&[2, 1]);
    let root = cluster.job(0);
    cluster.drain(0, None);
    let small = cluster.worlds[0].spawn(root, &[], options());
    let large = cluster.worlds[0].spawn(root, &[], with_cpus(2));
    cluster.settle();
    assert_eq!((cluster.runs_on(small), cluster.runs_on(large)), (Some(1), Some(0)));
    cluster.finish(small);
    cluster.finish(large);
    cluster.worlds[0].finish(root.task);
    cluster.settle();
    cluster.advance(SECOND);
    assert!(cluster.let_go(0));
    cluster.end();
}

#[test]
fn a_head_that_does_not_let_it_go_is_asked_again() {
    let mut cluster = Cluster::new(&[1, 1]);
    cluster.drain(1, None);
    assert_eq!(cluster.worlds[1].leaves.take(), Some(true));
    cluster.worlds[1].event(|node, now, fx| node.not_let_go(now, fx));
    assert_eq!(cluster.worlds[1].leaves, None);
    // The job that was on its way comes, and runs.
    let root = cluster.job(1);
    cluster.advance(SECOND);
    assert_eq!(cluster.worlds[1].leaves, None);
    cluster.worlds[1].finish(root.task);
    cluster.advance(SECOND);
    assert!(cluster.let_go(1));
    cluster.end();
}

impl Headed {
    fn drain(&mut self, index: usize, deadline: Option<Duration>) {
        let id = self.cluster.id(index);
        self.event(|head, now, fx| head.drain(now, id, deadline, fx)).expect("it is a member");
        self.settle();
    }

    /// Has the head let a node go that has asked for it.
    #[track_caller]
    fn let_go(&mut self, index: usize) {
        let in_order = self.cluster.worlds[index].leaves.expect("it has asked to leave");
        assert!(in_order, "nothing is on it");
        let id = self.cluster.id(index);
        assert!(self.event(|head, now, fx| head.let_go(now, id, in_order, fx)));
        self.cluster.alive[index] = false;
        self.settle();
    }
}

// contract: P3
#[test]
fn bundles_are_placed_elsewhere_and_what_runs_in_them_comes_to_its_end() {
    let mut all = Headed::new(&[0, 2, 2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::Pack, &[1, 1]);
    let at = all.nodes(group)[0].expect("it is reserved");
    let other = 3 - at;
    let retries = once();
    let task = all.cluster.worlds[0].spawn(root, &[], TaskOptions { retries, ..inside(group, Some(0)) });
    all.settle();
    assert_eq!(all.cluster.runs_on(task), Some(at));
    all.drain(at, None);
    assert_eq!(all.state(group), GroupState::Created);
    assert_eq!(all.nodes(group), [Some(other), Some(other)]);
    assert_eq!(all.cluster.runs_on(task), Some(at), "it may end");
    let next = all.cluster.worlds[0].spawn(root, &[], inside(group, Some(1)));
    all.settle();
    assert_eq!(all.cluster.runs_on(next), Some(other));
    // A line that is made anew changes nothing of that.
    all.break_line(at);
    all.settle();
    assert_eq!(all.cluster.runs_on(task), Some(at));
    all.cluster.finish(task);
    all.advance(SECOND);
    assert!(all.cluster.worlds[at].node.bundles().is_empty());
    all.let_go(at);
    all.cluster.finish(next);
    all.end();
}

// contract: P3, A3
#[test]
fn an_actor_in_a_bundle_leaves_once_the_bundle_is_elsewhere() {
    let mut all = Headed::new(&[0, 2, 2]);
    let root = all.cluster.job(0);
    let group = all.group(0, root, GroupStrategy::StrictPack, &[2]);
    let at = all.nodes(group)[0].expect("it is reserved");
    let other = 3 - at;
    let own = all.cluster.job(other);
    let busy = all.cluster.worlds[other].spawn(own, &[], options());
    let mut placement = inside(group, Some(0)).placement;
    placement.cpus = Some(Quantity::units(2));
    let wants = ActorOptions { placement, max_restarts: 1, ..ActorOptions::default() };
    let actor = all.cluster.worlds[0].create(root, wants);
    all.settle();
    assert_eq!(all.cluster.construct(actor), at);
    all.advance(SECOND);
    all.drain(at, None);
    all.advance(SECOND);
    assert_eq!(all.state(group), GroupState::Rescheduling, "there is no room");
    assert_eq!(all.cluster.worlds[0].actor_state(actor), "ALIVE", "it goes on meanwhile");
    all.cluster.worlds[other].finish(busy);
    all.advance(SECOND);
    assert_eq!(all.nodes(group), [Some(other)]);
    assert_eq!(all.cluster.construct(actor), other);
    all.advance(SECOND);
    all.let_go(at);
    assert_eq!(all.cluster.worlds[0].actor_state(actor), "ALIVE");
    all.end();
}
