//! Submitting a job.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use engine_core::head::{Submission, Submitted};
use engine_core::node::{JobEnd, JobSpec, Progress, RootEntry};
use engine_core::resources::Quantity;
use engine_core::tenant::Tenancy;
use engine_core::{ComponentId, Error, ErrorCode, JobId, Time};
use engine_head::Head;
use engine_net::Scope;
use engine_proto::v1::{self, job_spec};
use engine_runtime::{DirectoryGrant, JobComponent, JobContext};

use crate::backend::{components, jobs};
use crate::driver::Driver;
use crate::jobs::NewEntry;

/// Starts a job of whoever has this scope.
pub(crate) async fn submit(
    driver: &Arc<Driver>,
    scope: &Scope,
    spec: v1::JobSpec,
) -> Result<v1::JobView, Error> {
    for component in &spec.components {
        let id = engine_proto::convert::component_id(&component.digest)?;
        components::check_brought(driver, scope, id)?;
    }
    // It was checked here just now: there is no other node that would have to.
    driver.head.check_job(&scope.submitter(), &spec)?;
    let secrets = driver.head.secrets().environment(&scope.submitter(), &spec.secrets)?;
    let submit = |head: &Head, now, submission| head.submit(now, submission);
    let tenancy = driver.head.tenancy(&scope.submitter());
    accept(driver, tenancy, (spec, secrets), None, submit).await
}

/// Starts a run of a job that the cluster's head has accepted. `secrets`: the variables of the environment that
/// it names secrets for; `policy`: what its components have been found to be, to be found again.
pub(crate) async fn start_job(
    driver: &Arc<Driver>,
    job: JobId,
    tenancy: Tenancy,
    spec: v1::JobSpec,
    secrets: HashMap<String, String>,
    policy: Option<v1::ComponentPolicy>,
) -> Result<v1::JobView, Error> {
    if let Some(policy) = &policy {
        components::check_again(driver, policy, &spec.components).await?;
    }
    let adopt = |head: &Head, now, submission| {
        Ok(match head.adopt_job(now, job, submission) {
            true => Submitted::New(job),
            false => Submitted::Known(job),
        })
    };
    accept(driver, tenancy, (spec, secrets), policy, adopt).await
}

async fn accept(
    driver: &Arc<Driver>,
    tenancy: Tenancy,
    (spec, secrets): (v1::JobSpec, HashMap<String, String>),
    policy: Option<v1::ComponentPolicy>,
    enter: impl FnOnce(&Head, Time, Submission) -> Result<Submitted, Error>,
) -> Result<v1::JobView, Error> {
    driver.workers.check(&tenancy, !spec.directories.is_empty())?;
    let mut by_name = BTreeMap::new();
    for component in &spec.components {
        let id = engine_proto::convert::component_id(&component.digest)?;
        let on_demand = component.on_demand && component.name != spec.main;
        if !on_demand {
            components::load(driver, &tenancy, id).await?;
        }
        by_name.insert(component.name.clone(), JobComponent { id, on_demand });
    }
    let main = match spec.entry {
        Some(job_spec::Entry::Client(_)) => ComponentId::NONE,
        _ => by_name.get(&spec.main).map(|main| main.id).ok_or_else(|| {
            Error::invalid_argument(format!(
                "the main component {:?} is not among the job's components",
                spec.main
            ))
        })?,
    };
    let directories = directories(&spec)?;
    let submission = Submission {
        submission_id: spec.submission_id.clone(),
        digest: engine_head::spec_digest(&spec),
        name: spec.name.clone(),
        namespace: spec.namespace.clone(),
        tenant: tenancy.tenant.clone(),
        retries: spec.job_retries,
    };
    let now = driver.clock().now();
    let job = match enter(&driver.head, now, submission)? {
        Submitted::Known(job) => return jobs::view(driver, job),
        Submitted::New(run) => run,
    };
    if let Some(policy) = policy {
        driver.jobs.vouch(job, policy, &spec.components);
    }
    let started = start(driver, (job, tenancy), (spec, secrets), by_name, main, directories);
    if let Err(error) = started {
        let end =
            JobEnd { result: Err(Arc::new(error.clone())), stopped: false, progress: Progress::default() };
        driver.head.job_ended(driver.clock().now(), job, end);
        driver.head.delete_job(job)?;
        driver.jobs.forget(job);
        driver.jobs.close(job);
        driver.runtime()?.close_directories(job);
        return Err(error);
    }
    jobs::view(driver, job)
}

