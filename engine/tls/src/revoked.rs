//! Certificates of nodes that are good no more, though they have not expired: of nodes that have left.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine_core::NodeId;
use parking_lot::RwLock;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};

use crate::limits::REVOKED_CERTIFICATES_MAX;
use crate::name::{Name, Peer};

/// What is said of a certificate that was revoked.
pub const REVOKED: &str = "this node's certificate was revoked";

/// The nodes whose certificates are revoked. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Revoked(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Whether there is one at all: nobody else is held up.
    is_any: AtomicBool,
    nodes: RwLock<Nodes>,
}

#[derive(Default)]
struct Nodes {
    /// When what is open of each is closed.
    by_id: HashMap<NodeId, Instant>,
    /// The oldest first.
    order: VecDeque<NodeId>,
}

impl Revoked {
    /// A node's certificate is good no more: for connections that are open after this time.
    pub(crate) fn add(&self, node: NodeId, after: Duration) {
        let mut nodes = self.0.nodes.write();
        let Nodes { by_id, order } = &mut *nodes;
        by_id.entry(node).or_insert_with(|| {
            order.push_back(node);
            Instant::now() + after
        });
        while order.len() > REVOKED_CERTIFICATES_MAX {
            order.pop_front().map(|oldest| by_id.remove(&oldest));
        }
        self.0.is_any.store(true, Ordering::Release);
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.0.is_any.load(Ordering::Acquire) && self.0.nodes.read().by_id.contains_key(&node)
    }

    /// Whether a certificate may be shown.
    pub(crate) fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        match Name::of(certificate) {
            Some(Name::Node(node)) if self.has(node) => {
                Err(Error::InvalidCertificate(CertificateError::Revoked))
            }
            _ => Ok(()),
        }
    }

    fn is_over(&self, node: NodeId) -> bool {
        self.0.is_any.load(Ordering::Acquire)
            && self.0.nodes.read().by_id.get(&node).is_some_and(|at| *at <= Instant::now())
    }
}

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revoked")
    }
}

/// A node at the other end of an open connection.
#[derive(Debug)]
pub(crate) struct Watched {
    node: NodeId,
    revoked: Revoked,
}

impl Watched {
    /// None: it is no node, whose certificate nobody revokes.
    pub(crate) fn of(peer: Peer, revoked: &Revoked) -> Option<Self> {
        match peer {
            Peer::Proven(Name::Node(node)) => Some(Self { node, revoked: revoked.clone() }),
            _ => None,
        }
    }

    /// # Errors
    /// When nothing is believed any more that comes from there.
    pub(crate) fn check(watched: Option<&Self>) -> io::Result<()> {
        match watched {
            Some(Self { node, revoked }) if revoked.is_over(*node) => {
                let said = format!("the certificate of {node} was revoked");
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, said))
            }
            _ => Ok(()),
        }
    }
}
