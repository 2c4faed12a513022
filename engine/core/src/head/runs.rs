//! Runs of a job: the next one when the node of its root task dies (contract J2).
//!
//! To the nodes each run is a job of its own, by an id of its own ([`JobId::at_run`]): what is late of a
//! run that was lost is of a job that has ended, and cannot be taken for something of the next. The next
//! one begins when every node that lives has said that nothing of the lost one is left there: no task that
//! still does something, no name of an actor, no placement group.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::head::{Effect, Head, JobRecord, JobState, LostRun, Notice};
use crate::ids::{JobId, NodeId};
use crate::node::{JobEnd, Progress};
use crate::time::Time;

impl Head {
    /// The runs whose root tasks were on a dead node are lost. Says which jobs are to be run again; the
    /// others have ended.
    pub(super) fn lose_runs_of(
        &mut self,
        now: Time,
        dead: NodeId,
        why: &str,
        fx: &mut Vec<Effect>,
    ) -> Vec<JobId> {
        let is_lost = |job: &&JobRecord| job.home == Some(dead) && !job.state.is_end();
        let mut lost: Vec<JobId> = self.jobs.values().filter(is_lost).map(|job| job.id).collect();
        lost.sort();
        lost.retain(|id| self.lose_run(now, *id, dead, why, fx));
        lost
    }

    /// Whether there is to be another run.
    fn lose_run(&mut self, now: Time, id: JobId, dead: NodeId, why: &str, fx: &mut Vec<Effect>) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let mut message = format!("{dead}, the node of the job's root task, is dead: {why}");
        let (run, retries) = (job.run, job.submission.retries);
        if job.is_to_stop {
            message.push_str("; it was told to stop, and is not run again");
            self.end_between_runs(now, id, Error::new(ErrorCode::TaskCancelled, message), true, fx);
            return false;
        }
        if run >= retries {
            if retries > 0 {
                let times = run + 1;
                message.push_str(&format!(
                    "; it was run {times} times, and job_retries of {retries} is used up"
                ));
            }
            self.end_between_runs(now, id, Error::new(ErrorCode::NodeDied, message), false, fx);
            return false;
        }
        let error = Arc::new(Error::new(ErrorCode::NodeDied, message));
        job.lost.push(LostRun { home: dead, started: job.started.take(), ended: now, error });
        job.run += 1;
        job.state = JobState::Pending;
        job.home = None;
        self.jobs_changed.note(id);
        self.note_lost_run(now, id, dead, why);
        true
    }

    /// Every node that lives is to end what it has of the runs that were lost. To be said after the death of
    /// the node that they were lost with.
    pub(super) fn end_lost_runs(&mut self, jobs: Vec<JobId>, fx: &mut Vec<Effect>) {
        for id in jobs {
            let Some(run) = self.lost_run(id) else { continue };
            let nodes: BTreeSet<NodeId> = self.nodes().map(|(node, _)| node.id).collect();
            fx.extend(nodes.iter().map(|node| Effect::Tell(*node, Notice::EndRun(run))));
            self.between_runs.insert(id, nodes);
        }
    }

    /// The last run of a job that was lost.
    fn lost_run(&self, id: JobId) -> Option<JobId> {
        let run = self.jobs.get(&id)?.run.checked_sub(1)?;
        Some(id.at_run(run))
    }

    /// The line of a node was made anew: it is asked again.
    pub(super) fn end_lost_runs_at(&self, node: NodeId, fx: &mut Vec<Effect>) {
        let asked = self.between_runs.iter().filter(|(_, nodes)| nodes.contains(&node));
        let runs = asked.filter_map(|(id, _)| self.lost_run(*id));
        fx.extend(runs.map(|run| Effect::Tell(node, Notice::EndRun(run))));
    }

    /// Nothing of a run is left on a node.
    pub fn run_is_gone(&mut self, node: NodeId, run: JobId, fx: &mut Vec<Effect>) {
        if self.lost_run(run.job()) == Some(run)
            && let Some(nodes) = self.between_runs.get_mut(&run.job())
            && nodes.remove(&node)
        {
            self.start_next_runs(fx);
        }
    }

    /// A node is dead: nobody waits for it.
    pub(super) fn nothing_is_left_at(&mut self, dead: NodeId) {
        for nodes in self.between_runs.values_mut() {
            nodes.remove(&dead);
        }
    }

    /// Starts the jobs of whose lost run nothing is left, when there is a node. The others wait.
    pub(super) fn start_next_runs(&mut self, fx: &mut Vec<Effect>) {
        let is_ready = |(id, nodes): (&JobId, &BTreeSet<NodeId>)| nodes.is_empty().then_some(*id);
        let ready: Vec<JobId> = self.between_runs.iter().filter_map(is_ready).collect();
        for id in ready {
            let Ok(home) = self.place_job(id) else { return };
            self.between_runs.remove(&id);
            if let Some(job) = self.jobs.get(&id) {
                fx.push(Effect::StartRun(job.run_id(), home));
            }
        }
    }

    /// Somebody asks for the end of a job: it is not run again. One that is between two runs has ended.
    pub fn stop_job(&mut self, now: Time, id: JobId, fx: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id.job()).filter(|job| !job.state.is_end()) else { return };
        if !std::mem::replace(&mut job.is_to_stop, true) {
            self.jobs_changed.note(id.job());
        }
        if self.between_runs.contains_key(&id.job()) {
            let message = "the job was stopped: a client asked for it before its next run began";
            let error = Error::new(ErrorCode::TaskCancelled, message);
            self.end_between_runs(now, id.job(), error, true, fx);
        }
    }

    fn end_between_runs(&mut self, now: Time, id: JobId, error: Error, stopped: bool, fx: &mut Vec<Effect>) {
        let Some(run) = self.jobs.get(&id).map(JobRecord::run_id) else { return };
        let end = JobEnd { result: Err(Arc::new(error)), stopped, progress: Progress::default() };
        fx.extend(self.job_ended(now, run, end).map(Effect::JobForgotten));
    }

    /// The head has come back: whoever had something of a lost run is asked again.
    pub(super) fn restore_runs(&mut self) {
        let nodes: BTreeSet<NodeId> = self.nodes().map(|(node, _)| node.id).collect();
        let is_between =
            |job: &&JobRecord| job.state == JobState::Pending && job.run > 0 && job.home.is_none();
        let waiting: Vec<JobId> = self.jobs.values().filter(is_between).map(|job| job.id).collect();
        self.between_runs.extend(waiting.into_iter().map(|id| (id, nodes.clone())));
    }
}
