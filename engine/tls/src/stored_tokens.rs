//! The join tokens that a head accepts: one a line, its id, the hash of its secret, when it expires.
//!
//! The file is read at each use, so that one that another process adds is known at once.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::TlsError;
use crate::folder;
use crate::limits::{EXPIRED_JOIN_TOKEN_KEPT, JOIN_TOKEN_TTL_MAX, JOIN_TOKEN_TTL_MIN, JOIN_TOKENS_MAX};
use crate::token::{Fingerprint, JoinToken, hex, unhex};

/// Why a join token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RefusedToken {
    /// No such token, or another secret.
    #[error(
        "the head does not know this join token: it is of another head, or not the whole token; make one there with \
         `engine head token`, and start the agent with it"
    )]
    Unknown,
    /// Its time is over.
    #[error(
        "the join token has expired, {since_seconds} s ago (its join_token_ttl was over): make one on the head's \
         machine with `engine head token`, and start the agent with it"
    )]
    Expired {
        /// For how long.
        since_seconds: u64,
    },
    /// The tokens cannot be read.
    #[error(transparent)]
    Store(#[from] TlsError),
}

struct Stored {
    id: [u8; 6],
    hash: [u8; 32],
    expires_unix_s: u64,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("join-tokens")
}

/// Makes a token and keeps its hash.
pub(crate) fn add(
    folder: &Path,
    fingerprint: Fingerprint,
    ttl: Duration,
    now: SystemTime,
) -> Result<JoinToken, TlsError> {
    if !(JOIN_TOKEN_TTL_MIN..=JOIN_TOKEN_TTL_MAX).contains(&ttl) {
        return Err(TlsError::Ttl { seconds: ttl.as_secs(), max_seconds: JOIN_TOKEN_TTL_MAX.as_secs() });
    }
    let token = JoinToken::new(fingerprint)?;
    let _lock = folder::lock(folder)?;
    let mut stored = read(folder)?;
    let oldest = unix_s(now).saturating_sub(EXPIRED_JOIN_TOKEN_KEPT.as_secs());
    stored.retain(|stored| stored.expires_unix_s >= oldest);
    stored.sort_by_key(|stored| stored.expires_unix_s);
    while stored.len() >= JOIN_TOKENS_MAX {
        stored.remove(0);
    }
    stored.push(Stored { id: token.id, hash: token.hash(), expires_unix_s: unix_s(now) + ttl.as_secs() });
    let line =
        |stored: &Stored| format!("{} {} {}\n", hex(&stored.id), hex(&stored.hash), stored.expires_unix_s);
    let text: String = stored.iter().map(line).collect();
    engine_private::write(&path(folder), text.as_bytes())?;
    Ok(token)
}

/// Whether this token is one of them, and not too old.
pub(crate) fn check(folder: &Path, token: &JoinToken, now: SystemTime) -> Result<(), RefusedToken> {
    let stored = read(folder)?;
    let known =
        stored.iter().find(|stored| stored.id == token.id).filter(|stored| token.has_hash(&stored.hash));
    let known = known.ok_or(RefusedToken::Unknown)?;
    match unix_s(now).checked_sub(known.expires_unix_s) {
        None => Ok(()),
        Some(since_seconds) => Err(RefusedToken::Expired { since_seconds }),
    }
}

fn read(folder: &Path) -> Result<Vec<Stored>, TlsError> {
    let path = path(folder);
    let Some(text) = folder::read(&path)? else { return Ok(Vec::new()) };
    let parsed = |line: &str| {
        let mut words = line.split(' ');
        let (id, hash) = (unhex(words.next()?).ok()?, unhex(words.next()?).ok()?);
        Some(Stored { id, hash, expires_unix_s: words.next()?.parse().ok()? })
    };
    let lines = text.lines().enumerate().map(|(index, line)| {
        parsed(line).ok_or_else(|| {
            let what = format!("line {} is no join token; remove the file, and make new tokens", index + 1);
            TlsError::Damaged { path: path.clone(), what }
        })
    });
    lines.collect()
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn folder() -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt;
        let private = std::fs::Permissions::from_mode(0o700);
        tempfile::Builder::new().permissions(private).tempdir().unwrap()
    }

    fn made(folder: &Path, now: SystemTime) -> JoinToken {
        add(folder, Fingerprint([1; 32]), HOUR, now).unwrap()
    }

    #[test]
    fn a_token_is_accepted_until_it_expires_and_only_its_hash_is_kept() {
        let temp = folder();
        let now = SystemTime::now();
        let token = made(temp.path(), now);
        let other = made(temp.path(), now);
        assert!(check(temp.path(), &token, now).is_ok());
        assert!(check(temp.path(), &other, now).is_ok());
        assert!(check(temp.path(), &token, now + HOUR - Duration::from_secs(2)).is_ok());
        let late = check(temp.path(), &token, now + HOUR * 2).unwrap_err();
        assert!(matches!(late, RefusedToken::Expired { since_seconds: 3_599..=3_601 }), "{late}");
        assert!(late.to_string().contains("engine head token"), "{late}");
        let text = std::fs::read_to_string(path(temp.path())).unwrap();
        let secret = token.to_string().split('-').nth(2).unwrap().to_owned();
        assert!(!text.contains(&secret), "the secret is not on disk");
    }

    #[test]
    fn another_secret_or_another_heads_token_is_unknown() {
        let temp = folder();
        let now = SystemTime::now();
        let token = made(temp.path(), now);
        let mut guessed = JoinToken::new(token.fingerprint).unwrap();
        guessed.id = token.id;
        let foreign = JoinToken::new(token.fingerprint).unwrap();
        for wrong in [guessed, foreign] {
            assert!(matches!(check(temp.path(), &wrong, now), Err(RefusedToken::Unknown)));
        }
    }

    #[test]
    fn tokens_are_bounded_in_number_and_time() {
        let temp = folder();
        let now = SystemTime::now();
        let first = made(temp.path(), now - Duration::from_secs(60));
        for _ in 0..JOIN_TOKENS_MAX {
            made(temp.path(), now);
        }
        assert_eq!(read(temp.path()).unwrap().len(), JOIN_TOKENS_MAX);
        assert!(matches!(check(temp.path(), &first, now), Err(RefusedToken::Unknown)), "it expired first");
        for ttl in [Duration::ZERO, JOIN_TOKEN_TTL_MAX + Duration::from_secs(1)] {
            let error = add(temp.path(), first.fingerprint, ttl, now).unwrap_err();
            assert!(matches!(error, TlsError::Ttl { .. }), "{error}");
        }
    }

    #[test]
    fn a_damaged_file_is_named() {
        let temp = folder();
        for text in ["nonsense\n", "00 00 x\n", "\n"] {
            engine_private::write(&path(temp.path()), text.as_bytes()).unwrap();
            let error = add(temp.path(), Fingerprint([1; 32]), HOUR, SystemTime::now()).unwrap_err();
            assert!(error.to_string().contains("line 1"), "{error}");
        }
    }
}
