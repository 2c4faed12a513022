//! Bounds of what is read of strangers and of issuers.

use std::time::Duration;

/// Bytes of an ID token's text.
pub const ID_TOKEN_BYTES_MAX: usize = 16 << 10;
/// Bytes of what an issuer answers.
pub const ISSUER_ANSWER_BYTES_MAX: usize = 256 << 10;
/// Keys of an issuer that are looked at.
pub const ISSUER_KEYS_MAX: usize = 100;
/// How long an issuer's keys are believed without asking again: one that it has taken back is good no longer.
pub const KEYS_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Between two fetches, whatever tokens are shown.
pub const KEYS_FETCH_PAUSE: Duration = Duration::from_secs(10);
/// How far the clocks of the issuer and of this machine may differ.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// How long a token of the engine is good when the rules do not say.
pub const LOGIN_LIFETIME_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// How long it may be: who has left is in no longer.
pub const LOGIN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Rules of one file.
pub const RULES_MAX: usize = 1_000;
