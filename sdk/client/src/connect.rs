//! Opens the connection to an engine.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use engine_proto::address::Address;
use engine_tls::{Complaint, Expected, Fingerprint, Identity};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How a connection on which nothing comes is found to be broken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keepalive {
    /// Between two signs that are asked for.
    pub(crate) interval: Duration,
    /// How long one may take.
    pub(crate) timeout: Duration,
}

/// That of most connections.
pub(crate) const KEEPALIVE: Keepalive =
    Keepalive { interval: Duration::from_secs(30), timeout: Duration::from_secs(20) };
const NO_CREDENTIALS: &str = "it wants a certificate or a token: name the file with credentials that its head has written, by \
                              --credentials FILE or $ENGINE_CREDENTIALS, or show a token of that cluster in $ENGINE_TOKEN";
/// Errors travel in headers; this leaves them room.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// A complaint about what the engine said is left in `complaint`.
pub(crate) async fn channel(
    address: &Address,
    authority: Option<Fingerprint>,
    keepalive: Keepalive,
    complaint: &Complaint,
) -> Result<Channel> {
    let connected = match address {
        Address::Unix(path) => {
            let path = path.clone();
            // The name is for the requests' authority only: the connector decides where they go.
            endpoint("http://localhost".to_owned(), keepalive)
                .connect_with_connector(service_fn(move |_| open(path.clone())))
                .await
        }
        Address::Tcp(at) => tcp(*at, Shows::Nothing, keepalive, complaint).await,
        Address::Tls { at, credentials } => {
            let refused = |reason| Error::Unreachable { address: address.clone(), reason };
            let shows = match (credentials, authority) {
                (Some(path), _) => Shows::Certificate(
                    Identity::from_credentials(path)
                        .map_err(|error| refused(format!("its credentials cannot be used: {error}")))?,
                ),
                (None, Some(authority)) => Shows::NoCertificate(authority),
                (None, None) => return Err(refused(NO_CREDENTIALS.to_owned())),
            };
            tcp(*at, shows, keepalive, complaint).await
        }
    };
    connected.map_err(|error| Error::Unreachable { address: address.clone(), reason: reason(&error) })
}

/// What is shown to who answers at a port.
#[derive(Clone)]
enum Shows {
    /// There is no TLS.
    Nothing,
    /// A certificate.
    Certificate(Identity),
    /// None, to who is of this authority.
    NoCertificate(Fingerprint),
}

async fn tcp(
    at: SocketAddr,
    shows: Shows,
    keepalive: Keepalive,
    complaint: &Complaint,
) -> std::result::Result<Channel, tonic::transport::Error> {
    let complaint = complaint.clone();
    let connect = move || {
        let (shows, complaint) = (shows.clone(), complaint.clone());
        async move {
            let io = match &shows {
                Shows::Nothing => engine_tls::connect(at, None, Expected::Server).await?,
                Shows::Certificate(own) => engine_tls::connect(at, Some(own), Expected::Server).await?,
                Shows::NoCertificate(authority) => {
                    engine_tls::connect_unproven(at, *authority, Expected::Server).await?
                }
            };
            Ok::<_, io::Error>(TokioIo::new(io.complaining(complaint)))
        }
    };
    // The connector decides whether there is TLS.
    endpoint(format!("http://{at}"), keepalive).connect_with_connector(service_fn(move |_| connect())).await
}

fn endpoint(uri: String, keepalive: Keepalive) -> Endpoint {
    // Both texts above are well-formed URIs.
    Endpoint::from_shared(uri)
        .unwrap_or_else(|_| Endpoint::from_static("http://localhost"))
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(keepalive.interval)
        .keep_alive_timeout(keepalive.timeout)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .tcp_nodelay(true)
}

async fn open(path: PathBuf) -> io::Result<TokioIo<UnixStream>> {
    let stream = UnixStream::connect(&path).await?;
    let (uid, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    // Anyone may have put a socket where ours is expected and wait for what we would tell it.
    if uid != own && uid != 0 {
        let said = format!("the socket belongs to another user ({uid}), who is not trusted");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, said));
    }
    Ok(TokioIo::new(stream))
}

/// What the system said, out of the layers that wrap it.
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match deepest.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => "there is no socket, start one with `engine up`".to_owned(),
        Some(io::ErrorKind::ConnectionRefused) => {
            "nobody listens there, start one with `engine up`".to_owned()
        }
        _ => deepest.to_string(),
    }
}
