//! Runs of jobs that were lost with the nodes of their root tasks (contract J2).
//!
//! The head starts a job's next run when every node has said that nothing of the lost one is left there.
//! What outlives a job, its detached actors and what is theirs, may stay.

use std::sync::Arc;

use crate::ids::JobId;
use crate::node::job::Job;
use crate::node::{Effect, Effects, Node};
use crate::time::Time;

impl Node {
    /// The head asks for the end of what there is of a lost run, and wants to hear of it.
    pub fn end_run(&mut self, now: Time, run: JobId, fx: &mut Effects) {
        self.peers.ending_runs.insert(run);
        // Whoever has not heard of the death yet may still send something of it.
        let home = self.jobs.get(&run).and_then(|job| job.home);
        self.peers.ended_jobs.insert(run, home);
        let Some(job) = self.jobs.get(&run).filter(|job| !job.is_ending()) else { return };
        let why = "the node of its root task is dead";
        match job.home {
            Some(home) => self.end_job_here(now, home, run, &Arc::from(why), fx),
            None => self.stop_job(now, run, why, fx),
        }
        self.schedule(now, fx);
    }

    /// Tells the head of which lost runs nothing is left here. After what it was told before of their
    /// placement groups.
    pub(in crate::node) fn flush_runs(&mut self, fx: &mut Effects) {
        if self.peers.ending_runs.is_empty() {
            return;
        }
        let runs = std::mem::take(&mut self.peers.ending_runs);
        let (gone, left) = runs.into_iter().partition(|run| self.is_run_gone(*run));
        self.peers.ending_runs = left;
        fx.extend(gone.into_iter().map(Effect::RunGone));
    }

    fn is_run_gone(&self, run: JobId) -> bool {
        self.jobs.get(&run).is_none_or(Job::is_reported) && !self.is_removing_groups_of(run)
    }
}
