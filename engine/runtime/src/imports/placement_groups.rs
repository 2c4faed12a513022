//! `interface placement-groups`: they need the cluster.

use wasmtime::component::Resource;

use crate::bindings::engine::compute::placement_groups as wit;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::GroupHandle;
use crate::values::no_placement_groups;

impl wit::Host for Guest {
    fn create(
        &mut self,
        _bundles: Vec<wit::Bundle>,
        _strategy: wit::GroupStrategy,
        _name: Option<String>,
    ) -> Result<Resource<GroupHandle>, HostError> {
        Err(no_placement_groups().into())
    }

    fn lookup(&mut self, _name: String) -> Result<Resource<GroupHandle>, HostError> {
        Err(no_placement_groups().into())
    }
}
