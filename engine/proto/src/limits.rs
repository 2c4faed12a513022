//! Bounds that both sides of the wire know.

/// Bytes of one component.
pub const COMPONENT_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one chunk of an upload.
pub const UPLOAD_CHUNK_BYTES_MAX: usize = 1 << 20;
/// Bytes of one request or answer.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Digests in one question of which are there.
pub const DIGESTS_MAX: usize = 1_000;
/// Components that one job brings along.
pub const JOB_COMPONENTS_MAX: usize = 256;
/// Directories that one job grants.
pub const JOB_DIRECTORIES_MAX: usize = 256;
/// Arguments of one job.
pub const JOB_ARGUMENTS_MAX: usize = 65_536;
/// Environment variables of one job.
pub const JOB_ENV_MAX: usize = 4_096;
/// Secrets of one tenant, and so of one job.
pub const SECRETS_MAX: usize = 100;
/// Bytes of one secret.
pub const SECRET_BYTES_MAX: usize = 32 << 10;
/// Bytes of a job's name, its namespace or its submission id.
pub const NAME_BYTES_MAX: usize = 128;
/// Items of one listing.
pub const LIST_ITEMS_MAX: u32 = 10_000;
/// Items of one listing when no number is asked for.
pub const LIST_ITEMS_DEFAULT: u32 = 100;
/// Records of usage in one answer.
pub const USAGE_READ_RECORDS_MAX: usize = 10_000;
/// Conditions of one listing.
pub const FILTERS_MAX: usize = 16;
/// Bytes of the error in the details of a status: what exceeds it loses its backtrace, then its
/// path, then the end of its message. Base64 and the rest of the trailers have to fit into 8 KiB,
/// which is what other gRPC libraries accept.
pub const STATUS_ERROR_BYTES_MAX: usize = 4 << 10;
/// Bytes of the message of a status, before percent-encoding, which may triple them.
pub const STATUS_MESSAGE_BYTES_MAX: usize = 512;
/// Log lines of one run of a job: those of the next run are numbered from there on.
pub const LOG_LINES_PER_RUN_MAX: u64 = 1 << 40;
/// Bytes of one piece of a value between a client and its node.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// Bytes of values that go with one message between a client and its node; what exceeds them goes in pieces
/// before it.
pub const VALUES_INLINE_BYTES_MAX: usize = 256 << 10;
/// Bytes of pieces that either side of a client's line has said and the other has not heard; the next ones
/// wait.
pub const LINE_BYTES_MAX: usize = 8 << 20;
/// Messages of a client's line after which a side that has nothing to say says how far it has heard.
pub const HEARD_EVERY_MESSAGES: u64 = 64;
/// The same for bytes of pieces.
pub const HEARD_EVERY_BYTES: usize = 2 << 20;
/// Requests of one client that have no answer yet.
pub const CLIENT_REQUESTS_MAX: usize = 65_536;
/// Bytes of a client's key.
pub const CLIENT_KEY_BYTES: usize = 16;
