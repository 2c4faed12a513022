//! Who speaks on a connection, and that nobody else hears it.
//!
//! The head of a cluster is its certificate authority ([`Authority`]), made on its first start and kept
//! in its folder. Whoever speaks in the cluster has a certificate of it ([`Identity`]) that says who that
//! is ([`Name`]): the head, one node, or a client. A new node gets its own with a [`JoinToken`], which
//! names the authority by its fingerprint, so that the node knows the head before it trusts anything.
//! Connections are TLS 1.3, and both ends show a certificate ([`connect`], [`accept`], [`Line`],
//! [`Wire`]).
//!
//! Only this crate names rustls.

mod accept;
mod access_token;
mod authority;
mod connect;
mod credentials;
mod error;
mod explain;
mod folder;
mod identity;
mod io;
mod join;
pub mod limits;
mod line;
mod name;
mod revoked;
mod stored_tokens;
#[cfg(test)]
mod tests;
mod token;
mod verify;
mod wire;

pub use accept::{Callers, accept};
pub use access_token::{AccessToken, ParseAccessTokenError};
pub use authority::{Authority, Issued};
pub use connect::{Expected, connect, connect_to_join, connect_unproven};
pub use error::TlsError;
pub use explain::SPEAKS_TLS;
pub use identity::Identity;
pub use io::{Complaint, Io};
pub use join::KeyRequest;
pub use line::Line;
pub use name::{Name, Peer};
pub use revoked::REVOKED;
pub use stored_tokens::RefusedToken;
pub use token::{Fingerprint, JoinToken, ParseFingerprintError, ParseJoinTokenError};
pub use wire::Wire;
