//! Who gets a certificate.

use std::sync::Arc;

use engine_core::{Error, ErrorCode, NodeId};
use engine_net::cluster::EnrollmentBackend;
use engine_proto::v1;
use engine_tls::{Authority, JoinToken, Name, ParseJoinTokenError, Peer, RefusedToken, TlsError};

use crate::cluster::ClusterHead;

/// Gives certificates to nodes: the head as who wants to join sees it.
pub struct Enrollment {
    /// Knows which nodes there are.
    pub head: Arc<ClusterHead>,
    /// Makes the certificates.
    pub authority: Arc<Authority>,
}

impl EnrollmentBackend for Enrollment {
    fn enroll(&self, peer: Peer, request: v1::EnrollRequest) -> Result<v1::EnrollResponse, Error> {
        let node: NodeId = request
            .node_id
            .parse()
            .map_err(|error| Error::invalid_argument(format!("EnrollRequest.node_id: {error}")))?;
        let own = self.check(peer, &request.join_token)?;
        if own != Some(node) && self.head.is_member(node) {
            return Err(Error::new(
                ErrorCode::PermissionDenied,
                format!("{node} is a node of this cluster, and only it may ask for its certificate"),
            ));
        }
        let issued = self.authority.issue(node, &request.signing_request).map_err(|error| match error {
            TlsError::Certificate(what) => Error::invalid_argument(what),
            other => Error::internal(other.to_string()),
        })?;
        tracing::info!(%node, "a node was given a certificate");
        Ok(v1::EnrollResponse {
            certificate: issued.certificate,
            authority: self.authority.certificate().to_vec(),
            lifetime_seconds: issued.lifetime.as_secs(),
        })
    }
}

impl Enrollment {
    /// Who asks: the node that it is, or has been; none when it shows a good token.
    fn check(&self, peer: Peer, join_token: &str) -> Result<Option<NodeId>, Error> {
        match peer {
            // On a connection that was open before.
            Peer::Proven(Name::Node(own)) if self.head.is_revoked(own) => {
                return Err(Error::new(
                    ErrorCode::PermissionDenied,
                    format!("{own} has left, and its certificate is good no more: join with a join token"),
                ));
            }
            Peer::Proven(Name::Node(own)) => return Ok(Some(own)),
            Peer::Proven(other) => {
                return Err(Error::new(
                    ErrorCode::PermissionDenied,
                    format!("the certificate is that of {other}: certificates are given to nodes"),
                ));
            }
            Peer::Unproven | Peer::Local => {}
        }
        let refused = |why: String| Error::new(ErrorCode::Unauthenticated, why);
        let token: JoinToken =
            join_token.parse().map_err(|error: ParseJoinTokenError| refused(error.to_string()))?;
        match self.authority.check_token(&token) {
            Ok(()) => Ok(None),
            Err(RefusedToken::Store(error)) => {
                tracing::error!(%error, "the join tokens cannot be read");
                Err(Error::internal(format!("the head cannot read its join tokens: {error}")))
            }
            Err(error) => {
                tracing::warn!(%error, "who wanted to join was refused");
                Err(refused(error.to_string()))
            }
        }
    }
}
