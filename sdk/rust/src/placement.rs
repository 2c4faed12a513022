//! What a task or an actor needs, and where it may run.
use crate::bindings::engine::compute::{tasks as wit, types};
use crate::group::PlacementGroup;

/// A CPU, GPU or custom resource counts in ten-thousandths.
const QUANTITY_PER_UNIT: f64 = 10_000.0;

/// Rounds down to 1/10 000; less than nothing is nothing.
pub(crate) fn quantity(units: f64) -> types::Quantity {
    // The cast saturates, and takes not-a-number as 0. The half of a millionth undoes what binary
    // fractions lose: 0.3 is three thousand ten-thousandths.
    (units * QUANTITY_PER_UNIT + 5e-7) as u64
}

pub(crate) fn units(quantity: types::Quantity) -> f64 {
    quantity as f64 / QUANTITY_PER_UNIT
}

/// How a node is chosen.
#[derive(Clone, Debug, Default)]
pub enum Strategy {
    /// Near the bytes of the arguments, packed to half of a node, then the least loaded.
    #[default]
    Default,
    /// Over as many nodes as there are.
    Spread,
    /// On the node of this id.
    Node {
        /// The node's id, as [`Context::node_id`](crate::Context::node_id) gives it.
        id: String,
        /// Whether another will do when that one cannot.
        soft: bool,
    },
    /// In a placement group's bundle.
    PlacementGroup {
        /// The group.
        group: PlacementGroup,
        /// Which bundle, from 0; none: any of the group.
        bundle: Option<u32>,
        /// Whether what the task spawns runs in the group too.
        capture_children: bool,
    },
}

impl Strategy {
    fn lend(&self) -> wit::Strategy<'_> {
        match self {
            Strategy::Default => wit::Strategy::Default,
            Strategy::Spread => wit::Strategy::Spread,
            Strategy::Node { id, soft } => wit::Strategy::Node((id.clone(), *soft)),
            Strategy::PlacementGroup { group, bundle, capture_children } => {
                wit::Strategy::PlacementGroup(wit::BundleSlot {
                    group: group.wire(),
                    bundle: *bundle,
                    capture_children: *capture_children,
                })
            }
        }
    }
}

/// A condition on the labels of a node.
#[derive(Clone, Debug)]
pub struct Label(wit::LabelSelector);

impl Label {
    /// The label's value is one of these.
    pub fn is_in<S: Into<String>>(key: impl Into<String>, values: impl IntoIterator<Item = S>) -> Self {
        Self::new(key, wit::LabelOperator::In, values.into_iter().map(Into::into).collect())
    }

    /// The label is absent or its value is none of these.
    pub fn is_not_in<S: Into<String>>(key: impl Into<String>, values: impl IntoIterator<Item = S>) -> Self {
        Self::new(key, wit::LabelOperator::NotIn, values.into_iter().map(Into::into).collect())
    }

    /// The node has the label.
    pub fn exists(key: impl Into<String>) -> Self {
        Self::new(key, wit::LabelOperator::Exists, Vec::new())
    }

    /// The node does not have the label.
    pub fn does_not_exist(key: impl Into<String>) -> Self {
        Self::new(key, wit::LabelOperator::DoesNotExist, Vec::new())
    }

    /// Preferred instead of required.
    pub fn soft(mut self) -> Self {
        self.0.hard = false;
        self
    }

    pub(crate) fn to_wire(&self) -> wit::LabelSelector {
        self.0.clone()
    }

    fn new(key: impl Into<String>, operator: wit::LabelOperator, values: Vec<String>) -> Self {
        Label(wit::LabelSelector { key: key.into(), operator, values, hard: true })
    }
}

/// The part of the options that tasks and actors share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placement {
    pub(crate) cpus: Option<types::Quantity>,
    pub(crate) gpus: types::Quantity,
    pub(crate) resources: Vec<(String, types::Quantity)>,
    pub(crate) memory: Option<u64>,
    pub(crate) strategy: Strategy,
    pub(crate) labels: Vec<Label>,
    pub(crate) priority: i32,
}

impl Placement {
    pub(crate) fn lend(&self) -> wit::Placement<'_> {
        wit::Placement {
            cpus: self.cpus,
            gpus: self.gpus,
            resources: self.resources.clone(),
            memory: self.memory,
            strategy: self.strategy.lend(),
            labels: self.labels.iter().map(Label::to_wire).collect(),
            priority: self.priority,
        }
    }
}

/// The setters of [`Placement`], for a type that has one in its field `placement`.
macro_rules! placement_setters {
    () => {
        /// CPUs, in steps of 1/10 000. Default: 1 for a task; for an actor 1 to place it and 0 once
        /// it is there.
        pub fn cpus(mut self, cpus: impl Into<f64>) -> Self {
            self.placement.cpus = Some($crate::placement::quantity(cpus.into()));
            self
        }

        /// GPUs, in steps of 1/10 000. Default: 0.
        pub fn gpus(mut self, gpus: impl Into<f64>) -> Self {
            self.placement.gpus = $crate::placement::quantity(gpus.into());
            self
        }

        /// So much of a custom resource of the cluster.
        pub fn resource(mut self, name: impl Into<String>, amount: impl Into<f64>) -> Self {
            self.placement.resources.push((name.into(), $crate::placement::quantity(amount.into())));
            self
        }

        /// Bytes of guest memory: reserved on the node, and enforced. Default: the tenant's.
        pub fn memory(mut self, bytes: u64) -> Self {
            self.placement.memory = Some(bytes);
            self
        }

        /// How the node is chosen.
        pub fn strategy(mut self, strategy: $crate::Strategy) -> Self {
            self.placement.strategy = strategy;
            self
        }

        /// A condition on the node's labels; may be given several times.
        pub fn label(mut self, label: $crate::Label) -> Self {
            self.placement.labels.push(label);
            self
        }

        /// Higher goes first, among the tenant's own. Default: 0.
        pub fn priority(mut self, priority: i32) -> Self {
            self.placement.priority = priority;
            self
        }
    };
}
pub(crate) use placement_setters;

#[cfg(test)]
mod tests {
    use super::*;

    // contract: T5
    #[test]
    fn quantities_are_rounded_down_to_ten_thousandths() {
        assert_eq!(quantity(0.5), 5_000);
        assert_eq!(quantity(0.3), 3_000);
        assert_eq!(quantity(0.1 + 0.2), 3_000);
        assert_eq!(quantity(0.000_19), 1);
        assert_eq!(quantity(0.000_09), 0);
        assert_eq!(quantity(-1.0), 0);
        assert_eq!(quantity(f64::NAN), 0);
        assert_eq!(units(5_000), 0.5);
    }
}
