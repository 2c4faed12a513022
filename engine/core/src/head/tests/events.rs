//! What the head notes in its log of events.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::events::{Event, EventKind, Severity};
use crate::head::{Change, Head, Limits, Record, Submission, Submitted};
use crate::ids::{IdGenerator, JobId, NodeId};
use crate::node::{JobEnd, Load, NodeInfo, Progress};
use crate::resources::{Quantity, Resources};
use crate::time::Time;
use crate::value::{Outcome, Value};

use EventKind::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Time {
    Time(0) + SECOND * seconds as u32
}

fn info(id: NodeId) -> NodeInfo {
    let total = Resources { cpus: Quantity::units(4), memory: 2 << 30, ..Resources::default() };
    NodeInfo { id, labels: Vec::new(), total }
}

/// All of it is free, as before.
fn load() -> Load {
    Load { free: info(nodes()[0]).total, version: 1 }
}

fn nodes() -> Vec<NodeId> {
    let mut ids = IdGenerator::new([5; 16]);
    (0..3).map(|_| ids.node()).collect()
}

fn head() -> Head {
    let mut head = Head::restore([1; 16], Limits::default(), at(0), [], &mut Vec::new());
    for node in nodes() {
        head.node_joins(at(0), info(node), &mut Vec::new()).expect("room");
    }
    head
}

fn submit(head: &mut Head, now: Time, retries: u32) -> (JobId, NodeId) {
    let submission = Submission { name: "count".to_owned(), retries, ..Submission::default() };
    let Ok(Submitted::New(job)) = head.submit(now, submission) else { panic!("it is new") };
    (job, head.place_job(job).expect("there are nodes"))
}

fn end(result: Outcome) -> JobEnd {
    JobEnd { result, stopped: false, progress: Progress::default() }
}

