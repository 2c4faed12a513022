//! `interface context`: who and where the guest is.

use engine_core::Handle;
use engine_core::resources::Quantity;
use wasmtime::component::Resource;

use crate::bindings::engine::compute::context as wit;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::{ActorEntry, ActorHandle};

fn amounts(amounts: Vec<(String, Quantity)>) -> Vec<(String, u64)> {
    amounts.into_iter().map(|(name, quantity)| (name, quantity.0)).collect()
}

impl wit::Host for Guest {
    fn job_id(&mut self) -> wasmtime::Result<String> {
        // The same in each run of it.
        Ok(self.job.job.job().to_string())
    }

    fn node_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.job.node.to_string())
    }

    fn tenant(&mut self) -> wasmtime::Result<String> {
        Ok(self.job.tenant.to_string())
    }

    fn namespace(&mut self) -> wasmtime::Result<String> {
        Ok(self.job.namespace.clone())
    }

    fn resources(&mut self) -> wasmtime::Result<wit::Assigned> {
        Ok(wit::Assigned {
            cpus: self.assigned.cpus.0,
            gpus: Vec::new(),
            resources: self
                .assigned
                .custom()
                .iter()
                .map(|(name, quantity)| (name.to_string(), quantity.0))
                .collect(),
        })
    }

    fn current_actor(&mut self) -> wasmtime::Result<Option<Resource<ActorHandle>>> {
        let Some(actor) = self.actor else { return Ok(None) };
        self.room_for_handles(1)?;
        self.acquire(Handle::Actor(actor));
        let lane = self.host.new_lane();
        Ok(Some(self.handles.push_actor(ActorEntry { actor, lane })))
    }

    fn was_restarted(&mut self) -> wasmtime::Result<bool> {
        Ok(self.was_restarted)
    }

    fn nodes(&mut self) -> Result<Vec<wit::Node>, HostError> {
        let nodes = self.host.nodes(self.caller());
        Ok(nodes
            .into_iter()
            .map(|node| wit::Node {
                id: node.id,
                labels: node.labels,
                total: amounts(node.total),
                available: amounts(node.available),
            })
            .collect())
    }
}
