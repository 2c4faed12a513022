//! Jobs of which something runs on other nodes than that of their root task.
//!
//! The end of a job goes from the node of its root to whom that one has given tasks, and on from there;
//! that nothing is left comes back the same way. A node that is told twice answers the second at once:
//! the first hears when it is true.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::{ComponentId, IdMap, JobId, NodeId, ObjectId};
use crate::node::job::Job;
use crate::node::peers::message::{Message, RemoteJob};
use crate::node::{Effects, JobSpec, Node, RootEntry};
use crate::time::Time;
use crate::value::Handle;

/// The latest jobs that have ended.
#[derive(Default)]
pub(super) struct EndedJobs {
    /// And the nodes of their roots.
    known: IdMap<JobId, Option<NodeId>>,
    order: VecDeque<JobId>,
}

/// So many are remembered.
const ENDED_JOBS_MAX: usize = 10_000;

impl EndedJobs {
    pub(super) fn insert(&mut self, job: JobId, home: Option<NodeId>) {
        if let Some(known) = self.known.get_mut(&job) {
            *known = known.or(home);
            return;
        }
        self.known.insert(job, home);
        self.order.push_back(job);
        if self.order.len() > ENDED_JOBS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The node of a job's root, when that is another.
    pub fn home_of(&self, job: JobId) -> Option<NodeId> {
        self.known.get(&job).copied().flatten()
    }
}

impl Node {
    /// Whether a job has ended, and nothing of it may start here any more.
    pub(super) fn has_ended(&self, job: JobId) -> bool {
        self.peers.ended_jobs.known.contains_key(&job) || self.jobs.get(&job).is_some_and(Job::is_ending)
    }

    /// Has an entry for a job of which something runs here.
    pub(super) fn know_job(&mut self, job: &RemoteJob, component: ComponentId) {
        if job.home == self.id || self.jobs.contains_key(&job.id) || self.has_ended(job.id) {
            return;
        }
        let new = self.foreign_job(job, component);
        self.jobs.insert(job.id, new);
        // Whoever gave it will tell of its end too, unless that one dies.
        self.tell(job.home, Message::JobHere(job.id));
    }

    /// Has an entry for a job of which a detached actor is here, which may have ended.
    pub(super) fn know_job_of_detached(&mut self, job: &RemoteJob, component: ComponentId) {
        if self.jobs.contains_key(&job.id) {
            return;
        }
        let has_ended = self.has_ended(job.id) || job.home == self.id || self.peers.dead.contains(&job.home);
        if !has_ended {
            return self.know_job(job, component);
        }
        let mut new = self.foreign_job(job, component);
        new.has_ended(Error::new(ErrorCode::TaskCancelled, "its job has ended"));
        new.objects = self.objects.values().filter(|object| object.job == job.id).count() as u64;
        self.jobs.insert(job.id, new);
    }

    fn foreign_job(&mut self, job: &RemoteJob, component: ComponentId) -> Job {
        let spec = JobSpec {
            unfinished_tasks_max: job.unfinished_tasks_max,
            task_memory_bytes: job.task_memory_bytes,
            tenant: job.tenant.clone(),
            ..JobSpec::new(job.id, component, RootEntry::Main(Vec::new()))
        };
        let mut new = Job::new(spec, self.tenants.job_comes(&job.tenant));
        new.home = (job.home != self.id).then_some(job.home);
        new
    }

    pub(super) fn job_here(&mut self, from: NodeId, id: JobId) {
        match self.jobs.get_mut(&id) {
            Some(job) if !job.is_ending() => {
                job.spread.insert(from);
            }
            other => {
                // What is said of its end waits for that node too.
                if let Some(job) = other.filter(|job| job.home.is_none() && !job.is_reported()) {
                    job.elsewhere.insert(from);
                    job.nodes.insert(from);
                }
                let why = Arc::from("its job has ended");
                self.tell(from, Message::EndJob(id, why));
            }
        }
    }

