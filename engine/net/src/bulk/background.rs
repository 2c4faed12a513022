//! The threads of the bulk port, by kind.

use std::io;
use std::thread::{Builder, JoinHandle};

/// What a thread is for. None may fail: what goes wrong in one is told to the client, or logged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Accepts connections, and at shutdown ends them and waits for their threads.
    Acceptor,
    /// Serves one connection; ends when that is closed.
    Connection,
}

impl Kind {
    /// The thread's name; the system shows 15 bytes of it.
    fn name(self) -> &'static str {
        match self {
            Self::Acceptor => "bulk-acceptor",
            Self::Connection => "bulk-connection",
        }
    }

    /// Starts a thread of this kind.
    pub(super) fn start(self, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        Builder::new().name(self.name().into()).spawn(work)
    }
}
