//! Between the messages and the types of the core.

mod cluster;
mod component;
mod error;
pub mod meta;
pub mod peer;
mod resources;
mod time;
mod value;

pub use cluster::node_info;
pub use component::{component_id, digest};
pub use time::{duration, std_duration, system_time, timestamp};
