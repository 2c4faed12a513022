//! The node's certificate: got before the node starts, and renewed while it lives.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_core::ids::IdGenerator;
use engine_core::{Error, NodeId};
use engine_net::cluster::{self, EnrollError, Enrolled};
use engine_tls::{Identity, JoinToken};

use crate::cluster::Network;
use crate::node::random_key;

/// Between two looks for a head that is away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Between two tries to renew a certificate.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// What the ids of a node are made of: its own first. It is secret, so that ids cannot be guessed.
#[derive(Clone, Copy)]
pub struct NodeKey(pub(crate) [u8; 16]);

impl NodeKey {
    /// A new one.
    ///
    /// # Errors
    /// INTERNAL when the system gives no random bits.
    pub fn new() -> Result<Self, Error> {
        random_key().map(Self)
    }

    /// The id of the node that starts with this key.
    pub fn node_id(&self) -> NodeId {
        IdGenerator::new(self.0).node()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.node_id())
    }
}

/// Gets a certificate for a node: by what it showed before, if it was a node before, else by the join
/// token. Waits until the head is there, and tells why it is not reached whenever that changes.
///
/// # Errors
/// Why the head, or this side, refuses.
pub async fn enroll(
    head: SocketAddr,
    token: &JoinToken,
    before: Option<&Identity>,
    node: NodeId,
    mut waits: impl FnMut(&str),
) -> Result<Enrolled, Error> {
    let mut said = String::new();
    loop {
        let mut enrolled = match before {
            Some(before) => cluster::enroll_again(head, before, node).await,
            None => cluster::enroll(head, token, node).await,
        };
        if before.is_some() && enrolled.is_err() {
            enrolled = cluster::enroll(head, token, node).await;
        }
        match enrolled {
            Ok(enrolled) => return Ok(enrolled),
            Err(EnrollError::Refused(error)) => return Err(error),
            Err(EnrollError::Unreached(why)) if why != said => {
                waits(&why);
                said = why;
            }
            Err(EnrollError::Unreached(_)) => {}
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// Renews the node's certificate whenever it is time, as long as it is run.
pub(crate) async fn renew(network: Arc<Network>) {
    let Some(identity) = network.options.identity.clone() else { return };
    loop {
        tokio::time::sleep_until(identity.renew_at().into()).await;
        match cluster::renew(network.options.head, &identity, network.node).await {
            Ok(()) => tracing::info!("the node's certificate was renewed"),
            Err(EnrollError::Unreached(why)) => {
                tracing::warn!(why, "the node's certificate was not renewed yet");
                tokio::time::sleep(RENEWAL_PAUSE).await;
            }
            Err(EnrollError::Refused(error)) => {
                tracing::error!(%error, "the node's certificate is not renewed");
                tokio::time::sleep(RENEWAL_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_id_is_that_of_its_key() {
        let key = NodeKey::new().expect("bits");
        let resources = engine_core::resources::Resources::default();
        let limits = engine_core::node::Limits::default();
        let node = engine_core::node::Node::new(key.0, resources, Vec::new(), limits);
        assert_eq!(node.id(), key.node_id());
        assert!(!format!("{key:?}").contains(&format!("{:?}", key.0)));
    }
}
