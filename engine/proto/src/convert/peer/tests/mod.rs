//! What every test of the packets uses: samples, and places that are their bytes.

mod damaged;
mod groups;
mod random;
mod round_trip;
mod samples;

use std::sync::Arc;

use bytes::Bytes;
use engine_core::node::{Load, Message, Packet};
use engine_core::resources::{Quantity, Resources};
use engine_core::{Error, NodeId, Place};

use super::{packet, packet_from};
use crate::v1;

fn bytes_of(place: &Place) -> Bytes {
    place.downcast::<Bytes>().cloned().unwrap_or_default()
}

fn place_of(bytes: Bytes) -> Result<Place, Error> {
    Ok(Place::new(Arc::new(bytes)))
}

fn to_wire(core: &Packet) -> v1::Packet {
    packet(core, &bytes_of)
}

fn from_wire(wire: v1::Packet) -> Result<Packet, Error> {
    packet_from(wire, &place_of)
}

fn packet_of(messages: Vec<Message>) -> Packet {
    let mut free = Resources::default();
    (free.cpus, free.gpus, free.memory) = (Quantity(40_000), Quantity(5), 1 << 40);
    free.set_custom("licence", Quantity(7));
    Packet {
        from: NodeId::from_bits(1, 2 << 32),
        to: NodeId::from_bits(3, 4 << 32),
        first: 17,
        messages,
        received: 12,
        load: Load { free, version: 99 },
    }
}
