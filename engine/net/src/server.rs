//! Serves a backend on sockets until it is told to stop.

use std::future::Future;
use std::sync::Arc;

use engine_access::Gate;
use engine_audit::AuditLog;
use engine_oidc::Oidc;
use engine_proto::limits::MESSAGE_BYTES_MAX;
use engine_proto::v1::audit_server::AuditServer;
use engine_proto::v1::clients_server::ClientsServer;
use engine_proto::v1::cluster_server::ClusterServer;
use engine_proto::v1::components_server::ComponentsServer;
use engine_proto::v1::enrollment_server::EnrollmentServer;
use engine_proto::v1::handshake_server::HandshakeServer;
use engine_proto::v1::jobs_server::JobsServer;
use engine_proto::v1::nodes_server::NodesServer;
use engine_proto::v1::peer_server::PeerServer;
use engine_proto::v1::secrets_server::SecretsServer;
use engine_proto::v1::state_server::StateServer;
use engine_proto::v1::tenants_server::TenantsServer;
use engine_proto::v1::tokens_server::TokensServer;
use engine_tls::Fingerprint;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;

use crate::backend::Backend;
use crate::cluster::{ClusterBackend, EnrollmentBackend, PeerBackend};
use crate::connection::{Listener, incoming};
use crate::faults::{self, FaultLayer};
use crate::limits::{
    CONCURRENT_STREAMS_MAX, CONNECTIONS_MAX, DRAIN_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
};
use crate::listen::{TcpSocket, UnixSocket};
use crate::services::access::Checked;
use crate::services::access::layer::AccessLayer;
use crate::services::{
    AuditService, ClientsService, ClusterService, ComponentsService, EnrollmentService, HandshakeService,
    JobsService, NodesService, PeerService, SecretsService, StateService, TenantsService, TokensService,
};

/// What is served: to clients, and when it is asked for to nodes.
pub struct Services {
    routes: Routes,
    gate: Arc<Gate>,
    audit: Option<Arc<AuditLog>>,
    stopping: CancellationToken,
}

