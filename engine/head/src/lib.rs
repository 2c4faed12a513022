//! The control service of the cluster: jobs, names of actors, the component registry.
//!
//! It runs inside the node that is the head. What it decides, `engine_core::head` decides; here is
//! the lock around it and what lies on disk.

mod components;
mod service;

pub use components::Components;
pub use service::Head;
