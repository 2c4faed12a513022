//! `interface placement-groups`: create and lookup.

use engine_core::Handle;
use engine_core::resources::{Quantity, Resources};
use wasmtime::component::Resource;

use crate::bindings::engine::compute::placement_groups as wit;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::GroupHandle;
use crate::host::{Bundle, GroupStrategy};
use crate::imports::tasks::{label_texts, selector_from_guest};

fn bundle_from_guest(bundle: wit::Bundle) -> Bundle {
    let mut resources = Resources::default();
    resources.cpus = Quantity(bundle.cpus);
    resources.gpus = Quantity(bundle.gpus);
    resources.memory = bundle.memory.unwrap_or(0);
    for (name, quantity) in bundle.resources {
        resources.set_custom(&name, Quantity(quantity));
    }
    Bundle { resources, labels: bundle.labels.into_iter().map(selector_from_guest).collect() }
}

impl wit::Host for Guest {
    async fn create(
        &mut self,
        bundles: Vec<wit::Bundle>,
        strategy: wit::GroupStrategy,
        name: Option<String>,
    ) -> Result<Resource<GroupHandle>, HostError> {
        self.room_for_handles(1)?;
        let names = bundles.iter().flat_map(|bundle| bundle.resources.iter().map(|(name, _)| name));
        let labels = bundles.iter().flat_map(|bundle| label_texts(&bundle.labels));
        self.check_texts(names.chain(labels).chain(&name))?;
        let bundles = bundles.into_iter().map(bundle_from_guest).collect();
        let strategy = match strategy {
            wit::GroupStrategy::Pack => GroupStrategy::Pack,
            wit::GroupStrategy::Spread => GroupStrategy::Spread,
            wit::GroupStrategy::StrictPack => GroupStrategy::StrictPack,
            wit::GroupStrategy::StrictSpread => GroupStrategy::StrictSpread,
        };
        let group = self.host.create_group(self.caller(), bundles, strategy, name).await?;
        self.adopt(Handle::PlacementGroup(group));
        Ok(self.handles.push_group(group))
    }

    async fn lookup(&mut self, name: String) -> Result<Resource<GroupHandle>, HostError> {
        self.room_for_handles(1)?;
        let group = self.host.lookup_group(self.caller(), name).await?;
        self.adopt(Handle::PlacementGroup(group));
        Ok(self.handles.push_group(group))
    }
}
