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
        "engine:compute/arrays.[static]array.from-object": async | trappable,
        "engine:compute/arrays.[static]array.from-raw": async | trappable,
        "engine:compute/arrays.[static]array.full": async | trappable,
        "engine:compute/arrays.[static]array.sequence": async | trappable,
        "engine:compute/arrays.[static]array.concatenate": async | trappable,
        "engine:compute/arrays.[static]array.choose": async | trappable,
        "engine:compute/arrays.[static]array.binary": async | trappable,
        "engine:compute/arrays.[static]array.argsort": async | trappable,
        "engine:compute/arrays.[method]array.read": async | trappable,
        "engine:compute/arrays.[method]array.to-object": async | trappable,
        "engine:compute/arrays.[method]array.unary": async | trappable,
        "engine:compute/arrays.[method]array.cast": async | trappable,
        "engine:compute/arrays.[method]array.reduce": async | trappable,
        "engine:compute/arrays.[method]array.reduce-axis": async | trappable,
        "engine:compute/arrays.[method]array.matmul": async | trappable,
        "engine:compute/arrays.[method]array.transpose": async | trappable,
        "engine:compute/arrays.[method]array.take": async | trappable,
        "engine:compute/arrays.[method]array.filter": async | trappable,
        "engine:compute/arrays.[method]array.sort": async | trappable,
        "engine:compute/arrays.[method]array.unique": async | trappable,
        "engine:compute/arrays.group-by": async | trappable,
        "engine:compute/arrays.read-table": async | trappable,
        "engine:compute/arrays.write-table": async | trappable,
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
        "engine:compute/arrays.array": crate::handles::ArrayHandle,
        "engine:compute/objects.writer": crate::handles::WriterHandle,
    },
    require_store_data_send: true,
});
