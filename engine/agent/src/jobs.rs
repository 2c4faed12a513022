//! What the node keeps of a job beside the core: its grants, its log, and who watches it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use engine_core::ids::IdMap;
use engine_core::{JobId, NodeId, TaskId, TenantName};
use engine_net::{Owner, Scope};
use engine_proto::limits::LOG_LINES_PER_RUN_MAX;
use engine_proto::v1;
use engine_runtime::JobContext;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::logs::LogBook;

/// To whom the jobs belong of which something was or is here.
#[derive(Default)]
struct Owners {
    by_job: IdMap<JobId, Owner>,
    /// The order in which they came.
    order: VecDeque<JobId>,
}

/// Jobs whose owners are known: what is of older ones, tenants do not see.
const OWNERS_KNOWN_MAX: usize = 100_000;

/// The jobs that this node knows.
pub(crate) struct Jobs {
    entries: Mutex<IdMap<JobId, Arc<Entry>>>,
    /// What is granted to the sandboxes of jobs of which the core may yet start one: an actor that
    /// outlives its job may be restarted when the job is not listed any more.
    contexts: Mutex<IdMap<JobId, Arc<JobContext>>>,
    /// What the components of these jobs have been found to be, for the nodes that are granted something of them.
    vouched: Mutex<IdMap<JobId, Arc<Vouched>>>,
    /// Jobs whose root tasks are on other nodes: which.
    foreign: Mutex<IdMap<JobId, NodeId>>,
    owners: Mutex<Owners>,
    /// Jobs that have ended and still have a log, the oldest first.
    ended: Mutex<VecDeque<JobId>>,
    log_bytes_per_job_max: usize,
    ended_job_log_bytes_max: usize,
}

/// One job.
pub(crate) struct Entry {
    /// What its guests are granted, but for their environment: that may have secrets, and goes with the last
    /// sandbox.
    pub(crate) context: Arc<JobContext>,
    pub(crate) logs: LogBook,
    pub(crate) components: Vec<v1::JobComponent>,
    /// What it runs, for people.
    pub(crate) entry: String,
    /// Whether its result is WAVE text.
    pub(crate) invoked: bool,
    /// What was submitted, when it may be run again: for a head that has started afresh.
    pub(crate) spec: Option<v1::JobSpec>,
    root: Mutex<Option<TaskId>>,
    /// Whether it has ended.
    pub(crate) ended: watch::Sender<bool>,
}

/// What the components of a job have been found to be when it began.
pub(crate) struct Vouched {
    pub(crate) policy: v1::ComponentPolicy,
    /// By their digests.
    pub(crate) signatures: HashMap<String, Vec<u8>>,
}

/// What is kept of a job beside what its guests are granted.
pub(crate) struct NewEntry {
    pub(crate) components: Vec<v1::JobComponent>,
    pub(crate) entry: String,
    pub(crate) invoked: bool,
    pub(crate) spec: Option<v1::JobSpec>,
    pub(crate) log_bytes_max: Option<u64>,
}

impl Entry {
    pub(crate) fn set_root(&self, task: TaskId) {
        *self.root.lock() = Some(task);
    }

    pub(crate) fn root(&self) -> Option<TaskId> {
        *self.root.lock()
    }
}

impl Jobs {
    pub(crate) fn new(log_bytes_per_job_max: usize, ended_job_log_bytes_max: usize) -> Self {
        Self {
            entries: Mutex::default(),
            contexts: Mutex::default(),
            vouched: Mutex::default(),
            foreign: Mutex::default(),
            owners: Mutex::default(),
            ended: Mutex::default(),
            log_bytes_per_job_max,
            ended_job_log_bytes_max,
        }
    }

    pub(crate) fn insert(&self, context: JobContext, new: NewEntry) -> Arc<Entry> {
        let job = context.job;
        let most = self.log_bytes_per_job_max;
        let bytes = new.log_bytes_max.map_or(most, |bytes| usize::try_from(bytes).unwrap_or(most).min(most));
        let granted = Arc::new(context);
        let entry = Arc::new(Entry {
            context: Arc::new(JobContext { env: Vec::new(), ..JobContext::clone(&granted) }),
            logs: LogBook::new(bytes, u64::from(job.run()) * LOG_LINES_PER_RUN_MAX),
            components: new.components,
            entry: new.entry,
            invoked: new.invoked,
            spec: new.spec,
            root: Mutex::default(),
            ended: watch::Sender::new(false),
        });
        self.belongs(&entry.context);
        self.contexts.lock().insert(job, granted);
        self.entries.lock().insert(job, entry.clone());
        entry
    }

