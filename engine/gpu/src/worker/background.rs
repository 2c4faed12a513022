//! The threads of a worker and of its client: each is of a named kind.

use std::io;

/// A kind of thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a worker: does what is asked, in order. Ends when the socket has closed; the process ends with it.
    Execute,
    /// Of a worker: waits for an event, and answers. Ends by itself; after a panic there is no answer, and
    /// whoever asked ends the worker at its deadline.
    Wait,
    /// Of a client: takes a worker's answers. Ends when the socket has closed; after a panic, whoever asks
    /// ends the worker at its deadline.
    Hear,
    /// Of a client: waits until a process that was ended has gone. Ends by itself.
    Reap,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Execute => "gpu-execute",
            Self::Wait => "gpu-wait",
            Self::Hear => "gpu-hear",
            Self::Reap => "gpu-reap",
        }
    }
}

/// Starts a thread.
pub(super) fn start(kind: Kind, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(kind.name().into()).spawn(run).map(|_| ())
}
