//! Tokens that were found good a moment ago.

use std::collections::HashMap;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::limits::{TOKEN_KNOWN_TIME_MAX, TOKENS_KNOWN_MAX};
use crate::principal::Principal;

/// Who is known by which token, by the digest of that.
#[derive(Default)]
pub(crate) struct Known {
    entries: HashMap<[u8; 32], Entry>,
}

struct Entry {
    principal: Principal,
    since: Instant,
    used: Instant,
}

pub(crate) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl Known {
    pub(crate) fn get(&mut self, digest: &[u8; 32], now: Instant) -> Option<Principal> {
        let entry = self.entries.get_mut(digest)?;
        if now.duration_since(entry.since) > TOKEN_KNOWN_TIME_MAX {
            self.entries.remove(digest);
            return None;
        }
        entry.used = now;
        Some(entry.principal.clone())
    }

    /// Keeps one more; the one that was not used for the longest time goes when there are too many.
    pub(crate) fn insert(&mut self, digest: [u8; 32], principal: Principal, now: Instant) {
        if self.entries.len() >= TOKENS_KNOWN_MAX {
            self.entries.retain(|_, entry| now.duration_since(entry.since) <= TOKEN_KNOWN_TIME_MAX);
        }
        if self.entries.len() >= TOKENS_KNOWN_MAX {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(digest, _)| *digest);
            oldest.map(|oldest| self.entries.remove(&oldest));
        }
        self.entries.insert(digest, Entry { principal, since: now, used: now });
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_known_is_bounded_in_number_and_time() {
        let (mut known, now) = (Known::default(), Instant::now());
        let key = |number: usize| digest(&number.to_string());
        for number in 0..TOKENS_KNOWN_MAX {
            known.insert(key(number), Principal::operator(), now);
        }
        assert!(known.get(&key(0), now + Duration::from_secs(1)).is_some());
        known.insert(key(TOKENS_KNOWN_MAX), Principal::operator(), now + Duration::from_secs(2));
        assert_eq!(known.entries.len(), TOKENS_KNOWN_MAX);
        assert!(known.get(&key(0), now).is_some(), "it was used");
        let later = now + TOKEN_KNOWN_TIME_MAX + Duration::from_secs(1);
        assert!(known.get(&key(0), later).is_none());
        assert!(known.get(&key(TOKENS_KNOWN_MAX), later).is_some());
    }
}
