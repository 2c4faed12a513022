//! Bounds of the bulk port.

use std::time::Duration;

/// Connections that are served at once; a further one is told so and closed.
pub const BULK_CONNECTIONS_MAX: usize = 512;
/// Connections at once that are told that there are too many; further ones are closed unheard.
pub const BULK_REFUSALS_MAX: usize = 16;
/// Bytes of one chunk, which is checked as a whole.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Bytes of an error's message on the wire; what is longer is cut off.
pub const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// How often one fetch goes on over a new connection after it broke.
pub const RESUMES_MAX: usize = 3;
/// Other nodes that a holder names as having the object too.
pub const SOURCES_MAX: usize = 16;
/// How often a holder says in a row that it waits for the bytes itself before they are asked of another.
pub const SIGNS_MAX: u32 = 15;
/// Idle connections kept to one holder.
pub const IDLE_PER_HOLDER_MAX: usize = 4;
/// Idle connections kept in all.
pub const IDLE_CONNECTIONS_MAX: usize = 256;

/// How long a holder waits for bytes that it is being given itself before it says so.
pub const SIGN_EVERY: Duration = Duration::from_secs(1);

/// How long connecting to a holder may take.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long a holder may bring nothing while something is waited for. It reads from disk meanwhile.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long a client may take to say whom it wants.
pub(crate) const HELLO_MAX: Duration = Duration::from_secs(5);
/// How long a client may take nothing of what it asked for.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(10);
/// A connection that is idle is probed after so long, so that one to a machine that vanished ends.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(30);
/// How long until the next probe, while none is answered.
pub(crate) const PROBE_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Probes without an answer that end a connection.
pub(crate) const PROBES_MAX: u32 = 3;
