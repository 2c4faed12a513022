//! How a node gets its certificate from the head.

use std::net::SocketAddr;
use std::time::Duration;

use engine_core::{Error, ErrorCode, NodeId};
use engine_proto::error_from_status;
use engine_proto::v1;
use engine_proto::v1::enrollment_client::EnrollmentClient;
use engine_tls::{Expected, Identity, Io, JoinToken, KeyRequest, TlsError};
use hyper_util::rt::TokioIo;
use tonic::transport::Channel;
use tower::service_fn;

use crate::cluster::{CONNECT_TIMEOUT, endpoint, request, why};

/// What a node that was let in has.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// What it shows from now on.
    pub identity: Identity,
    /// Its own address on the way to the head.
    pub own_address: SocketAddr,
}

/// Why a node has no certificate.
#[derive(Debug, Clone)]
pub enum EnrollError {
    /// The head, or this side, does not want it. Asking again would not help.
    Refused(Error),
    /// The head is not reached, for people.
    Unreached(String),
}

impl From<TlsError> for EnrollError {
    fn from(error: TlsError) -> Self {
        Self::Refused(Error::new(ErrorCode::Unauthenticated, error.to_string()))
    }
}

/// Gets a certificate for a node with a join token. The token is shown to nobody but its own head.
///
/// # Errors
/// Why there is none.
pub async fn enroll(head: SocketAddr, token: &JoinToken, node: NodeId) -> Result<Enrolled, EnrollError> {
    let io = reach(engine_tls::connect_to_join(head, token)).await?;
    let given = ask(head, io, token.to_string(), node).await?;
    let identity = given.key.joined(node, token, &given.authority, &given.certificate, given.lifetime)?;
    Ok(Enrolled { identity, own_address: given.own_address })
}

/// Gets a certificate for the next incarnation of a node, which shows the one that it had.
///
/// # Errors
/// Why there is none.
pub async fn enroll_again(
    head: SocketAddr,
    before: &Identity,
    node: NodeId,
) -> Result<Enrolled, EnrollError> {
    let io = reach(engine_tls::connect(head, Some(before), Expected::Head)).await?;
    let given = ask(head, io, String::new(), node).await?;
    let identity = given.key.again(node, before, &given.certificate, given.lifetime)?;
    Ok(Enrolled { identity, own_address: given.own_address })
}

/// Renews a node's certificate: its identity shows the new one from then on.
///
/// # Errors
/// Why it shows the old one on.
pub async fn renew(head: SocketAddr, identity: &Identity, node: NodeId) -> Result<(), EnrollError> {
    let io = reach(engine_tls::connect(head, Some(identity), Expected::Head)).await?;
    let given = ask(head, io, String::new(), node).await?;
    Ok(given.key.renews(identity, &given.certificate, given.lifetime)?)
}

/// What TLS says does not change by waiting; that nobody is there does.
async fn reach(connecting: impl Future<Output = std::io::Result<Io>>) -> Result<Io, EnrollError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(io)) => Ok(io),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(EnrollError::Refused(Error::new(ErrorCode::Unauthenticated, error.to_string())))
        }
        Ok(Err(error)) => Err(EnrollError::Unreached(error.to_string())),
        Err(_) => Err(EnrollError::Unreached(format!("it took no connection within {CONNECT_TIMEOUT:?}"))),
    }
}

/// What the head has given for a new key.
struct Given {
    key: KeyRequest,
    authority: Vec<u8>,
    certificate: Vec<u8>,
    lifetime: Duration,
    own_address: SocketAddr,
}

async fn ask(head: SocketAddr, io: Io, join_token: String, node: NodeId) -> Result<Given, EnrollError> {
    let own_address = io.tcp().local_addr().map_err(|error| EnrollError::Unreached(error.to_string()))?;
    let key = KeyRequest::new()?;
    let mut io = Some(TokioIo::new(io));
    let once = service_fn(move |_| {
        let io = io.take().ok_or(std::io::ErrorKind::ConnectionAborted);
        async move { io.map_err(std::io::Error::from) }
    });
    let connected = endpoint(head).connect_with_connector(once).await;
    let channel: Channel = connected.map_err(|error| EnrollError::Unreached(error.to_string()))?;
    let enroll = v1::EnrollRequest {
        join_token,
        node_id: node.to_string(),
        signing_request: key.signing_request().to_vec(),
    };
    let answer = EnrollmentClient::new(channel).enroll(request(enroll)).await;
    let answer = answer.map_err(|status| match error_from_status(&status) {
        Some(error) => EnrollError::Refused(error),
        None => EnrollError::Unreached(why(&status)),
    })?;
    let v1::EnrollResponse { certificate, authority, lifetime_seconds } = answer.into_inner();
    Ok(Given { key, authority, certificate, lifetime: Duration::from_secs(lifetime_seconds), own_address })
}
