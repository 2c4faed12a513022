//! The head's state machine behind a lock.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use engine_core::head::{self, Claim, JobRecord, Submission, Submitted, unknown_job, unknown_submission};
use engine_core::node::JobEnd;
use engine_core::tenant::{Tenancy, TenantSpec, unscoped};
use engine_core::usage::UsageRecord;
use engine_core::{ActorId, ComponentId, Error, JobId, NodeId, TenantName, Time};
use engine_net::{JobKey, Offered, Owner, Scope, UsageRead, policy};
use engine_proto::limits::USAGE_READ_RECORDS_MAX;
use engine_proto::v1;
use parking_lot::{Mutex, MutexGuard};

use crate::components::Components;
use crate::policies::Policies;
use crate::secrets::Secrets;

/// The control service. Shared by whoever talks to it.
pub struct Head {
    state: Mutex<head::Head>,
    components: Components,
    secrets: Secrets,
    policies: Policies,
}

impl Head {
    /// A head whose ids follow from `id_key`, fresh random bits.
    pub fn new(id_key: [u8; 16], limits: head::Limits, components: Components) -> Self {
        Self::of(head::Head::new(id_key, limits), components, (Secrets::default(), Policies::default()))
    }

    /// A head that comes back with what it remembers.
    pub(crate) fn of(
        state: head::Head,
        components: Components,
        (secrets, policies): (Secrets, Policies),
    ) -> Self {
        Self { state: Mutex::new(state), components, secrets, policies }
    }

