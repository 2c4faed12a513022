//! The services: from messages to the backend and back.

pub(crate) mod access;
mod audit;
mod clients;
mod cluster;
mod components;
mod enrollment;
mod handshake;
mod jobs;
mod nodes;
mod peer;
mod secrets;
mod state;
mod tenants;
mod tokens;

use engine_core::{Error, ErrorCode};
use engine_proto::{status_from_error, version};
use futures::stream::{BoxStream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::backend::Replies;
use crate::faults;
use access::Asker;

pub(crate) use audit::AuditService;
pub(crate) use clients::ClientsService;
pub(crate) use cluster::ClusterService;
pub(crate) use components::ComponentsService;
pub(crate) use enrollment::EnrollmentService;
pub(crate) use handshake::HandshakeService;
pub(crate) use jobs::JobsService;
pub(crate) use nodes::NodesService;
pub(crate) use peer::PeerService;
pub(crate) use secrets::SecretsService;
pub(crate) use state::StateService;
pub(crate) use tenants::TenantsService;
pub(crate) use tokens::TokensService;

/// A stream as tonic sends it.
type StatusStream<T> = BoxStream<'static, Result<T, Status>>;

/// Refuses a request whose metadata does not say that the client speaks our protocol.
#[allow(clippy::result_large_err, reason = "the signature is tonic's")]
pub(crate) fn check_protocol(request: Request<()>) -> Result<Request<()>, Status> {
    let said = request.metadata().get(version::PROTOCOL_KEY);
    let protocol = said.and_then(|text| text.to_str().ok()?.parse().ok());
    let checked = match protocol {
        Some(protocol) => version::check(protocol),
        None => Err(Error::invalid_argument(format!(
            "the request does not say which protocol the client speaks: add the metadata {}: {}",
            version::PROTOCOL_KEY,
            version::PROTOCOL
        ))),
    };
    checked.map(|()| request).map_err(|error| status_from_error(&error))
}

/// A backend's answer as tonic sends it.
#[allow(clippy::result_large_err, reason = "the signature is tonic's")]
fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status_from_error(&error))
}

/// A backend's stream as tonic sends it: ends with the backend's, after its first error, or with
/// NODE_DIED when the server stops, or with UNAUTHENTICATED once the token of who asks is good no more.
/// `method`: as [`faults`] has it.
fn stream<T: Send + 'static>(
    method: &'static str,
    asks: Asker,
    replies: Replies<T>,
    stopping: CancellationToken,
) -> StatusStream<T> {
    let state = Some((replies, stopping, asks));
    futures::stream::unfold(state, move |state| async move {
        let (mut replies, stopping, mut asks) = state?;
        let item = tokio::select! {
            biased;
            error = asks.no_more() => Err(error),
            item = replies.next() => item?,
            () = stopping.cancelled() => {
                Err(Error::new(ErrorCode::NodeDied, "the engine was shut down while it answered"))
            }
        };
        match item {
            Ok(_) if faults::installed().is_some_and(|faults| faults.loses_reply(method)) => {
                Some((Err(Status::unavailable("a fault of a test: the reply is lost")), None))
            }
            Ok(item) => Some((Ok(item), Some((replies, stopping, asks)))),
            Err(error) => Some((Err(status_from_error(&error)), None)),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use engine_access::{Gate, Grant, Role, Scope};

    use super::*;

    fn operator() -> Asker {
        Asker::new(engine_access::Principal::operator(), Arc::new(Gate::in_memory()))
    }

    fn endless() -> Replies<u32> {
        Box::pin(futures::stream::pending())
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_backend_or_its_first_error() {
        let replies: Replies<u32> = Box::pin(futures::stream::iter([Ok(1), Ok(2)]));
        let items: Vec<_> =
            stream("Test.Endless", operator(), replies, CancellationToken::new()).collect().await;
        assert_eq!(items.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
        let replies: Replies<u32> = Box::pin(futures::stream::iter([Err(Error::internal("x")), Ok(2)]));
        assert_eq!(stream("Test.Endless", operator(), replies, CancellationToken::new()).count().await, 1);
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_server_stops() {
        let stopping = CancellationToken::new();
        stopping.cancel();
        let items: Vec<_> = stream("Test.Endless", operator(), endless(), stopping).collect().await;
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].as_ref().unwrap_err().code(), tonic::Code::Unavailable);
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_token_of_who_asks_is_revoked() {
        let gate = Arc::new(Gate::in_memory());
        let lifetime = Duration::from_secs(60);
        let issued = gate.issue(&Grant { scope: Scope::ALL, verbs: Role::Viewer.verbs(), lifetime }).unwrap();
        let asks = Asker::new(gate.judge(&issued.text).unwrap(), gate.clone());
        let items = stream("Test.Endless", asks, endless(), CancellationToken::new()).collect::<Vec<_>>();
        gate.revoke(issued.id, &Scope::ALL).unwrap();
        let items = items.await;
        assert_eq!(items[0].as_ref().unwrap_err().code(), tonic::Code::Unauthenticated);
    }

    #[test]
    fn a_request_has_to_say_its_protocol() {
        let request = |protocol: Option<&str>| {
            let mut request = Request::new(());
            if let Some(protocol) = protocol {
                request.metadata_mut().insert(version::PROTOCOL_KEY, protocol.parse().unwrap());
            }
            check_protocol(request)
        };
        assert!(request(Some("1")).is_ok());
        assert!(request(None).unwrap_err().message().contains("engine-protocol: 1"));
        assert!(request(Some("x")).is_err());
        assert_eq!(request(Some("9999")).unwrap_err().code(), tonic::Code::FailedPrecondition);
    }
}
