//! Clients outside that are the root of their job: a program in no sandbox, for which this node owns what
//! it makes (contract J3).
//!
//! To the books such a client is an instance without a component, which holds no resources, and its job's
//! root is a call that runs in it until the client ends. It asks for everything as guests do. It is told to
//! end as a sandbox is (`Effect::Stop`), and the outside says at once that it has (`gone`).

use smallvec::SmallVec;

use crate::error::{Error, ErrorCode};
use crate::ids::{IdMap, JobId};
use crate::node::instance::{Instance, Role};
use crate::node::spawn::limit;
use crate::node::{Caller, Effects, Node, TaskKey, TaskState};
use crate::resources::Quantity;
use crate::time::Time;
use crate::work::StopReason;

impl Node {
    /// Who the client is to the node that is the root of this job; none: it has ended, or its root is none.
    pub fn client_of(&self, job: JobId) -> Option<Caller> {
        let root = &self.tasks[self.jobs.get(&job)?.root?];
        let instance = root.instance?;
        let is_client = matches!(self.instances.get(&instance)?.role, Role::Client);
        is_client.then_some(Caller { instance, task: root.id })
    }

    pub(super) fn check_room_for_client(&self) -> Result<(), Error> {
        let max = self.limits.clients_max;
        match self.clients.attached_roots < max {
            true => Ok(()),
            false => {
                Err(limit("clients_max", max, "wait until another client has ended, or use another node"))
            }
        }
    }

    /// Has the root of a job run, which is a client.
    pub(super) fn start_client(&mut self, now: Time, key: TaskKey) {
        let id = self.new_instance();
        let task = &mut self.tasks[key];
        task.started = now;
        task.instance = Some(id);
        let job = task.job;
        let class = &self.classes[task.class];
        let (held, tenant) = (class.needs.clone(), class.tenant);
        self.tenants.takes(tenant, &held);
        self.instances.insert(
            id,
            Instance {
                job,
                tenant,
                component: None,
                scope: None,
                role: Role::Client,
                handles: IdMap::default(),
                calls: SmallVec::from_elem(key, 1),
                bundle: None,
                captures: None,
                held,
                lent_cpus: Quantity::ZERO,
                paused: None,
                blocked: 0,
                waits: SmallVec::new(),
                stopping: None,
            },
        );
        self.clients.attached_roots += 1;
        self.add_member(job, None);
        self.set_state(key, TaskState::Running);
    }

    /// Ends a job whose root is a client that was away for too long; false when its root is none.
    pub(super) fn client_is_lost(&mut self, now: Time, job: JobId, fx: &mut Effects) -> bool {
        let client = self.client_of(job).and_then(|client| self.task_index.get(&client.task).copied());
        let Some(key) = client else { return false };
        let error = Error::new(
            ErrorCode::WorkerDied,
            format!(
                "the client that is the root of this job was away for {:?}, the node's client_grace, and did not come back: see whether its program was killed, or the network between it and the node was cut",
                self.limits.client_grace
            ),
        );
        self.end_now(now, key, error, StopReason::JobEnded, fx);
        self.schedule(now, fx);
        true
    }

    /// Sandboxes alive: what is here and is no client.
    pub(super) fn sandboxes(&self) -> usize {
        self.instances.len() - self.clients.attached_roots
    }
}

pub(super) fn no_component() -> Error {
    Error::invalid_argument(
        "a client has no component of its own: name one of those that the job brought, as in COMPONENT and FUNCTION",
    )
}