    /// Keeps what the guests of a job are granted that was asked of another node. `home`: that of the job's
    /// root task, when it is another one that is known.
    pub(crate) fn insert_foreign(&self, home: Option<NodeId>, context: Arc<JobContext>) {
        if let Some(home) = home {
            self.foreign.lock().insert(context.job, home);
        }
        self.belongs(&context);
        self.contexts.lock().insert(context.job, context);
    }

    fn belongs(&self, context: &JobContext) {
        let job = context.job.job();
        let owner = Owner { tenant: context.tenant.clone(), namespace: context.namespace.clone() };
        let Owners { by_job, order } = &mut *self.owners.lock();
        if by_job.insert(job, owner).is_none() {
            order.push_back(job);
        }
        while order.len() > OWNERS_KNOWN_MAX {
            order.pop_front().map(|oldest| by_job.remove(&oldest));
        }
    }

    /// Whether somebody sees what is of this job. What is of a job that is not known is seen by who sees all.
    pub(crate) fn sees(&self, scope: &Scope, job: JobId) -> bool {
        scope.is_all() || scope.sees(job, self.owners.lock().by_job.get(&job.job()))
    }

    /// Whether a job is known to be this tenant's.
    pub(crate) fn is_of(&self, tenant: &TenantName, job: JobId) -> bool {
        self.owners.lock().by_job.get(&job.job()).is_some_and(|owner| owner.tenant == *tenant)
    }

    /// The node of a job's root task, when it is another one.
    pub(crate) fn foreign_home(&self, job: JobId) -> Option<NodeId> {
        self.foreign.lock().get(&job).copied()
    }

    pub(crate) fn get(&self, job: JobId) -> Option<Arc<Entry>> {
        self.entries.lock().get(&job).cloned()
    }

    pub(crate) fn context(&self, job: JobId) -> Option<Arc<JobContext>> {
        self.contexts.lock().get(&job).cloned()
    }

    /// No sandbox of this job will be started any more.
    pub(crate) fn close(&self, job: JobId) {
        self.contexts.lock().remove(&job);
        self.foreign.lock().remove(&job);
        self.vouched.lock().remove(&job);
    }

    /// Keeps what a job's components have been found to be, as long as a sandbox of it may be started.
    pub(crate) fn vouch(&self, job: JobId, policy: v1::ComponentPolicy, components: &[v1::JobComponent]) {
        let signature =
            |component: &v1::JobComponent| (component.digest.clone(), component.signature.clone());
        let signatures = components.iter().map(signature).collect();
        self.vouched.lock().insert(job, Arc::new(Vouched { policy, signatures }));
    }

    /// What a job's components have been found to be; none: they may be any.
    pub(crate) fn vouched(&self, job: JobId) -> Option<Arc<Vouched>> {
        self.vouched.lock().get(&job).cloned()
    }

    /// A job has ended: whoever watches it is told, and the logs of those that ended long ago go
    /// when there are too many.
    pub(crate) fn ended(&self, job: JobId) {
        let Some(entry) = self.get(job) else { return };
        entry.ended.send_replace(true);
        let mut ended = self.ended.lock();
        ended.push_back(job);
        let mut bytes: usize = ended.iter().filter_map(|job| self.get(*job)).map(|e| e.logs.bytes()).sum();
        while bytes > self.ended_job_log_bytes_max && ended.len() > 1 {
            let Some(entry) = ended.pop_front().and_then(|oldest| self.get(oldest)) else { continue };
            bytes -= entry.logs.bytes();
            entry.logs.clear();
        }
    }

    /// A job is not listed any more. What a detached actor of it is granted stays.
    pub(crate) fn forget(&self, job: JobId) {
        self.ended.lock().retain(|other| *other != job);
        self.entries.lock().remove(&job);
    }
}