    /// A job ends here: the nodes that have something of it from here end that.
    pub(in crate::node) fn end_job_elsewhere(&mut self, id: JobId, why: &str) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.elsewhere = std::mem::take(&mut job.spread);
        if let Some(by) = job.ended_by {
            job.elsewhere.remove(&by);
        }
        let nodes = job.elsewhere.clone();
        job.nodes.extend(&nodes);
        if nodes.is_empty() && self.peers.is_empty() {
            return;
        }
        let home = job.home;
        self.peers.ended_jobs.insert(id, home);
        let why: Arc<str> = Arc::from(why);
        for node in nodes {
            self.tell(node, Message::EndJob(id, why.clone()));
        }
    }

    /// A job has ended on the node of its root.
    pub(super) fn end_job_here(
        &mut self,
        now: Time,
        from: NodeId,
        id: JobId,
        why: &Arc<str>,
        fx: &mut Effects,
    ) {
        let home = self.jobs.get(&id).and_then(|job| job.home);
        self.peers.ended_jobs.insert(id, home);
        match self.jobs.get_mut(&id) {
            Some(job) if job.home.is_some() && !job.is_ending() => {
                job.end(Err(Arc::new(Error::new(ErrorCode::TaskCancelled, &**why))), true);
                job.ended_by = Some(from);
                self.end_job_elsewhere(id, why);
                self.end_members(now, id, None, why, fx);
                self.report_if_ended(id, fx);
            }
            // The same node has told before, and hears when nothing is left.
            Some(job) if job.ended_by == Some(from) => {}
            // It was told by another, who hears when nothing is left; or there is nothing.
            _ => {
                self.tell(from, Message::JobGone { job: id, nodes: vec![self.id] });
            }
        }
    }

    /// Whoever told of a job's end hears that nothing of it is left here.
    pub(in crate::node) fn tell_job_gone(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(to) = job.ended_by else { return };
        let nodes = job.nodes.iter().copied().chain([self.id]).collect();
        self.tell(to, Message::JobGone { job: id, nodes });
    }

    /// Nothing of a job is left on another node.
    pub(super) fn job_gone_at(&mut self, from: NodeId, id: JobId, nodes: Vec<NodeId>, fx: &mut Effects) {
        if let Some(job) = self.jobs.get_mut(&id)
            && job.elsewhere.remove(&from)
        {
            job.nodes.extend(nodes);
            self.report_if_ended(id, fx);
        }
    }

    /// Frees all objects of a job, whoever holds them.
    pub(in crate::node) fn sweep_job(&mut self, now: Time, id: JobId, fx: &mut Effects) {
        let mut objects: Vec<ObjectId> =
            self.objects.iter().filter(|(_, object)| object.job == id).map(|(id, _)| *id).collect();
        objects.sort();
        for object in &objects {
            self.add_edge(Handle::Object(*object));
        }
        for object in &objects {
            // Whatever of another job was given it in spite of all fails, and waits for nothing.
            let error = Error::new(ErrorCode::ObjectFreed, format!("{object}: its job {id} has ended"));
            if self.objects.get(object).is_some_and(|object| object.owner().is_none()) {
                self.drop_remote_bytes(*object);
            }
            self.fail_object(now, *object, error, fx);
            self.peers.references.kept.remove(object);
        }
        self.forget_lent(now, &objects, fx);
        for object in objects {
            self.remove_edge(now, Handle::Object(object), fx);
        }
    }

    /// A node is dead: it has nothing of any job, and the jobs whose roots it had are at their end.
    pub(super) fn end_jobs_of(&mut self, now: Time, dead: NodeId, fx: &mut Effects) {
        self.nothing_is_held_by(dead);
        let mut jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        jobs.sort();
        for id in jobs {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.spread.remove(&dead);
            job.nodes.remove(&dead);
            if job.elsewhere.remove(&dead) {
                self.report_if_ended(id, fx);
            } else if job.home == Some(dead) {
                let why: Arc<str> = Arc::from(format!("{dead}, the node of its job's root task, is dead"));
                self.end_job_here(now, dead, id, &why, fx);
            }
        }
    }
}
