//! The gRPC services, and the connections between nodes.
//!
//! A node implements [`Backend`]; [`Server::run`] serves it on the sockets it is given. What comes in
//! is checked here (sizes, ids, names), so that a backend sees typed and bounded requests only.
//! Nothing but the same user, or root, may speak on the Unix socket, and nothing listens beyond
//! loopback without TLS; who may ask for what with TLS, `services::access` says.
//!
//! The bytes of large objects go another way, over the [`bulk`] port.

mod admission;
mod backend;
pub mod bulk;
mod check;
pub mod cluster;
mod connection;
pub mod faults;
pub mod limits;
pub mod listen;
mod policy;
mod server;
mod services;
#[cfg(test)]
mod testing;

pub use engine_access::signed::Offered;
pub use engine_access::{ComponentPolicy, Gate, Owner, PolicyChange, Requirement, Scope, Signer};

pub use backend::{Backend, ClientMessages, JobKey, LogsQuery, Replies, StateKey, UsageRead, WatchQuery};
pub use check::{job_spec as check_job_spec, secret_name as check_secret_name, variable as check_variable};
pub use listen::{BindError, Security, TcpSocket, UnixSocket};
pub use policy::{check_components, policy, policy_from};
pub use server::{Server, ServerError, Services};
pub use services::access::{For, RULES, Rule};
