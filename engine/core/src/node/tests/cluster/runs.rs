//! Jobs that are run again when the nodes of their root tasks die (contract J2), on nodes with a head.

use super::headed::{Headed, bundle};
use crate::group::{GroupState, GroupStrategy};
use crate::head::{JobState, Submission, Submitted};
use crate::ids::{JobId, NodeId};
use crate::node::Caller;
use crate::node::tests::harness::{World, large, options, value_with};
use crate::options::{ActorOptions, Lifetime};
use crate::value::Handle;
use crate::work::StopReason;

/// A job that the head places on this node, the only one without others' jobs.
fn job(all: &mut Headed, retries: u32, index: usize) -> (JobId, Caller) {
    let submission = Submission { namespace: "ours".to_owned(), retries, ..Submission::default() };
    let job = all.event(|head, now, _| head.submit(now, submission)).expect("room");
    let Submitted::New(job) = job else { panic!("it is new") };
    let home = all.event(|head, _, _| head.place_job(job)).expect("nodes");
    assert_eq!(home, all.cluster.id(index), "it has most free");
    (job, start(all, job, home))
}

/// Starts a run where the head wants it.
fn start(all: &mut Headed, run: JobId, home: NodeId) -> Caller {
    let index = all.cluster.index(home);
    let root = all.cluster.worlds[index].submit_spec(World::spec_of(run));
    all.event(|head, now, _| head.job_started(now, run));
    all.cluster.worlds[index].caller(root)
}

/// A job that may be run again, with its root on the first of three nodes, and a task of it on the second.
fn job_with_a_task_elsewhere() -> (Headed, JobId, Caller) {
    let mut all = Headed::new(&[2, 1, 1]);
    let (job, root) = job(&mut all, 1, 0);
    let tasks = all.cluster.worlds[0].spawn_many(root, 4);
    all.settle();
    let there = *tasks.iter().find(|task| all.cluster.runs_on(**task) == Some(1)).expect("one is there");
    let inside = all.cluster.worlds[1].caller(there);
    (all, job, inside)
}

/// Ends the job at its present run.
fn end(mut all: Headed, job: JobId) {
    let record = all.head.job(job).expect("it is known").clone();
    let home = all.cluster.index(record.home.expect("it runs"));
    let run = record.run_id();
    all.cluster.worlds[home].event(|node, now, fx| node.stop_job(now, run, "the test ends", fx));
    all.settle();
    assert!(all.cluster.worlds[home].ended.contains_key(&run));
    all.end();
}

// contract: J2
#[test]
fn nothing_of_the_lost_run_is_left_anywhere_when_the_next_begins() {
    let mut all = Headed::new(&[3, 1, 1]);
    let (job, root) = job(&mut all, 1, 0);
    // Three here, two elsewhere, and one of these has a child on the third node and an object of the first.
    let tasks = all.cluster.worlds[0].spawn_many(root, 5);
    let put = all.cluster.worlds[0].put(root, large(1 << 20));
    let outer = all.cluster.worlds[0].put(root, value_with(&[Handle::Object(put)]));
    all.cluster.worlds[0].spawn(root, &[outer], options());
    all.settle();
    let away: Vec<usize> = tasks.iter().filter_map(|task| all.cluster.runs_on(*task)).collect();
    assert!(away.contains(&1) && away.contains(&2), "{away:?}");
    for index in [1, 2] {
        all.cluster.worlds[index].slow_stops = true;
    }
    all.kill(0);
    assert_eq!(all.head.job(job).expect("known").state, JobState::Pending);
    assert_eq!(all.to_start, [], "sandboxes of the lost run are not gone yet");
    for index in [1, 2] {
        let stops = std::mem::take(&mut all.cluster.worlds[index].stops);
        assert!(!stops.is_empty());
        for (instance, reason) in stops {
            assert_eq!(reason, StopReason::Cancelled, "its owner is dead");
            assert_eq!(all.to_start, []);
            all.cluster.worlds[index].gone(instance);
        }
        all.settle();
        all.cluster.worlds[index].slow_stops = false;
    }
    let [(run, home)] = all.to_start[..] else { panic!("{:?}", all.to_start) };
    assert_eq!(run, job.at_run(1));
    let root = start(&mut all, run, home);
    let index = all.cluster.index(home);
    let again = all.cluster.worlds[index].spawn_many(root, 2);
    all.settle();
    for task in again {
        all.cluster.finish(task);
    }
    end(all, job);
}

// contract: J2
#[test]
fn what_comes_late_of_the_lost_run_is_of_a_job_that_has_ended() {
    let (mut all, job, inside) = job_with_a_task_elsewhere();
    // It gives the third node a child, and that hears of the death before the child comes.
    let child = all.cluster.worlds[1].spawn(inside, &[], options());
    all.cluster.collect();
    let late = std::mem::take(&mut all.cluster.flying);
    assert!(late.iter().any(|packet| packet.to == all.cluster.id(2)));
    all.hold(1);
    all.kill(0);
    assert_eq!(all.to_start, []);
    for packet in late {
        all.cluster.deliver(packet);
    }
    all.settle();
    assert_eq!(all.cluster.runs_on(child), None, "it is refused");
    all.release(1);
    let [(run, home)] = all.to_start[..] else { panic!("{:?}", all.to_start) };
    start(&mut all, run, home);
    end(all, job);
}

// contract: J2, P2
#[test]
fn placement_groups_of_the_lost_run_are_gone_and_their_names_free() {
    let (mut all, job, inside) = job_with_a_task_elsewhere();
    let group = all.request(1, inside, GroupStrategy::Pack, vec![bundle(1)], Some("ours"));
    all.settle();
    all.hold(1);
    all.kill(0);
    // The line breaks with all that the node has said on it: of the group, and that nothing is left.
    all.break_line(1);
    all.beat(1);
    all.release(1);
    let info = crate::node::NodeInfo {
        id: all.cluster.id(1),
        labels: Vec::new(),
        total: all.cluster.worlds[1].node.ledger().0.clone(),
    };
    let dead = all.cluster.id(0);
    all.cluster.worlds[1].event(|node, now, fx| node.node_dead(now, dead, fx));
    all.event(|head, now, fx| head.node_joins(now, info, fx)).expect("with its id");
    all.settle();
    assert_eq!(all.state(group), GroupState::Removed);
    let [(run, home)] = all.to_start[..] else { panic!("{:?}", all.to_start) };
    assert!(all.head.lookup_group("default", "ours").is_err(), "its name is free");
    start(&mut all, run, home);
    end(all, job);
}

// contract: J2, A8
#[test]
fn detached_actors_of_the_lost_run_outlive_it_and_others_do_not() {
    let (mut all, job, inside) = job_with_a_task_elsewhere();
    let small = ActorOptions::default();
    let detached = ActorOptions { lifetime: Lifetime::Detached, ..ActorOptions::default() };
    let own = all.cluster.worlds[1].create(inside, small);
    let kept = all.cluster.worlds[1].create(inside, detached);
    all.settle();
    all.kill(0);
    let [(run, home)] = all.to_start[..] else { panic!("{:?}", all.to_start) };
    assert_eq!(all.cluster.worlds[1].actor_state(own), "DEAD");
    assert_ne!(all.cluster.worlds[1].actor_state(kept), "DEAD");
    start(&mut all, run, home);
    all.cluster.worlds[1].event(|node, now, fx| {
        node.kill(now, kept, false, fx);
        node.schedule(now, fx);
    });
    end(all, job);
}