/// What was noted from the `skip`-th event on, in order.
fn noted(head: &Head, skip: usize) -> Vec<Event> {
    let mut events: Vec<Event> = head.events().newest_first().cloned().collect();
    events.reverse();
    events.split_off(skip)
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

#[test]
fn joining_silence_drains_and_departures_are_told_in_order() {
    let mut head = head();
    let nodes = nodes();
    let mut fx = Vec::new();
    let joined = noted(&head, 0);
    assert_eq!(kinds(&joined), [HeadStarted, NodeJoined, NodeJoined, NodeJoined]);
    assert_eq!(joined[3].about.node, Some(nodes[2]));
    assert_eq!(joined[3].message, "it has 4 CPUs and 2 GiB of memory; the cluster has 3 members");
    for node in &nodes[..2] {
        assert!(head.heard_of(at(1), *node, load(), &mut fx));
    }
    // It was asked for to tell of those who joined together.
    head.timer(at(1), &mut fx);
    head.timer(at(3), &mut fx);
    head.drain(at(3), nodes[0], Some(SECOND * 30), &mut fx).expect("a member");
    head.drain(at(3), nodes[0], Some(SECOND * 60), &mut fx).expect("nothing new");
    assert!(head.let_go(at(4), nodes[0], true, &mut fx));
    let told = noted(&head, 4);
    assert_eq!(kinds(&told), [NodeDied, NodeDraining, NodeLeft]);
    assert_eq!(told[0].message, "nothing was heard of it for 3s; the cluster has 2 members");
    assert_eq!(
        (told[0].severity, told[0].time, told[0].about.node),
        (Severity::Error, at(3), Some(nodes[2]))
    );
    assert_eq!(told[1].message, "it takes no new work, and what runs there is ended in 30s");
    assert_eq!(told[2].message, "it was drained, and has left; the cluster has 1 member");
    assert_eq!(told[2].severity, Severity::Info);
}

#[test]
fn a_node_whose_line_breaks_comes_back_or_dies_and_is_refused() {
    let mut head = head();
    let nodes = nodes();
    let mut fx = Vec::new();
    for node in &nodes[..2] {
        head.connection_broke(at(1), *node, &mut fx);
    }
    head.admit(at(1), nodes[0], true).expect("it is a member");
    head.node_joins(at(1), info(nodes[0]), &mut fx).expect("it is a member");
    // As it is when only the word of its new line is heard.
    assert!(head.heard_of(at(1), nodes[0], load(), &mut fx));
    head.timer(at(2), &mut fx);
    head.admit(at(3), nodes[1], true).expect_err("it was declared dead");
    head.node_joins(at(3), info(nodes[2]), &mut fx).expect("it never left");
    let told = noted(&head, 4);
    let wanted = [NodeDisconnected, NodeDisconnected, NodeReturned, NodeDied, NodeRefused];
    assert_eq!(kinds(&told), wanted, "{told:#?}");
    assert!(told[1].message.contains("500ms"), "{}", told[1].message);
    assert_eq!((told[2].about.node, told[3].about.node), (Some(nodes[0]), Some(nodes[1])));
    assert!(told[3].message.contains("connection broke"), "{}", told[3].message);
    assert_eq!((told[4].about.node, told[4].severity), (Some(nodes[1]), Severity::Warning));
    assert!(told[4].message.contains("was declared dead"), "{}", told[4].message);
}

#[test]
fn jobs_are_followed_through_their_runs_to_their_ends() {
    let mut head = head();
    let mut fx = Vec::new();
    let (job, home) = submit(&mut head, at(1), 1);
    head.job_started(at(2), job);
    head.node_leaves(at(5), home, "it was told to", &mut fx);
    for node in nodes() {
        head.run_is_gone(node, job, &mut fx);
    }
    let again = head.job(job).expect("it is known").run_id();
    head.job_started(at(6), again);
    let failed = Error::new(ErrorCode::TaskFailed, "no such word");
    head.job_ended(at(9), again, end(Err(Arc::new(failed))));
    head.job_ended(at(9), again, end(Ok(Value::empty())));
    let told = noted(&head, 4);
    let wanted = [JobSubmitted, JobRunStarted, NodeDied, JobRunLost, JobRunStarted, JobEnded];
    assert_eq!(kinds(&told), wanted, "{told:#?}");
    let of_job = told.iter().filter(|event| event.kind != NodeDied);
    assert!(of_job.clone().all(|event| event.about.job == Some(job)), "the job's own id, whichever run");
    assert!(
        told[0].message.contains("\"count\"") && told[0].message.contains("1 times"),
        "{}",
        told[0].message
    );
    assert!(told[3].message.starts_with("its run 1 of at most 2 was lost"), "{}", told[3].message);
    assert_eq!(told[3].about.node, Some(home));
    assert!(told[4].message.starts_with("its run 2 of at most 2 has begun, 1s after"), "{}", told[4].message);
    assert_eq!(told[5].severity, Severity::Error);
    assert!(told[5].message.starts_with("it is FAILED after 3s: "), "{}", told[5].message);
    assert!(told[5].message.contains("no such word"), "{}", told[5].message);
}

#[test]
fn a_job_that_is_not_started_is_withdrawn_with_the_reason() {
    let mut head = head();
    let (job, _) = submit(&mut head, at(1), 0);
    head.withdraw_job(at(2), job, &Error::new(ErrorCode::LimitExceeded, "5 are too many"));
    let told = noted(&head, 4);
    assert_eq!(kinds(&told), [JobSubmitted, JobWithdrawn]);
    assert!(told[1].message.contains("5 are too many"), "{}", told[1].message);
}

#[test]
fn a_head_that_comes_back_says_what_it_remembers_and_who_returns() {
    let mut head = head();
    let (nodes, mut fx) = (nodes(), Vec::new());
    let (job, _) = submit(&mut head, at(1), 0);
    head.job_started(at(1), job);
    head.job_ended(at(2), job, end(Ok(Value::empty())));
    submit(&mut head, at(3), 0);
    head.node_leaves(at(4), nodes[2], "it was told to", &mut fx);
    let put = |change: Change| match change {
        Change::Put(record) => Some(record),
        Change::Delete(_) => None,
    };
    let records: Vec<Record> = head.take_changes().into_iter().filter_map(put).collect();
    let mut head = Head::restore([2; 16], Limits::default(), at(9), records, &mut fx);
    head.node_joins(at(10), info(nodes[0]), &mut fx).expect("it is expected");
    let told = noted(&head, 0);
    assert_eq!(kinds(&told), [HeadStarted, NodeReturned], "it begins anew");
    let wanted = "it has come back with 2 nodes, 2 jobs (1 not ended), 0 names of actors and 0 placement groups; each node has 13s to be heard of";
    assert_eq!(told[0].message, wanted);
    assert_eq!(told[0].time, at(9));
}

#[test]
fn the_log_is_bounded() {
    let limits = Limits { events_max: 2, ..Limits::default() };
    let mut head = Head::new([1; 16], limits);
    head.started(at(0));
    for node in nodes() {
        head.node_joins(at(1), info(node), &mut Vec::new()).expect("room");
    }
    assert_eq!(kinds(&noted(&head, 0)), [NodeJoined, NodeJoined]);
    assert_eq!(head.events().forgotten(), 2);
}
