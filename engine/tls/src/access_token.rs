//! What a client shows that has no certificate.

use std::fmt;
use std::str::FromStr;

use crate::token::{Fingerprint, unhex};

/// What a token begins with; the number is that of its form.
const PREFIX: &str = "egt1-";
/// Bytes of its text.
const BYTES_MAX: usize = 8 << 10;

/// What a client shows that has no certificate: a secret that an engine has made, and by which it knows that
/// engine, when that speaks TLS: the fingerprint of its authority. Its text is `egt1-SECRET` or
/// `egt1-SECRET.FINGERPRINT`.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    secret: String,
    fingerprint: Option<Fingerprint>,
}

impl AccessToken {
    /// Of a secret that has no dots.
    pub fn new(secret: String, fingerprint: Option<Fingerprint>) -> Self {
        Self { secret, fingerprint }
    }

    /// What is shown to the engine.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The fingerprint of the engine's authority; none: it has no TLS.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// With its secret: whoever prints it gives it away.
    pub fn to_secret_text(&self) -> String {
        match self.fingerprint {
            Some(fingerprint) => format!("{PREFIX}{}.{fingerprint}", self.secret),
            None => format!("{PREFIX}{}", self.secret),
        }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}(secret)")
    }
}

/// A text that is no token. It does not show the text, which may be most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no token: expected {PREFIX}…, all of what `engine token create` has printed")]
pub struct ParseAccessTokenError;

impl FromStr for AccessToken {
    type Err = ParseAccessTokenError;

    fn from_str(text: &str) -> Result<Self, ParseAccessTokenError> {
        let rest = text.trim().strip_prefix(PREFIX).filter(|rest| rest.len() <= BYTES_MAX);
        let rest = rest.ok_or(ParseAccessTokenError)?;
        let (secret, fingerprint) = match rest.split_once('.') {
            Some((secret, digits)) => {
                let bytes = unhex(digits).map_err(|_| ParseAccessTokenError)?;
                (secret, Some(Fingerprint(bytes)))
            }
            None => (rest, None),
        };
        let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
        match !secret.is_empty() && secret.bytes().all(is_of_it) {
            true => Ok(Self { secret: secret.to_owned(), fingerprint }),
            false => Err(ParseAccessTokenError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_hides_its_secret() {
        for fingerprint in [None, Some(Fingerprint([0xab; 32]))] {
            let token = AccessToken::new("En0-_K==".to_owned(), fingerprint);
            let text = token.to_secret_text();
            assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
            assert!(!format!("{token:?}").contains("En0"));
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        let long = format!("egt1-{}", "x".repeat(BYTES_MAX + 1));
        for bad in ["", "egt1-", "ejt1-abc", "egt1-a b", "egt1-abc.", "egt1-abc.00", "egt1-é", &long] {
            let error = bad.parse::<AccessToken>().unwrap_err().to_string();
            assert!(error.contains("engine token create"), "{error}");
            assert!(bad.len() < 6 || !error.contains(bad), "{error}");
        }
    }
}
