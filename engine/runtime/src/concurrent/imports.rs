//! What the concurrent world may import on top of the other: waits that let other calls go on.

use std::time::Duration;

use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, HasSelf, Linker, Resource};

use crate::bindings::engine::compute::objects::Waitable as WitWaitable;
use crate::bindings::engine::compute::types as wit;
use crate::concurrent::attribution;
use crate::concurrent::bindings::engine::compute::objects_async as wit_async;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::{InvocationHandle, ObjectHandle};
use crate::host::{Caller, Until, Wait, Waitable};
use crate::imports::{answer, emit, linked_by_hand};
use crate::lent::LentValue;
use crate::received::ReceivedView;
use crate::storage::value_in_memory;

/// Everything that a guest of this world may import.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    attribution::add_to_linker(linker)?;
    type Get = (Resource<ObjectHandle>, Option<u64>);
    linker.allow_shadowing(true);
    let mut instance = linker.instance("engine:compute/objects-async@0.1.0")?;
    wit_async::add_to_linker_instance::<Guest, HasSelf<Guest>>(&mut instance, |guest| guest)?;
    // By hand, as in `imports::direct`.
    instance.func_wrap_concurrent("get", |accessor: &Accessor<Guest>, (object, timeout): Get| {
        Box::pin(async move {
            let got = get(accessor, object, timeout).await;
            accessor.with(|mut access| answer(access.data_mut(), got))
        })
    })?;
    type Emit = (Resource<InvocationHandle>, ReceivedView);
    instance.func_wrap_concurrent("emit", |accessor: &Accessor<Guest>, (invocation, view): Emit| {
        Box::pin(async move {
            let emitted = yield_item(accessor, invocation, view).await;
            accessor.with(|mut access| answer(access.data_mut(), emitted))
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn yield_item(
    accessor: &Accessor<Guest>,
    invocation: Resource<InvocationHandle>,
    view: ReceivedView,
) -> Result<(), HostError> {
    let (host, caller, value) = accessor.with(|mut access| {
        let guest = access.data_mut();
        let (caller, value) = guest.item_from_view(invocation, view)?;
        Ok::<_, HostError>((guest.host.clone(), caller, value))
    })?;
    emit(&host, caller, value).await
}

impl wit_async::Host for Guest {}

/// From within a host function of this world: waits, while other calls of the sandbox go on.
async fn wait_for(
    accessor: &Accessor<Guest>,
    caller: Caller,
    items: &[Waitable],
    until: Until,
    timeout: Option<u64>,
) {
    let timeout = timeout.map(Duration::from_nanos);
    let wait = accessor.with(|mut access| access.data_mut().host.wait(caller, items, until, timeout));
    if let Wait::Blocked(over) = wait {
        over.await;
    }
}

async fn get(
    accessor: &Accessor<Guest>,
    object: Resource<ObjectHandle>,
    timeout: Option<u64>,
) -> Result<LentValue, HostError> {
    let (host, caller, object, max) = accessor.with(|mut access| {
        attribution::attribute(&mut access.as_context_mut())?;
        let guest = access.data_mut();
        let object = guest.handles.object(&object)?;
        Ok::<_, HostError>((guest.host.clone(), guest.caller(), object, guest.limiter.max()))
    })?;
    let value = value_in_memory(&host, caller, object, timeout, max).await?;
    accessor.with(|mut access| Ok(access.data_mut().lend(&value)?))
}

impl wit_async::HostWithStore<Guest> for HasSelf<Guest> {
    async fn get(
        _: &Accessor<Guest, Self>,
        _: Resource<ObjectHandle>,
        _: Option<u64>,
    ) -> Result<wit::Value, HostError> {
        Err(linked_by_hand())
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

    async fn emit(
        _: &Accessor<Guest, Self>,
        _: Resource<InvocationHandle>,
        _: wit::ValueView,
    ) -> Result<(), HostError> {
        Err(linked_by_hand())
    }

    async fn sleep(_accessor: &Accessor<Guest, Self>, duration: u64) -> wasmtime::Result<()> {
        // Guests wake one another by it: what is ready at once would wake nobody.
        tokio::task::yield_now().await;
        if duration > 0 {
            tokio::time::sleep(Duration::from_nanos(duration)).await;
        }
        Ok(())
    }
}
