//! Between the messages and the types of the core.

mod component;
mod error;
mod resources;
mod time;
mod value;

pub use component::{component_id, digest};
pub use time::{duration, std_duration, system_time, timestamp};
