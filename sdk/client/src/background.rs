//! Background tasks of a client: each is of a named kind, with what happens when it ends in error.

use std::future::Future;

use tokio::task::AbortHandle;

/// A kind of background task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keeps the line of a session to its node. Ends with the session; a panic ends the session, and whoever
    /// waits hears so.
    Line,
}

/// Runs a task that ends by itself, or when it is aborted.
pub(crate) fn spawn<F>(kind: Kind, future: F) -> AbortHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    match kind {
        Kind::Line => tokio::spawn(future).abort_handle(),
    }
}
