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
    let own_address = io.tcp().local_addr().map_err(|error| EnrollError::Unreached(error.to_string()))?;
    let key = KeyRequest::new()?;
    let answer = ask(head, io, token.to_string(), node, &key).await?;
    let lifetime = Duration::from_secs(answer.lifetime_seconds);
    let identity = key.joined(node, token, &answer.authority, &answer.certificate, lifetime)?;
    Ok(Enrolled { identity, own_address })
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
    let own_address = io.tcp().local_addr().map_err(|error| EnrollError::Unreached(error.to_string()))?;
    let key = KeyRequest::new()?;
    let answer = ask(head, io, String::new(), node, &key).await?;
    let lifetime = Duration::from_secs(answer.lifetime_seconds);
    Ok(Enrolled { identity: key.again(node, before, &answer.certificate, lifetime)?, own_address })
}

/// Renews a node's certificate: its identity shows the new one from then on.
///
/// # Errors
/// Why it shows the old one on.
pub async fn renew(head: SocketAddr, identity: &Identity, node: NodeId) -> Result<(), EnrollError> {
    let io = reach(engine_tls::connect(head, Some(identity), Expected::Head)).await?;
    let key = KeyRequest::new()?;
    let answer = ask(head, io, String::new(), node, &key).await?;
    let lifetime = Duration::from_secs(answer.lifetime_seconds);
    Ok(key.renews(identity, &answer.certificate, lifetime)?)
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

async fn ask(
    head: SocketAddr,
    io: Io,
    join_token: String,
    node: NodeId,
    key: &KeyRequest,
) -> Result<v1::EnrollResponse, EnrollError> {
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
    answer.map(tonic::Response::into_inner).map_err(|status| match error_from_status(&status) {
        Some(error) => EnrollError::Refused(error),
        None => EnrollError::Unreached(why(&status)),
    })
}
