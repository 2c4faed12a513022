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
    resources: Vec<(String, types::Quantity)>,
    labels: Vec<Label>,
}

impl Bundle {
    /// An empty bundle.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many CPUs.
    pub fn cpus(self, cpus: impl Into<f64>) -> Self {
        self.resource("CPU", cpus)
    }

    /// So many GPUs.
    pub fn gpus(self, gpus: impl Into<f64>) -> Self {
        self.resource("GPU", gpus)
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
    /// UNSUPPORTED where the engine has no placement groups yet, ALREADY_EXISTS, UNSCHEDULABLE.
    pub fn create(
        bundles: impl IntoIterator<Item = Bundle>,
        strategy: GroupStrategy,
        name: Option<&str>,
    ) -> Result<Self> {
        let bundles: Vec<wit::Bundle> = bundles
            .into_iter()
            .map(|bundle| wit::Bundle {
                resources: bundle.resources,
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
    /// NOT_FOUND; UNSUPPORTED where the engine has no placement groups yet.
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

    /// Gives everything back, and ends what runs in the group.
    ///
    /// # Errors
    /// When the cluster could not be told.
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
