//! What tasks and calls ask for. What is as it mostly is stays absent.

use std::sync::Arc;
use std::time::Duration;

use engine_core::Error;
use engine_core::options::{
    CallOptions, LabelOperator, LabelSelector, Placement, Retries, Returns, Reuse, Strategy, TaskOptions,
};
use engine_core::resources::Quantity;

use crate::convert::peer::{id, read};
use crate::v1;

/// What a task asks for, as it travels; none when that is nothing.
pub fn task_options(options: &TaskOptions) -> Option<v1::TaskOptions> {
    let wire = v1::TaskOptions {
        name: options.name.clone(),
        placement: placement(&options.placement),
        returns: returns(options.returns),
        retries: retries(&options.retries, &Retries::default()),
        deadline_ns: options.deadline.map(read::nanoseconds),
        cpu_time_ns: options.cpu_time.map(read::nanoseconds),
        env: env(&options.env),
        reuse: match options.reuse {
            Reuse::Never => v1::Reuse::Never,
            Reuse::Job => v1::Reuse::Job,
        }
        .into(),
        cache: options.cache,
    };
    (wire != v1::TaskOptions::default()).then_some(wire)
}

/// What a task asks for, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range.
pub fn task_options_from(options: Option<v1::TaskOptions>) -> Result<TaskOptions, Error> {
    let options = options.unwrap_or_default();
    Ok(TaskOptions {
        name: options.name,
        placement: placement_from(options.placement)?,
        returns: returns_from(options.returns)?,
        retries: options.retries.map_or_else(Retries::default, retries_from),
        deadline: options.deadline_ns.map(Duration::from_nanos),
        cpu_time: options.cpu_time_ns.map(Duration::from_nanos),
        env: env_from(options.env)?,
        reuse: match read::enumeration(options.reuse, "TaskOptions.reuse")? {
            v1::Reuse::Never => Reuse::Never,
            v1::Reuse::Job => Reuse::Job,
        },
        cache: options.cache,
    })
}

pub(in crate::convert) fn env(env: &[(String, String)]) -> Vec<v1::EnvVar> {
    env.iter().map(|(name, value)| v1::EnvVar { name: name.clone(), value: value.clone() }).collect()
}

pub(in crate::convert) fn env_from(env: Vec<v1::EnvVar>) -> Result<Arc<[(String, String)]>, Error> {
    if !env.is_sorted_by(|a, b| a.name < b.name) {
        return Err(read::wrong("TaskOptions.env", "is not sorted by name, each name once"));
    }
    Ok(read::shared(env.into_iter().map(|variable| (variable.name, variable.value)).collect()))
}

/// What a call asks for, as it travels; none when that is nothing.
pub fn call_options(options: &CallOptions) -> Option<v1::CallOptions> {
    let wire = v1::CallOptions {
        name: options.name.clone(),
        returns: returns(options.returns),
        retries: retries(&options.retries, &CallOptions::default().retries),
        deadline_ns: options.deadline.map(read::nanoseconds),
        concurrency_group: options.concurrency_group.clone(),
    };
    (wire != v1::CallOptions::default()).then_some(wire)
}

/// What a call asks for, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range.
pub fn call_options_from(options: Option<v1::CallOptions>) -> Result<CallOptions, Error> {
    let options = options.unwrap_or_default();
    Ok(CallOptions {
        name: options.name,
        returns: returns_from(options.returns)?,
        retries: options.retries.map_or_else(|| CallOptions::default().retries, retries_from),
        deadline: options.deadline_ns.map(Duration::from_nanos),
        concurrency_group: options.concurrency_group,
    })
}

pub(in crate::convert) fn returns(returns: Returns) -> Option<v1::Returns> {
    use v1::returns::{Returns as Wire, Streaming};
    let returns = match returns {
        Returns::Fixed(1) => return None,
        Returns::Fixed(count) => Wire::Fixed(count),
        Returns::Streaming(unread_max) => Wire::Streaming(Streaming { unread_max }),
    };
    Some(v1::Returns { returns: Some(returns) })
}

pub(in crate::convert) fn returns_from(returns: Option<v1::Returns>) -> Result<Returns, Error> {
    use v1::returns::Returns as Wire;
    let Some(returns) = returns else { return Ok(Returns::Fixed(1)) };
    Ok(match read::required(returns.returns, "Returns.returns")? {
        Wire::Fixed(count) => Returns::Fixed(count),
        Wire::Streaming(streaming) => Returns::Streaming(streaming.unread_max),
    })
}

