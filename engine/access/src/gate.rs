//! Where tokens are made, judged and taken back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use biscuit_auth::builder::Algorithm;
use biscuit_auth::{KeyPair, PrivateKey, PublicKey};
use engine_core::{Error, ErrorCode, JobId};
use engine_private as private;
use parking_lot::{Mutex, RwLock};

use crate::error::{OpenError, refused};
use crate::known::{Known, digest};
use crate::limits::{FILE_BYTES_MAX, TICKET_LIFETIME, TOKEN_LIFETIME_MAX};
use crate::principal::Principal;
use crate::revoked::{Revoked, TokenId};
use crate::scope::Scope;
use crate::token::{self, Grant};
use crate::verb::{Role, Verb, Verbs};

/// What judges the tokens of an engine. Its folder, which is its user's alone, has:
/// - `token-key`: the key by which tokens are made. Whoever has it may make any token.
/// - `revoked-tokens`: which tokens are revoked, and when each would have expired.
/// - `operator-token`: where everybody has to show a token, that of who keeps the engine.
#[derive(Default)]
pub struct Gate {
    /// Makes tokens; none: this one only judges tickets, or nothing at all.
    pub(crate) key: Option<KeyPair>,
    /// What tickets are judged by where there is no key.
    tickets: RwLock<Option<PublicKey>>,
    pub(crate) known: Mutex<Known>,
    revoked: Mutex<Revoked>,
    folder: Option<PathBuf>,
    is_token_required: bool,
}

/// A token that was made.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Its text: whoever has it is who it says.
    pub text: String,
    /// What it is known by where it is not to be shown.
    pub id: TokenId,
    /// When it expires.
    pub expires: SystemTime,
}

impl Gate {
    /// One whose key and revocations are gone when it is.
    pub fn in_memory() -> Self {
        Self { key: Some(KeyPair::new()), ..Self::default() }
    }

    /// One that keeps its key and what is revoked in this folder, and makes the key where there is none.
    ///
    /// # Errors
    /// When the folder is open to others, or what is in it cannot be used.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        private::folder(folder)?;
        let path = folder.join("token-key");
        let key = match private::read_text(&path, FILE_BYTES_MAX)? {
            Some(text) => PrivateKey::from_bytes_hex(text.trim(), Algorithm::Ed25519).map_err(|_| {
                let what = "it is no key; remove it, and all tokens are taken back".to_owned();
                OpenError::Damaged { path: path.clone(), what }
            })?,
            None => {
                let key = KeyPair::new().private();
                private::write(&path, format!("{}\n", key.to_bytes_hex()).as_bytes())?;
                key
            }
        };
        let revoked = Mutex::new(Revoked::open(folder.join("revoked-tokens"))?);
        let folder = Some(folder.to_owned());
        Ok(Self { key: Some(KeyPair::from(&key)), revoked, folder, ..Self::default() })
    }

    /// One that makes no tokens, and judges nothing but the tickets of the head whose key it learns
    /// ([`Self::learn`]): a node's.
    pub fn for_tickets() -> Self {
        Self::default()
    }

    /// Has everybody show a token who shows no certificate, also on this machine.
    pub fn require_token(mut self) -> Self {
        self.is_token_required = true;
        self
    }

    /// Whether who shows nothing is refused, also on this machine.
    pub fn is_token_required(&self) -> bool {
        self.is_token_required
    }

    /// What others judge its tickets by.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.as_ref().map(|key| key.public().to_bytes()).unwrap_or_default()
    }

    /// Learns the key of the head, which may be another than before.
    pub fn learn(&self, public_key: &[u8]) {
        let key = PublicKey::from_bytes(public_key, Algorithm::Ed25519).ok();
        let mut known = self.tickets.write();
        if *known != key {
            *known = key;
            self.known.lock().clear();
        }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for one that cannot be.
    pub fn issue(&self, grant: &Grant) -> Result<Issued, Error> {
        let none = || Error::new(ErrorCode::Unsupported, "this engine makes no tokens: ask its head");
        let key = self.key.as_ref().ok_or_else(none)?;
        let (text, id, expires) = token::make(key, grant, SystemTime::now())?;
        Ok(Issued { text, id, expires })
    }

    /// Writes what who keeps the engine shows where everybody has to show a token, and answers where; none: this
    /// one keeps nothing. `text`: from a token to what is shown.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_operator_token(&self, text: impl FnOnce(String) -> String) -> Result<Option<PathBuf>, Error> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let grant = Grant { scope: Scope::ALL, verbs: Role::Operator.verbs(), lifetime: TOKEN_LIFETIME_MAX };
        let path = folder.join("operator-token");
        let written = private::write(&path, format!("{}\n", text(self.issue(&grant)?.text)).as_bytes());
        written.map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        Ok(Some(path))
    }

    /// Makes what attaches a client of this job to its node, for a moment.
    ///
    /// # Errors
    /// When there is no key.
    pub fn ticket(&self, of: &Principal, job: JobId) -> Result<String, Error> {
        let scope = Scope { job: Some(job.job()), ..of.scope.clone() };
        let grant = Grant { scope, verbs: Verbs::of(&[Verb::Submit]), lifetime: TICKET_LIFETIME };
        Ok(self.issue(&grant)?.text)
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// UNAUTHENTICATED, with why: malformed, of another key, expired, revoked.
    pub fn judge(&self, text: &str) -> Result<Principal, Error> {
        let principal = self.look(text, SystemTime::now())?;
        match (&self.key, principal.scope.job) {
            (Some(_), Some(_)) => Err(refused("it is a ticket for the node of a job, and this is none")),
            (None, None) => Err(refused("nodes take no tokens: ask the head of the cluster")),
            _ => Ok(principal),
        }
    }

    fn look(&self, text: &str, now: SystemTime) -> Result<Principal, Error> {
        let (digest, at) = (digest(text), Instant::now());
        let known = self.known.lock().get(&digest, at);
        let principal = match known {
            Some(principal) => principal,
            None => {
                let key = self.key.as_ref().map(KeyPair::public).or(*self.tickets.read());
                let key = key.ok_or_else(|| refused("this engine takes no tokens"))?;
                let principal = token::verify(key, text, now)?;
                self.known.lock().insert(digest, principal.clone(), at);
                principal
            }
        };
        self.check_still(&principal, now).map(|()| principal)
    }

    /// Whether somebody is still who it was: its token may have expired, or was revoked.
    ///
    /// # Errors
    /// UNAUTHENTICATED, with why.
    pub fn check(&self, principal: &Principal) -> Result<(), Error> {
        self.check_still(principal, SystemTime::now())
    }

    fn check_still(&self, principal: &Principal, now: SystemTime) -> Result<(), Error> {
        let Some(shown) = &principal.token else { return Ok(()) };
        if shown.expires <= now {
            return Err(refused("it has expired: ask for another one (engine token create)"));
        }
        match self.revoked.lock().has(&shown.ids, principal.scope.tenant.as_ref()) {
            true => Err(refused("it was revoked")),
            false => Ok(()),
        }
    }

    /// Takes a token back, and what was made of it: for all, or as the tenant of whoever asks those of its
    /// own.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when too many are revoked; when it cannot be kept.
    pub fn revoke(&self, id: TokenId, by: &Scope) -> Result<(), Error> {
        self.revoked.lock().add(id, by.tenant.clone(), SystemTime::now())
    }

    /// How long what somebody may is good at most; none: without end.
    pub fn time_left(&self, principal: &Principal) -> Option<Duration> {
        let expires = principal.expires()?;
        Some(expires.duration_since(SystemTime::now()).unwrap_or_default())
    }
}