fn start(
    driver: &Arc<Driver>,
    (job, tenancy): (JobId, Tenancy),
    (spec, secrets): (v1::JobSpec, HashMap<String, String>),
    components: BTreeMap<String, JobComponent>,
    component: ComponentId,
    directories: Vec<DirectoryGrant>,
) -> Result<(), Error> {
    let limits = spec.limits.unwrap_or_default();
    let kept = (spec.job_retries > 0 && driver.network().is_ok()).then(|| spec.clone());
    let mut env: Vec<(String, String)> = spec.env.into_iter().chain(secrets).collect();
    env.sort();
    let context = JobContext {
        job,
        node: driver.read(|node| node.id()),
        tenant: tenancy.tenant.clone(),
        isolation: tenancy.isolation,
        // As in Ray, a job that names no namespace has one of its own. All of its runs have the same.
        namespace: if spec.namespace.is_empty() { job.job().to_string() } else { spec.namespace },
        components,
        env,
        directories,
    };
    let (entry, text, invoked) = match spec.entry {
        Some(job_spec::Entry::Invoke(expression)) => {
            (RootEntry::Invoke(expression.clone()), expression, true)
        }
        Some(job_spec::Entry::Run(main)) => {
            let text = std::iter::once("main").chain(main.arguments.iter().map(String::as_str));
            let text: Vec<&str> = text.collect();
            (RootEntry::Main(main.arguments.clone()), text.join(" "), false)
        }
        Some(job_spec::Entry::Client(_)) => (RootEntry::Client, "client".to_owned(), false),
        None => return Err(Error::invalid_argument("the job says neither main nor invoke nor client")),
    };
    let new = NewEntry {
        components: spec.components,
        entry: text,
        invoked,
        spec: kept,
        log_bytes_max: limits.log_bytes_max,
    };
    let entry_of_job = driver.jobs.insert(context, new);
    driver.runtime()?.check_directories(&entry_of_job.context)?;
    let deadline = limits.deadline.as_ref().and_then(engine_proto::convert::std_duration);
    let node_spec = JobSpec {
        job,
        component,
        entry,
        cpus: Quantity(spec.cpus.unwrap_or(0)),
        memory: spec.memory_bytes,
        unfinished_tasks_max: limits.queued_tasks_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
        task_memory_bytes: limits.task_memory_bytes,
        deadline,
        is_attached: spec.attached,
        tenant: tenancy.tenant,
    };
    driver.event(|node, now, fx| {
        let root = node.submit_job(now, node_spec, fx)?;
        entry_of_job.set_root(root);
        if let Some(client) = node.client_of(job) {
            // Before anybody can stop it.
            driver.attached.enter(job, client);
        }
        driver.head.job_started(now, job);
        Ok(())
    })
}

/// The directories granted, as they are on this machine.
fn directories(spec: &v1::JobSpec) -> Result<Vec<DirectoryGrant>, Error> {
    let grant = |directory: &v1::Directory| {
        let host = PathBuf::from(&directory.host);
        let host = host.canonicalize().map_err(|error| {
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorCode::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
                _ => ErrorCode::InvalidArgument,
            };
            Error::new(code, format!("the directory {:?} cannot be granted: {error}", directory.host))
        })?;
        if !host.is_dir() {
            return Err(Error::invalid_argument(format!(
                "{:?} is not a directory: only directories can be granted",
                directory.host
            )));
        }
        Ok(DirectoryGrant { host, guest: directory.guest.clone(), read_only: directory.read_only })
    };
    spec.directories.iter().map(grant).collect()
}
