//! The options of `_backend.py` as the engine has them. What is used for many calls is read once: its
//! dataclass keeps our form of it in its list `lowered`.

use std::sync::Arc;
use std::time::Duration;

use engine_core::options::{
    ActorOptions, CallOptions, LabelOperator, LabelSelector, Lifetime, Placement, Retries, Returns, Reuse,
    Strategy, TaskOptions,
};
use engine_core::resources::{Quantity, Resources};
use engine_runtime::host::{Bundle, FunctionName, GroupStrategy};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::handles::PlacementGroup;

type Any<'py> = Bound<'py, PyAny>;

fn field<'py, T>(from: &Any<'py>, name: &str) -> PyResult<T>
where
    T: FromPyObjectOwned<'py>,
{
    from.getattr(name)?.extract().map_err(Into::into)
}

/// Options of a task or of a call that were read before.
#[pyclass(frozen, module = "engine._native")]
struct Lowered(Kept);

enum Kept {
    Task(TaskOptions),
    Call(CallOptions),
}

fn lowered<'py>(options: &Any<'py>) -> PyResult<(Bound<'py, PyList>, Option<Bound<'py, Lowered>>)> {
    let list = options.getattr("lowered")?.cast_into::<PyList>()?;
    let known = list.get_item(0).ok().and_then(|item| item.cast_into::<Lowered>().ok());
    Ok((list, known))
}

pub(crate) fn task_options(options: &Any<'_>) -> PyResult<TaskOptions> {
    let (list, known) = lowered(options)?;
    if let Some(Lowered(Kept::Task(known))) = known.as_ref().map(|known| known.get()) {
        return Ok(known.clone());
    }
    let read = TaskOptions {
        name: field(options, "name")?,
        placement: placement(&options.getattr("placement")?)?,
        returns: returns(options)?,
        retries: retries(&options.getattr("retries")?)?,
        deadline: seconds(field(options, "deadline")?, "deadline")?,
        cpu_time: seconds(field(options, "cpu_time")?, "cpu_time")?,
        env: env(options)?,
        reuse: if field(options, "reuse")? { Reuse::Job } else { Reuse::Never },
        cache: field(options, "cache")?,
    };
    list.append(Lowered(Kept::Task(read.clone())))?;
    Ok(read)
}

pub(crate) fn call_options(options: &Any<'_>) -> PyResult<CallOptions> {
    let (list, known) = lowered(options)?;
    if let Some(Lowered(Kept::Call(known))) = known.as_ref().map(|known| known.get()) {
        return Ok(known.clone());
    }
    let read = CallOptions {
        name: field(options, "name")?,
        returns: returns(options)?,
        retries: retries(&options.getattr("retries")?)?,
        deadline: seconds(field(options, "deadline")?, "deadline")?,
        concurrency_group: field(options, "concurrency_group")?,
    };
    list.append(Lowered(Kept::Call(read.clone())))?;
    Ok(read)
}

pub(crate) fn actor_options(options: &Any<'_>) -> PyResult<ActorOptions> {
    Ok(ActorOptions {
        name: field(options, "name")?,
        namespace: field(options, "namespace")?,
        get_if_exists: field(options, "get_if_exists")?,
        lifetime: if field(options, "detached")? { Lifetime::Detached } else { Lifetime::Job },
        placement: placement(&options.getattr("placement")?)?,
        max_restarts: field(options, "max_restarts")?,
        max_task_retries: field(options, "max_task_retries")?,
        max_concurrency: field(options, "max_concurrency")?,
        concurrency_groups: field(options, "concurrency_groups")?,
        max_pending_calls: field(options, "max_pending_calls")?,
        env: env(options)?,
    })
}

pub(crate) fn function(function: &Any<'_>) -> PyResult<FunctionName> {
    Ok(FunctionName { component: field(function, "component")?, name: field(function, "name")? })
}

fn returns(options: &Any<'_>) -> PyResult<Returns> {
    Ok(match field::<Option<u32>>(options, "num_returns")? {
        Some(count) => Returns::Fixed(count),
        None => Returns::Streaming(field(options, "unread_objects_max")?),
    })
}

fn retries(retries: &Any<'_>) -> PyResult<Retries> {
    Ok(Retries {
        system: field(retries, "system")?,
        application: field(retries, "application")?,
        kinds: field(retries, "kinds")?,
    })
}

