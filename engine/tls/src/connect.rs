//! Connections that are made from here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use engine_core::NodeId;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::explain;
use crate::identity::{Identity, provider};
use crate::io::Io;
use crate::limits::HANDSHAKE_TIME_MAX;
use crate::name::{Name, Peer};
use crate::revoked::Watched;
use crate::token::{Fingerprint, JoinToken};
use crate::verify::{ANY_SERVER, FingerprintVerifier};

/// Who is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The head.
    Head,
    /// This node.
    Node(NodeId),
    /// The head, or any node.
    Server,
}

impl Expected {
    pub(crate) fn server_name(self) -> io::Result<ServerName<'static>> {
        let name = match self {
            Self::Head => Name::Head.server_name(),
            Self::Node(id) => Name::Node(id).server_name(),
            Self::Server => ServerName::try_from(ANY_SERVER.to_owned())
                .map_err(|error| rustls::Error::General(error.to_string())),
        };
        name.map_err(io::Error::other)
    }
}

/// Connects: with an identity by TLS to who is meant, without one in the clear.
///
/// # Errors
/// When nobody listens there, or somebody else, or one of the two does not believe the other, with what
/// to do. A server says that it does not believe this side only when something is read.
pub async fn connect(at: SocketAddr, identity: Option<&Identity>, who: Expected) -> io::Result<Io> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    match identity {
        None => Ok(Io::plain(stream)),
        Some(identity) => {
            let io = handshake(at, stream, identity.client(), who).await?;
            let peer = match who {
                Expected::Node(node) => Peer::Proven(Name::Node(node)),
                Expected::Head | Expected::Server => Peer::Unproven,
            };
            Ok(io.watched(Watched::of(peer, identity.revoked())))
        }
    }
}

/// Connects to the head that this token is of, showing no certificate: nothing but joining can be asked
/// for there.
///
/// # Errors
/// When nobody listens there, or it is not that head, with what to do.
pub async fn connect_to_join(at: SocketAddr, token: &JoinToken) -> io::Result<Io> {
    connect_unproven(at, token.fingerprint(), Expected::Head).await
}

/// Connects to who is meant in the cluster of this authority, showing no certificate: what is shown there
/// instead is for whoever asks.
///
/// # Errors
/// When nobody listens there, or it is of another cluster, with what to do.
pub async fn connect_unproven(at: SocketAddr, authority: Fingerprint, who: Expected) -> io::Result<Io> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let provider = provider();
    let verifier = FingerprintVerifier { fingerprint: authority, provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    handshake(at, stream, Arc::new(config), who).await
}

async fn handshake(
    at: SocketAddr,
    stream: TcpStream,
    config: Arc<ClientConfig>,
    who: Expected,
) -> io::Result<Io> {
    let handshake = TlsConnector::from(config).connect(who.server_name()?, stream);
    match tokio::time::timeout(HANDSHAKE_TIME_MAX, handshake).await {
        Ok(Ok(stream)) => Ok(Io::client(stream)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!(
                "{at}: the connection was closed in the TLS handshake: look whether an engine with TLS listens there"
            ),
        )),
        Ok(Err(error)) => Err(explain::at(at, &explain::explained(error))),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{at}: the TLS handshake took longer than handshake_time_max, {HANDSHAKE_TIME_MAX:?}"),
        )),
    }
}
