//! Which components a tenant's jobs may bring: those that are signed, and those that are allowed one by one.
//!
//! A signature is over a component's bytes: ECDSA on P-256 with SHA-256, in DER, or Ed25519, as `cosign sign-blob`
//! and `openssl` make them. A component is known by the SHA-256 of its bytes, so that of the first kind nothing
//! but its id is needed to look at one.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::VerifyingKey as Ed25519Key;
use engine_core::{ComponentId, Error, ErrorCode, TenantName};
use p256::ecdsa::VerifyingKey as P256Key;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::pkcs8::{DecodePublicKey, EncodePublicKey};
use sha2::{Digest, Sha256};

use crate::limits::{ALLOWED_COMPONENTS_MAX, SIGNATURE_BYTES_MAX, SIGNERS_MAX};

/// A public key by which components are signed.
#[derive(Clone)]
pub struct Signer {
    der: Vec<u8>,
    key: Key,
}

#[derive(Clone)]
enum Key {
    P256(P256Key),
    Ed25519(Ed25519Key),
}

impl Signer {
    /// A key as files have it: `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for what is none, or one of another kind.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        if let Ok(key) = P256Key::from_public_key_pem(text) {
            return Self::of(Key::P256(key));
        }
        match Ed25519Key::from_public_key_pem(text) {
            Ok(key) => Self::of(Key::Ed25519(key)),
            Err(_) => Err(no_key()),
        }
    }

    /// A key as it travels: a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// As [`Self::from_pem`].
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if let Ok(key) = P256Key::from_public_key_der(der) {
            return Self::of(Key::P256(key));
        }
        match Ed25519Key::from_public_key_der(der) {
            Ok(key) => Self::of(Key::Ed25519(key)),
            Err(_) => Err(no_key()),
        }
    }

    fn of(key: Key) -> Result<Self, Error> {
        let der = match &key {
            Key::P256(key) => key.to_public_key_der(),
            Key::Ed25519(key) => key.to_public_key_der(),
        };
        let der = der.map_err(|error| Error::internal(format!("a public key cannot be written: {error}")))?;
        Ok(Self { der: der.into_vec(), key })
    }

    /// As it travels.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What it is known by: `SHA256:` and the digest of [`Self::der`].
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.der);
        digest.iter().fold("SHA256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// Whether this key has made this signature of these bytes, whose digest is the component's id.
    fn has_signed(&self, id: ComponentId, bytes: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Key::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&id.0, &signature).is_ok()),
            Key::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                // A caller that has not brought the bytes has nothing that could be signed.
                !bytes.is_empty()
                    && signature.is_ok_and(|signature| key.verify_strict(bytes, &signature).is_ok())
            }
        }
    }
}

impl PartialEq for Signer {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Signer {}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

fn no_key() -> Error {
    Error::invalid_argument(
        "that is no public key by which components are signed: expected PEM (-----BEGIN PUBLIC KEY-----) of a key of \
         ECDSA P-256 or Ed25519, as `openssl pkey -pubout` and `cosign generate-key-pair` write it",
    )
}

/// What is in the file of a signature: base64, as cosign writes it, or the bytes themselves, as openssl does.
///
/// # Errors
/// LIMIT_EXCEEDED for more than `signature_bytes_max`, INVALID_ARGUMENT for nothing.
pub fn signature(file: &[u8]) -> Result<Vec<u8>, Error> {
    let text: Vec<u8> = file.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if text.is_empty() {
        return Err(Error::invalid_argument("there is nothing in it"));
    }
    let signature = BASE64_STANDARD.decode(&text).unwrap_or_else(|_| file.to_vec());
    check_signature(&signature)?;
    Ok(signature)
}

/// # Errors
/// LIMIT_EXCEEDED for more than `signature_bytes_max`.
pub fn check_signature(signature: &[u8]) -> Result<(), Error> {
    match signature.len() {
        0..=SIGNATURE_BYTES_MAX => Ok(()),
        bytes => {
            let message = format!(
                "the signature has {bytes} bytes, at most {SIGNATURE_BYTES_MAX} are allowed (signature_bytes_max): one \
                 of ECDSA P-256 or Ed25519 has fewer than 80"
            );
            Err(Error::new(ErrorCode::LimitExceeded, message))
        }
    }
}

/// A component that somebody brings.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// What it is called, for people; empty: nothing.
    pub name: &'a str,
    /// The SHA-256 of its bytes.
    pub id: ComponentId,
    /// Its signature; empty: it has none.
    pub signature: &'a [u8],
    /// Its bytes; may be empty where [`ComponentPolicy::needs_bytes`] says so.
    pub bytes: &'a [u8],
}

