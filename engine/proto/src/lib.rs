//! The messages and services of `engine.v1`, and how they map to the types of the core.

pub mod address;
pub mod convert;
pub mod fields;
pub mod filter;
pub mod limits;
pub mod line;
pub mod methods;
pub mod status;
pub mod version;

/// What is generated from `proto/engine/v1`; each item's documentation stands there.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("engine.v1");
}

pub use address::Address;
pub use prost;
pub use prost_types;
pub use status::{error_from_status, status_from_error};
