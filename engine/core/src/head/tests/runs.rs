//! Jobs that are run again when the nodes of their root tasks die (contract J2).

use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::head::{Change, Effect, Head, JobState, Key, Limits, Notice, Record, Submission, Submitted};
use crate::ids::{IdGenerator, JobId, NodeId};
use crate::node::{JobEnd, NodeInfo, Progress};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::Value;

const SECOND: Duration = Duration::from_secs(1);

fn info(id: NodeId) -> NodeInfo {
    let total = Resources { cpus: Quantity::units(4), ..Resources::default() };
    NodeInfo { id, labels: Vec::new(), total }
}

fn submission(retries: u32) -> Submission {
    Submission { submission_id: "once".to_owned(), retries, ..Submission::default() }
}

fn end(stopped: bool) -> JobEnd {
    let result = match stopped {
        true => Err(std::sync::Arc::new(Error::new(ErrorCode::TaskCancelled, "it was stopped"))),
        false => Ok(Value::empty()),
    };
    JobEnd { result, stopped, progress: Progress::default() }
}

/// A head with three nodes, and what it has said.
struct Scene {
    head: Head,
    nodes: Vec<NodeId>,
    said: Vec<Effect>,
    now: Time,
}

impl Scene {
    fn new() -> Self {
        let mut ids = IdGenerator::new([5; 16]);
        let mut nodes: Vec<NodeId> = (0..3).map(|_| ids.node()).collect();
        nodes.sort();
        let head = Head::restore([1; 16], Limits::default(), Time(0), [], &mut Vec::new());
        let mut scene = Self { head, nodes, said: Vec::new(), now: Time(0) };
        for node in scene.nodes.clone() {
            scene.head.node_joins(Time(0), info(node), &mut scene.said).expect("room");
        }
        scene
    }

    /// A job that runs; it and its node.
    fn job(&mut self, retries: u32) -> (JobId, NodeId) {
        let Ok(Submitted::New(job)) = self.head.submit(self.now, submission(retries)) else {
            panic!("it is new")
        };
        let home = self.head.place_job(job).expect("there are nodes");
        self.head.job_started(self.now, job);
        (job, home)
    }

    fn kill(&mut self, node: NodeId) {
        self.now = self.now + SECOND;
        self.said.clear();
        self.head.node_leaves(self.now, node, "it was told to", &mut self.said);
    }

    /// The runs that nodes were told to end, and which nodes.
    fn told_to_end(&self) -> Vec<(NodeId, JobId)> {
        let told = |effect: &Effect| match effect {
            Effect::Tell(node, Notice::EndRun(run)) => Some((*node, *run)),
            _ => None,
        };
        self.said.iter().filter_map(told).collect()
    }

    fn started(&self) -> Vec<(JobId, NodeId)> {
        let started = |effect: &Effect| match effect {
            Effect::StartRun(run, home) => Some((*run, *home)),
            _ => None,
        };
        self.said.iter().filter_map(started).collect()
    }

    fn gone(&mut self, node: NodeId, run: JobId) {
        self.said.clear();
        self.head.run_is_gone(node, run, &mut self.said);
    }

    fn state(&self, job: JobId) -> JobState {
        self.head.job(job).expect("it is known").state
    }

    /// The head is killed, and comes back with what it remembers.
    fn restart(&mut self) {
        let mut records = std::collections::BTreeMap::<Key, Record>::new();
        // All of it: a head that comes back changes nothing.
        for change in self.head.take_changes() {
            match change {
                Change::Put(record) => drop(records.insert(record.key(), record)),
                Change::Delete(key) => drop(records.remove(&key)),
            }
        }
        self.said.clear();
        self.head =
            Head::restore([2; 16], Limits::default(), self.now, records.into_values(), &mut self.said);
    }
}