/// What a tenant's components have to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComponentPolicy {
    /// Whether one that is neither signed nor allowed is refused.
    pub is_required: bool,
    /// By whom they may be signed.
    pub signers: Vec<Signer>,
    /// Those that need no signature.
    pub allowed: BTreeSet<ComponentId>,
}

/// What is to be another way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyChange {
    /// What is required from now on; none: what was.
    pub requirement: Option<Requirement>,
    /// These need no signature from now on.
    pub allow: Vec<ComponentId>,
    /// These do again.
    pub disallow: Vec<ComponentId>,
}

/// What is required of components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing.
    Nothing,
    /// That they are signed by one of these, or allowed.
    SignedBy(Vec<Signer>),
}

impl ComponentPolicy {
    /// Whether there is nothing to keep of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same with a change.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED beyond `signers_max` and `allowed_components_max`.
    pub fn changed(&self, change: PolicyChange) -> Result<Self, Error> {
        let mut policy = self.clone();
        match change.requirement {
            None => {}
            Some(Requirement::Nothing) => (policy.is_required, policy.signers) = (false, Vec::new()),
            Some(Requirement::SignedBy(signers)) => {
                (policy.is_required, policy.signers) = (true, Vec::new());
                for signer in signers {
                    if !policy.signers.contains(&signer) {
                        policy.signers.push(signer);
                    }
                }
            }
        }
        policy.allowed.extend(change.allow);
        policy.allowed.retain(|id| !change.disallow.contains(id));
        let most = |count: usize, max: usize, what: &str, name: &str| match count > max {
            true => {
                let message = format!("a tenant has at most {max} {what} ({name}), and these are {count}");
                Err(Error::new(ErrorCode::LimitExceeded, message))
            }
            false => Ok(()),
        };
        most(policy.signers.len(), SIGNERS_MAX, "keys by which components are signed", "signers_max")?;
        most(
            policy.allowed.len(),
            ALLOWED_COMPONENTS_MAX,
            "components that are allowed",
            "allowed_components_max",
        )?;
        Ok(policy)
    }

    /// The same for a job that brings these components: nothing is said of others.
    pub fn for_components(&self, ids: &[ComponentId]) -> Self {
        let allowed = self.allowed.iter().filter(|id| ids.contains(id)).copied().collect();
        Self { is_required: self.is_required, signers: self.signers.clone(), allowed }
    }

    /// Whether [`Self::check`] is to have the component's bytes.
    pub fn needs_bytes(&self, id: ComponentId, signature: &[u8]) -> bool {
        self.is_required
            && !self.allowed.contains(&id)
            && signature.len() == ed25519_dalek::SIGNATURE_LENGTH
            && self.signers.iter().any(|signer| matches!(signer.key, Key::Ed25519(_)))
    }

    /// Whether a component may be run by this tenant.
    ///
    /// # Errors
    /// PERMISSION_DENIED, with what to do.
    pub fn check(&self, tenant: &TenantName, offered: Offered<'_>) -> Result<(), Error> {
        let Offered { name, id, signature, bytes } = offered;
        if !self.is_required || self.allowed.contains(&id) {
            return Ok(());
        }
        if self.signers.iter().any(|signer| signer.has_signed(id, bytes, signature)) {
            return Ok(());
        }
        let which = match name.is_empty() {
            true => format!("the component {id}"),
            false => format!("the component {name} ({id})"),
        };
        let keys = match self.signers.len() {
            1 => "its key".to_owned(),
            count => format!("one of its {count} keys"),
        };
        let message = match (self.signers.is_empty(), signature.is_empty()) {
            (true, _) => format!(
                "{which} is not allowed, and the tenant {tenant} takes only components that are: who keeps the engine \
                 allows it with `engine tenant allow {tenant} {id}`"
            ),
            (false, true) => format!(
                "{which} is not signed, and the tenant {tenant} takes only components that are signed by {keys}: give the \
                 signature in a file of its name with .sig after it, or by `engine submit --signature FILE`; or have \
                 who keeps the engine allow it (`engine tenant allow {tenant} {id}`)"
            ),
            (false, false) => format!(
                "the signature of {which} is not good, and the tenant {tenant} takes only components that are signed by \
                 {keys}: it was made of other bytes, or by another key. It is one of the component's bytes by ECDSA \
                 P-256 with SHA-256 (`cosign sign-blob --key`, `openssl dgst -sha256 -sign`) or Ed25519"
            ),
        };
        Err(Error::new(ErrorCode::PermissionDenied, message))
    }
}

#[cfg(test)]
mod tests;
