//! The second world of `wit/compute.wit`, as Rust: what it imports beyond the first, and its exports.
#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "concurrent-component",
    pub_export_macro: true,
    export_macro_name: "export_concurrent",
    default_bindings_module: "::engine::__private::concurrent_bindings",
    runtime_path: "::wit_bindgen::rt",
    with: {
        "engine:compute/types@0.1.0": crate::bindings::engine::compute::types,
        "engine:compute/objects@0.1.0": crate::bindings::engine::compute::objects,
        "engine:compute/arrays@0.1.0": crate::bindings::engine::compute::arrays,
        "engine:compute/tasks@0.1.0": crate::bindings::engine::compute::tasks,
        "engine:compute/actors@0.1.0": crate::bindings::engine::compute::actors,
        "engine:compute/placement-groups@0.1.0": crate::bindings::engine::compute::placement_groups,
        "engine:compute/context@0.1.0": crate::bindings::engine::compute::context,
        "engine:compute/logging@0.1.0": crate::bindings::engine::compute::logging,
    },
});
