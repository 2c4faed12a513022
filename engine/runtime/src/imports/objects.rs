//! `interface objects`: wait, and writing piece by piece; put and get-all are in [`super::direct`].

use std::time::Duration;

use engine_core::{Error, Handle};
use wasmtime::component::Resource;

use crate::bindings::engine::compute::objects as wit;
use crate::bindings::engine::compute::types::{Codec, HandleView, Value, ValueView};
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::{ObjectHandle, WriterHandle};
use crate::host::{Caller, Until, Waitable};
use crate::imports::linked_by_hand;
use crate::imports::waiting::{check_wait, ready_indexes};
use crate::values::codec_from_guest;
use crate::writing::{Bounds, Writing, Written};

impl Guest {
    /// Stores an object of the guest's.
    pub(crate) fn put_value(
        &mut self,
        value: engine_core::Value,
    ) -> Result<Resource<ObjectHandle>, HostError> {
        self.put_value_from(self.caller(), value)
    }

    /// Stores an object of one of the calls inside.
    pub(super) fn put_value_from(
        &mut self,
        from: Caller,
        value: engine_core::Value,
    ) -> Result<Resource<ObjectHandle>, HostError> {
        self.room_for_handles(1)?;
        let object = self.host.put(from, value)?;
        self.adopt(Handle::Object(object));
        Ok(self.handles.push_object(object))
    }

    /// What the guest wants to wait for; INVALID_ARGUMENT when it names a thing twice or asks for
    /// another number than there are (contract O2).
    pub(crate) fn waitables_from_guest(
        &self,
        items: Vec<wit::Waitable>,
        num_ready: u32,
    ) -> Result<Vec<Waitable>, HostError> {
        let mut waitables = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            waitables.push(match item {
                wit::Waitable::Object(object) => Waitable::Object(self.handles.object(&object)?),
                wit::Waitable::NextOf(task) => {
                    let entry = self.handles.task(&task)?;
                    if entry.outputs.is_some() {
                        return Err(Error::invalid_argument(format!(
                            "wait: {} (at index {index}) does not stream its objects: wait for its outputs",
                            entry.task
                        ))
                        .into());
                    }
                    Waitable::NextOf(entry.task)
                }
            });
        }
        check_wait(&waitables, num_ready)?;
        Ok(waitables)
    }

    /// The indexes of those that are ready, at most `num_ready`.
    pub(crate) fn ready_indexes(&self, waitables: &[Waitable], num_ready: u32) -> Vec<u32> {
        ready_indexes(&*self.host, self.caller(), waitables, num_ready)
    }
}

impl wit::Host for Guest {
    fn put(&mut self, _: ValueView) -> Result<Resource<ObjectHandle>, HostError> {
        Err(linked_by_hand())
    }

    async fn get_all(
        &mut self,
        _: Vec<Resource<ObjectHandle>>,
        _: Option<u64>,
    ) -> Result<Vec<Value>, HostError> {
        Err(linked_by_hand())
    }

    async fn wait(
        &mut self,
        items: Vec<wit::Waitable>,
        num_ready: u32,
        timeout: Option<u64>,
    ) -> Result<Vec<u32>, HostError> {
        let waitables = self.waitables_from_guest(items, num_ready)?;
        if waitables.is_empty() {
            return Ok(Vec::new());
        }
        self.wait_for(&waitables, Until::Count(num_ready), timeout.map(Duration::from_nanos)).await;
        Ok(self.ready_indexes(&waitables, num_ready))
    }
}

impl wit::HostWriter for Guest {
    fn new(&mut self, codec: Codec) -> wasmtime::Result<Resource<WriterHandle>> {
        self.room_for_handles(1)?;
        let max = self.runtime.options.writers_per_instance_max;
        if self.handles.writers() >= max {
            // A constructor has no error to return.
            return Err(wasmtime::Error::msg(format!(
                "the guest writes {max} objects at once, as many as it may (writers_per_instance_max): finish or drop some first"
            )));
        }
        Ok(self.handles.push_writer(Writing::new(codec_from_guest(codec))))
    }

    async fn write(&mut self, writer: Resource<WriterHandle>, bytes: Vec<u8>) -> Result<(), HostError> {
        let options = &self.runtime.options;
        let bounds = Bounds {
            memory_bytes_max: options.writer_memory_bytes_max.min(options.value_bytes_max),
            value_bytes_max: options.value_bytes_max,
        };
        let mut writing = self.handles.writer(&writer)?.take().ok_or_else(is_busy)?;
        let host = self.host.clone();
        let appended = writing.append(&host, &bytes, bounds).await;
        *self.handles.writer(&writer)? = Some(writing);
        Ok(appended?)
    }

    async fn finish(
        &mut self,
        writer: Resource<WriterHandle>,
        handles: Vec<HandleView>,
    ) -> Result<Resource<ObjectHandle>, HostError> {
        let from = self.caller();
        let handles = self.handles_from_view(handles)?;
        let writing = self.handles.take_writer(&writer)?.ok_or_else(is_busy)?;
        let (codec, host) = (writing.codec, self.host.clone());
        let mut value = match writing.finish(&host).await? {
            Written::Small(bytes) => self.make_value(codec, bytes, handles)?,
            Written::Stored(place, size) => self.stored_value(codec, size, place, handles)?,
        };
        self.house(from, &mut value).await?;
        self.put_value_from(from, value)
    }

    fn drop(&mut self, writer: Resource<WriterHandle>) -> wasmtime::Result<()> {
        self.handles.take_writer(&writer)?;
        Ok(())
    }
}

fn is_busy() -> Error {
    Error::invalid_argument("another call is writing a piece of this object: wait until it has returned")
}