// contract: J2
#[test]
fn a_job_is_run_again_once_nothing_of_the_lost_run_is_left() {
    let mut scene = Scene::new();
    let (job, home) = scene.job(1);
    scene.kill(home);
    let others: Vec<NodeId> = scene.nodes.iter().copied().filter(|node| *node != home).collect();
    assert_eq!(scene.told_to_end(), [(others[0], job), (others[1], job)]);
    let death = scene.said.iter().rposition(|effect| matches!(effect, Effect::Tell(_, Notice::Dead(..))));
    let told = scene.said.iter().position(|effect| matches!(effect, Effect::Tell(_, Notice::EndRun(_))));
    assert!(death < told, "whose death it is they hear first");
    let record = scene.head.job(job).expect("it is known");
    assert_eq!((record.state, record.run, record.home), (JobState::Pending, 1, None));
    assert_eq!((record.lost.len(), record.lost[0].home), (1, home));
    assert_eq!(record.lost[0].error.code(), ErrorCode::NodeDied);
    scene.gone(others[0], job);
    assert_eq!(scene.started(), [], "the other may still have something");
    scene.gone(others[0], job);
    assert_eq!(scene.started(), []);
    scene.gone(others[1], job);
    let [(run, again)] = scene.started()[..] else { panic!("{:?}", scene.said) };
    assert_eq!((run, run.job(), run.run()), (job.at_run(1), job, 1));
    assert!(others.contains(&again));
    scene.gone(others[1], job);
    assert_eq!(scene.started(), [], "it is started once");
    // What is late of the lost run has no effect.
    scene.head.job_ended(scene.now, job, end(false));
    scene.head.job_started(scene.now, job);
    assert_eq!(scene.state(job), JobState::Pending);
    scene.head.job_started(scene.now, run);
    scene.head.job_ended(scene.now, run, end(false));
    assert_eq!(scene.state(job), JobState::Succeeded);
    let known = scene.head.submit(scene.now, submission(1)).expect("known");
    assert_eq!(known, Submitted::Known(job), "it is one job");
}

// contract: J2
#[test]
fn a_job_fails_when_its_retries_are_used_up() {
    let mut scene = Scene::new();
    let (job, home) = scene.job(1);
    scene.kill(home);
    for node in scene.nodes.clone() {
        scene.head.run_is_gone(node, job, &mut scene.said);
    }
    let [(run, again)] = scene.started()[..] else { panic!("{:?}", scene.said) };
    scene.head.job_started(scene.now, run);
    scene.kill(again);
    assert_eq!(scene.told_to_end(), [], "nodes hear of the death, and there is no next run");
    let record = scene.head.job(job).expect("it is known");
    assert_eq!((record.state, record.lost.len()), (JobState::Failed, 1));
    let error = record.error.clone().expect("it says why");
    assert_eq!(error.code(), ErrorCode::NodeDied);
    for text in [&again.to_string(), "2 times", "job_retries of 1"] {
        assert!(error.message().contains(text), "{error}");
    }
}

// contract: J2
#[test]
fn a_job_that_ends_by_itself_is_not_run_again() {
    for stopped in [false, true] {
        let mut scene = Scene::new();
        let (job, home) = scene.job(3);
        scene.head.job_ended(scene.now, job, end(stopped));
        let state = scene.state(job);
        scene.kill(home);
        assert_eq!((scene.state(job), scene.told_to_end().len()), (state, 0));
    }
}

// contract: J2
#[test]
fn a_job_that_was_told_to_stop_is_not_run_again() {
    let mut scene = Scene::new();
    let (job, home) = scene.job(3);
    scene.head.stop_job(scene.now, job, &mut scene.said);
    assert_eq!(scene.state(job), JobState::Running, "its node is to stop it");
    scene.kill(home);
    assert_eq!((scene.state(job), scene.told_to_end().len()), (JobState::Stopped, 0));

    let mut scene = Scene::new();
    let (job, home) = scene.job(3);
    scene.kill(home);
    scene.head.stop_job(scene.now, job, &mut scene.said);
    assert_eq!(scene.state(job), JobState::Stopped, "between two runs it ends at once");
    for node in scene.nodes.clone() {
        scene.gone(node, job);
        assert_eq!(scene.started(), []);
    }
}

