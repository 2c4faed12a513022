//! The head's own certificate authority.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine_core::NodeId;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::TlsError;
use crate::folder;
use crate::identity::{Held, Identity};
use crate::limits::{
    AUTHORITY_LIFETIME, CLOCK_SKEW_MAX, CREDENTIALS_LIFETIME, NODE_CERTIFICATE_LIFETIME,
    SIGNING_REQUEST_BYTES_MAX,
};
use crate::name::Name;
use crate::stored_tokens::{self, RefusedToken};
use crate::token::{Fingerprint, JoinToken};

/// What a key's text begins with.
const KEY_BEGINS: &str = "-----BEGIN PRIVATE KEY";

/// The certificate authority of a cluster. Its folder, which is its user's alone, has:
/// - `ca.pem`: its certificate and key. Whoever has it is the cluster.
/// - `join-tokens`: the hashes of the join tokens that it accepts.
/// - `join-command`: how a node joins, with the token that the head made at its last start.
/// - `credentials.pem`: what a client shows.
pub struct Authority {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
    /// The same as text.
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that was made.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, as DER.
    pub certificate: Vec<u8>,
    /// How long it is valid from now on.
    pub lifetime: Duration,
}

impl Authority {
    /// The authority of this folder, which is made where there is none.
    ///
    /// # Errors
    /// When the folder is open to others, or what is in it cannot be used.
    pub fn open_or_make(folder: &Path) -> Result<Arc<Self>, TlsError> {
        engine_private::folder(folder)?;
        let _lock = folder::lock(folder)?;
        let path = folder.join("ca.pem");
        let text = match folder::read(&path)? {
            Some(text) => text,
            None => {
                let text = make()?;
                engine_private::write(&path, text.as_bytes())?;
                text
            }
        };
        Self::of(folder, &path, &text)
    }

    /// The authority of this folder.
    ///
    /// # Errors
    /// As [`Self::open_or_make`], and [`TlsError::NoAuthority`] where there is none.
    pub fn open(folder: &Path) -> Result<Arc<Self>, TlsError> {
        let path = folder.join("ca.pem");
        match folder::read(&path)? {
            Some(text) => Self::of(folder, &path, &text),
            None => Err(TlsError::NoAuthority { path: folder.to_owned() }),
        }
    }

