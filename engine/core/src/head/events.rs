//! What the head notes in its log of events, and in which words.

use std::time::Duration;

use crate::error::Error;
use crate::events::{About, Count, EventKind, Events, Severity, Span};
use crate::group::GroupState;
use crate::head::nodes::Departure;
use crate::head::{Head, JobState};
use crate::ids::{JobId, NodeId};
use crate::node::NodeInfo;
use crate::resources::bytes;
use crate::time::Time;

use EventKind::*;
use Severity::{Info, Warning};

impl Head {
    /// What has happened, as far as it is kept. It is not part of what a head remembers that comes back.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// A head begins that remembers nothing.
    pub fn started(&mut self, now: Time) {
        self.events.note(now, Info, HeadStarted, About::default(), "it has started, and remembers nothing");
    }

    /// A process that wants to join is refused for something that is not looked at here; its id, when it has
    /// a valid one.
    pub fn note_refusal(&mut self, now: Time, id: Option<NodeId>, why: &Error) {
        let about = About { node: id, ..About::default() };
        self.events.note(now, Warning, NodeRefused, about, &format!("it may not join: {why}"));
    }

    pub(super) fn note_restored(&mut self, now: Time) {
        let nodes = Count(self.nodes_expected(), "node");
        let unended = self.jobs.values().filter(|job| !job.state.is_end()).count();
        let jobs = Count(self.jobs.len(), "job");
        let names = Count(self.names.len(), "name");
        let groups = Count(
            self.groups().iter().filter(|group| group.state != GroupState::Removed).count(),
            "placement group",
        );
        let watch = &self.limits.watch;
        let wait = Span(watch.silence_max + watch.return_max);
        let message = match self.is_blank() {
            true => "it has started with an empty memory".to_owned(),
            false => format!(
                "it has come back with {nodes}, {jobs} ({unended} not ended), {names} of actors and {groups}; each node has {wait} to be heard of"
            ),
        };
        self.events.note(now, Info, HeadStarted, About::default(), &message);
    }

    /// Whether it remembers nothing.
    fn is_blank(&self) -> bool {
        self.jobs.is_empty()
            && self.names.is_empty()
            && !self.nodes.has_known_any()
            && self.groups().is_empty()
    }

    fn members(&self) -> Count {
        Count(self.nodes.ids().count(), "member")
    }

    /// A node is there: a new one, or one whose line was made anew.
    pub(super) fn note_node_here(&mut self, now: Time, info: &NodeInfo) {
        match self.nodes.connection_of(info.id) {
            None => {
                let members = Count(self.nodes.ids().count() + 1, "member");
                let (cpus, memory) = (info.total.cpus, bytes(info.total.memory));
                let message = format!("it has {cpus} CPUs and {memory} of memory; the cluster has {members}");
                self.events.note(now, Info, NodeJoined, About::node(info.id), &message);
            }
            Some((_, true)) => self.note_return(now, info.id, true),
            Some((true, false)) => self.note_return(now, info.id, false),
            Some((false, false)) => {}
        }
    }

    /// A node is back; `after_head`: after the head has come back, and not the node.
    pub(super) fn note_return(&mut self, now: Time, id: NodeId, after_head: bool) {
        let message = match (after_head, self.nodes_expected()) {
            (false, _) => "its connection was made anew in time".to_owned(),
            (true, left) => format!("the head is back, and so is it; {} still expected", Count(left, "node")),
        };
        self.events.note(now, Info, NodeReturned, About::node(id), &message);
    }

    pub(super) fn note_broken_connection(&mut self, now: Time, id: NodeId) {
        let wait = Span(self.limits.watch.reconnect_max);
        let message = format!("its connection broke, and it is dead unless it comes back within {wait}");
        self.events.note(now, Warning, NodeDisconnected, About::node(id), &message);
    }

    pub(super) fn note_departure(&mut self, now: Time, id: NodeId, why: &str, how: Departure) {
        let (severity, kind) = match how {
            Departure::Died => (Severity::Error, NodeDied),
            Departure::Left { in_order: true } => (Info, NodeLeft),
            Departure::Left { in_order: false } => (Warning, NodeLeft),
        };
        let message = format!("{why}; the cluster has {}", self.members());
        self.events.note(now, severity, kind, About::node(id), &message);
    }

    pub(super) fn note_drain(&mut self, now: Time, id: NodeId, left: Option<Duration>) {
        let bound = match left {
            Some(left) => format!("is ended in {}", Span(left)),
            None => "may take as long as it does".to_owned(),
        };
        let message = format!("it takes no new work, and what runs there {bound}");
        self.events.note(now, Info, NodeDraining, About::node(id), &message);
    }

    pub(super) fn note_submission(&mut self, now: Time, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let mut message = "it was accepted".to_owned();
        if !job.submission.name.is_empty() {
            message.push_str(&format!(" by the name {:?}", job.submission.name));
        }
        if !job.submission.submission_id.is_empty() {
            message.push_str(&format!(" with the submission id {:?}", job.submission.submission_id));
        }
        match job.submission.retries {
            0 => {}
            retries => message
                .push_str(&format!("; if it is lost with a node it is run again, {retries} times at most")),
        }
        self.events.note(now, Info, JobSubmitted, About::job(id), &message);
    }

    /// Another head has accepted it.
    pub(super) fn note_known_job(&mut self, now: Time, run: JobId, home: NodeId) {
        let message = format!("{home} tells of it: a head that is gone had accepted it");
        self.events.note(now, Info, JobSubmitted, About::job(run).at(Some(home)), &message);
    }

    pub(super) fn note_withdrawal(&mut self, now: Time, id: JobId, why: &Error) {
        let message = format!("it was not started, and whoever submitted it was told so: {why}");
        self.events.note(now, Warning, JobWithdrawn, About::job(id), &message);
    }

    pub(super) fn note_start(&mut self, now: Time, run: JobId) {
        let Some(job) = self.jobs.get(&run.job()) else { return };
        let since = job.lost.last().map_or(job.submitted, |lost| lost.ended);
        let after = Span(now.since(since));
        let message = match job.run {
            0 => format!("it has begun, {after} after it was accepted"),
            number => format!(
                "its run {} of at most {} has begun, {after} after the one before was lost",
                number + 1,
                job.submission.retries + 1
            ),
        };
        self.events.note(now, Info, JobRunStarted, About::job(run).at(job.home), &message);
    }

    pub(super) fn note_lost_run(&mut self, now: Time, id: JobId, dead: NodeId, why: &str) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (run, most) = (job.run, job.submission.retries + 1);
        let message = format!(
            "its run {run} of at most {most} was lost with the node of its root task ({why}), and it is run again"
        );
        self.events.note(now, Warning, JobRunLost, About::job(id).at(Some(dead)), &message);
    }

    pub(super) fn note_end(&mut self, now: Time, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let severity = if job.state == JobState::Failed { Severity::Error } else { Info };
        let mut message = format!("it is {}", job.state);
        match job.started {
            Some(started) => message.push_str(&format!(" after {}", Span(now.since(started)))),
            None => message.push_str(" and had not begun"),
        }
        if let Some(error) = &job.error {
            message.push_str(&format!(": {error}"));
        }
        self.events.note(now, severity, JobEnded, About::job(id).at(job.home), &message);
    }

    /// Notes what has happened to placement groups.
    pub(super) fn note_groups(&mut self, now: Time) {
        for happened in std::mem::take(&mut self.groups.happened) {
            self.events.note(now, happened.severity, happened.kind, happened.about, &happened.message);
        }
    }
}
