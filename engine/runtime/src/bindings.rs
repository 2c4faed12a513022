//! The host's side of `wit/compute.wit`, generated.
//!
//! Only what can block is async: everything else runs on the guest's stack without a suspension.

#![allow(missing_docs, unreachable_pub, clippy::all)]

use crate::errors::HostError;
use crate::handles::{ActorHandle, GroupHandle, InvocationHandle, ObjectHandle, TaskHandle, WriterHandle};

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
        "engine:compute/objects.get-all": async | trappable,
        "engine:compute/objects.wait": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    trappable_error_type: {
        "engine:compute/types.error" => HostError,
    },
    with: {
        "engine:compute/types.object": ObjectHandle,
        "engine:compute/types.task": TaskHandle,
        "engine:compute/types.actor": ActorHandle,
        "engine:compute/types.placement-group": GroupHandle,
        "engine:compute/types.invocation": InvocationHandle,
        "engine:compute/objects.writer": WriterHandle,
    },
    require_store_data_send: true,
});
