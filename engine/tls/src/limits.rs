//! Bounds of certificates, tokens and handshakes, with their units.

use std::time::Duration;

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

/// How long a cluster's certificate authority is valid: 10 years.
pub const AUTHORITY_LIFETIME: Duration = days(3_650);
/// How long the certificate of a node, or of the head, is valid: 7 days. It is renewed before.
pub const NODE_CERTIFICATE_LIFETIME: Duration = days(7);
/// The share of its lifetime after which a certificate is renewed. A head may be away for the rest.
pub const RENEWAL_AFTER_PERCENT: u32 = 66;
/// How long a client's credentials are valid: a year. The head writes new ones at each start.
pub const CREDENTIALS_LIFETIME: Duration = days(365);
/// How far the clocks of two machines may differ: a certificate is valid from so long before it was made.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// How long a join token is valid unless the operator says: a day.
pub const JOIN_TOKEN_TTL_DEFAULT: Duration = days(1);
/// The longest that one may be valid: 30 days.
pub const JOIN_TOKEN_TTL_MAX: Duration = days(30);
/// The shortest.
pub const JOIN_TOKEN_TTL_MIN: Duration = Duration::from_secs(1);
/// Join tokens that are kept; the one that expires first goes first.
pub const JOIN_TOKENS_MAX: usize = 100;
/// An expired join token is kept for so long, so that whoever uses it is told what is wrong with it.
pub const EXPIRED_JOIN_TOKEN_KEPT: Duration = days(1);

/// How long a handshake may take.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a file with keys, certificates or tokens.
pub const FILE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a request for a certificate.
pub const SIGNING_REQUEST_BYTES_MAX: usize = 4 << 10;
/// Bytes that wait, encrypted, for a connection to take them.
pub(crate) const UNSENT_BYTES_MAX: usize = 256 << 10;
/// Certificates of nodes that are revoked; the oldest goes first. Each has expired after
/// [`NODE_CERTIFICATE_LIFETIME`] anyway.
pub const REVOKED_CERTIFICATES_MAX: usize = 10_000;
/// How long a connection of a node that has left stays open, so that it hears that it may go.
pub const FAREWELL_TIME_MAX: Duration = Duration::from_secs(5);
