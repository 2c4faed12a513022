//! Identifiers as their bits.

use engine_core::ids::PlacementGroupId;
use engine_core::{ActorId, JobId, NodeId, ObjectId, TaskId};

use crate::v1;

/// An id that travels as its bits.
pub trait WireId: Copy {
    /// Both halves.
    fn halves(self) -> (u64, u64);

    /// The id of these halves.
    fn from_halves(high: u64, low: u64) -> Self;
}

macro_rules! wire_id {
    ($($name:ident),*) => {$(
        impl WireId for $name {
            fn halves(self) -> (u64, u64) {
                self.bits()
            }

            fn from_halves(high: u64, low: u64) -> Self {
                Self::from_bits(high, low)
            }
        }
    )*};
}

wire_id!(JobId, TaskId, ObjectId, ActorId, NodeId, PlacementGroupId);

/// An id as it travels.
pub fn id<I: WireId>(id: I) -> v1::Id {
    let (high, low) = id.halves();
    v1::Id { high, low }
}

/// An id from the wire. Any bits are one.
pub fn id_from<I: WireId>(id: v1::Id) -> I {
    I::from_halves(id.high, id.low)
}
