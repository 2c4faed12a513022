//! A node's own part in getting its certificate: the key that never leaves it.

use std::time::Duration;

use engine_core::NodeId;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::error::TlsError;
use crate::identity::{Held, Identity};
use crate::name::Name;
use crate::token::{Fingerprint, JoinToken};

/// A new key, and the request for a certificate of it.
pub struct KeyRequest {
    key: KeyPair,
    request: Vec<u8>,
}

impl KeyRequest {
    /// A new key.
    ///
    /// # Errors
    /// When the system gives no random bits.
    pub fn new() -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::new(Vec::new())?.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, request })
    }

    /// What the head is sent: a PKCS #10 request, as DER.
    pub fn signing_request(&self) -> &[u8] {
        &self.request
    }

    /// What the node is from now on, with what the head has answered.
    ///
    /// # Errors
    /// When the authority is not the one that the token names, or the certificate is not this node's.
    pub fn joined(
        self,
        node: NodeId,
        token: &JoinToken,
        authority: &[u8],
        certificate: &[u8],
        lifetime: Duration,
    ) -> Result<Identity, TlsError> {
        self.identity(node, token.fingerprint(), authority.to_vec().into(), certificate, lifetime)
    }

    /// What the next incarnation of a node is, with what the head has answered to the one before.
    ///
    /// # Errors
    /// When the certificate is not this node's.
    pub fn again(
        self,
        node: NodeId,
        before: &Identity,
        certificate: &[u8],
        lifetime: Duration,
    ) -> Result<Identity, TlsError> {
        let authority = before.authority().clone();
        self.identity(node, before.fingerprint(), authority, certificate, lifetime)
    }

    /// Shows the new certificate from now on.
    ///
    /// # Errors
    /// When it is not this node's; the old one is shown on.
    pub fn renews(self, identity: &Identity, certificate: &[u8], lifetime: Duration) -> Result<(), TlsError> {
        let held = self.held(identity.name(), identity.authority().clone(), certificate, lifetime)?;
        identity.renew(held);
        Ok(())
    }

    fn identity(
        self,
        node: NodeId,
        fingerprint: Fingerprint,
        authority: CertificateDer<'static>,
        certificate: &[u8],
        lifetime: Duration,
    ) -> Result<Identity, TlsError> {
        if Fingerprint::of(&authority) != fingerprint {
            let what = "the head answers with another authority than the join token names";
            return Err(TlsError::Certificate(what.to_owned()));
        }
        let name = Name::Node(node);
        let held = self.held(name, authority.clone(), certificate, lifetime)?;
        Identity::fixed(name, authority, held)
    }

    fn held(
        self,
        name: Name,
        authority: CertificateDer<'static>,
        certificate: &[u8],
        lifetime: Duration,
    ) -> Result<Held, TlsError> {
        let certificate = CertificateDer::from(certificate.to_vec());
        if Name::of(&certificate) != Some(name) {
            return Err(TlsError::Certificate(format!("the head's certificate is not one of {name}")));
        }
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        Held::new(vec![certificate, authority], key.into(), lifetime)
    }
}
