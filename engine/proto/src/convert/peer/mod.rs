//! What nodes tell one another: [`Packet`] and all that is inside.
//!
//! Where inline bytes lie only the caller knows: it reads and makes their places. What comes in is
//! checked, and the first thing that is wrong is named: `RemoteTask.function is missing`.

pub(in crate::convert) mod group;
mod id;
mod message;
pub(in crate::convert) mod options;
pub(in crate::convert) mod read;
mod task;
pub(in crate::convert) mod value;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use engine_core::node::{Load, Packet};
use engine_core::{Error, Place};

use crate::v1;

pub use group::{
    group_message, group_message_from, group_notice, group_notice_from, group_spec, group_spec_from,
};
pub use id::{WireId, id, id_from};
pub use read::QUANTITY_PARTS_MAX;

/// The bytes of a place on the heap.
pub type ReadPlace<'a> = &'a dyn Fn(&Place) -> Bytes;
/// A place on the heap for these bytes, or why there is none.
pub type MakePlace<'a> = &'a dyn Fn(Bytes) -> Result<Place, Error>;

/// A packet as it travels. `bytes` is asked for what lies on the heap; a place without a token has none.
pub fn packet(packet: &Packet, bytes: ReadPlace<'_>) -> v1::Packet {
    v1::Packet {
        from: Some(id(packet.from)),
        to: Some(id(packet.to)),
        first: packet.first,
        messages: packet.messages.iter().map(|message| message::message(message, bytes)).collect(),
        received: packet.received,
        load: Some(load(&packet.load)),
    }
}

/// A packet from the wire. `place` is given the bytes of each value that travels with it, which are part
/// of what was received: a place that keeps them as they are keeps all of that.
///
/// # Errors
/// INVALID_ARGUMENT with the message and field that is missing or out of range; what `place` says.
pub fn packet_from(packet: v1::Packet, place: MakePlace<'_>) -> Result<Packet, Error> {
    if packet.first == 0 {
        return Err(read::missing("Packet.first"));
    }
    Ok(Packet {
        from: read::id(packet.from, "Packet.from")?,
        to: read::id(packet.to, "Packet.to")?,
        first: packet.first,
        messages: read::all(packet.messages, |message| message::message_from(message, place))?,
        received: packet.received,
        load: load_from(&read::required(packet.load, "Packet.load")?)?,
    })
}

/// What a node has free, as it travels.
pub fn load(load: &Load) -> v1::Load {
    v1::Load { free: Some((&load.free).into()), version: load.version }
}

/// What a node has free, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT when the resources are missing, or are more than [`QUANTITY_PARTS_MAX`].
pub fn load_from(load: &v1::Load) -> Result<Load, Error> {
    let free = load.free.as_ref().ok_or_else(|| read::missing("Load.free"))?;
    Ok(Load { free: read::resources(free, "Load.free")?, version: load.version })
}
