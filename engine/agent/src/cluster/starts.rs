//! Sandboxes of jobs of which this node does not know yet what they are granted.
//!
//! The grants are asked of the node of the job's root task, or of the owner of the detached actor that is
//! to live here, and the components of the head, once; what is to start meanwhile waits.

use std::sync::Arc;
use std::time::Duration;

use engine_core::ids::IdMap;
use engine_core::tenant::Tenancy;
use engine_core::work::{CallReport, GoneReport, Start, Usage};
use engine_core::{Error, ErrorCode, InstanceId, JobId};
use engine_proto::v1;
use engine_runtime::{DirectoryGrant, JobComponent, JobContext};
use parking_lot::Mutex;
use smallvec::smallvec;

use crate::backend::{check_again, load_component};
use crate::background::{self, Kind};
use crate::driver::Driver;
use crate::jobs::Vouched;

/// Between two asks of somebody who did not answer.
const ASK_PAUSE: Duration = Duration::from_millis(100);

/// What waits for the grants of its job.
#[derive(Default)]
pub(crate) struct Starts(Mutex<IdMap<JobId, Vec<Waiting>>>);

/// A sandbox that is to start.
struct Waiting {
    start: Start,
    /// It is to stand still until it is told to go on.
    is_paused: bool,
}

impl Starts {
    /// Starts a sandbox when its job's grants are here.
    pub(crate) fn prepare(&self, driver: &Arc<Driver>, start: Start) {
        let (job, start) = (start.job, Waiting { start, is_paused: false });
        let mut waiting = self.0.lock();
        if let Some(others) = waiting.get_mut(&job) {
            others.push(start);
            return;
        }
        waiting.insert(job, vec![start]);
        let this = driver.clone();
        let prepare = async move {
            let prepared = this.starts.ask_until_answered(&this, job).await;
            this.starts.begin(&this, job, prepared);
        };
        drop(background::spawn_on(&driver.background, Kind::Prepare, prepare));
    }

    /// Asks again while somebody does not answer who lives as far as is known: that comes back, or is declared
    /// dead. One answer that was lost must not cost an attempt.
    async fn ask_until_answered(&self, driver: &Arc<Driver>, job: JobId) -> Result<Arc<JobContext>, Error> {
        loop {
            let prepared = ask(driver, job).await;
            let is_unanswered = prepared.as_ref().is_err_and(|error| error.code() == ErrorCode::NodeDied);
            let is_wanted = self.0.lock().get(&job).is_some_and(|starts| !starts.is_empty());
            if !is_unanswered || !is_wanted || !may_answer(driver, job) {
                return prepared;
            }
            tokio::time::sleep(ASK_PAUSE).await;
        }
    }

    /// Starts what has waited, or says why it cannot.
    fn begin(&self, driver: &Driver, job: JobId, prepared: Result<Arc<JobContext>, Error>) {
        let ready = prepared.and_then(|context| Ok((context, driver.runtime()?.clone())));
        // Under the lock: whoever wants one of them stopped finds it here or in the runtime.
        let mut waiting = self.0.lock();
        let starts = waiting.remove(&job).unwrap_or_default();
        let error = match ready {
            Ok((context, runtime)) => {
                for Waiting { start, is_paused } in starts {
                    let instance = start.instance;
                    driver.start(&runtime, start, context.clone());
                    if is_paused {
                        driver.pause(&runtime, instance, true);
                    }
                }
                return;
            }
            Err(error) => error,
        };
        drop(waiting);
        for Waiting { start, .. } in starts {
            not_started(driver, start, &error);
        }
    }

    /// A sandbox that waits is to stand still once it has started, or is not. False: it does not wait.
    pub(crate) fn pause(&self, instance: InstanceId, pauses: bool) -> bool {
        let mut waiting = self.0.lock();
        let mut starts = waiting.values_mut().flatten();
        let found = starts.find(|waiting| waiting.start.instance == instance);
        found.map(|waiting| waiting.is_paused = pauses).is_some()
    }

    /// A sandbox that waits is not wanted any more. False: it does not wait.
    pub(crate) fn stop(&self, driver: &Arc<Driver>, instance: InstanceId) -> bool {
        let mut waiting = self.0.lock();
        let found = waiting.values_mut().any(|starts| {
            let at = starts.iter().position(|waiting| waiting.start.instance == instance);
            at.map(|at| starts.remove(at)).is_some()
        });
        if found {
            // An effect never calls back into the core.
            let this = driver.clone();
            let gone = GoneReport { instance, calls: smallvec![], cause: None };
            let report = async move { this.event(|node, now, fx| node.gone(now, gone, fx)) };
            drop(background::spawn_on(&driver.background, Kind::Prepare, report));
        }
        found
    }
}

