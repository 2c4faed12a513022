//! Placement groups: resources reserved together.
use crate::bindings::engine::compute::{placement_groups as wit, types};
use crate::error::{Error, Result};
use crate::handles::{self, Handle};
use crate::object::ObjectRef;
use crate::placement::{Label, quantity};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Bundles of resources that were reserved all or none; tasks and actors run in them by
/// [`Strategy::PlacementGroup`](crate::Strategy).
#[derive(Clone)]
pub struct PlacementGroup {
    group: Arc<types::PlacementGroup>,
}

/// Where the bundles of a group lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupStrategy {
    /// On as few nodes as can be.
    #[default]
    Pack,
    /// On as many nodes as can be.
    Spread,
    /// On one node, or not at all.
    StrictPack,
    /// Each on a node of its own, or not at all.
    StrictSpread,
}

/// One bundle of a group: resources of one node.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    cpus: types::Quantity,
    gpus: types::Quantity,
    resources: Vec<(String, types::Quantity)>,
    memory: Option<u64>,
    labels: Vec<Label>,
}

impl Bundle {
    /// An empty bundle.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many CPUs.
    pub fn cpus(mut self, cpus: impl Into<f64>) -> Self {
        self.cpus = quantity(cpus.into());
        self
    }

    /// So many GPUs.
    pub fn gpus(mut self, gpus: impl Into<f64>) -> Self {
        self.gpus = quantity(gpus.into());
        self
    }

    /// So many bytes of guest memory. Default: what runs in the bundle takes its memory of the node.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// So much of a custom resource.
    pub fn resource(mut self, name: impl Into<String>, amount: impl Into<f64>) -> Self {
        self.resources.push((name.into(), quantity(amount.into())));
        self
    }

    /// A condition on the labels of its node.
    pub fn label(mut self, label: Label) -> Self {
        self.labels.push(label);
        self
    }
}

impl PlacementGroup {
    /// Asks for a group; its bundles are reserved once [`ready`](Self::ready) is.
    ///
    /// # Errors
    /// ALREADY_EXISTS when another group of the namespace has its name; INVALID_ARGUMENT without a bundle,
    /// or with an empty one; LIMIT_EXCEEDED.
    pub fn create(
        bundles: impl IntoIterator<Item = Bundle>,
        strategy: GroupStrategy,
        name: Option<&str>,
    ) -> Result<Self> {
        let bundles: Vec<wit::Bundle> = bundles
            .into_iter()
            .map(|bundle| wit::Bundle {
                cpus: bundle.cpus,
                gpus: bundle.gpus,
                resources: bundle.resources,
                memory: bundle.memory,
                labels: bundle.labels.iter().map(Label::to_wire).collect(),
            })
            .collect();
        let strategy = match strategy {
            GroupStrategy::Pack => wit::GroupStrategy::Pack,
            GroupStrategy::Spread => wit::GroupStrategy::Spread,
            GroupStrategy::StrictPack => wit::GroupStrategy::StrictPack,
            GroupStrategy::StrictSpread => wit::GroupStrategy::StrictSpread,
        };
        let group = wit::create(&bundles, strategy, name).map_err(Error::from_wire)?;
        Ok(PlacementGroup { group: Arc::new(group) })
    }

    /// The group of this name.
    ///
    /// # Errors
    /// NOT_FOUND.
    pub fn lookup(name: &str) -> Result<Self> {
        let group = wit::lookup(name).map_err(Error::from_wire)?;
        Ok(PlacementGroup { group: Arc::new(group) })
    }

    /// The group's id: printable, for logs and listings.
    pub fn id(&self) -> String {
        self.group.id()
    }

    /// An object that is ready when every bundle is reserved.
    pub fn ready(&self) -> ObjectRef<()> {
        ObjectRef::from_wire(self.group.ready())
    }

    /// Gives everything back, and ends what runs in the group with PLACEMENT_GROUP_REMOVED. Repeating it does
    /// nothing.
    ///
    /// # Errors
    /// PERMISSION_DENIED when the group is not held here.
    pub fn remove(&self) -> Result<()> {
        self.group.remove().map_err(Error::from_wire)
    }

    pub(crate) fn wire(&self) -> &types::PlacementGroup {
        &self.group
    }
}

impl fmt::Debug for PlacementGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlacementGroup({})", self.id())
    }
}

impl Serialize for PlacementGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        handles::serialize(Handle::PlacementGroup(Arc::clone(&self.group)), serializer)
    }
}

impl<'de> Deserialize<'de> for PlacementGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        const WANTED: &str = "a placement group";
        match handles::deserialize(deserializer, WANTED)? {
            Handle::PlacementGroup(group) => Ok(PlacementGroup { group }),
            other => Err(handles::mismatch(&other, WANTED)),
        }
    }
}
