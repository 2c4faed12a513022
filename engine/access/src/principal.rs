//! Who asks.

use std::time::SystemTime;

use engine_core::{Error, ErrorCode};

use crate::revoked::TokenId;
use crate::scope::Scope;
use crate::verb::{Role, Verb, Verbs};

/// Who asks: what it may do, and what of the engine it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// What it sees.
    pub scope: Scope,
    /// What it may do.
    pub verbs: Verbs,
    /// Its token; none: it has none, and needs none.
    pub token: Option<Shown>,
}

/// A token that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Of each of its blocks: who revokes one revokes all that was made of it.
    pub(crate) ids: Vec<TokenId>,
    pub(crate) expires: SystemTime,
}

impl Principal {
    /// Who keeps the engine.
    pub fn operator() -> Self {
        Self { scope: Scope::ALL, verbs: Role::Operator.verbs(), token: None }
    }

    /// The id of its token, by which that is revoked.
    pub fn token_id(&self) -> Option<&TokenId> {
        self.token.as_ref().and_then(|shown| shown.ids.last())
    }

    /// Until when it is who it is; none: no token bounds it.
    pub fn expires(&self) -> Option<SystemTime> {
        self.token.as_ref().map(|shown| shown.expires)
    }

    /// Whether it may do this.
    ///
    /// # Errors
    /// PERMISSION_DENIED, with what it may do.
    pub fn check(&self, verb: Verb) -> Result<(), Error> {
        if self.verbs.has(verb) {
            return Ok(());
        }
        let whose = match &self.scope.tenant {
            Some(tenant) => format!("of tenant {tenant} "),
            None => String::new(),
        };
        Err(Error::new(
            ErrorCode::PermissionDenied,
            format!("this needs the verb {verb}, and the token {whose}may: {}", self.verbs),
        ))
    }
}
