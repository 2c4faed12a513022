//! Bounds of what is read of strangers, and of what is kept.

use std::time::Duration;

/// Bytes of a token's text.
pub const TOKEN_BYTES_MAX: usize = 4 << 10;
/// Blocks of a token: what was made, and how often it was narrowed.
pub const TOKEN_BLOCKS_MAX: usize = 8;
/// How long a token may be good.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long a ticket is good: the time between the head's answer and the connection to the node.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(60);
/// Bytes of a namespace.
pub const NAMESPACE_BYTES_MAX: usize = 128;
/// Facts that one look at a token may find.
pub const DATALOG_FACTS_MAX: u64 = 200;
/// Rounds of the rules of one look at a token.
pub const DATALOG_ROUNDS_MAX: u64 = 20;
/// How long one look at a token may take.
pub const DATALOG_TIME_MAX: Duration = Duration::from_millis(250);
/// Tokens that are known to be good, and are not looked at as a whole on each use.
pub const TOKENS_KNOWN_MAX: usize = 1_024;
/// For how long they are. That a token has expired, or was revoked, is seen at once.
pub const TOKEN_KNOWN_TIME_MAX: Duration = Duration::from_secs(10);
/// Tokens that are revoked and have not expired.
pub const REVOKED_MAX: usize = 10_000;
/// Bytes of a file of the engine's own that is read.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// Keys by which the components of one tenant may be signed.
pub const SIGNERS_MAX: usize = 16;
/// Components of one tenant that need no signature.
pub const ALLOWED_COMPONENTS_MAX: usize = 1_000;
/// Bytes of one signature.
pub const SIGNATURE_BYTES_MAX: usize = 1 << 10;
