//! Jobs that clients submit to the simulated head: they are run again when the nodes of their root tasks
//! die. A run begins once, and when nothing of the one before is left on a node that lives.

use std::collections::BTreeMap;

use super::memory::Output;
use super::{BEAT, Hears, Simulation};
use crate::error::ErrorCode;
use crate::head::{self, JobRecord, JobState};
use crate::ids::{InstanceId, JobId, NodeId};
use crate::node::job::Job;
use crate::node::tests::harness::World;
use crate::time::Time;

/// The runs that the head has had begun.
#[derive(Default)]
pub(super) struct Runs {
    /// Runs on their way to their nodes.
    to_start: Vec<(Time, JobId, usize)>,
    /// Where each run began.
    started: BTreeMap<JobId, usize>,
    /// Lost runs of which a node has said that nothing is left, again on each new line.
    gone: BTreeMap<usize, Vec<JobId>>,
    /// A planted bug: the head takes what there is of a lost run for gone at once.
    is_early: bool,
    pub again: u64,
    pub lost_for_good: u64,
}

impl Simulation {
    /// The head wants a run to be started.
    pub(super) fn start_run(&mut self, run: JobId, home: NodeId) {
        let (at, index) = (self.after(30), self.cluster.index(home));
        self.runs.to_start.push((at, run, index));
    }

    /// Starts what has come to its node. Once: it may be told again.
    pub(super) fn start_runs(&mut self) {
        for (at, run, index) in std::mem::take(&mut self.runs.to_start) {
            if !self.cluster.alive[index] {
                continue;
            }
            if at > self.now || self.cut_off.contains_key(&index) {
                self.runs.to_start.push((at.max(self.now + BEAT), run, index));
                continue;
            }
            let before = self.runs.started.insert(run, index);
            assert!(before.is_none_or(|before| before == index), "{run} began on two nodes");
            if before.is_none() {
                if self.head.is_alive(self.cluster.id(index)) {
                    self.check_nothing_is_left_before(run);
                }
                self.runs.again += u64::from(run.run() > 0);
                self.cluster.worlds[index].submit_spec(World::spec_of(run));
            }
            let at = self.after(20);
            self.to_head.push((at, Hears::Started(index, run)));
        }
    }

    /// What the planted bug does.
    pub(super) fn hurry_runs(&mut self, fx: &mut Vec<head::Effect>) {
        if !self.runs.is_early {
            return;
        }
        let is_lost = |job: &&JobRecord| job.state == JobState::Pending && job.run > 0;
        let lost: Vec<JobRecord> = self.head.jobs().into_iter().filter(is_lost).cloned().collect();
        let nodes: Vec<NodeId> = self.head.nodes().map(|(node, _)| node.id).collect();
        for (job, node) in lost.iter().flat_map(|job| nodes.iter().map(move |node| (job, *node))) {
            self.head.run_is_gone(node, job.id.at_run(job.run - 1), fx);
        }
    }

    fn check_nothing_is_left_before(&self, run: JobId) {
        for world in &self.cluster.worlds {
            let node = &world.node;
            if !self.cluster.alive[self.cluster.index(node.id())] || !self.head.is_alive(node.id()) {
                continue;
            }
            for earlier in (0..run.run()).map(|number| run.at_run(number)) {
                let ends_with_it =
                    |id: &InstanceId| node.instances.get(id).is_none_or(|instance| instance.scope.is_none());
                let left = world.sandboxes.iter().filter(|(_, sandbox)| sandbox.job == earlier);
                assert_eq!(left.filter(|(id, _)| ends_with_it(id)).count(), 0, "{earlier} on {}", node.id());
                assert!(node.jobs.get(&earlier).is_none_or(Job::is_reported), "{earlier} on {}", node.id());
                assert!(!node.is_removing_groups_of(earlier), "groups of {earlier} on {}", node.id());
            }
        }
    }

    /// What the nodes have to say of runs.
    pub(super) fn look_at_runs(&mut self) {
        for index in self.alive() {
            for run in std::mem::take(&mut self.cluster.worlds[index].runs_gone) {
                self.runs.gone.entry(index).or_default().push(run);
                let at = self.after(20);
                self.to_head.push((at, Hears::RunGone(index, run)));
            }
        }
        let ended = |(run, index): (&JobId, &usize)| {
            let has_ended = self.cluster.alive[*index] && self.cluster.worlds[*index].ended.contains_key(run);
            has_ended.then_some((*run, *index))
        };
        let ended: Vec<_> = self.runs.started.iter().filter_map(ended).collect();
        for (run, index) in ended {
            let is_known = self.head.job(run).is_ok_and(|job| job.run != run.run() || job.state.is_end());
            let is_on_its_way =
                |(_, hears): &(Time, Hears)| matches!(hears, Hears::JobEnded(_, ended) if *ended == run);
            if !is_known && !self.to_head.iter().any(is_on_its_way) {
                let at = self.after(20);
                self.to_head.push((at, Hears::JobEnded(index, run)));
            }
        }
    }

    /// A node is on a new line: what was not answered is said again, and what it was to start is started.
    pub(super) fn say_runs_again(&mut self, index: usize) -> Vec<Output> {
        for run in self.runs.gone.get(&index).cloned().unwrap_or_default() {
            let at = self.after(20);
            self.to_head.push((at, Hears::RunGone(index, run)));
        }
        let id = self.cluster.id(index);
        let orphaned = self.head.jobs_not_started().into_iter().filter(|job| job.home == Some(id));
        let mut orphaned: Vec<JobId> = orphaned.map(|job| job.run_id()).collect();
        orphaned.sort();
        orphaned.into_iter().map(|run| Output::Start(run, id)).collect()
    }

    /// Whether every job that the head has accepted has ended.
    pub(super) fn jobs_have_ended(&self) -> bool {
        self.head.jobs().iter().all(|job| job.state.is_end())
    }

    /// What became of them, once they have.
    pub(super) fn check_jobs(&mut self) {
        for job in self.head.jobs() {
            assert!(job.run <= job.submission.retries, "{job:?}");
            assert_eq!(job.lost.len(), job.run as usize, "{job:?}");
            // Other roots fail by themselves.
            let is_lost = job.error.as_ref().is_some_and(|error| error.code() == ErrorCode::NodeDied);
            if job.state == JobState::Failed && is_lost {
                assert_eq!(job.run, job.submission.retries, "{job:?}");
                self.runs.lost_for_good += 1;
            }
        }
    }
}

/// A simulation that finds nothing shows nothing.
#[test]
fn a_run_that_begins_too_early_is_found() {
    let found = (0..1_000).find(|seed| {
        let seed = *seed;
        let run = move || {
            let mut simulation = Simulation::new(seed);
            simulation.runs.is_early = true;
            (0..super::STEPS).for_each(|_| simulation.step());
            simulation.drain();
        };
        std::panic::catch_unwind(run).is_err()
    });
    println!("it is found by seed {found:?}");
    assert!(found.is_some(), "it was not found in 1 000 runs");
}
