//! The host's side of `wit/compute.wit`, generated.
//!
//! Only what can block is async: everything else runs on the guest's stack without a suspension.

// The generated code's unsafe blocks call exports whose types it has checked at load.
#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all)]

use crate::errors::HostError;

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "component",
    imports: {
        "engine:compute/types.[method]object.get": async | trappable,
        "engine:compute/types.[method]object.metadata": async | trappable,
        "engine:compute/types.[method]object.read": async | trappable,
        "engine:compute/types.[method]object.handles": async | trappable,
        "engine:compute/types.[method]task.next": async | trappable,
        "engine:compute/types.[method]invocation.emit": async | trappable,
        "engine:compute/actors.create": async | trappable,
        "engine:compute/actors.lookup": async | trappable,
        "engine:compute/placement-groups.create": async | trappable,
        "engine:compute/placement-groups.lookup": async | trappable,
        "engine:compute/objects.get-all": async | trappable,
        "engine:compute/objects.wait": async | trappable,
        "engine:compute/objects.[method]writer.write": async | trappable,
        "engine:compute/objects.[static]writer.finish": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    trappable_error_type: {
        "engine:compute/types.error" => HostError,
    },
    with: {
        "engine:compute/types.object": crate::handles::ObjectHandle,
        "engine:compute/types.task": crate::handles::TaskHandle,
        "engine:compute/types.actor": crate::handles::ActorHandle,
        "engine:compute/types.placement-group": crate::handles::GroupHandle,
        "engine:compute/types.invocation": crate::handles::InvocationHandle,
        "engine:compute/objects.writer": crate::handles::WriterHandle,
    },
    require_store_data_send: true,
});