// contract: J2
#[test]
fn nobody_waits_for_nodes_that_are_dead() {
    let mut scene = Scene::new();
    let (job, home) = scene.job(1);
    let others: Vec<NodeId> = scene.nodes.iter().copied().filter(|node| *node != home).collect();
    scene.kill(home);
    scene.gone(others[0], job);
    scene.kill(others[1]);
    assert_eq!(scene.started(), [(job.at_run(1), others[0])]);
}

// contract: J2
#[test]
fn a_run_waits_for_a_node() {
    let mut scene = Scene::new();
    let (job, home) = scene.job(1);
    let others: Vec<NodeId> = scene.nodes.iter().copied().filter(|node| *node != home).collect();
    for node in others {
        scene.kill(node);
    }
    scene.kill(home);
    assert_eq!((scene.state(job), scene.started().len()), (JobState::Pending, 0));
    let new = IdGenerator::new([9; 16]).node();
    scene.head.node_joins(scene.now, info(new), &mut scene.said).expect("room");
    assert_eq!(scene.started(), [(job.at_run(1), new)]);
    assert_eq!(scene.told_to_end(), [], "a new node has nothing of it");
}

// contract: J2
#[test]
fn a_run_that_was_never_heard_to_begin_counts() {
    let mut scene = Scene::new();
    let Ok(Submitted::New(job)) = scene.head.submit(scene.now, submission(1)) else { panic!("it is new") };
    let home = scene.head.place_job(job).expect("there are nodes");
    scene.kill(home);
    let record = scene.head.job(job).expect("it is known");
    assert_eq!((record.run, record.lost[0].started), (1, None));
    scene.head.withdraw_job(Time(1), job, &Error::new(ErrorCode::Unschedulable, "no node"));
    assert_eq!(scene.state(job), JobState::Pending, "it is not withdrawn any more");
}

#[test]
fn job_retries_are_bounded() {
    let mut scene = Scene::new();
    let max = Limits::default().job_retries_max;
    let error = scene.head.submit(scene.now, submission(max + 1)).expect_err("too many");
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    assert!(error.message().contains(&format!("job_retries_max of {max} runs")), "{error}");
    scene.head.submit(scene.now, submission(max)).expect("as many as there may be");
}

// contract: J2, H2
#[test]
fn a_head_that_is_killed_between_two_runs_starts_the_next_one_once() {
    let mut scene = Scene::new();
    let (job, home) = scene.job(1);
    let others: Vec<NodeId> = scene.nodes.iter().copied().filter(|node| *node != home).collect();
    scene.kill(home);
    scene.gone(others[0], job);
    scene.restart();
    assert_eq!((scene.state(job), scene.started().len()), (JobState::Pending, 0));
    // Each is asked when it is back, and the one that had answered answers again.
    for node in &others {
        scene.head.node_joins(scene.now, info(*node), &mut scene.said).expect("with its id");
    }
    assert_eq!(scene.told_to_end(), [(others[0], job), (others[1], job)]);
    scene.gone(others[0], job);
    assert_eq!(scene.started(), []);
    scene.gone(others[1], job);
    let [(run, again)] = scene.started()[..] else { panic!("{:?}", scene.said) };
    // The next head knows where it was to start, and counts it.
    scene.head.take_changes();
    let record = scene.head.job(job).expect("it is known").clone();
    assert_eq!((record.run_id(), record.home), (run, Some(again)));
    scene.kill(again);
    assert_eq!(scene.state(job), JobState::Failed, "{:?}", scene.head.job(job));
}

// contract: J2, H2
#[test]
fn a_line_that_was_made_anew_is_asked_again() {
    let mut scene = Scene::new();
    let (job, home) = scene.job(1);
    let others: Vec<NodeId> = scene.nodes.iter().copied().filter(|node| *node != home).collect();
    scene.kill(home);
    scene.gone(others[0], job);
    for node in &others {
        scene.head.node_joins(scene.now, info(*node), &mut scene.said).expect("with its id");
    }
    assert_eq!(scene.told_to_end(), [(others[1], job)], "who has answered need not");
}