fn env(options: &Any<'_>) -> PyResult<Arc<[(String, String)]>> {
    let mut env: Vec<(String, String)> = field(options, "env")?;
    env.sort();
    Ok(env.into())
}

fn seconds(seconds: Option<f64>, what: &str) -> PyResult<Option<Duration>> {
    let convert = |seconds| {
        Duration::try_from_secs_f64(seconds).map_err(|_| {
            PyValueError::new_err(format!("{what} is {seconds} seconds: give a number from 0 to 1e18"))
        })
    };
    seconds.map(convert).transpose()
}

fn placement(placement: &Any<'_>) -> PyResult<Placement> {
    Ok(Placement {
        cpus: field::<Option<u64>>(placement, "cpus")?.map(Quantity),
        gpus: Quantity(field(placement, "gpus")?),
        resources: quantities(field(placement, "resources")?),
        memory: field(placement, "memory")?,
        strategy: strategy(&placement.getattr("strategy")?)?,
        labels: labels(placement)?,
        priority: field(placement, "priority")?,
    })
}

fn quantities(given: Vec<(String, u64)>) -> Vec<(String, Quantity)> {
    given.into_iter().map(|(name, quantity)| (name, Quantity(quantity))).collect()
}

fn strategy(strategy: &Any<'_>) -> PyResult<Strategy> {
    let kind: String = field(strategy, "kind")?;
    Ok(match kind.as_str() {
        "default" => Strategy::Default,
        "spread" => Strategy::Spread,
        "node" => {
            let node: String = field(strategy, "node")?;
            let node = node.parse().map_err(|error| PyValueError::new_err(format!("{node:?}: {error}")))?;
            Strategy::Node(node, field(strategy, "soft")?)
        }
        "placement-group" => Strategy::PlacementGroup {
            group: strategy.getattr("group")?.cast::<PlacementGroup>()?.get().id,
            bundle: field(strategy, "bundle")?,
            capture_children: field(strategy, "capture_children")?,
        },
        other => return Err(PyValueError::new_err(format!("there is no scheduling strategy {other:?}"))),
    })
}

fn labels(of: &Any<'_>) -> PyResult<Vec<LabelSelector>> {
    let mut selectors = Vec::new();
    for label in of.getattr("labels")?.try_iter()? {
        let label = label?;
        let operator: String = field(&label, "operator")?;
        let operator = match operator.as_str() {
            "in" => LabelOperator::In,
            "not-in" => LabelOperator::NotIn,
            "exists" => LabelOperator::Exists,
            "does-not-exist" => LabelOperator::DoesNotExist,
            other => {
                return Err(PyValueError::new_err(format!("labels are not compared by {other:?}")));
            }
        };
        selectors.push(LabelSelector {
            key: field(&label, "key")?,
            operator,
            values: field(&label, "values")?,
            hard: field(&label, "hard")?,
        });
    }
    Ok(selectors)
}

pub(crate) fn bundles(given: &Any<'_>) -> PyResult<Vec<Bundle>> {
    let mut bundles = Vec::new();
    for bundle in given.try_iter()? {
        let bundle = bundle?;
        let mut resources = Resources::default();
        resources.cpus = Quantity(field(&bundle, "cpus")?);
        resources.gpus = Quantity(field(&bundle, "gpus")?);
        resources.memory = field::<Option<u64>>(&bundle, "memory")?.unwrap_or(0);
        for (name, quantity) in quantities(field(&bundle, "resources")?) {
            resources.set_custom(&name, quantity);
        }
        bundles.push(Bundle { resources, labels: labels(&bundle)? });
    }
    Ok(bundles)
}

pub(crate) fn group_strategy(name: &str) -> PyResult<GroupStrategy> {
    Ok(match name {
        "pack" => GroupStrategy::Pack,
        "spread" => GroupStrategy::Spread,
        "strict-pack" => GroupStrategy::StrictPack,
        "strict-spread" => GroupStrategy::StrictSpread,
        other => return Err(PyValueError::new_err(format!("there is no placement strategy {other:?}"))),
    })
}

/// A number of CPUs, GPUs or of a custom resource.
pub(crate) fn quantity(units: f64, what: &str) -> PyResult<Quantity> {
    Quantity::from_f64(units).ok_or_else(|| {
        PyValueError::new_err(format!("{units} is no amount of {what}: give a number from 0 on"))
    })
}
