//! Amounts of resources.

use engine_core::resources::{Lack, Quantity, Resources};

use crate::v1;

impl From<&Resources> for v1::Resources {
    fn from(resources: &Resources) -> Self {
        Self {
            cpus: resources.cpus.0,
            gpus: resources.gpus.0,
            memory_bytes: resources.memory,
            custom: resources.custom().iter().map(|(name, q)| (name.to_string(), q.0)).collect(),
        }
    }
}

impl From<&v1::Resources> for Resources {
    fn from(resources: &v1::Resources) -> Self {
        let mut back = Resources::default();
        back.cpus = Quantity(resources.cpus);
        back.gpus = Quantity(resources.gpus);
        back.memory = resources.memory_bytes;
        for (name, quantity) in &resources.custom {
            back.set_custom(name, Quantity(*quantity));
        }
        back
    }
}

impl From<Lack> for v1::Lack {
    /// The node and its total are the caller's to add.
    fn from(lack: Lack) -> Self {
        Self { resource: lack.resource, wanted: lack.wanted, available: lack.had, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_read_back() {
        let mut resources = Resources::default();
        resources.cpus = Quantity(12_345);
        resources.gpus = Quantity(1);
        resources.memory = 7;
        resources.set_custom("licence", Quantity::units(2));
        assert_eq!(Resources::from(&v1::Resources::from(&resources)), resources);
    }
}
