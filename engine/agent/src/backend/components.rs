//! Uploading components.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use engine_core::tenant::{Isolation, Tenancy};
use engine_core::{ComponentId, Error, ErrorCode, JobId};
use engine_net::{Scope, check_components, policy_from};
use engine_proto::v1;
use engine_runtime::{ComponentInfo, ComponentWorld};

use crate::background::{Kind, blocking};
use crate::driver::Driver;

pub(super) fn missing(driver: &Driver, scope: &Scope, components: Vec<ComponentId>) -> Vec<ComponentId> {
    components.into_iter().filter(|id| !driver.head.components().is_there_for(scope, *id)).collect()
}

pub(super) async fn upload(
    driver: &Arc<Driver>,
    scope: &Scope,
    id: ComponentId,
    bytes: Bytes,
) -> Result<v1::ComponentInfo, Error> {
    let size = bytes.len() as u64;
    // What is wrong with it is heard when a job begins: it is compiled in a process of the tenant's alone.
    if driver.head.tenancy(&scope.submitter()).isolation == Isolation::Process {
        driver.head.components().insert(id, &bytes)?;
        driver.head.components().is_brought_by(scope, id);
        return Ok(engine_proto::convert::kept(id, size));
    }
    let runtime = driver.runtime()?.clone();
    let keeping = driver.clone();
    // What cannot be run is not kept.
    let info = blocking(Kind::Compile, move || {
        let info = runtime.load(&bytes)?;
        keeping.head.components().insert(id, &bytes)?;
        Ok::<_, Error>(info)
    })
    .await??;
    driver.head.components().is_brought_by(scope, id);
    Ok(view(&info, size))
}

/// Makes sure that the runtime has a component that was uploaded, maybe to an earlier process.
pub(crate) async fn load(
    driver: &Arc<Driver>,
    tenancy: &Tenancy,
    id: ComponentId,
) -> Result<ComponentWorld, Error> {
    if tenancy.isolation == Isolation::Process {
        if let Some(world) = driver.workers.world(&tenancy.tenant, id) {
            return Ok(world);
        }
        let bytes = bytes(driver, id).await?;
        return driver.workers.load(driver, &tenancy.tenant, id, bytes).await;
    }
    load_here(driver, id).await.map(|info| info.world)
}

async fn load_here(driver: &Arc<Driver>, id: ComponentId) -> Result<ComponentInfo, Error> {
    let runtime = driver.runtime()?.clone();
    if let Some(info) = runtime.component(id) {
        return Ok(info);
    }
    let bytes = bytes(driver, id).await?;
    blocking(Kind::Compile, move || runtime.load(&bytes)).await?
}

/// The bytes of a component that was uploaded: here, or to the cluster's head.
pub(crate) async fn bytes(driver: &Driver, id: ComponentId) -> Result<Arc<[u8]>, Error> {
    match (driver.head.components().get(id), driver.network()) {
        (Some(bytes), _) => Ok(bytes),
        (None, Ok(network)) => fetched(driver, id, &network.head.component(id).await?),
        (None, Err(_)) => Err(not_uploaded(id)),
    }
}

/// Finds again what the head has found of a job's components, before anything of them is loaded here.
///
/// # Errors
/// PERMISSION_DENIED for one that the job's tenant may not bring.
pub(crate) async fn check_again(
    driver: &Driver,
    policy: &v1::ComponentPolicy,
    components: &[v1::JobComponent],
) -> Result<(), Error> {
    let (tenant, policy) = policy_from(policy)?;
    let mut needed = HashMap::new();
    for component in components {
        let id = engine_proto::convert::component_id(&component.digest)?;
        if policy.needs_bytes(id, &component.signature) {
            needed.insert(id, bytes(driver, id).await?);
        }
    }
    check_components((&tenant, &policy), components, |id| needed.get(&id))
}

fn not_uploaded(id: ComponentId) -> Error {
    let message = format!("the component {id} was not uploaded: upload it, then submit the job");
    Error::new(ErrorCode::NotFound, message)
}

/// Makes sure that whoever submits has brought a component itself, when it is a tenant.
pub(super) fn check_brought(driver: &Driver, scope: &Scope, id: ComponentId) -> Result<(), Error> {
    match scope.tenant.is_none() || driver.head.components().is_there_for(scope, id) {
        true => Ok(()),
        false => Err(not_uploaded(id)),
    }
}

/// The same for one that a job brought to be loaded on demand: whoever comes while it is compiled waits for that.
pub(crate) async fn load_on_demand(driver: &Arc<Driver>, id: ComponentId) -> Result<ComponentInfo, Error> {
    if let Some(info) = driver.runtime()?.component(id) {
        return Ok(info);
    }
    let _one = driver.loading.lock().await;
    load_here(driver, id).await
}

/// How calls go into a component of a job, which is loaded where its guests run if it is not yet.
pub(crate) async fn world_for(
    driver: &Arc<Driver>,
    job: JobId,
    id: ComponentId,
) -> Result<ComponentWorld, Error> {
    let context = driver.jobs.context(job).filter(|context| context.isolation == Isolation::Process);
    match context {
        None => load_on_demand(driver, id).await.map(|info| info.world),
        Some(context) => {
            let tenancy = Tenancy { tenant: context.tenant.clone(), isolation: context.isolation };
            load(driver, &tenancy, id).await
        }
    }
}

/// Keeps a component that came from the cluster's head; its bytes are those of its id.
fn fetched(driver: &Driver, id: ComponentId, bytes: &[u8]) -> Result<Arc<[u8]>, Error> {
    let found = engine_head::Components::id_of(bytes);
    match driver.head.components().insert(id, bytes) {
        // A full registry does not stand in the way: it only keeps.
        Err(error) if found != id => Err(error),
        Ok(()) | Err(_) => Ok(bytes.into()),
    }
}

fn view(info: &ComponentInfo, size_bytes: u64) -> v1::ComponentInfo {
    let command = info.exports.iter().any(|name| name.starts_with("wasi:cli/run"));
    let world = match info.world {
        ComponentWorld::Program => v1::World::Component,
        ComponentWorld::Concurrent => v1::World::ConcurrentComponent,
        ComponentWorld::Plain if command => v1::World::Command,
        ComponentWorld::Plain => v1::World::Plain,
    };
    v1::ComponentInfo {
        digest: engine_proto::convert::digest(info.id),
        size_bytes,
        world: world.into(),
        functions: info
            .functions
            .iter()
            .map(|function| format!("{}: {}", function.full_name(), function.signature))
            .collect(),
    }
}
