//! Tokens that are taken back.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine_core::{Error, ErrorCode, TenantName};
use engine_private as private;
use sha2::{Digest, Sha256};

use crate::error::OpenError;
use crate::limits::{FILE_BYTES_MAX, REVOKED_MAX, TOKEN_LIFETIME_MAX};

/// What a token is known by where it is not to be shown: `tok-EXPIRY-DIGEST`, in hexadecimal. Each narrowing of
/// a token has an id of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId {
    /// When it expires, in seconds since 1970.
    expires: u64,
    digest: [u8; 16],
}

impl TokenId {
    /// That of a block which is revoked by this.
    pub(crate) fn of(revocation_id: &[u8], expires: SystemTime) -> Self {
        let whole: [u8; 32] = Sha256::digest(revocation_id).into();
        let mut digest = [0; 16];
        digest.copy_from_slice(&whole[..16]);
        Self { expires: seconds(expires), digest }
    }
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tok-{:x}-", self.expires)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no token's id. It does not show the text, which may be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no id of a token: expected tok-…-…, as `engine token inspect` shows it")]
pub struct ParseTokenIdError;

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, ParseTokenIdError> {
        let (expires, digest) = text
            .trim()
            .strip_prefix("tok-")
            .and_then(|rest| rest.split_once('-'))
            .filter(|(_, digest)| digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or(ParseTokenIdError)?;
        let expires = u64::from_str_radix(expires, 16).map_err(|_| ParseTokenIdError)?;
        let bits = u128::from_str_radix(digest, 16).map_err(|_| ParseTokenIdError)?;
        Ok(Self { expires, digest: bits.to_be_bytes() })
    }
}

/// Who has revoked a token: the operator, or whoever may for this tenant. A tenant cannot touch the tokens of
/// another, whatever ids it knows.
type By = Option<TenantName>;

/// The tokens that are revoked and have not expired.
#[derive(Default)]
pub(crate) struct Revoked {
    path: Option<PathBuf>,
    /// When each expires, in seconds since 1970.
    entries: HashMap<([u8; 16], By), u64>,
}

impl Revoked {
    /// Those that a file keeps.
    pub(crate) fn open(path: PathBuf) -> Result<Self, OpenError> {
        let mut entries = HashMap::new();
        let text = private::read_text(&path, FILE_BYTES_MAX)?.unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let (id, by) = line.split_once(' ').unwrap_or((line, ""));
            let by = (!by.is_empty()).then(|| by.parse::<TenantName>()).transpose();
            match (id.parse::<TokenId>(), by) {
                (Ok(id), Ok(by)) => entries.insert((id.digest, by), id.expires),
                // To go on without it could let in whom it keeps out.
                _ => {
                    let what = format!("its line {} is not one that an engine writes", number + 1);
                    return Err(OpenError::Damaged { path, what });
                }
            };
        }
        Ok(Self { path: Some(path), entries })
    }

    /// Whether one of a token's blocks is revoked, by somebody who may.
    pub(crate) fn has(&self, ids: &[TokenId], tenant: Option<&TenantName>) -> bool {
        let has = |digest, by: By| self.entries.contains_key(&(digest, by));
        !self.entries.is_empty()
            && ids.iter().any(|id| {
                has(id.digest, None) || tenant.is_some_and(|tenant| has(id.digest, Some(tenant.clone())))
            })
    }

    /// Adds one, on disk before anything else.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when there are too many, and when it cannot be written.
    pub(crate) fn add(&mut self, id: TokenId, by: By, now: SystemTime) -> Result<(), Error> {
        let now_seconds = seconds(now);
        self.entries.retain(|_, expires| *expires > now_seconds);
        if self.entries.len() >= REVOKED_MAX && !self.entries.contains_key(&(id.digest, by.clone())) {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "{REVOKED_MAX} tokens are revoked and have not expired, which is the most (revoked_max): give out \
                     tokens that expire sooner, or take all back with a new key (remove token-key and start again)"
                ),
            ));
        }
        // A time that nobody can have given a token is none that the list must keep.
        let latest = seconds(now + TOKEN_LIFETIME_MAX + Duration::from_secs(60 * 60));
        let before = self.entries.insert((id.digest, by.clone()), id.expires.min(latest));
        let written = self.write();
        if written.is_err() && before.is_none() {
            self.entries.remove(&(id.digest, by));
        }
        written.map_err(|error| Error::new(ErrorCode::Internal, format!("it could not be kept: {error}")))
    }

    fn write(&self) -> Result<(), OpenError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut lines: Vec<String> = self
            .entries
            .iter()
            .map(|((digest, by), expires)| {
                let id = TokenId { expires: *expires, digest: *digest };
                by.as_ref().map_or_else(|| format!("{id}\n"), |tenant| format!("{id} {tenant}\n"))
            })
            .collect();
        lines.sort();
        Ok(private::write(path, lines.concat().as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seed: u8, expires: SystemTime) -> TokenId {
        TokenId::of(&[seed], expires)
    }

    #[test]
    fn ids_read_back() {
        let id = id(1, SystemTime::now() + Duration::from_secs(5));
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in
            ["", "tok-", "tok-1-", "tok-x-00", &format!("{id}0"), "tok-1-é0000000000000000000000000000000"]
        {
            assert!(bad.parse::<TokenId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_revoked_stays_so_until_it_expires() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("revoked-tokens");
        let now = SystemTime::now();
        let (a, b): (TenantName, TenantName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (one, two) = (id(1, now + Duration::from_secs(10)), id(2, now + Duration::from_secs(99)));
        let mut revoked = Revoked::open(path.clone()).unwrap();
        revoked.add(one, None, now).unwrap();
        revoked.add(two, Some(a.clone()), now).unwrap();
        let revoked = Revoked::open(path.clone()).unwrap();
        assert!(revoked.has(&[one], Some(&b)) && revoked.has(&[one], None));
        assert!(
            revoked.has(&[two], Some(&a)) && !revoked.has(&[two], Some(&b)) && !revoked.has(&[two], None)
        );
        let mut revoked = revoked;
        revoked.add(two, None, now + Duration::from_secs(11)).unwrap();
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&one.to_string()), "it has expired");
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(matches!(Revoked::open(path), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn the_list_is_bounded() {
        let now = SystemTime::now();
        let mut revoked = Revoked::default();
        for number in 0..REVOKED_MAX {
            let id = TokenId::of(&number.to_be_bytes(), now + Duration::from_secs(10));
            revoked.entries.insert((id.digest, None), id.expires);
        }
        let more = id(1, now + Duration::from_secs(10));
        assert_eq!(revoked.add(more, None, now).unwrap_err().code(), ErrorCode::LimitExceeded);
        revoked.add(more, None, now + Duration::from_secs(20)).unwrap();
        assert_eq!(revoked.entries.len(), 1);
    }
}
