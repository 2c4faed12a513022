//! What the nodes of a cluster and its head say to one another (`proto/engine/v1/cluster.proto`).
//!
//! A node implements [`PeerBackend`] and a head [`ClusterBackend`]; [`Services`](crate::Services) serves
//! them. A node reaches the others by its [`Peers`], its head by a [`HeadLink`], and the head reaches
//! nodes by a [`NodeClient`].

mod enroll;
mod link;
mod node_client;
mod peer_port;
mod peers;
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine_access::Scope;
use engine_core::tenant::Tenancy;
use engine_core::{ComponentId, Error, ErrorCode, JobId};
use engine_proto::v1;
use engine_proto::{error_from_status, version};
use engine_tls::{Expected, Identity, Peer};
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::service_fn;

use crate::backend::Replies;
use crate::services::access::SCOPE_KEY;

pub use enroll::{EnrollError, Enrolled, enroll, enroll_again, renew};
pub use link::{HeadLink, NotConnected};
pub use node_client::NodeClient;
pub use peer_port::PeerPort;
pub use peers::{LineTask, PeerAddress, PeerEvents, Peers};

/// What a node offers to the others and to its head, as `service Peer` documents it.
#[async_trait]
pub trait PeerBackend: Send + Sync + 'static {
    /// Packets and log lines have come.
    fn frame(&self, frame: v1::PeerFrame) -> Result<(), Error>;

    /// What the guests of a job are granted whose root task is on this node.
    fn grants(&self, job: JobId) -> Result<v1::JobGrants, Error>;

    /// What the tasks of a job that this node owns are doing.
    fn progress(&self, job: JobId) -> v1::JobProgress;

    /// Starts a tenant's job with its root task on this node. The specification was checked. `secrets`: the
    /// variables of the environment that it names secrets for; `policy`: what its components have been found to be,
    /// to be found again.
    async fn start_job(
        &self,
        job: JobId,
        tenancy: Tenancy,
        spec: v1::JobSpec,
        secrets: HashMap<String, String>,
        policy: Option<v1::ComponentPolicy>,
    ) -> Result<v1::JobView, Error>;
}

/// What a head offers to nodes, as `service Cluster` documents it.
#[async_trait]
pub trait ClusterBackend: Send + Sync + 'static {
    /// A node's line. The answers end when the line does.
    async fn connect(
        &self,
        messages: BoxStream<'static, Result<v1::NodeMessage, Error>>,
    ) -> Result<Replies<v1::HeadMessage>, Error>;

    /// The bytes of a component.
    fn component(&self, id: ComponentId) -> Result<Arc<[u8]>, Error>;
}

/// What a head with TLS offers to who wants a certificate, as `service Enrollment` documents it.
pub trait EnrollmentBackend: Send + Sync + 'static {
    /// A certificate for a node, when who asks may have it.
    fn enroll(&self, peer: Peer, request: v1::EnrollRequest) -> Result<v1::EnrollResponse, Error>;
}

/// A node that does not take a connection for so long is not reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that is silent is asked for a sign of life so often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// One that gives none for so long is broken.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A channel that connects when it is first used, and again when it broke.
pub(crate) fn channel(address: SocketAddr, identity: Option<Identity>, who: Expected) -> Channel {
    let connect = move || {
        let identity = identity.clone();
        async move { engine_tls::connect(address, identity.as_ref(), who).await.map(TokioIo::new) }
    };
    endpoint(address).connect_with_connector_lazy(service_fn(move |_| connect()))
}

fn endpoint(address: SocketAddr) -> Endpoint {
    // An address is always a well-formed authority. The connector decides whether there is TLS.
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap_or_else(|_| Endpoint::from_static("http://localhost"))
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

/// A request that says our protocol.
pub(crate) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let protocol = MetadataValue::from(version::PROTOCOL);
    request.metadata_mut().insert(version::PROTOCOL_KEY, protocol);
    request
}

/// The same, asked for somebody who sees no more than this.
pub(crate) fn request_for<T>(scope: &Scope, message: T) -> Request<T> {
    let mut request = request(message);
    if !scope.is_all() {
        // What is no scope is refused there.
        let scope = scope.to_text().parse().unwrap_or_else(|_| MetadataValue::from_static("-"));
        request.metadata_mut().insert(SCOPE_KEY, scope);
    }
    request
}

/// The engine's error that a refusal carries; NODE_DIED when the other was not reached.
pub(crate) fn error_of(status: &Status, who: &str) -> Error {
    error_from_status(status).unwrap_or_else(|| {
        let message = format!("{who} was not reached: {}", why(status));
        Error::new(ErrorCode::NodeDied, message)
    })
}

/// What the system, or TLS, said, out of the layers that wrap it.
pub(crate) fn why(status: &Status) -> String {
    let mut deepest: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(source) = deepest.and_then(std::error::Error::source) {
        deepest = Some(source);
    }
    deepest.map_or_else(|| status.message().to_owned(), ToString::to_string)
}