/// Whether the node that knows what a job's guests are granted lives, as far as is known.
fn may_answer(driver: &Driver, job: JobId) -> bool {
    let from = driver.read(|node| node.grants_from(job));
    from.zip(driver.network().ok()).is_some_and(|(from, network)| network.knows(from))
}

fn not_started(driver: &Driver, start: Start, error: &Error) {
    let Start { instance, call, .. } = start;
    let report = CallReport { task: call.task, result: Err(error.clone()), usage: Usage::default() };
    let gone = GoneReport { instance, calls: smallvec![report], cause: Some(error.clone()) };
    driver.event(|node, now, fx| node.gone(now, gone, fx));
}

/// Asks what a job's guests are granted, and makes its components ready.
async fn ask(driver: &Arc<Driver>, job: JobId) -> Result<Arc<JobContext>, Error> {
    let network = driver.network()?;
    let (from, home) = driver.read(|node| (node.grants_from(job), node.home_of(job)));
    let from = from.ok_or_else(|| Error::new(ErrorCode::NodeDied, format!("{job} has ended")))?;
    let grants = network.peers.grants(from, job).await?;
    // Before anything of it is compiled here.
    let vouched = grants.policy.clone().map(|policy| (policy, grants.components.clone()));
    if let Some((policy, components)) = &vouched {
        check_again(driver, policy, components).await?;
    }
    let context = context(driver, job, grants)?;
    let tenancy = Tenancy { tenant: context.tenant.clone(), isolation: context.isolation };
    driver.workers.check(&tenancy, !context.directories.is_empty())?;
    for component in context.components.values().filter(|component| !component.on_demand) {
        load_component(driver, &tenancy, component.id).await?;
    }
    driver.runtime()?.check_directories(&context)?;
    // A job of this node's own may come back, forgotten, with another node's detached actor.
    let home = home.filter(|home| *home != context.node);
    if let Some((policy, components)) = vouched {
        driver.jobs.vouch(job, policy, &components);
    }
    driver.jobs.insert_foreign(home, context.clone());
    // The job may have ended meanwhile, and nobody would forget it.
    if driver.read(|node| node.grants_from(job)).is_none() {
        driver.jobs.close(job);
        return Err(Error::new(ErrorCode::NodeDied, format!("{job} has ended")));
    }
    Ok(context)
}

fn context(driver: &Driver, job: JobId, grants: v1::JobGrants) -> Result<Arc<JobContext>, Error> {
    let mut env: Vec<(String, String)> = grants.env.into_iter().collect();
    env.sort();
    let component = |component: v1::JobComponent| {
        let id = engine_proto::convert::component_id(&component.digest)?;
        Ok((component.name, JobComponent { id, on_demand: component.on_demand }))
    };
    let directory = |directory: v1::Directory| DirectoryGrant {
        host: directory.host.into(),
        guest: directory.guest,
        read_only: directory.read_only,
    };
    Ok(Arc::new(JobContext {
        job,
        node: driver.read(|node| node.id()),
        tenant: engine_proto::convert::tenant(&grants.tenant, "JobGrants.tenant")?,
        namespace: grants.namespace,
        components: grants.components.into_iter().map(component).collect::<Result<_, Error>>()?,
        env,
        directories: grants.directories.into_iter().map(directory).collect(),
        isolation: engine_proto::convert::isolation_from(grants.isolation, "JobGrants.isolation")?,
    }))
}

/// What a job's guests are granted, for another node; `vouched`: what its components have been found to be.
pub(super) fn grants(context: &JobContext, vouched: Option<&Vouched>) -> v1::JobGrants {
    let signature = |digest: &str| vouched.and_then(|vouched| vouched.signatures.get(digest)).cloned();
    v1::JobGrants {
        isolation: engine_proto::convert::isolation(context.isolation).into(),
        tenant: context.tenant.to_string(),
        namespace: context.namespace.clone(),
        components: context
            .components
            .iter()
            .map(|(name, component)| {
                let digest = engine_proto::convert::digest(component.id);
                v1::JobComponent {
                    name: name.clone(),
                    signature: signature(&digest).unwrap_or_default(),
                    digest,
                    on_demand: component.on_demand,
                }
            })
            .collect(),
        env: context.env.iter().cloned().collect(),
        directories: context
            .directories
            .iter()
            .map(|directory| v1::Directory {
                host: directory.host.to_string_lossy().into_owned(),
                guest: directory.guest.clone(),
                read_only: directory.read_only,
            })
            .collect(),
        policy: vouched.map(|vouched| vouched.policy.clone()),
    }
}
