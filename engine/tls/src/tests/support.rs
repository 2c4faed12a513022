//! Clusters of one authority each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_core::NodeId;
use tokio::net::{TcpListener, TcpStream};

use crate::{Authority, Callers, Identity, Io, KeyRequest, Peer, accept};

pub const HOUR: Duration = Duration::from_secs(3_600);

pub fn node(n: u64) -> NodeId {
    NodeId::from_bits(n, 0)
}

/// A cluster: its authority, in a folder of its own.
pub struct Cluster {
    pub authority: Arc<Authority>,
    pub folder: tempfile::TempDir,
}

impl Cluster {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_make(&folder.path().join("tls")).unwrap();
        Self { authority, folder }
    }

    /// A node that has joined with a token.
    pub fn node(&self, n: u64) -> Identity {
        let token = self.authority.new_token(HOUR).unwrap();
        let key = KeyRequest::new().unwrap();
        let issued = self.authority.issue(node(n), key.signing_request()).unwrap();
        let authority = self.authority.certificate();
        key.joined(node(n), &token, authority, &issued.certificate, issued.lifetime).unwrap()
    }

    pub fn head(&self) -> Identity {
        self.authority.head_identity().unwrap()
    }

    pub fn client(&self) -> Identity {
        Identity::from_credentials(&self.authority.write_credentials().unwrap()).unwrap()
    }
}

/// A port that takes one connection.
pub struct Port {
    listener: TcpListener,
    pub at: SocketAddr,
}

impl Port {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        Self { listener, at }
    }

    pub async fn tcp(self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    pub async fn accept(self, identity: &Identity, callers: Callers) -> std::io::Result<(Io, Peer)> {
        accept(self.tcp().await, identity, callers).await
    }
}
