//! Background tasks of a head: each is of a named kind, with what happens when it ends in error.

use std::future::Future;

use tokio::task::JoinHandle;

/// A kind of background task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Hears what a node says. Ends with its line; after a panic the node is not heard any more, and
    /// declared dead.
    NodeLine,
    /// Starts a run of a job that nobody waits for: a re-run, or one that was accepted before the head came
    /// back. Ends with the node's answer or its death; after a panic the job is started when the head comes
    /// back again.
    JobStart,
    /// Tells the node of a job's root task to stop it, though whoever asked may be gone. Ends with the node's
    /// answer, the job's end, or the node's death; after a panic the stop is to be asked for again.
    JobStop,
    /// Calls the state machine when time has come. Ends with the head; a panic ends the process, as
    /// without it no silent node would ever be declared dead.
    Timer,
}

/// Runs a task that ends by itself.
pub(crate) fn spawn<F>(kind: Kind, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let task = tokio::spawn(future);
    tokio::spawn(async move {
        if let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!(?kind, %error, "a background task panicked");
            if kind == Kind::Timer {
                std::process::abort();
            }
        }
    })
}
