//! The functions that values pass through, linked by hand: what the generated code would make of them
//! holds every byte a second time on its way.

use std::sync::Arc;
use std::time::Duration;

use engine_core::options::Returns;
use engine_core::{Error, ErrorCode, Value};
use wasmtime::component::{HasSelf, Linker, LinkerInstance, Resource};

use crate::bindings::engine::compute::{objects, types};
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::{InvocationHandle, ObjectHandle};
use crate::host::{Caller, Host, Lost, Until, Wait, Waitable};
use crate::imports::waiting::timed_out;
use crate::imports::{OBJECTS, TYPES, too_much_returned};
use crate::lent::{LentBytes, LentValue};
use crate::received::ReceivedView;
use crate::storage::{house, too_large_for_guest, value_in_memory};

/// What a function of the WIT returns that may fail.
type Answer<T> = wasmtime::Result<(Result<T, types::Error>,)>;

/// The answer to the guest; a trap ends it.
pub(crate) fn answer<T>(guest: &mut Guest, result: Result<T, HostError>) -> Answer<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(types::Host::convert_error(guest, error)?),)),
    }
}

/// What the generated code calls of these functions, which nothing reaches.
pub(crate) fn linked_by_hand() -> HostError {
    Error::internal("this function is linked by hand").into()
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    add_types(&mut linker.instance(TYPES)?)?;
    add_objects(&mut linker.instance(OBJECTS)?)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The whole of `interface types`; the linker allows shadowing.
pub(crate) fn add_types(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types::add_to_linker_instance::<Guest, HasSelf<Guest>>(instance, |guest| guest)?;
    type Get = (Resource<ObjectHandle>, Option<u64>);
    instance.func_wrap_async("[method]object.get", |mut store, (object, timeout): Get| {
        Box::new(async move {
            let guest = store.data_mut();
            let got = guest.get_object(object, timeout).await;
            answer(guest, got)
        })
    })?;
    type Read = (Resource<ObjectHandle>, u64, u64, Option<u64>);
    instance.func_wrap_async(
        "[method]object.read",
        |mut store, (object, offset, length, timeout): Read| {
            Box::new(async move {
                let guest = store.data_mut();
                let read = guest.read_object(object, offset, length, timeout).await;
                answer(guest, read)
            })
        },
    )?;
    type Emit = (Resource<InvocationHandle>, ReceivedView);
    instance.func_wrap_async("[method]invocation.emit", |mut store, (invocation, view): Emit| {
        Box::new(async move {
            let guest = store.data_mut();
            let emitted = guest.emit_view(invocation, view).await;
            answer(guest, emitted)
        })
    })
}

/// The whole of `interface objects`; the linker allows shadowing.
pub(crate) fn add_objects(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    objects::add_to_linker_instance::<Guest, HasSelf<Guest>>(instance, |guest| guest)?;
    instance.func_wrap_async("put", |mut store, (view,): (ReceivedView,)| {
        Box::new(async move {
            let guest = store.data_mut();
            let put = guest.put_view(view).await;
            answer(guest, put)
        })
    })?;
    type GetAll = (Vec<Resource<ObjectHandle>>, Option<u64>);
    instance.func_wrap_async("get-all", |mut store, (objects, timeout): GetAll| {
        Box::new(async move {
            let guest = store.data_mut();
            let got = guest.get_objects(objects, timeout).await;
            answer(guest, got)
        })
    })
}

impl Guest {
    async fn get_object(
        &mut self,
        object: Resource<ObjectHandle>,
        timeout: Option<u64>,
    ) -> Result<LentValue, HostError> {
        let object = self.handles.object(&object)?;
        let value = self.value_in_memory(object, timeout).await?;
        Ok(self.lend(&value)?)
    }

    async fn read_object(
        &mut self,
        object: Resource<ObjectHandle>,
        offset: u64,
        length: u64,
        timeout: Option<u64>,
    ) -> Result<LentBytes, HostError> {
        let object = self.handles.object(&object)?;
        loop {
            let value = self.value_of(object, timeout).await?;
            if value.place.residence().is_memory() {
                return Ok(LentBytes::part(value, offset, length));
            }
            // Only what is asked for is read from disk.
            let offset = offset.min(value.size);
            let length = length.min(value.size - offset);
            let max = self.limiter.max();
            if length > max {
                return Err(too_large_for_guest(&format!("a part of object {object}"), length, max).into());
            }
            let host = self.host.clone();
            match host.read(value.place, offset, length).await {
                Ok(bytes) => return Ok(LentBytes::own(bytes)),
                Err(error) if error.code() == ErrorCode::ObjectLost => {
                    host.lost(Lost::Object(object), &error);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn get_objects(
        &mut self,
        objects: Vec<Resource<ObjectHandle>>,
        timeout: Option<u64>,
    ) -> Result<Vec<LentValue>, HostError> {
        let mut ids = Vec::with_capacity(objects.len());
        for object in &objects {
            ids.push(self.handles.object(object)?);
        }
        let waitables: Vec<Waitable> = ids.iter().map(|id| Waitable::Value(*id)).collect();
        if !waitables.is_empty() {
            self.wait_for(&waitables, Until::AllOrFailure, timeout.map(Duration::from_nanos)).await;
        }
        let outcomes: Vec<_> = ids.iter().map(|id| self.host.outcome(self.caller(), *id)).collect();
        // A failure that is known counts even when an earlier object is not there yet.
        if let Some(error) = outcomes.iter().flatten().find_map(|outcome| outcome.as_ref().err()) {
            return Err(Error::clone(error).into());
        }
        let missing = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        if missing > 0 {
            return Err(timed_out(&format!("{missing} of {} objects", ids.len()), timeout).into());
        }
        let mut values = Vec::with_capacity(outcomes.len());
        let (host, from, mut left) = (self.host.clone(), self.caller(), self.limiter.max());
        for (id, value) in ids.into_iter().zip(outcomes.into_iter().flatten().flatten()) {
            let value = match value.place.residence().is_memory() {
                true => value,
                // The guest gets them all at once, so that they share its memory.
                false => value_in_memory(&host, from, id, timeout, left).await?,
            };
            left = left.saturating_sub(value.size);
            values.push(self.lend(&value)?);
        }
        Ok(values)
    }

    /// Makes an object of a value that the guest lends.
    async fn put_view(&mut self, view: ReceivedView) -> Result<Resource<ObjectHandle>, HostError> {
        let mut value = self.value_from_view(view)?;
        self.house(self.caller(), &mut value).await?;
        self.put_value(value)
    }

    /// The same where nothing can wait: a value that there is no room for stays on the heap.
    pub(crate) fn put_view_now(&mut self, view: ReceivedView) -> Result<Resource<ObjectHandle>, HostError> {
        let value = self.value_from_view(view)?;
        self.put_value(value)
    }

    async fn emit_view(
        &mut self,
        invocation: Resource<InvocationHandle>,
        view: ReceivedView,
    ) -> Result<(), HostError> {
        let (caller, value) = self.item_from_view(invocation, view)?;
        emit(&self.host.clone(), caller, value).await
    }

    /// An item of a stream, and the call that yields it.
    pub(crate) fn item_from_view(
        &mut self,
        invocation: Resource<InvocationHandle>,
        view: ReceivedView,
    ) -> Result<(Caller, Value), HostError> {
        let max = self.runtime.options.returned_bytes_per_task_max;
        let serving = self.serving(&invocation)?;
        if let Returns::Fixed(count) = serving.returns {
            return Err(Error::invalid_argument(format!(
                "{} returns {count} values and does not stream: spawn it with streaming returns to yield objects",
                serving.task
            ))
            .into());
        }
        serving.returned_bytes = serving.returned_bytes.saturating_add(view.bytes.size);
        if serving.returned_bytes > max {
            return Err(too_much_returned(serving.returned_bytes, max).into());
        }
        let caller = Caller { task: serving.task, ..self.caller() };
        Ok((caller, self.value_from_view(view)?))
    }
}

/// Yields an item; waits while the reader is too far behind.
pub(crate) async fn emit(host: &Arc<dyn Host>, caller: Caller, mut value: Value) -> Result<(), HostError> {
    house(host, caller, &mut value).await?;
    if let Wait::Blocked(over) = host.emit(caller, value)? {
        over.await;
    }
    Ok(())
}
