//! The sockets that a server listens on.

mod tcp;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use tcp::check;
pub use tcp::{Security, TcpSocket};
pub use unix::UnixSocket;

/// Why a socket could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another engine listens there.
    #[error(
        "an engine is running already and listens on unix:{}: use it, or stop it, or choose another --address",
        path.display()
    )]
    AlreadyRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket's directory is open to others.
    #[error(
        "{} is not a directory of this user alone (owner {owner}, mode {mode:o}): the socket of an engine has to \
         lie in one of mode 700",
        path.display()
    )]
    DirectoryOpen {
        /// The directory.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// What is there is not a socket.
    #[error("{} exists and is not a socket: remove it, or choose another --address", path.display())]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// The path does not fit into a socket's address.
    #[error("the socket's path {} is longer than {max} bytes: choose a shorter one", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Bytes that fit.
        max: usize,
    },
    /// Listening beyond loopback is refused.
    #[error(
        "{address} is not a loopback address: without TLS an engine listens on this machine only, use for \
         example 127.0.0.1:{}; for a cluster of several machines run `engine head --listen {address}`, which uses \
         TLS, and agents with its join token",
        address.port()
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("cannot {action} {at}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        at: String,
        /// What the system said.
        source: io::Error,
    },
}
