//! A connection to an engine.

use std::time::Duration;

use engine_proto::address::Address;
use engine_proto::limits::MESSAGE_BYTES_MAX;
use engine_proto::v1::clients_client::ClientsClient;
use engine_proto::v1::components_client::ComponentsClient;
use engine_proto::v1::handshake_client::HandshakeClient;
use engine_proto::v1::jobs_client::JobsClient;
use engine_proto::v1::nodes_client::NodesClient;
use engine_proto::v1::state_client::StateClient;
use engine_proto::v1::{HelloRequest, HelloResponse};
use engine_proto::version;
use engine_tls::Complaint;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::connect::{self, KEEPALIVE, Keepalive};
use crate::error::{Error, Result};

/// How long an engine may take to say which protocol it speaks.
const HELLO_TIME_MAX: Duration = Duration::from_secs(30);

type Stamp = fn(Request<()>) -> std::result::Result<Request<()>, Status>;
pub(crate) type Stamped = InterceptedService<Channel, Stamp>;

/// A connection to an engine. Clones share it; when it breaks, the next request opens another.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    address: Address,
    engine: HelloResponse,
}

impl Client {
    /// Connects to the engine at `address` and makes sure that both speak the same protocol.
    pub async fn connect(address: Address) -> Result<Self> {
        Self::connect_with(address, KEEPALIVE).await
    }

    pub(crate) async fn connect_with(address: Address, keepalive: Keepalive) -> Result<Self> {
        let complaint = Complaint::default();
        let channel = connect::channel(&address, keepalive, &complaint).await?;
        let hello = HelloRequest { protocol: version::PROTOCOL, version: version::VERSION.to_owned() };
        let mut handshake = HandshakeClient::new(channel.clone());
        // A request that is handed over at the moment when its connection breaks may never be answered:
        // nobody waits for the answer alone.
        let failed = tokio::select! {
            answer = handshake.hello(hello) => match answer {
                Ok(engine) => {
                    let engine = engine.into_inner();
                    return Ok(Self { channel, address, engine });
                }
                Err(status) => Error::from_status(&status, &address),
            },
            reason = complaint.made() => Error::Unreachable { address: address.clone(), reason },
            () = tokio::time::sleep(HELLO_TIME_MAX) => {
                let reason = format!("it has not answered for {HELLO_TIME_MAX:?}");
                Error::Unreachable { address: address.clone(), reason }
            }
        };
        Err(match (failed, complaint.take()) {
            (Error::Unreachable { .. }, Some(reason)) => Error::Unreachable { address, reason },
            (error, _) => error,
        })
    }

    /// Connects to the engine that $ENGINE_ADDRESS names, by TLS if $ENGINE_CREDENTIALS names a file, else
    /// to the one of this user on this machine.
    pub async fn connect_default() -> Result<Self> {
        Self::connect(Address::default_here()?.with_credentials_from_env()).await
    }

    /// Where the engine is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The engine's version, for people.
    pub fn engine_version(&self) -> &str {
        &self.engine.version
    }

    /// The node that answers.
    pub fn node_id(&self) -> &str {
        &self.engine.node_id
    }

    /// Whether jobs go on while the engine that answers is away: it is the head of a cluster.
    pub fn is_outlived_by_jobs(&self) -> bool {
        self.engine.outlived_by_jobs
    }

    pub(crate) fn clients(&self) -> ClientsClient<Stamped> {
        ClientsClient::with_interceptor(self.channel.clone(), stamp as Stamp)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn components(&self) -> ComponentsClient<Stamped> {
        ComponentsClient::with_interceptor(self.channel.clone(), stamp as Stamp)
    }

    pub(crate) fn jobs(&self) -> JobsClient<Stamped> {
        JobsClient::with_interceptor(self.channel.clone(), stamp as Stamp)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn state(&self) -> StateClient<Stamped> {
        StateClient::with_interceptor(self.channel.clone(), stamp as Stamp)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn nodes(&self) -> NodesClient<Stamped> {
        NodesClient::with_interceptor(self.channel.clone(), stamp as Stamp)
    }

    pub(crate) fn failed(&self) -> impl Fn(Status) -> Error {
        |status| Error::from_status(&status, &self.address)
    }
}

/// Says in a request which protocol we speak.
#[allow(clippy::result_large_err, reason = "the signature is tonic's")]
fn stamp(mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
    request.metadata_mut().insert(version::PROTOCOL_KEY, MetadataValue::from(version::PROTOCOL));
    Ok(request)
}
