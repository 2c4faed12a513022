//! The node daemon: joins core, runtime, objects and net into a running node.
//!
//! What is decided, the core decides. Here events are brought to it and its effects carried out.

mod backend;
mod background;
mod check;
mod client;
mod clock;
mod cluster;
mod driver;
mod faulty_disk;
mod groups;
mod host;
mod jobs;
mod log_rates;
mod logs;
mod node;
mod options;
mod storage;
mod timer;
mod usage;
mod waits;
mod workers;

pub use backend::NodeBackend;
pub use client::{ActorRef, Call, Client, Held};
pub use cluster::{ClusterOptions, Membership, NodeKey, NodePeer, enroll};
pub use node::{Node, random_key};
pub use options::Options;