fn retries(retries: &Retries, usual: &Retries) -> Option<v1::Retries> {
    (retries != usual).then(|| v1::Retries {
        system: retries.system,
        application: retries.application,
        kinds: retries.kinds.clone(),
    })
}

fn retries_from(retries: v1::Retries) -> Retries {
    Retries { system: retries.system, application: retries.application, kinds: retries.kinds }
}

pub(in crate::convert) fn placement(placement: &Placement) -> Option<v1::Placement> {
    use v1::placement::{InGroup, OnNode, Spread, Strategy as Wire};
    let wire = v1::Placement {
        cpus: placement.cpus.map(|cpus| cpus.0),
        gpus: placement.gpus.0,
        resources: placement
            .resources
            .iter()
            .map(|(name, quantity)| v1::CustomResource { name: name.clone(), quantity: quantity.0 })
            .collect(),
        memory_bytes: placement.memory,
        strategy: match placement.strategy {
            Strategy::Default => None,
            Strategy::Spread => Some(Wire::Spread(Spread {})),
            Strategy::Node(node, soft) => Some(Wire::OnNode(OnNode { node: Some(id(node)), soft })),
            Strategy::PlacementGroup { group, bundle, capture_children } => {
                Some(Wire::InGroup(InGroup { group: Some(id(group)), bundle, capture_children }))
            }
        },
        labels: placement.labels.iter().map(selector).collect(),
        priority: placement.priority,
    };
    (wire != v1::Placement::default()).then_some(wire)
}

pub(in crate::convert) fn placement_from(placement: Option<v1::Placement>) -> Result<Placement, Error> {
    use v1::placement::Strategy as Wire;
    let Some(placement) = placement else { return Ok(Placement::default()) };
    Ok(Placement {
        cpus: placement.cpus.map(|cpus| read::quantity(cpus, "Placement.cpus")).transpose()?,
        gpus: read::quantity(placement.gpus, "Placement.gpus")?,
        resources: read::all(placement.resources, custom_from)?,
        memory: placement.memory_bytes,
        strategy: match placement.strategy {
            None => Strategy::Default,
            Some(Wire::Spread(_)) => Strategy::Spread,
            Some(Wire::OnNode(on)) => Strategy::Node(read::id(on.node, "OnNode.node")?, on.soft),
            Some(Wire::InGroup(slot)) => Strategy::PlacementGroup {
                group: read::id(slot.group, "InGroup.group")?,
                bundle: slot.bundle,
                capture_children: slot.capture_children,
            },
        },
        labels: read::all(placement.labels, selector_from)?,
        priority: placement.priority,
    })
}

fn custom_from(resource: v1::CustomResource) -> Result<(String, Quantity), Error> {
    let quantity = read::quantity(resource.quantity, "CustomResource.quantity")?;
    Ok((resource.name, quantity))
}

pub(super) fn selector(selector: &LabelSelector) -> v1::LabelSelector {
    let operator = match selector.operator {
        LabelOperator::In => v1::LabelOperator::In,
        LabelOperator::NotIn => v1::LabelOperator::NotIn,
        LabelOperator::Exists => v1::LabelOperator::Exists,
        LabelOperator::DoesNotExist => v1::LabelOperator::DoesNotExist,
    };
    v1::LabelSelector {
        key: selector.key.clone(),
        operator: operator.into(),
        values: selector.values.clone(),
        hard: selector.hard,
    }
}

pub(super) fn selector_from(selector: v1::LabelSelector) -> Result<LabelSelector, Error> {
    let operator = match read::enumeration(selector.operator, "LabelSelector.operator")? {
        v1::LabelOperator::Unspecified => return Err(read::missing("LabelSelector.operator")),
        v1::LabelOperator::In => LabelOperator::In,
        v1::LabelOperator::NotIn => LabelOperator::NotIn,
        v1::LabelOperator::Exists => LabelOperator::Exists,
        v1::LabelOperator::DoesNotExist => LabelOperator::DoesNotExist,
    };
    Ok(LabelSelector { key: selector.key, operator, values: selector.values, hard: selector.hard })
}
