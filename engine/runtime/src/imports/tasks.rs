//! `interface tasks`: spawn, and the options of tasks and calls.

use std::sync::Arc;
use std::time::Duration;

use engine_core::options::{
    CallOptions, LabelOperator, LabelSelector, Placement, Retries, Returns, Reuse, Strategy, TaskOptions,
};
use engine_core::resources::Quantity;
use engine_core::{Error, ErrorCode, NodeId};
use wasmtime::component::Resource;

use crate::bindings::engine::compute::tasks as wit;
use crate::bindings::engine::compute::types as wit_types;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::TaskHandle;
use crate::host::FunctionName;

impl wit::Host for Guest {
    fn spawn(
        &mut self,
        function: wit::Function,
        arguments: Vec<wit_types::Argument>,
        options: wit::TaskOptions,
    ) -> Result<Resource<TaskHandle>, HostError> {
        self.room_for_handles(1)?;
        self.check_texts(
            function
                .component
                .iter()
                .chain([&function.name])
                .chain(&options.name)
                .chain(placement_texts(&options.placement))
                .chain(&options.retries.kinds)
                .chain(options.env.iter().flat_map(|(name, value)| [name, value])),
        )?;
        let arguments = self.arguments_from_guest(arguments)?;
        let options = self.task_options_from_guest(options)?;
        let spawned = self.host.spawn(self.caller(), function_name(function), arguments, options)?;
        Ok(self.spawned(spawned))
    }
}

pub(crate) fn function_name(function: wit::Function) -> FunctionName {
    FunctionName { component: function.component, name: function.name }
}

/// Every text in a placement.
pub(crate) fn placement_texts(placement: &wit::Placement) -> impl Iterator<Item = &String> {
    placement.resources.iter().map(|(name, _)| name).chain(label_texts(&placement.labels))
}

/// Every text in conditions on labels.
pub(crate) fn label_texts(labels: &[wit::LabelSelector]) -> impl Iterator<Item = &String> {
    labels.iter().flat_map(|label| label.values.iter().chain([&label.key]))
}

/// A condition on a node's labels.
pub(crate) fn selector_from_guest(selector: wit::LabelSelector) -> LabelSelector {
    LabelSelector {
        key: selector.key,
        operator: match selector.operator {
            wit::LabelOperator::In => LabelOperator::In,
            wit::LabelOperator::NotIn => LabelOperator::NotIn,
            wit::LabelOperator::Exists => LabelOperator::Exists,
            wit::LabelOperator::DoesNotExist => LabelOperator::DoesNotExist,
        },
        values: selector.values,
        hard: selector.hard,
    }
}

/// Environment as the core wants it: sorted by name, the last of a name counts.
pub(crate) fn environment(mut env: Vec<(String, String)>) -> Arc<[(String, String)]> {
    if env.is_empty() {
        return Arc::from([]);
    }
    env.reverse();
    env.sort_by(|a, b| a.0.cmp(&b.0));
    env.dedup_by(|later, earlier| later.0 == earlier.0);
    env.into()
}

fn retries(retries: wit_types::Retries) -> Retries {
    Retries { system: retries.system, application: retries.application, kinds: retries.kinds }
}

impl Guest {
    /// LIMIT_EXCEEDED when the names and options of a task, call or actor take more than they may: the
    /// node keeps them.
    pub(crate) fn check_texts<'a>(&self, texts: impl Iterator<Item = &'a String>) -> Result<(), Error> {
        let max = self.runtime.options.option_bytes_per_task_max;
        // An entry takes some bytes whatever is in it.
        let bytes = texts.fold(0, |sum: usize, text| sum.saturating_add(text.len() + 16));
        if bytes > max {
            let text = |bytes: usize| engine_core::resources::bytes(bytes as u64);
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "the names, environment and options take {}, more than those of one task, call or actor may (option_bytes_per_task_max is {}): pass data as arguments",
                    text(bytes),
                    text(max)
                ),
            ));
        }
        Ok(())
    }

    fn returns_from_guest(&self, returns: wit_types::Returns) -> Result<Returns, Error> {
        let max = self.runtime.options.outputs_per_task_max;
        match returns {
            wit_types::Returns::Fixed(count) if count > max => Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "{count} returned objects are more than a task may have (outputs_per_task_max is {max}): stream them, or return a list"
                ),
            )),
            wit_types::Returns::Fixed(count) => Ok(Returns::Fixed(count)),
            wit_types::Returns::Streaming(Some(0)) => Err(Error::invalid_argument(
                "a stream that may be 0 objects ahead of its reader can never yield one: its bound is at least 1",
            )),
            wit_types::Returns::Streaming(bound) => Ok(Returns::Streaming(bound)),
        }
    }

    pub(crate) fn placement_from_guest(&self, placement: wit::Placement) -> Result<Placement, HostError> {
        let strategy = match placement.strategy {
            wit::Strategy::Default => Strategy::Default,
            wit::Strategy::Spread => Strategy::Spread,
            wit::Strategy::Node((node, is_soft)) => {
                let node: NodeId = node
                    .parse()
                    .map_err(|error| Error::invalid_argument(format!("strategy node: {error}")))?;
                Strategy::Node(node, is_soft)
            }
            wit::Strategy::PlacementGroup(slot) => Strategy::PlacementGroup {
                group: self.handles.group(&slot.group)?,
                bundle: slot.bundle,
                capture_children: slot.capture_children,
            },
        };
        Ok(Placement {
            cpus: placement.cpus.map(Quantity),
            gpus: Quantity(placement.gpus),
            resources: placement
                .resources
                .into_iter()
                .map(|(name, quantity)| (name, Quantity(quantity)))
                .collect(),
            memory: placement.memory,
            strategy,
            labels: placement.labels.into_iter().map(selector_from_guest).collect(),
            priority: placement.priority,
        })
    }

    fn task_options_from_guest(&self, options: wit::TaskOptions) -> Result<TaskOptions, HostError> {
        Ok(TaskOptions {
            name: options.name,
            placement: self.placement_from_guest(options.placement)?,
            returns: self.returns_from_guest(options.returns)?,
            retries: retries(options.retries),
            deadline: options.deadline.map(Duration::from_nanos),
            cpu_time: options.cpu_time.map(Duration::from_nanos),
            env: environment(options.env),
            reuse: match options.reuse {
                wit::Reuse::Never => Reuse::Never,
                wit::Reuse::Job => Reuse::Job,
            },
            cache: options.cache,
        })
    }

    pub(crate) fn call_options_from_guest(
        &self,
        options: wit_types::CallOptions,
    ) -> Result<CallOptions, Error> {
        Ok(CallOptions {
            name: options.name,
            returns: self.returns_from_guest(options.returns)?,
            retries: retries(options.retries),
            deadline: options.deadline.map(Duration::from_nanos),
            concurrency_group: options.concurrency_group,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_sorted_and_the_last_of_a_name_counts() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = environment(vec![pair("b", "1"), pair("a", "2"), pair("b", "3")]);
        assert_eq!(&*env, &[pair("a", "2"), pair("b", "3")]);
    }
}
