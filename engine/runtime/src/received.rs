//! Values on their way out of a guest: the bytes are copied once, out of the guest's memory to where the
//! node keeps them.
//!
//! What an export returns is the guest's again before its caller sees it, so the copy is made while
//! wasmtime reads the result; it does not know the store's data there, so whoever polls a sandbox says
//! where bytes go ([`Receiver::scope`]).

// Lifting is an unsafe trait, the derived code's too.
#![allow(unsafe_code)]

use std::sync::Arc;

use engine_core::{Error, ErrorCode, Place};
use wasmtime::Result;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{ComponentType, Lift, WasmList};

use crate::bindings::engine::compute::types as wit;
use crate::host::Host;
use crate::values::too_large;

tokio::task_local! {
    static RECEIVER: Receiver;
}

/// Where the bytes go that a sandbox gives.
pub(crate) struct Receiver {
    pub(crate) host: Arc<dyn Host>,
    /// Of one value.
    pub(crate) bytes_max: u64,
}

impl Receiver {
    /// `sandbox` with what it gives going there.
    pub(crate) fn scope<F: Future>(self, sandbox: F) -> impl Future<Output = F::Output> {
        RECEIVER.scope(self, sandbox)
    }

    fn place(&self, bytes: &[u8]) -> Result<Place, Error> {
        if bytes.len() as u64 > self.bytes_max {
            return Err(too_large(bytes.len() as u64, self.bytes_max));
        }
        if bytes.is_empty() {
            return Ok(Place::default());
        }
        store_or_keep(&*self.host, bytes)
    }
}

/// Stores bytes; those that there is no room for stay on the heap until [`Guest::house`] finds some.
///
/// [`Guest::house`]: crate::guest::Guest::house
pub(crate) fn store_or_keep(host: &dyn Host, bytes: &[u8]) -> Result<Place, Error> {
    match host.write(&[bytes]) {
        Err(error) if error.code() == ErrorCode::StoreFull => Ok(engine_objects::on_heap(bytes.to_vec())),
        placed => placed,
    }
}

/// The record `value` of the WIT, with bytes that the node has already.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ReturnedValue {
    pub(crate) codec: wit::Codec,
    pub(crate) bytes: ReceivedBytes,
    pub(crate) handles: Vec<wit::Handle>,
}

/// The record `value-view`, likewise.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ReceivedView {
    pub(crate) codec: wit::Codec,
    pub(crate) bytes: ReceivedBytes,
    pub(crate) handles: Vec<wit::HandleView>,
}

/// A `list<u8>` of which the node has a copy, or why it has none.
pub(crate) struct ReceivedBytes {
    pub(crate) size: u64,
    pub(crate) place: Result<Place, Error>,
}

impl ReceivedBytes {
    /// `at` and `length` are those of `list`, which wasmtime has checked.
    fn receive(cx: &LiftContext<'_>, list: &WasmList<u8>, at: u32) -> Result<Self> {
        let bytes = cx.memory().get(at as usize..).and_then(|rest| rest.get(..list.len()));
        let bytes = bytes.ok_or_else(|| wasmtime::Error::msg("a list lies outside of the guest's memory"))?;
        let place = RECEIVER
            .try_with(|receiver| receiver.place(bytes))
            .unwrap_or_else(|_| Err(Error::internal("nobody receives the bytes of this guest")));
        Ok(Self { size: bytes.len() as u64, place })
    }
}

// SAFETY: the type is the list of bytes in all that wasmtime looks at: it says so itself, through the
// functions of its own `WasmList`.
unsafe impl ComponentType for ReceivedBytes {
    type Lower = <WasmList<u8> as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <WasmList<u8> as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <WasmList<u8> as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: both functions read what `WasmList` reads, and it checks them first.
unsafe impl Lift for ReceivedBytes {
    fn linear_lift_from_flat(cx: &mut LiftContext<'_>, ty: InterfaceType, src: &Self::Lower) -> Result<Self> {
        let list = WasmList::linear_lift_from_flat(cx, ty, src)?;
        Self::receive(cx, &list, src[0].get_u32())
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        let list = WasmList::linear_lift_from_memory(cx, ty, bytes)?;
        let at = bytes.first_chunk().copied().map_or(u32::MAX, u32::from_le_bytes);
        Self::receive(cx, &list, at)
    }
}