impl Services {
    /// What clients ask for, those that `gate` lets through.
    pub fn new(backend: Arc<dyn Backend>, gate: Arc<Gate>) -> Self {
        let stopping = CancellationToken::new();
        let components = ComponentsServer::new(ComponentsService::new(backend.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let jobs = JobsServer::new(JobsService { backend: backend.clone(), stopping: stopping.clone() })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let state = StateServer::new(StateService { backend: backend.clone() })
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let nodes = NodesServer::new(NodesService { backend: backend.clone() });
        let clients =
            ClientsServer::new(ClientsService { backend: backend.clone(), stopping: stopping.clone() })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let tenants = TenantsServer::new(TenantsService { backend: backend.clone() });
        let secrets = SecretsServer::new(SecretsService { backend: backend.clone() });
        let handshake = HandshakeServer::new(HandshakeService { backend });
        let routes = Routes::new(handshake)
            .add_service(InterceptedService::new(components, Checked))
            .add_service(InterceptedService::new(clients, Checked))
            .add_service(InterceptedService::new(jobs, Checked))
            .add_service(InterceptedService::new(nodes, Checked))
            .add_service(InterceptedService::new(secrets, Checked))
            .add_service(InterceptedService::new(state, Checked))
            .add_service(InterceptedService::new(tenants, Checked));
        Self { routes, gate, audit: None, stopping }
    }

    /// And has this log tell of what changes something and of what is refused; none: there is no log.
    pub fn audit(mut self, log: Option<Arc<AuditLog>>) -> Self {
        let audit =
            AuditServer::new(AuditService { log: log.clone() }).max_encoding_message_size(MESSAGE_BYTES_MAX);
        self.routes = self.routes.add_service(InterceptedService::new(audit, Checked));
        self.audit = log;
        self
    }

    /// And how tokens are made. `authority`: by what clients that have nothing else know the cluster, when it
    /// speaks TLS. `login`: who gets one for an ID token; none: nobody.
    pub fn tokens(mut self, authority: Option<Fingerprint>, login: Option<Arc<Oidc>>) -> Self {
        let tokens = TokensServer::new(TokensService { gate: self.gate.clone(), authority, login });
        self.routes = self.routes.add_service(InterceptedService::new(tokens, Checked));
        self
    }

    /// And what other nodes and the head ask of a node.
    pub fn peer(mut self, backend: Arc<dyn PeerBackend>) -> Self {
        let peer = PeerServer::new(PeerService { backend })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        self.routes = self.routes.add_service(InterceptedService::new(peer, Checked));
        self
    }

    /// And what nodes ask of the head.
    pub fn cluster(mut self, backend: Arc<dyn ClusterBackend>) -> Self {
        let cluster = ClusterServer::new(ClusterService { backend, stopping: self.stopping.clone() })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        self.routes = self.routes.add_service(InterceptedService::new(cluster, Checked));
        self
    }

    /// And how nodes get their certificates, also for who shows none yet.
    pub fn enrollment(mut self, backend: Arc<dyn EnrollmentBackend>) -> Self {
        let enrollment = EnrollmentServer::new(EnrollmentService { backend });
        self.routes = self.routes.add_service(InterceptedService::new(enrollment, Checked));
        self
    }
}

/// The sockets of a node, bound and not yet served.
#[derive(Default)]
pub struct Server {
    listeners: Vec<Listener>,
}

impl Server {
    /// A server without a socket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves this socket too.
    pub fn unix(mut self, socket: UnixSocket) -> Self {
        self.listeners.push(Listener::Unix(socket));
        self
    }

    /// Serves this port too.
    pub fn tcp(mut self, socket: TcpSocket) -> Self {
        self.listeners.push(Listener::Tcp(socket));
        self
    }

    /// Serves until `shutdown` resolves. Then nothing new is accepted, streams end with NODE_DIED,
    /// and requests in progress have [`DRAIN_MAX`] to end.
    pub fn run<'a>(
        self,
        services: Services,
        shutdown: impl Future<Output = ()> + Send + 'a,
    ) -> BoxFuture<'a, Result<(), ServerError>> {
        self.serve(services, Box::pin(shutdown))
    }

    /// Not generic and boxed, so that the whole stack below is compiled here, once, and not in each crate that
    /// serves.
    fn serve<'a>(
        self,
        services: Services,
        shutdown: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<(), ServerError>> {
        Box::pin(async move {
            let Services { routes, gate, audit, stopping } = services;
            let serve = tonic::transport::Server::builder()
                .layer(AccessLayer { gate, audit: audit.clone() })
                .layer(FaultLayer(faults::installed()))
                .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
                .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
                .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
                .add_routes(routes)
                .serve_with_incoming_shutdown(
                    incoming(self.listeners, CONNECTIONS_MAX),
                    stopping.clone().cancelled_owned(),
                );
            let ended = until(serve, shutdown, &stopping).await;
            if let Some(audit) = audit {
                audit.close().await;
            }
            ended
        })
    }
}

/// Serves until it cannot go on, or until `shutdown` and then what is in progress to its end.
async fn until(
    serve: impl Future<Output = Result<(), tonic::transport::Error>>,
    shutdown: BoxFuture<'_, ()>,
    stopping: &CancellationToken,
) -> Result<(), ServerError> {
    tokio::pin!(serve);
    tokio::select! {
        ended = &mut serve => return ended.map_err(ServerError),
        () = shutdown => stopping.cancel(),
    }
    match tokio::time::timeout(DRAIN_MAX, serve).await {
        Ok(ended) => ended.map_err(ServerError),
        Err(_) => {
            tracing::warn!("requests were still in progress when the server stopped");
            Ok(())
        }
    }
}

/// The server could not go on.
#[derive(Debug, thiserror::Error)]
#[error("the server stopped: {0}")]
pub struct ServerError(#[source] tonic::transport::Error);
