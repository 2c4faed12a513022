//! A connection to an engine.

use std::time::Duration;

use engine_proto::address::Address;
use engine_proto::limits::MESSAGE_BYTES_MAX;
use engine_proto::v1::audit_client::AuditClient;
use engine_proto::v1::clients_client::ClientsClient;
use engine_proto::v1::components_client::ComponentsClient;
use engine_proto::v1::handshake_client::HandshakeClient;
use engine_proto::v1::jobs_client::JobsClient;
use engine_proto::v1::nodes_client::NodesClient;
use engine_proto::v1::secrets_client::SecretsClient;
use engine_proto::v1::state_client::StateClient;
use engine_proto::v1::tenants_client::TenantsClient;
use engine_proto::v1::tokens_client::TokensClient;
use engine_proto::v1::{HelloRequest, HelloResponse};
use engine_proto::version;
use engine_tls::{AccessToken, Complaint};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::connect::{self, KEEPALIVE, Keepalive};
use crate::error::{Error, Result};

/// How long an engine may take to say which protocol it speaks.
const HELLO_TIME_MAX: Duration = Duration::from_secs(30);

/// Says in a request which protocol we speak, and who asks.
#[derive(Clone)]
pub(crate) struct Stamp(Option<MetadataValue<Ascii>>);

impl Stamp {
    pub(crate) fn new(token: Option<&AccessToken>) -> Self {
        // A token's text has no other characters.
        let bearer = token.and_then(|token| format!("Bearer {}", token.secret()).parse().ok());
        Self(bearer.map(|mut bearer: MetadataValue<Ascii>| {
            bearer.set_sensitive(true);
            bearer
        }))
    }
}

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        request.metadata_mut().insert(version::PROTOCOL_KEY, MetadataValue::from(version::PROTOCOL));
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

pub(crate) type Stamped = InterceptedService<Channel, Stamp>;

/// A connection to an engine. Clones share it; when it breaks, the next request opens another.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    token: Option<AccessToken>,
    address: Address,
    engine: HelloResponse,
}

impl Client {
    /// Connects to the engine at `address` and makes sure that both speak the same protocol.
    pub async fn connect(address: Address) -> Result<Self> {
        Self::connect_with(address, None, KEEPALIVE).await
    }

    /// The same as whom a token names. One that says by what its cluster is known takes no certificate: at a port
    /// the connection is then one with TLS.
    pub async fn connect_as(address: Address, token: Option<AccessToken>) -> Result<Self> {
        Self::connect_with(address, token, KEEPALIVE).await
    }

    pub(crate) async fn connect_with(
        address: Address,
        token: Option<AccessToken>,
        keepalive: Keepalive,
    ) -> Result<Self> {
        let authority = token.as_ref().and_then(AccessToken::fingerprint);
        let address = match address {
            Address::Tcp(at) if authority.is_some() => Address::Tls { at, credentials: None },
            address => address,
        };
        let complaint = Complaint::default();
        let channel = connect::channel(&address, authority, keepalive, &complaint).await?;
        let hello = HelloRequest { protocol: version::PROTOCOL, version: version::VERSION.to_owned() };
        let mut handshake = HandshakeClient::with_interceptor(channel.clone(), Stamp::new(token.as_ref()));
        // A request that is handed over at the moment when its connection breaks may never be answered:
        // nobody waits for the answer alone.
        let failed = tokio::select! {
            answer = handshake.hello(hello) => match answer {
                Ok(engine) => {
                    let engine = engine.into_inner();
                    return Ok(Self { channel, token, address, engine });
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
    /// to the one of this user on this machine. Shows what $ENGINE_TOKEN has, if it has something.
    pub async fn connect_default() -> Result<Self> {
        let address = Address::default_here()?.with_credentials_from_env();
        Self::connect_as(address, token_from_env()?).await
    }

    /// Where the engine is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What it shows.
    pub fn token(&self) -> Option<&AccessToken> {
        self.token.as_ref()
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(self.token.as_ref())
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
        ClientsClient::with_interceptor(self.channel.clone(), self.stamp())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn components(&self) -> ComponentsClient<Stamped> {
        ComponentsClient::with_interceptor(self.channel.clone(), self.stamp())
    }

    pub(crate) fn jobs(&self) -> JobsClient<Stamped> {
        JobsClient::with_interceptor(self.channel.clone(), self.stamp())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn state(&self) -> StateClient<Stamped> {
        StateClient::with_interceptor(self.channel.clone(), self.stamp())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn tokens(&self) -> TokensClient<Stamped> {
        TokensClient::with_interceptor(self.channel.clone(), self.stamp())
    }

    pub(crate) fn tenants(&self) -> TenantsClient<Stamped> {
        TenantsClient::with_interceptor(self.channel.clone(), self.stamp())
    }

    pub(crate) fn audit(&self) -> AuditClient<Stamped> {
        AuditClient::with_interceptor(self.channel.clone(), self.stamp())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn secrets(&self) -> SecretsClient<Stamped> {
        SecretsClient::with_interceptor(self.channel.clone(), self.stamp())
    }

    pub(crate) fn nodes(&self) -> NodesClient<Stamped> {
        NodesClient::with_interceptor(self.channel.clone(), self.stamp())
    }

    pub(crate) fn failed(&self) -> impl Fn(Status) -> Error {
        |status| Error::from_status(&status, &self.address)
    }
}

/// The environment variable that has a token.
pub const TOKEN_VARIABLE: &str = "ENGINE_TOKEN";

/// What $ENGINE_TOKEN has, if it is set and not empty.
///
/// # Errors
/// [`Error::Token`] when that is no token.
pub fn token_from_env() -> Result<Option<AccessToken>> {
    let text = std::env::var_os(TOKEN_VARIABLE).filter(|text| !text.is_empty());
    // What is no Unicode is no token either.
    let token = text.map(|text| text.to_str().unwrap_or_default().parse());
    token.transpose().map_err(Error::Token)
}
