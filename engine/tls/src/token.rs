//! What a new node shows, and knows its head by.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::TlsError;

/// What a token begins with; the number is that of its form.
const PREFIX: &str = "ejt1";

/// The SHA-256 of an authority's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    /// That of a certificate's bytes.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no fingerprint: expected 64 hexadecimal digits, as `engine head` prints them")]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        unhex(text.trim()).map(Self).map_err(|_| ParseFingerprintError)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lets a new node join: a secret that the head knows the hash of, and the fingerprint of the head's
/// authority. Its text is `ejt1-ID-SECRET-FINGERPRINT`, in hexadecimal.
#[derive(Clone)]
pub struct JoinToken {
    /// Not secret: which token it is.
    pub(crate) id: [u8; 6],
    secret: [u8; 16],
    /// Of the authority that made it.
    pub(crate) fingerprint: Fingerprint,
}

impl JoinToken {
    /// A new one of this authority.
    pub(crate) fn new(fingerprint: Fingerprint) -> Result<Self, TlsError> {
        let (mut id, mut secret) = ([0; 6], [0; 16]);
        for bytes in [&mut id[..], &mut secret[..]] {
            let filled = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty());
            if filled != Ok(bytes.len()) {
                return Err(TlsError::Certificate("the system gave no random bits".to_owned()));
            }
        }
        Ok(Self { id, secret, fingerprint })
    }

    /// The fingerprint of the authority that made it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Which token it is, in hexadecimal; not secret.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// What is kept of the secret.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    /// Whether this is the hash of the secret; takes as long whatever it is.
    pub(crate) fn has_hash(&self, hash: &[u8; 32]) -> bool {
        bool::from(self.hash().ct_eq(hash))
    }
}

/// With its secret: whoever prints it gives it away.
impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-{}-{}-{}", hex(&self.id), hex(&self.secret), self.fingerprint)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-{}-(secret)-{}", hex(&self.id), self.fingerprint)
    }
}

/// A text that is no join token. It does not show the text, which may be most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "that is no join token: expected {PREFIX}- and three hexadecimal numbers, as `engine head` prints it and `engine \
     head token` makes it; copy all of it"
)]
pub struct ParseJoinTokenError;

impl FromStr for JoinToken {
    type Err = ParseJoinTokenError;

    fn from_str(text: &str) -> Result<Self, ParseJoinTokenError> {
        let mut parts = text.trim().split('-');
        let mut next = || parts.next().ok_or(ParseJoinTokenError);
        if next()? != PREFIX {
            return Err(ParseJoinTokenError);
        }
        let token =
            Self { id: unhex(next()?)?, secret: unhex(next()?)?, fingerprint: Fingerprint(unhex(next()?)?) };
        match parts.next() {
            None => Ok(token),
            Some(_) => Err(ParseJoinTokenError),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Result<[u8; N], ParseJoinTokenError> {
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ParseJoinTokenError);
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| ParseJoinTokenError)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| ParseJoinTokenError)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_hides_its_secret() {
        let token = JoinToken::new(Fingerprint([0xab; 32])).unwrap();
        let text = token.to_string();
        let again: JoinToken = format!(" {text}\n").parse().unwrap();
        assert_eq!((again.id, again.secret), (token.id, token.secret));
        assert_eq!(again.fingerprint(), token.fingerprint());
        assert!(again.has_hash(&token.hash()));
        assert!(!format!("{token:?}").contains(&hex(&token.secret)));
        let other = JoinToken::new(token.fingerprint).unwrap();
        assert!(!other.has_hash(&token.hash()));
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        let text = JoinToken::new(Fingerprint([1; 32])).unwrap().to_string();
        let cut = &text[..text.len() - 1];
        let more = format!("{text}-00");
        let strange = text.replace("ejt1", "ejt2");
        let wide = text.replacen(&text[5..7], "é", 1);
        for bad in ["", "ejt1", "ejt1---", cut, &more, &strange, &wide] {
            let error = bad.parse::<JoinToken>().unwrap_err().to_string();
            assert!(error.contains("engine head token"), "{error}");
            assert!(bad.len() < 5 || !error.contains(bad), "{error}");
        }
    }
}
