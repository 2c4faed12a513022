//! Connections that come in.

use std::io;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::explain::{self, TLS_ALERT};
use crate::identity::Identity;
use crate::io::Io;
use crate::limits::HANDSHAKE_TIME_MAX;
use crate::name::{Name, Peer};
use crate::revoked::Watched;

/// What a TLS connection begins with: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Who shows a certificate of the cluster.
    Proven,
    /// These, and who shows none, as it wants to join or has a token: then it is [`Peer::Unproven`].
    Joining,
}

/// The TLS handshake with who has connected, and who that is.
///
/// # Errors
/// Why there is none. Who does not speak TLS is told so.
pub async fn accept(mut stream: TcpStream, identity: &Identity, callers: Callers) -> io::Result<(Io, Peer)> {
    let accept = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
            // Whether it was heard or not.
            drop(refuse(&mut stream).await);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak TLS"));
        }
        let config = match callers {
            Callers::Proven => identity.server(),
            Callers::Joining => identity.joining_server(),
        };
        let accepted = TlsAcceptor::from(config).accept(stream).await.map_err(said)?;
        let peer = proven(accepted.get_ref().1.peer_certificates())?;
        Ok((Io::server(accepted, Watched::of(peer, identity.revoked())), peer))
    };
    tokio::time::timeout(HANDSHAKE_TIME_MAX, accept)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whom the certificate that was shown names; it was found good.
pub(crate) fn proven(certificates: Option<&[CertificateDer<'_>]>) -> io::Result<Peer> {
    match certificates.and_then(<[_]>::first) {
        None => Ok(Peer::Unproven),
        Some(certificate) => Name::of(certificate).map(Peer::Proven).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a certificate was shown that names nobody of a cluster",
            )
        }),
    }
}

fn said(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => io::Error::new(io::ErrorKind::InvalidData, tls.to_string()),
        None => error,
    }
}

/// Tells who does not speak TLS that this port does, and waits until that was read: a connection that is
/// closed with bytes unread may lose what was said.
async fn refuse(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&TLS_ALERT).await?;
    stream.shutdown().await?;
    let mut nothing = [0; 1 << 10];
    while stream.read(&mut nothing).await? > 0 {}
    Ok(())
}

/// Whether bytes are the beginning of a TLS connection.
pub(crate) fn is_tls(first: &[u8]) -> bool {
    first.first() == Some(&HANDSHAKE_RECORD)
}

/// What is said to who does not speak TLS, for those that block.
pub(crate) fn alert() -> &'static [u8] {
    &explain::TLS_ALERT
}
