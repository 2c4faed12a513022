//! The control service of the cluster: jobs, names of actors, the component registry.
//!
//! It runs inside the one node of an engine, or as the head of a cluster ([`cluster`]). What it decides, `engine_core::head` decides; here is
//! the lock around it and what lies on disk.

mod background;
pub mod cluster;
mod components;
mod digest;
pub mod meta;
mod policies;
mod secrets;
mod service;

pub use components::Components;
pub use digest::spec_digest;
pub use policies::{Policies, PoliciesError};
pub use secrets::{Secrets, SecretsError};
pub use service::{Head, node_for, owner_of};
