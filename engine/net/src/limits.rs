//! Bounds of the server. Those that clients know too stand in `engine_proto::limits`.

use std::time::Duration;

/// Connections at once, by each socket and port; further ones wait to be accepted.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Of these, connections that show no certificate, such as those with tokens; further ones are closed.
pub const UNPROVEN_CONNECTIONS_MAX: usize = 768;
/// Connections of one tenant; requests on further ones are refused.
pub const CONNECTIONS_OF_TENANT_MAX: usize = 256;
/// How long a connection that shows no certificate may take until it has made a request that is let in.
pub const FIRST_REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// TLS handshakes at once of all that connect to a server; further ones wait.
pub const HANDSHAKES_MAX: usize = 256;
/// Bytes of messages of one tenant that have not come in whole; what is over ends its request.
pub const UNFINISHED_BYTES_OF_TENANT_MAX: u64 = 256 << 20;
/// Bytes of messages that have not come in whole, of those who show neither a certificate nor a token.
pub const UNFINISHED_BYTES_OF_STRANGERS_MAX: u64 = 16 << 20;
/// Bytes of messages that have not come in whole, of all tenants and strangers.
pub const UNFINISHED_BYTES_MAX: u64 = 2 << 30;
/// For how long nothing may come of a message that was begun.
pub const UNFINISHED_IDLE_MAX: Duration = Duration::from_secs(30);
/// Requests and streams at once on one connection.
pub const CONCURRENT_STREAMS_MAX: u32 = 256;
/// Packets that wait for the line to one node; further ones are lost, and sent again by the core.
pub const PEER_PACKETS_MAX: usize = 4_096;
/// Log lines that wait for the line to one node; further ones are lost.
pub const PEER_LOG_LINES_MAX: usize = 65_536;
/// Bytes of them; further lines are lost.
pub const PEER_LOG_BYTES_MAX: usize = 16 << 20;
/// Lines of other nodes at once.
pub const PEER_LINES_MAX: usize = 10_000;
/// Bytes of one frame of packets, as it is received.
pub const PEER_FRAME_BYTES_MAX: usize = 1 << 30;
/// Uploads at once; further ones wait. Each takes as much memory as its component, up to `component_bytes_max`.
pub const UPLOADS_MAX: usize = 16;
/// Of these, uploads of one tenant; further ones wait.
pub const UPLOADS_OF_TENANT_MAX: usize = 2;
/// How long an upload may take until it is whole.
pub const UPLOAD_TIME_MAX: Duration = Duration::from_secs(600);
/// How long an upload may bring nothing.
pub const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(30);
/// How often a silent connection is probed.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long the answer to a probe may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long requests in progress may go on after shutdown was asked for.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
