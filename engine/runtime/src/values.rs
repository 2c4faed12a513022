//! Values between a guest's memory and the node's store, and the handles that travel inside.

use std::sync::Arc;

use engine_core::resources::bytes as bytes_text;
use engine_core::value::no_handles;
use engine_core::{Argument, Codec, Error, ErrorCode, Handle, Place, Value};

use crate::bindings::engine::compute::types as wit;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::ActorEntry;
use crate::lent::LentValue;
use crate::received::{ReceivedBytes, ReceivedView, ReturnedValue, store_or_keep};

pub(crate) fn codec_to_guest(codec: Codec) -> wit::Codec {
    match codec {
        Codec::Raw => wit::Codec::Raw,
        Codec::Msgpack => wit::Codec::Msgpack,
        Codec::ArrowIpc => wit::Codec::ArrowIpc,
        Codec::Python => wit::Codec::Python,
    }
}

pub(crate) fn codec_from_guest(codec: wit::Codec) -> Codec {
    match codec {
        wit::Codec::Raw => Codec::Raw,
        wit::Codec::Msgpack => Codec::Msgpack,
        wit::Codec::ArrowIpc => Codec::ArrowIpc,
        wit::Codec::Python => Codec::Python,
    }
}

impl Guest {
    /// A value as the guest gets it: its bytes, and a handle of its own to each thing inside.
    pub(crate) fn lend(&mut self, value: &Value) -> wasmtime::Result<LentValue> {
        let handles = self.handles_to_guest(&value.handles)?;
        Ok(LentValue::new(value, handles))
    }

    /// The same for the payload of an error.
    pub(crate) fn payload_to_guest(&mut self, value: &Value) -> wasmtime::Result<wit::Value> {
        Ok(wit::Value {
            codec: codec_to_guest(value.codec),
            bytes: engine_objects::bytes(value).to_vec(),
            handles: self.handles_to_guest(&value.handles)?,
        })
    }

    /// A handle of the guest's own to each of these.
    pub(crate) fn handles_to_guest(&mut self, handles: &[Handle]) -> wasmtime::Result<Vec<wit::Handle>> {
        if !handles.is_empty() {
            self.room_for_handles(handles.len()).map_err(wasmtime::Error::from)?;
        }
        let mut given = Vec::with_capacity(handles.len());
        for &handle in handles {
            given.push(match handle {
                Handle::Object(object) => {
                    self.acquire(handle);
                    wit::Handle::Object(self.handles.push_object(object))
                }
                Handle::Actor(actor) => {
                    self.acquire(handle);
                    let lane = self.host().new_lane();
                    wit::Handle::Actor(self.handles.push_actor(ActorEntry { actor, lane }))
                }
                Handle::PlacementGroup(group) => {
                    self.acquire(handle);
                    wit::Handle::PlacementGroup(self.handles.push_group(group))
                }
                Handle::Stream(_) => {
                    return Err(Error::internal(format!(
                        "a value came with a handle of a kind that cannot travel: {handle:?}"
                    ))
                    .into());
                }
            });
        }
        Ok(given)
    }

    /// A value that the guest gives away, with the handles inside. They count as the guest's until
    /// the node has the value: see [`Guest::release_moved`].
    pub(crate) fn value_from_guest(&mut self, value: ReturnedValue) -> Result<Value, HostError> {
        let inside = self.handles_from_guest(value.handles)?;
        Ok(self.received(value.codec, value.bytes, inside)?)
    }

    /// The same for the payload of an error.
    pub(crate) fn payload_from_guest(&mut self, value: wit::Value) -> Result<Value, HostError> {
        let inside = self.handles_from_guest(value.handles)?;
        Ok(self.make_value(codec_from_guest(value.codec), value.bytes, inside)?)
    }

    fn handles_from_guest(&mut self, handles: Vec<wit::Handle>) -> Result<Vec<Handle>, HostError> {
        let mut inside = Vec::with_capacity(handles.len());
        for handle in handles {
            let handle = match handle {
                wit::Handle::Object(object) => Handle::Object(self.handles.take_object(&object)?),
                wit::Handle::Actor(actor) => Handle::Actor(self.handles.take_actor(&actor)?.actor),
                wit::Handle::PlacementGroup(group) => {
                    Handle::PlacementGroup(self.handles.take_group(&group)?)
                }
            };
            self.handles.moved(handle);
            inside.push(handle);
        }
        Ok(inside)
    }

