//! What somebody of the cluster shows, and believes.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_core::NodeId;
use parking_lot::RwLock;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use crate::error::TlsError;
use crate::limits::{FAREWELL_TIME_MAX, RENEWAL_AFTER_PERCENT};
use crate::name::Name;
use crate::revoked::Revoked;
use crate::token::Fingerprint;
use crate::verify::{ClientVerifier, ServerVerifier};

/// What somebody of the cluster shows: a certificate with its key, and the authority that it believes.
/// Clones share them; a renewed certificate counts for each connection that is made from then on.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    name: Name,
    authority: CertificateDer<'static>,
    keys: Arc<Keys>,
    revoked: Revoked,
    client: Arc<ClientConfig>,
    /// Of a port where everybody shows a certificate.
    server: Arc<ServerConfig>,
    /// Of a port where those who want to join show none.
    joining_server: Arc<ServerConfig>,
}

/// A certificate with its key.
pub(crate) struct Held {
    key: Arc<CertifiedKey>,
    since: Instant,
    lifetime: Duration,
}

impl Held {
    /// The certificate comes first in its chain.
    ///
    /// # Errors
    /// When the key is not that of the certificate.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        lifetime: Duration,
    ) -> Result<Self, TlsError> {
        let key = CertifiedKey::from_der(chain, key, &provider())?;
        Ok(Self { key: Arc::new(key), since: Instant::now(), lifetime })
    }

    fn renew_at(&self) -> Instant {
        self.since + self.lifetime * RENEWAL_AFTER_PERCENT / 100
    }
}

type Renew = Box<dyn Fn() -> Result<Held, TlsError> + Send + Sync>;

/// The certificate of now.
struct Keys {
    held: RwLock<Held>,
    /// How it is renewed when it is used; none: by [`Identity::renew`].
    renew: Option<Renew>,
}

impl Keys {
    fn now(&self) -> Arc<CertifiedKey> {
        if let Some(renew) = &self.renew
            && self.held.read().renew_at() <= Instant::now()
        {
            match renew() {
                Ok(held) => *self.held.write() = held,
                Err(error) => tracing::error!(%error, "the head's certificate was not renewed"),
            }
        }
        self.held.read().key.clone()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl ResolvesServerCert for Keys {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

impl ResolvesClientCert for Keys {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What does the arithmetic.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Identity {
    pub(crate) fn fixed(
        name: Name,
        authority: CertificateDer<'static>,
        held: Held,
    ) -> Result<Self, TlsError> {
        Self::new(name, authority, Keys { held: RwLock::new(held), renew: None })
    }

    pub(crate) fn renewing(
        name: Name,
        authority: CertificateDer<'static>,
        held: Held,
        renew: Renew,
    ) -> Result<Self, TlsError> {
        Self::new(name, authority, Keys { held: RwLock::new(held), renew: Some(renew) })
    }

    fn new(name: Name, authority: CertificateDer<'static>, keys: Keys) -> Result<Self, TlsError> {
        let keys = Arc::new(keys);
        let provider = provider();
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let roots = Arc::new(roots);
        let unusable = |error: rustls::client::VerifierBuilderError| {
            TlsError::Certificate(format!("the authority's certificate cannot be used: {error}"))
        };
        let revoked = Revoked::default();
        let verifier = ServerVerifier::new(roots.clone(), provider.clone(), revoked.clone());
        let verifier = verifier.map_err(unusable)?;
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(keys.clone());
        // Each connection shows its certificate anew; and no ticket comes where nothing is expected.
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let server = |may_join: bool| {
            let callers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
            let callers = if may_join { callers.allow_unauthenticated() } else { callers };
            let mut server = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_client_cert_verifier(Arc::new(ClientVerifier::new(
                    callers.build().map_err(unusable)?,
                    revoked.clone(),
                )))
                .with_cert_resolver(keys.clone());
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
            Ok::<_, TlsError>(Arc::new(server))
        };
        let (server, joining_server) = (server(false)?, server(true)?);
        Ok(Self(Arc::new(Inner {
            name,
            authority,
            keys,
            revoked,
            client: Arc::new(client),
            server,
            joining_server,
        })))
    }

    /// Whom its certificate names.
    pub fn name(&self) -> Name {
        self.0.name
    }

    /// A node's certificate is good no more: whoever shows it, here or when it is called from here, is refused
    /// from now on, and what is open is closed after [`FAREWELL_TIME_MAX`], with the next bytes that come.
    pub fn revoke(&self, node: NodeId) {
        self.revoke_after(node, FAREWELL_TIME_MAX);
    }

    pub(crate) fn revoke_after(&self, node: NodeId, after: Duration) {
        self.0.revoked.add(node, after);
    }

    /// Whether a node's certificate is good no more.
    pub fn is_revoked(&self, node: NodeId) -> bool {
        self.0.revoked.has(node)
    }

    pub(crate) fn revoked(&self) -> &Revoked {
        &self.0.revoked
    }

    /// The fingerprint of the authority that it believes.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0.authority)
    }

    /// When its certificate is to be renewed.
    pub fn renew_at(&self) -> Instant {
        self.0.keys.held.read().renew_at()
    }

    /// Shows this from now on.
    pub(crate) fn renew(&self, held: Held) {
        *self.0.keys.held.write() = held;
    }

    pub(crate) fn authority(&self) -> &CertificateDer<'static> {
        &self.0.authority
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.0.client.clone()
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.0.server.clone()
    }

    pub(crate) fn joining_server(&self) -> Arc<ServerConfig> {
        self.0.joining_server.clone()
    }
}

/// Without its key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.0.name)
    }
}
