//! The threads of the bulk port, by kind.

use std::io;
use std::thread::{Builder, JoinHandle, Scope};

/// What a thread is for. None may fail: what goes wrong in one is told to the client, or logged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Accepts connections, and at shutdown ends them and waits for their threads.
    Acceptor,
    /// Serves one connection; ends when that is closed.
    Connection,
    /// Fetches parts of an object from one of several holders; ends with the fetch, which a panic fails.
    Part,
}

impl Kind {
    /// The thread's name; the system shows 15 bytes of it.
    fn name(self) -> &'static str {
        match self {
            Self::Acceptor => "bulk-acceptor",
            Self::Connection => "bulk-connection",
            Self::Part => "bulk-part",
        }
    }

    /// Starts a thread of this kind.
    pub(super) fn start(self, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        Builder::new().name(self.name().into()).spawn(work)
    }

    /// The same for work that ends before its scope does.
    pub(super) fn start_scoped<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() + Send + 'scope,
    ) -> io::Result<()> {
        Builder::new().name(self.name().into()).spawn_scoped(scope, work).map(drop)
    }
}
