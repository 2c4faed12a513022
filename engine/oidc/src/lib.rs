//! Who logs in: somebody shows an ID token of an issuer of OpenID Connect ([`Oidc`]), and gets what the operator's
//! rules say of such people ([`Rules`]).
//!
//! An ID token is believed when one of the issuer's keys has signed it, which are fetched from the issuer itself,
//! and when it is for this engine and of this time. Nothing of it is ever logged but its subject, and that only once it is
//! believed.

mod judge;
mod keys;
pub mod limits;
mod rules;
#[cfg(test)]
mod tests;

use std::time::Duration;

use engine_access::Grant;
use engine_core::{Error, ErrorCode};

use keys::Keys;
pub use rules::{Rule, Rules};

/// Judges ID tokens of one issuer.
pub struct Oidc {
    rules: Rules,
    keys: Keys,
}

/// Somebody who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who it is to the issuer: its claim `sub`.
    pub subject: String,
    /// What a token for it grants.
    pub grant: Grant,
}

impl Oidc {
    /// One by these rules. Nothing is fetched yet.
    ///
    /// # Errors
    /// INTERNAL when this machine gives no way to fetch anything.
    pub fn new(rules: Rules) -> Result<Self, Error> {
        let keys = Keys::new(&rules.issuer, limits::KEYS_FETCH_PAUSE)?;
        Ok(Self { rules, keys })
    }

    /// Whose tokens are believed.
    pub fn issuer(&self) -> &str {
        &self.rules.issuer
    }

    /// What whoever shows this ID token gets. `tenant`: of which, where rules of several fit; empty: the first.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a token that is not believed, or while the issuer's keys cannot be fetched;
    /// PERMISSION_DENIED when no rule fits.
    pub async fn login(&self, id_token: &str, tenant: &str) -> Result<Login, Error> {
        let head = judge::head(id_token)?;
        let keys = self.keys.for_token(&head).await?;
        let claims = judge::claims(id_token, &head, &keys, &self.rules)?;
        let subject = match claims.get("sub").and_then(serde_json::Value::as_str) {
            Some(subject) if !subject.is_empty() => subject.to_owned(),
            _ => return Err(refused("it names no subject (sub)")),
        };
        let grant = self.rules.grant(&subject, &claims, tenant)?;
        Ok(Login { subject, grant })
    }
}

/// How long a fetch may take as a whole.
const FETCH_TIME_MAX: Duration = Duration::from_secs(8);

/// An ID token that is not believed. It never shows the token.
fn refused(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::Unauthenticated, format!("the ID token was refused: {why}"))
}
