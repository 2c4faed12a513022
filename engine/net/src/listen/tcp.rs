//! A port.

use std::net::SocketAddr;

use engine_tls::{Callers, Identity};
use tokio::net::TcpListener;

use super::BindError;

/// A port that is listened on: of this machine alone, where whoever can run a program can speak on it, or
/// with TLS.
#[derive(Debug)]
pub struct TcpSocket {
    pub(crate) listener: TcpListener,
    address: SocketAddr,
    security: Option<Security>,
}

/// How a port knows who speaks.
#[derive(Debug, Clone)]
pub struct Security {
    /// What it shows.
    pub identity: Identity,
    /// Who may call.
    pub callers: Callers,
}

impl TcpSocket {
    /// Listens on an address; port 0 takes a free one. Without TLS, anything beyond loopback is refused.
    ///
    /// # Errors
    /// [`BindError::NotLoopback`] beyond loopback without TLS, [`BindError::Io`] when the system refuses.
    pub async fn bind(address: SocketAddr, security: Option<Security>) -> Result<Self, BindError> {
        check(address, security.is_some())?;
        let io = |source| BindError::Io { action: "listen on", at: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        Ok(Self { listener, address, security })
    }

    /// The address with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn security(&self) -> Option<&Security> {
        self.security.as_ref()
    }
}

/// Refuses what lies beyond this machine, unless there is TLS.
pub(crate) fn check(address: SocketAddr, has_tls: bool) -> Result<(), BindError> {
    match has_tls || address.ip().is_loopback() {
        true => Ok(()),
        false => Err(BindError::NotLoopback { address }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_tls_only_loopback_is_listened_on() {
        for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
            let error = TcpSocket::bind(address.parse().unwrap(), None).await.unwrap_err();
            assert!(matches!(error, BindError::NotLoopback { .. }), "{error}");
        }
        let socket = TcpSocket::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        assert_ne!(socket.address().port(), 0);
    }

    #[tokio::test]
    async fn with_tls_any_address_is_listened_on() {
        let temp = tempfile::tempdir().unwrap();
        let identity = engine_tls::Authority::open_or_make(&temp.path().join("tls")).unwrap();
        let identity = identity.head_identity().unwrap();
        let security = Security { identity, callers: Callers::Joining };
        let socket = TcpSocket::bind("0.0.0.0:0".parse().unwrap(), Some(security)).await.unwrap();
        assert_ne!(socket.address().port(), 0);
    }
}
