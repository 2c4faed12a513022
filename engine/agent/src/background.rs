//! Background tasks of a node: each is of a named kind, with what happens when it ends in error.

use std::future::Future;

use tokio::task::JoinHandle;

/// A kind of background task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Calls the core when time has come. Ends with the node; a panic ends the process, as without
    /// it no deadline would ever pass.
    Timer,
    /// Compiles a component. Ends by itself; a panic fails the upload that asked for it.
    Compile,
    /// Writes objects to disk. Ends by itself; a panic fails what was to be written, which stays in
    /// memory.
    Spill,
    /// Keeps the line to the head. Ends with the node, or when the head refuses it; a panic ends the
    /// process, as without it the node would be declared dead and not know.
    HeadLine,
    /// Carries packets to one other node. Ends when that one is dead; a panic ends the process, as
    /// without it two nodes that live would not hear of one another.
    PeerLine,
    /// Asks what a job's guests are granted, or reports a sandbox that was not started. Ends by itself.
    Prepare,
    /// Reads objects from disk or from another node. Ends by itself; a panic fails what was to be read.
    Restore,
}

/// Runs a task that lives as long as the node.
pub(crate) fn spawn<F>(kind: Kind, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    spawn_on(&tokio::runtime::Handle::current(), kind, future)
}

/// The same from a thread that is not of a runtime.
pub(crate) fn spawn_on<F>(handle: &tokio::runtime::Handle, kind: Kind, future: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    handle.spawn(async move {
        let task = tokio::spawn(future);
        let abort = AbortOnDrop(task.abort_handle());
        if let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!(?kind, %error, "a background task panicked");
            if matches!(kind, Kind::Timer | Kind::HeadLine | Kind::PeerLine) {
                std::process::abort();
            }
        }
        drop(abort);
    })
}

/// Runs what takes long and does not wait, on a thread for that.
pub(crate) async fn blocking<R: Send + 'static>(
    kind: Kind,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, engine_core::Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| engine_core::Error::internal(format!("{kind:?} did not end: {error}")))
}

/// Runs what takes long and does not wait, on a thread of `handle`'s for that, and `then` with its result.
pub(crate) fn detached<R: Send + 'static>(
    kind: Kind,
    handle: &tokio::runtime::Handle,
    work: impl FnOnce() -> R + Send + 'static,
    then: impl FnOnce(Result<R, engine_core::Error>) + Send + 'static,
) {
    let blocking = handle.spawn_blocking(work);
    handle.spawn(async move {
        let result = blocking.await;
        then(result.map_err(|error| engine_core::Error::internal(format!("{kind:?} did not end: {error}"))));
    });
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