    /// A value that the guest lends.
    pub(crate) fn value_from_view(&mut self, view: ReceivedView) -> Result<Value, HostError> {
        let inside = self.handles_from_view(view.handles)?;
        Ok(self.received(view.codec, view.bytes, inside)?)
    }

    /// The same for an argument, which is small as a rule.
    fn argument_from_view(&mut self, view: wit::ValueView) -> Result<Value, HostError> {
        let inside = self.handles_from_view(view.handles)?;
        Ok(self.make_value(codec_from_guest(view.codec), view.bytes, inside)?)
    }

    /// What lent handles stand for.
    pub(crate) fn handles_from_view(
        &mut self,
        handles: Vec<wit::HandleView>,
    ) -> Result<Vec<Handle>, HostError> {
        let mut inside = Vec::with_capacity(handles.len());
        for handle in handles {
            inside.push(match handle {
                wit::HandleView::Object(object) => Handle::Object(self.handles.object(&object)?),
                wit::HandleView::Actor(actor) => Handle::Actor(self.handles.actor(&actor)?.actor),
                wit::HandleView::PlacementGroup(group) => Handle::PlacementGroup(self.handles.group(&group)?),
            });
        }
        Ok(inside)
    }

    fn received(
        &self,
        codec: wit::Codec,
        bytes: ReceivedBytes,
        handles: Vec<Handle>,
    ) -> Result<Value, Error> {
        self.check_handles_inside(handles.len())?;
        Ok(value(codec_from_guest(codec), bytes.size, bytes.place?, handles))
    }

    /// A value of these bytes, stored; LIMIT_EXCEEDED when it is too large.
    pub(crate) fn make_value(
        &mut self,
        codec: Codec,
        bytes: Vec<u8>,
        handles: Vec<Handle>,
    ) -> Result<Value, Error> {
        let (size, max) = (bytes.len() as u64, self.runtime.options.value_bytes_max);
        if size > max {
            return Err(too_large(size, max));
        }
        self.check_handles_inside(handles.len())?;
        let place = match bytes.len() {
            0 => Place::default(),
            length if length <= self.host().inline_object_bytes_max() => self.host().place(bytes)?,
            _ => store_or_keep(self.host(), &bytes)?,
        };
        Ok(value(codec, size, place, handles))
    }

    /// A value that lies somewhere already.
    pub(crate) fn stored_value(
        &self,
        codec: Codec,
        size: u64,
        place: Place,
        handles: Vec<Handle>,
    ) -> Result<Value, Error> {
        self.check_handles_inside(handles.len())?;
        Ok(value(codec, size, place, handles))
    }

    fn check_handles_inside(&self, count: usize) -> Result<(), Error> {
        let max = self.runtime.options.handles_per_value_max;
        if count <= max {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::LimitExceeded,
            format!(
                "a value with {count} handles inside has more than one may have (handles_per_value_max is {max}): nest them in several objects",
            ),
        ))
    }

    /// Arguments that the guest lends.
    pub(crate) fn arguments_from_guest(
        &mut self,
        arguments: Vec<wit::Argument>,
    ) -> Result<Vec<Argument>, HostError> {
        let max = self.runtime.options.arguments_per_call_max;
        if arguments.len() > max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "{} arguments are more than a call may have (arguments_per_call_max is {max}): pass a list",
                    arguments.len()
                ),
            )
            .into());
        }
        let mut converted = Vec::with_capacity(arguments.len());
        for argument in arguments {
            converted.push(match argument {
                wit::Argument::Value(view) => Argument::Value(self.argument_from_view(view)?),
                wit::Argument::Object(object) => Argument::Object(self.handles.object(&object)?),
            });
        }
        Ok(converted)
    }
}

fn value(codec: Codec, size: u64, place: Place, handles: Vec<Handle>) -> Value {
    let handles: Arc<[Handle]> = if handles.is_empty() { no_handles() } else { handles.into() };
    Value { codec, size, handles, place }
}

/// LIMIT_EXCEEDED for a value of `size` bytes.
pub(crate) fn too_large(size: u64, max: u64) -> Error {
    Error::new(
        ErrorCode::LimitExceeded,
        format!(
            "a value of {} is larger than one may be (value_bytes_max is {}): split it into several objects",
            bytes_text(size),
            bytes_text(max),
        ),
    )
}
