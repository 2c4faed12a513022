//! Values, handles and errors.

use std::sync::Arc;

use engine_core::node::{Failure, Parcel, RemotePlace};
use engine_core::{Codec, Error, Handle, NodeId, Place, Residence, Value};

use crate::convert::peer::{MakePlace, ReadPlace, id, id_from, read};
use crate::v1;

/// A handle as it travels.
pub fn handle(handle: Handle) -> v1::Handle {
    use v1::handle::Handle as Wire;
    let handle = match handle {
        Handle::Object(object) => Wire::Object(id(object)),
        Handle::Actor(actor) => Wire::Actor(id(actor)),
        Handle::PlacementGroup(group) => Wire::PlacementGroup(id(group)),
        Handle::Stream(task) => Wire::Stream(id(task)),
    };
    v1::Handle { handle: Some(handle) }
}

/// A handle from the wire.
///
/// # Errors
/// INVALID_ARGUMENT when it is none.
pub fn handle_from(handle: v1::Handle) -> Result<Handle, Error> {
    use v1::handle::Handle as Wire;
    Ok(match read::required(handle.handle, "Handle.handle")? {
        Wire::Object(object) => Handle::Object(id_from(object)),
        Wire::Actor(actor) => Handle::Actor(id_from(actor)),
        Wire::PlacementGroup(group) => Handle::PlacementGroup(id_from(group)),
        Wire::Stream(task) => Handle::Stream(id_from(task)),
    })
}

/// A handle that must be there.
pub(super) fn needed_handle(handle: Option<v1::Handle>, field: &str) -> Result<Handle, Error> {
    handle_from(read::required(handle, field)?)
}

/// A value with its owners, as it travels.
pub(super) fn parcel(parcel: &Parcel, bytes: ReadPlace<'_>) -> v1::Parcel {
    parcel_of(&parcel.value, &parcel.owners, bytes)
}

fn parcel_of(value: &Value, owners: &[NodeId], bytes: ReadPlace<'_>) -> v1::Parcel {
    use v1::parcel::Place as Wire;
    let place = match RemotePlace::of(&value.place) {
        Some(RemotePlace { object, holder }) => Wire::Remote(v1::RemoteBytes {
            object: Some(id(object)),
            holder: Some(id(holder)),
            size: value.size,
        }),
        None => {
            let residence = value.place.residence();
            debug_assert_eq!(residence, Residence::Inline, "such a value does not travel");
            let bytes = bytes(&value.place);
            debug_assert_eq!(value.size, bytes.len() as u64, "the value is as long as its bytes");
            Wire::Inline(bytes)
        }
    };
    v1::Parcel {
        codec: v1::Codec::from(value.codec).into(),
        handles: value.handles.iter().copied().map(handle).collect(),
        owners: owners.iter().copied().map(id).collect(),
        place: Some(place),
    }
}

/// A value with its owners, from the wire.
pub(super) fn parcel_from(parcel: v1::Parcel, place: MakePlace<'_>) -> Result<Parcel, Error> {
    use v1::parcel::Place as Wire;
    let v1::Parcel { codec, handles, owners, place: wire } = parcel;
    let codec = codec_from(codec, "Parcel.codec")?;
    if owners.len() != handles.len() {
        let how = format_args!("has {} entries for {} handles", owners.len(), handles.len());
        return Err(read::wrong("Parcel.owners", how));
    }
    let handles = read::shared(read::all(handles, |handle| handle_inside(handle, "Parcel.handles"))?);
    let (size, place) = match read::required(wire, "Parcel.place")? {
        Wire::Inline(bytes) => (bytes.len() as u64, place(bytes)?),
        Wire::Remote(remote) => (remote.size, remote_place(&remote)?),
    };
    let owners = if owners.is_empty() { Arc::default() } else { read::ids(&owners) };
    Ok(Parcel { value: Value { codec, size, handles, place }, owners })
}

pub(in crate::convert) fn handle_inside(handle: v1::Handle, field: &str) -> Result<Handle, Error> {
    match handle_from(handle)? {
        Handle::Stream(task) => {
            Err(read::wrong(field, format_args!("has the stream of {task}, which is in no value")))
        }
        handle => Ok(handle),
    }
}

fn remote_place(remote: &v1::RemoteBytes) -> Result<Place, Error> {
    let object = read::id(remote.object, "RemoteBytes.object")?;
    let holder = read::id(remote.holder, "RemoteBytes.holder")?;
    Ok(RemotePlace { object, holder }.place())
}

pub(in crate::convert) fn codec_from(number: i32, field: &str) -> Result<Codec, Error> {
    match read::enumeration(number, field)? {
        v1::Codec::Unspecified => Err(read::missing(field)),
        v1::Codec::Raw => Ok(Codec::Raw),
        v1::Codec::Msgpack => Ok(Codec::Msgpack),
        v1::Codec::ArrowIpc => Ok(Codec::ArrowIpc),
        v1::Codec::Python => Ok(Codec::Python),
    }
}

/// A failure as it travels. A payload that holds what nobody is said to own stays behind: the receiver
/// could not hold it.
pub(super) fn failure(failure: &Failure, bytes: ReadPlace<'_>) -> v1::Failure {
    let Failure { error, owners } = failure;
    let payload = error.payload().filter(|payload| payload.handles.len() == owners.len());
    v1::Failure {
        error: Some(error.into()),
        payload: payload.map(|payload| parcel_of(payload, owners, bytes)),
    }
}

/// A failure from the wire.
pub(super) fn failure_from(failure: v1::Failure, place: MakePlace<'_>) -> Result<Failure, Error> {
    let error = read::required(failure.error, "Failure.error")?;
    if error.code.is_empty() {
        return Err(read::missing("Error.code"));
    }
    let error = Error::from(error);
    match failure.payload {
        None => Ok(Failure { error, owners: Arc::default() }),
        Some(payload) => {
            let Parcel { value, owners } = parcel_from(payload, place)?;
            Ok(Failure { error: error.with_payload(Some(value)), owners })
        }
    }
}
