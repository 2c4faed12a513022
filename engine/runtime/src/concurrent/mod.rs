//! Components of the concurrent world: several calls inside one sandbox at once.

mod attribution;
mod calls;
mod imports;

pub(crate) use calls::serve;
pub(crate) use imports::add_to_linker;

/// The second world, generated. What both worlds import is the same as in the first.
pub(crate) mod bindings {
    // The generated code's unsafe blocks call exports whose types it has checked at load.
    #![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all)]

    use crate::errors::HostError;

    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "concurrent-component",
        imports: { default: trappable },
        trappable_error_type: {
            "engine:compute/types.error" => HostError,
        },
        with: {
            "engine:compute/types": crate::bindings::engine::compute::types,
            "engine:compute/objects": crate::bindings::engine::compute::objects,
            "engine:compute/arrays": crate::bindings::engine::compute::arrays,
            "engine:compute/tasks": crate::bindings::engine::compute::tasks,
            "engine:compute/actors": crate::bindings::engine::compute::actors,
            "engine:compute/placement-groups": crate::bindings::engine::compute::placement_groups,
            "engine:compute/context": crate::bindings::engine::compute::context,
            "engine:compute/logging": crate::bindings::engine::compute::logging,
        },
        require_store_data_send: true,
    });
}