    /// The state machine.
    pub(crate) fn lock(&self) -> MutexGuard<'_, head::Head> {
        self.state.lock()
    }

    /// Brings an event to the state machine: what follows is for the caller to carry out.
    pub fn event<R>(
        &self,
        event: impl FnOnce(&mut head::Head, &mut Vec<head::Effect>) -> R,
    ) -> (R, Vec<head::Effect>) {
        let mut effects = Vec::new();
        let result = event(&mut self.state.lock(), &mut effects);
        (result, effects)
    }

    /// The component registry.
    pub fn components(&self) -> &Components {
        &self.components
    }

    /// The secrets of tenants.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// To whom a job of this tenant belongs that begins now.
    pub fn tenancy(&self, tenant: &TenantName) -> Tenancy {
        self.state.lock().tenancy(tenant)
    }

    /// Which components tenants' jobs may bring.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Checks that somebody may bring a component, before anything is done with it.
    ///
    /// # Errors
    /// PERMISSION_DENIED when its tenant takes only what is signed or allowed, and this is neither.
    pub fn check_upload(
        &self,
        scope: &Scope,
        id: ComponentId,
        bytes: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let tenant = scope.submitter();
        self.policies.of(&tenant).check(&tenant, Offered { name: "", id, signature, bytes })
    }

    /// Checks the components of a tenant's job; see [`Policies::check_job`].
    ///
    /// # Errors
    /// PERMISSION_DENIED for one that the tenant may not bring.
    pub fn check_job(
        &self,
        tenant: &TenantName,
        spec: &v1::JobSpec,
    ) -> Result<Option<v1::ComponentPolicy>, Error> {
        self.policies.check_job(tenant, spec, &self.components)
    }

    /// What tenants may have and use, with which components they may bring.
    pub fn tenant_views(&self) -> Vec<v1::TenantView> {
        let of_core = self.state.lock().tenants();
        let mut views: BTreeMap<String, v1::TenantView> = of_core
            .iter()
            .map(|view| (view.spec.name.to_string(), engine_proto::convert::tenant_view(view)))
            .collect();
        for (tenant, own) in self.policies.all() {
            let view = views.entry(tenant.to_string()).or_insert_with(|| v1::TenantView {
                spec: Some(engine_proto::convert::tenant_spec(&TenantSpec::new(tenant.clone()))),
                ..v1::TenantView::default()
            });
            view.policy = Some(policy(&tenant, &own));
        }
        views.into_values().collect()
    }

    /// The names of a tenant's secrets, as listings have them.
    pub fn secret_views(&self, tenant: &TenantName) -> Vec<v1::SecretView> {
        let names = self.secrets.names(tenant).into_iter();
        names
            .map(|(name, set_at)| v1::SecretView {
                name,
                set_time: Some(engine_proto::convert::timestamp(set_at)),
            })
            .collect()
    }

    /// What tenants have consumed, as it travels. `since`, `wall`: the head's clock and the one on the wall.
    pub fn usage_read(
        &self,
        now: Time,
        read: UsageRead,
        since: impl Fn(SystemTime) -> Time,
        wall: impl Fn(Time) -> SystemTime,
    ) -> v1::UsageResponse {
        let query = head::UsageQuery {
            tenant: read.tenant,
            since: read.since.map(since).unwrap_or_default(),
            after: read.after,
            limit: USAGE_READ_RECORDS_MAX,
        };
        let found = self.state.lock().usage(&query);
        let last = found.last().filter(|_| found.len() == USAGE_READ_RECORDS_MAX);
        let next =
            last.map(|last| v1::UsagePlace { tenant: last.tenant.to_string(), start_ns: last.start.0 });
        let record = |record: &UsageRecord| v1::UsageRecord {
            tenant: record.tenant.to_string(),
            start: Some(engine_proto::convert::timestamp(wall(record.start))),
            length: Some(engine_proto::convert::duration(Duration::from_nanos(record.length_ns))),
            used: Some(engine_proto::convert::usage_amounts(&record.used)),
            is_open: record.start.0.saturating_add(record.length_ns) > now.0,
        };
        v1::UsageResponse { records: found.iter().map(record).collect(), next }
    }

    /// Accepts a job, or says that it knows it.
    pub fn submit(&self, now: Time, submission: Submission) -> Result<Submitted, Error> {
        self.state.lock().submit(now, submission)
    }

    /// Accepts a job that another head has accepted; false when it is known.
    pub fn adopt_job(&self, now: Time, job: JobId, submission: Submission) -> bool {
        self.state.lock().adopt_job(now, job, submission)
    }

    /// A node has taken the job's root task.
    pub fn job_started(&self, now: Time, job: JobId) {
        self.state.lock().job_started(now, job);
    }

    /// The job has ended. Says which old job was forgotten to make room.
    pub fn job_ended(&self, now: Time, job: JobId, end: JobEnd) -> Option<JobId> {
        self.state.lock().job_ended(now, job, end)
    }

    /// Forgets a job that has ended.
    pub fn delete_job(&self, job: JobId) -> Result<(), Error> {
        self.state.lock().delete_job(job)
    }

    /// One job.
    pub fn job(&self, job: JobId) -> Result<JobRecord, Error> {
        self.state.lock().job(job).cloned()
    }

    /// The job that has this submission id.
    pub fn job_by_submission(&self, tenant: &TenantName, submission_id: &str) -> Result<JobRecord, Error> {
        self.state.lock().job_by_submission(tenant, submission_id).cloned()
    }

    /// The job that somebody names, if that is one that it sees: another is not there. A submission id is one of
    /// its tenant's.
    pub fn seen_job(&self, scope: &Scope, job: &JobKey) -> Result<JobRecord, Error> {
        let (record, unknown) = match job {
            JobKey::Id(id) => (self.job(*id)?, unknown_job(id.job())),
            JobKey::Submission(text) => {
                (self.job_by_submission(&scope.submitter(), text)?, unknown_submission(text))
            }
        };
        match scope.sees(record.id, Some(&owner_of(&record))) {
            true => Ok(record),
            false => Err(unknown),
        }
    }

    /// Whether somebody sees what is of this job. What is of a job that is not known is seen by who sees all.
    pub fn sees(&self, scope: &Scope, job: JobId) -> bool {
        scope.is_all() || scope.sees(job, self.job(job).ok().as_ref().map(owner_of).as_ref())
    }

    /// The jobs that somebody sees, the newest first.
    pub fn seen_jobs(&self, scope: &Scope) -> Vec<JobRecord> {
        let mut jobs = self.jobs();
        jobs.retain(|record| scope.sees(record.id, Some(&owner_of(record))));
        jobs
    }

    /// All jobs, the newest first.
    pub fn jobs(&self) -> Vec<JobRecord> {
        self.state.lock().jobs().into_iter().cloned().collect()
    }

    /// Claims a name for an actor.
    pub fn claim_name(
        &self,
        namespace: &str,
        name: &str,
        actor: (ActorId, NodeId),
        get_if_exists: bool,
    ) -> Result<Claim, Error> {
        self.state.lock().claim_name(namespace, name, actor, get_if_exists)
    }

    /// An actor's name is free again.
    pub fn release_name(&self, actor: ActorId) {
        self.state.lock().release_name(actor);
    }

    /// The actor of this name.
    pub fn lookup_name(&self, namespace: &str, name: &str) -> Result<(ActorId, NodeId), Error> {
        self.state.lock().lookup_name(namespace, name)
    }

    /// The namespace of a named actor.
    pub fn namespace_of(&self, actor: ActorId) -> Option<String> {
        self.state.lock().name_of(actor).map(|(namespace, _)| unscoped(namespace).1.to_owned())
    }
}

/// To whom a job belongs. One that named no namespace has one of its own.
pub fn owner_of(record: &JobRecord) -> Owner {
    let submission = &record.submission;
    let namespace = match submission.namespace.is_empty() {
        true => record.id.to_string(),
        false => submission.namespace.clone(),
    };
    Owner { tenant: submission.tenant.clone(), namespace }
}

/// A node as somebody sees it: a tenant sees that it is there and what it has in all, but not what others do
/// on it.
pub fn node_for(scope: &Scope, view: v1::NodeView) -> v1::NodeView {
    match scope.is_all() {
        true => view,
        false => v1::NodeView {
            node_id: view.node_id,
            state: view.state,
            total: view.total,
            labels: view.labels,
            start_time: view.start_time,
            version: view.version,
            ..v1::NodeView::default()
        },
    }
}
