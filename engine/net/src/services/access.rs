//! Who may ask for what.
//!
//! On this machine's own sockets and ports everybody may who can connect. With TLS a certificate says who
//! asks, and each service is for some.

use engine_core::{Error, ErrorCode};
use engine_proto::status_from_error;
use engine_tls::{Name, Peer};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::check_protocol;
use crate::connection::Caller;

/// For whom a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Whoever shows a certificate of the cluster: clients, and the head that passes on what they ask.
    Cluster,
    /// The head and other nodes.
    HeadAndNodes,
    /// Nodes.
    Nodes,
    /// Also who shows no certificate: the service itself looks at what is shown instead.
    Anybody,
}

impl For {
    fn check(self, peer: Peer) -> Result<(), Error> {
        let name = match peer {
            Peer::Local => return Ok(()),
            Peer::Unproven if self == Self::Anybody => return Ok(()),
            Peer::Unproven => {
                return Err(Error::new(
                    ErrorCode::Unauthenticated,
                    "the connection shows no certificate of this cluster: a client needs credentials (--credentials \
                     FILE), a node has to join with a join token (--join-token)",
                ));
            }
            Peer::Proven(name) => name,
        };
        let may = match self {
            Self::Cluster | Self::Anybody => true,
            Self::HeadAndNodes => matches!(name, Name::Head | Name::Node(_)),
            Self::Nodes => matches!(name, Name::Node(_)),
        };
        match may {
            true => Ok(()),
            false => Err(Error::new(
                ErrorCode::PermissionDenied,
                format!("the certificate is that of {name}, and this request is for others: {}", self.whom()),
            )),
        }
    }

    fn whom(self) -> &'static str {
        match self {
            Self::Cluster | Self::Anybody => "whoever is of the cluster",
            Self::HeadAndNodes => "the head and nodes",
            Self::Nodes => "nodes",
        }
    }
}

/// Checks a request before its service sees it: the protocol, and who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked(pub(crate) For);

impl Interceptor for Checked {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.0.check(caller(&request)).map_err(|error| status_from_error(&error))?;
        check_protocol(request)
    }
}

/// The same where the request itself says the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known(pub(crate) For);

impl Interceptor for Known {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.0.check(caller(&request)).map_err(|error| status_from_error(&error))?;
        Ok(request)
    }
}

/// Who makes a request. One that did not come over a connection is nobody's.
pub(crate) fn caller<T>(request: &Request<T>) -> Peer {
    request.extensions().get::<Caller>().map_or(Peer::Unproven, |caller| caller.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::NodeId;

    #[test]
    fn each_service_is_for_some() {
        let node = Peer::Proven(Name::Node(NodeId::from_bits(1, 0)));
        let all = [Peer::Local, Peer::Unproven, Peer::Proven(Name::Client), Peer::Proven(Name::Head), node];
        let may = |whom: For| all.map(|peer| whom.check(peer).is_ok());
        assert_eq!(may(For::Cluster), [true, false, true, true, true]);
        assert_eq!(may(For::HeadAndNodes), [true, false, false, true, true]);
        assert_eq!(may(For::Nodes), [true, false, false, false, true]);
        assert_eq!(may(For::Anybody), [true; 5]);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = For::Cluster.check(Peer::Unproven).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unauthenticated);
        assert!(error.message().contains("--credentials"), "{error}");
        let error = For::Nodes.check(Peer::Proven(Name::Client)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
        assert_eq!(caller(&Request::new(())), Peer::Unproven);
    }
}
