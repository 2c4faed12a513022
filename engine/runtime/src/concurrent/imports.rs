//! What the concurrent world may import on top of the other: waits that let other calls go on.

use std::time::Duration;

use engine_core::Error;
use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, HasSelf, Linker, Resource};

use crate::bindings::engine::compute::objects::Waitable as WitWaitable;
use crate::bindings::engine::compute::types as wit;
use crate::concurrent::attribution;
use crate::concurrent::bindings::engine::compute::objects_async as wit_async;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::ObjectHandle;
use crate::host::{Caller, Until, Wait, Waitable};
use crate::imports::timed_out;

/// Everything that a guest of this world may import.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    attribution::add_to_linker(linker)?;
    wit_async::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

impl wit_async::Host for Guest {}

/// From within a host function of this world: waits, while other calls of the sandbox go on.
async fn wait_for(
    accessor: &Accessor<Guest, HasSelf<Guest>>,
    caller: Caller,
    items: &[Waitable],
    until: Until,
    timeout: Option<u64>,
) {
    let timeout = timeout.map(Duration::from_nanos);
    let wait = accessor.with(|mut access| access.get().host.wait(caller, items, until, timeout));
    if let Wait::Blocked(over) = wait {
        over.await;
    }
}

impl wit_async::HostWithStore<Guest> for HasSelf<Guest> {
    async fn get(
        accessor: &Accessor<Guest, Self>,
        object: Resource<ObjectHandle>,
        timeout: Option<u64>,
    ) -> Result<wit::Value, HostError> {
        let (caller, object, outcome) = accessor.with(|mut access| {
            attribution::attribute(&mut access.as_context_mut())?;
            let guest = access.get();
            let object = guest.handles.object(&object)?;
            Ok::<_, HostError>((guest.caller(), object, guest.host.outcome(guest.caller(), object)))
        })?;
        if outcome.is_none() {
            wait_for(accessor, caller, &[Waitable::Object(object)], Until::AllOrFailure, timeout).await;
        }
        accessor.with(|mut access| {
            let guest = access.get();
            match guest.host.outcome(caller, object) {
                Some(Ok(value)) => Ok(guest.value_to_guest(&value)?),
                Some(Err(error)) => Err(Error::clone(&error).into()),
                None => Err(timed_out(&format!("object {object}"), timeout).into()),
            }
        })
    }

    async fn wait(
        accessor: &Accessor<Guest, Self>,
        items: Vec<WitWaitable>,
        num_ready: u32,
        timeout: Option<u64>,
    ) -> Result<Vec<u32>, HostError> {
        let (caller, waitables) = accessor.with(|mut access| {
            attribution::attribute(&mut access.as_context_mut())?;
            let guest = access.get();
            Ok::<_, HostError>((guest.caller(), guest.waitables_from_guest(items, num_ready)?))
        })?;
        if waitables.is_empty() {
            return Ok(Vec::new());
        }
        wait_for(accessor, caller, &waitables, Until::Count(num_ready), timeout).await;
        Ok(accessor.with(|mut access| access.get().ready_indexes(&waitables, num_ready)))
    }

    async fn sleep(_accessor: &Accessor<Guest, Self>, duration: u64) -> wasmtime::Result<()> {
        tokio::time::sleep(Duration::from_nanos(duration)).await;
        Ok(())
    }
}
