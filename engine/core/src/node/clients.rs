//! Clients that jobs end with (contract J3).
//!
//! A job may be bound to whoever has submitted it: when no client has been attached to it for
//! `client_grace`, it is stopped. In a cluster clients come by way of the head. While that is away
//! nobody's absence counts, and when it is back everybody has the whole of `client_grace` again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ids::{IdMap, JobId};
use crate::node::{Effects, Node};
use crate::time::Time;

#[derive(Default)]
pub(super) struct Clients {
    /// Jobs that are bound to their clients.
    bound: IdMap<JobId, Bound>,
    /// When jobs that no client is attached to are stopped.
    due: BTreeSet<(Time, JobId)>,
    head_is_away: bool,
    /// Clients outside that are roots of their jobs.
    pub attached_roots: usize,
}

/// The clients of one job.
#[derive(Default)]
struct Bound {
    attached: u32,
    /// When it is stopped, when nobody comes.
    until: Option<Time>,
}

impl Clients {
    /// When the next job is to be stopped.
    pub fn next_timer(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Jobs that are bound to clients.
    pub fn len(&self) -> usize {
        self.bound.len()
    }

    /// A job has ended.
    pub fn forget(&mut self, job: JobId) {
        self.wait_for(job, None);
        self.bound.remove(&job);
    }

    fn wait_for(&mut self, job: JobId, until: Option<Time>) {
        let Some(bound) = self.bound.get_mut(&job) else { return };
        if let Some(before) = std::mem::replace(&mut bound.until, until) {
            self.due.remove(&(before, job));
        }
        self.due.extend(until.map(|at| (at, job)));
    }

    /// From now on each absent client has so long.
    fn wait_for_all(&mut self, until: Option<Time>) {
        let absent = self.bound.iter().filter(|(_, bound)| bound.attached == 0);
        let absent: Vec<JobId> = absent.map(|(job, _)| *job).collect();
        absent.into_iter().for_each(|job| self.wait_for(job, until));
    }
}

impl Node {
    /// A job has begun that is bound to its clients, and none is attached yet.
    pub(super) fn bind_to_clients(&mut self, now: Time, job: JobId) {
        self.clients.bound.insert(job, Bound::default());
        self.client_is_missing(now, job);
    }

    fn client_is_missing(&mut self, now: Time, job: JobId) {
        let until = (!self.clients.head_is_away).then(|| now + self.limits.client_grace);
        self.clients.wait_for(job, until);
    }

    /// A client has attached itself to a job. Nothing when the job is not bound to its clients.
    pub fn client_attached(&mut self, job: JobId) {
        if let Some(bound) = self.clients.bound.get_mut(&job) {
            bound.attached += 1;
            self.clients.wait_for(job, None);
        }
    }

    /// The connection of a client that was attached to a job has broken, or was closed.
    pub fn client_detached(&mut self, now: Time, job: JobId, fx: &mut Effects) {
        let Some(bound) = self.clients.bound.get_mut(&job) else { return };
        bound.attached = bound.attached.saturating_sub(1);
        if bound.attached == 0 {
            self.client_is_missing(now, job);
            self.arm_timer(fx);
        }
    }

    /// The line to the head broke: clients may be there and cannot be heard.
    pub fn head_is_away(&mut self) {
        self.clients.head_is_away = true;
        self.clients.wait_for_all(None);
    }

    /// The head is back, and clients can come back by way of it.
    pub fn head_is_back(&mut self, now: Time, fx: &mut Effects) {
        if std::mem::take(&mut self.clients.head_is_away) {
            self.clients.wait_for_all(Some(now + self.limits.client_grace));
            self.arm_timer(fx);
        }
    }

    /// Stops the jobs whose clients have been away for too long.
    pub(super) fn stop_unattended(&mut self, now: Time, fx: &mut Effects) {
        while let Some((at, job)) = self.clients.due.first().copied()
            && at <= now
        {
            self.clients.wait_for(job, None);
            if !self.client_is_lost(now, job, fx) {
                self.stop_job(now, job, &unattended(self.limits.client_grace), fx);
            }
        }
    }
}

fn unattended(grace: Duration) -> String {
    format!(
        "the client that it was bound to was away for {grace:?}, the node's client_grace; submit with --no-wait what is to go on without its client"
    )
}
