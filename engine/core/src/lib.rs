//! The pure heart of the engine: ids, resource arithmetic, and the state machines of node and head.
//!
//! Nothing in this crate has a clock, randomness, a thread or a socket: time and random bits come in
//! with each event, and what the outside must do comes out as effects. So a seeded simulator drives
//! the very code that runs in production.

pub mod error;
pub mod events;
pub mod group;
pub mod head;
pub mod ids;
pub mod node;
pub mod options;
pub mod quota;
pub mod rate;
pub mod resources;
pub mod tenant;
pub mod time;
pub mod transfer;
pub mod usage;
pub mod value;
pub mod work;

pub use error::{Error, ErrorCode, Frame};
pub use ids::{
    ActorId, ComponentId, EventId, InstanceId, JobId, LaneId, NodeId, ObjectId, PlacementGroupId, TaskId,
    WaitId,
};
pub use tenant::TenantName;
pub use time::Time;
pub use value::{Argument, Codec, Handle, Outcome, Place, Residence, Value};