    fn of(folder: &Path, path: &Path, text: &str) -> Result<Arc<Self>, TlsError> {
        let damaged = |what: String| TlsError::Damaged {
            path: path.to_owned(),
            what: format!(
                "{what}; bring it back from a copy, or remove it: then the head makes a new authority, and every \
                 agent and client needs a new token or new credentials"
            ),
        };
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|error| damaged(format!("it has no certificate ({error})")))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| damaged(format!("it has no key ({error})")))?;
        let key =
            KeyPair::try_from(&key).map_err(|error| damaged(format!("its key cannot be read ({error})")))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| damaged(format!("its certificate cannot be read ({error})")))?;
        let (certificate_pem, _) = text.split_once(KEY_BEGINS).unwrap_or((text, ""));
        let certificate_pem = certificate_pem.to_owned();
        Ok(Arc::new(Self { folder: folder.to_owned(), certificate, certificate_pem, issuer }))
    }

    /// The fingerprint of its certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Its certificate, as DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Makes a join token that is valid for so long.
    ///
    /// # Errors
    /// [`TlsError::Ttl`] when that is too long or nothing; when it cannot be kept.
    pub fn new_token(&self, ttl: Duration) -> Result<JoinToken, TlsError> {
        stored_tokens::add(&self.folder, self.fingerprint(), ttl, SystemTime::now())
    }

    /// Whether whoever shows this token may join.
    ///
    /// # Errors
    /// Why not.
    pub fn check_token(&self, token: &JoinToken) -> Result<(), RefusedToken> {
        stored_tokens::check(&self.folder, token, SystemTime::now())
    }

    /// Writes how a node joins to `join-command`, for this user alone; answers where.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_join_command(&self, command: &str) -> Result<PathBuf, TlsError> {
        let path = self.folder.join("join-command");
        engine_private::write(&path, format!("{command}\n").as_bytes())?;
        Ok(path)
    }

    /// The certificate of a node that has asked for one: it names that node, whatever the request says.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] when the request is none, or not signed with its key.
    pub fn issue(&self, node: NodeId, signing_request: &[u8]) -> Result<Issued, TlsError> {
        if signing_request.len() > SIGNING_REQUEST_BYTES_MAX {
            let what = format!(
                "a request for a certificate has {} bytes, and signing_request_bytes_max is {SIGNING_REQUEST_BYTES_MAX}",
                signing_request.len()
            );
            return Err(TlsError::Certificate(what));
        }
        let request = CertificateSigningRequestDer::from(signing_request);
        let request = CertificateSigningRequestParams::from_der(&request).map_err(|error| {
            TlsError::Certificate(format!("a request for a certificate cannot be read: {error}"))
        })?;
        let certificate = self.sign(Name::Node(node), &request.public_key, NODE_CERTIFICATE_LIFETIME)?;
        Ok(Issued { certificate: certificate.der().to_vec(), lifetime: NODE_CERTIFICATE_LIFETIME })
    }

    /// What the head shows. Its certificate is renewed as it is used.
    ///
    /// # Errors
    /// When none can be made.
    pub fn head_identity(self: &Arc<Self>) -> Result<Identity, TlsError> {
        let authority = self.clone();
        let held = self.held(Name::Head, NODE_CERTIFICATE_LIFETIME)?;
        let renew = move || authority.held(Name::Head, NODE_CERTIFICATE_LIFETIME);
        Identity::renewing(Name::Head, self.certificate.clone(), held, Box::new(renew))
    }

    /// Writes new credentials for clients to `credentials.pem`; answers where.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_credentials(&self) -> Result<PathBuf, TlsError> {
        let key = KeyPair::generate()?;
        let certificate = self.sign(Name::Client, &key, CREDENTIALS_LIFETIME)?;
        let path = self.folder.join("credentials.pem");
        let text = format!("{}{}{}", certificate.pem(), self.certificate_pem, key.serialize_pem());
        engine_private::write(&path, text.as_bytes())?;
        Ok(path)
    }

    /// A new key with its certificate.
    pub(crate) fn held(&self, name: Name, lifetime: Duration) -> Result<Held, TlsError> {
        let key = KeyPair::generate()?;
        let certificate = self.sign(name, &key, lifetime)?.der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Held::new(vec![certificate, self.certificate.clone()], key.into(), lifetime)
    }

    fn sign(
        &self,
        name: Name,
        key: &impl PublicKeyData,
        lifetime: Duration,
    ) -> Result<Certificate, TlsError> {
        let mut params = CertificateParams::new(vec![name.dns()])?;
        params.distinguished_name = named(&name.dns());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match name {
            Name::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Name::Head | Name::Node(_) => {
                vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth]
            }
        };
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, lifetime);
        Ok(params.signed_by(key, &self.issuer)?)
    }
}

/// A new authority: its certificate and its key.
fn make() -> Result<String, TlsError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    // Its own name, so that the certificates of two clusters are told apart.
    let own = params.key_identifier(&key);
    params.distinguished_name =
        named(&format!("engine cluster {}", crate::token::hex(&own[..8.min(own.len())])));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, AUTHORITY_LIFETIME);
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", certificate.pem(), key.serialize_pem()))
}

fn named(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn valid_for(params: &mut CertificateParams, lifetime: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW_MAX).into();
    params.not_after = (now + lifetime).into();
}

#[cfg(test)]
impl Authority {
    /// What shows a certificate that is made like this.
    pub(crate) fn with_params(&self, name: Name, params: CertificateParams) -> Result<Identity, TlsError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let held = Held::new(vec![certificate], key.into(), NODE_CERTIFICATE_LIFETIME)?;
        Identity::fixed(name, self.certificate.clone(), held)
    }
}
