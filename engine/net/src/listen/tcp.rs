//! A loopback port.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::BindError;

/// A port of this machine that is listened on. Whoever can run a program here can speak on it.
#[derive(Debug)]
pub struct TcpSocket {
    pub(crate) listener: TcpListener,
    address: SocketAddr,
}

impl TcpSocket {
    /// Listens on a loopback address; port 0 takes a free one. Anything beyond loopback is refused.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback { address });
        }
        let io = |source| BindError::Io { action: "listen on", at: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        Ok(Self { listener, address })
    }

    /// The address with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_listened_on() {
        for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
            let error = TcpSocket::bind(address.parse().unwrap()).await.unwrap_err();
            assert!(matches!(error, BindError::NotLoopback { .. }), "{error}");
        }
        let socket = TcpSocket::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_ne!(socket.address().port(), 0);
    }
}
