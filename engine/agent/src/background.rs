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
    /// Does what the head says. Ends with the node; a panic ends the process, as without it the node
    /// would not know who lives.
    HeadMessages,
    /// Keeps the line to the head, on a thread of its own. Ends with the node, or when the head refuses it;
    /// a panic ends the process, as without it the node would be declared dead and not know.
    HeadLine,
    /// Takes the packets of other nodes. Ends with the node; a panic ends the process, as without it the
    /// node would not hear of others.
    PeerPort,
    /// Carries packets to one other node. Ends when that one is dead; a panic ends the process, as
    /// without it two nodes that live would not hear of one another.
    PeerLine,
    /// The head inside this process reserves placement groups. Ends with the node; a panic ends the process,
    /// as without it groups would wait for ever.
    OwnHead,
    /// Renews the node's certificate. Ends with the node; after a panic the certificate expires, and what
    /// connects anew from then on is refused.
    Renewal,
    /// Asks what a job's guests are granted, or reports a sandbox that was not started. Ends by itself.
    Prepare,
    /// Hears a client that is attached from elsewhere, does what it asks for, or lets go of it when it has ended.
    /// Ends with its connection, its answer, or its job; after a panic that client gets no answer.
    Client,
    /// Asks the head to let a node go that drains. Ends with its answer; after a panic the node stays until
    /// whoever drains it ends its process.
    Leave,
    /// Waits for something on behalf of a guest in a worker. Ends with that, or with the worker; after a panic that
    /// guest waits until its worker ends.
    Worker,
    /// Tells a worker what it is to do, or hears it, on a thread of its own. Ends with the worker; a panic ends that
    /// worker.
    WorkerLine,
    /// Passes on what a worker writes to its standard error, on a thread of its own. Ends with the worker; after a
    /// panic nothing of it is logged any more.
    WorkerErrors,
    /// Reads objects from disk or from another node. Ends by itself; a panic fails what was to be read.
    Restore,
}

impl Kind {
    /// Whether the node is nothing without it.
    fn is_vital(self) -> bool {
        match self {
            Self::Timer
            | Self::HeadLine
            | Self::HeadMessages
            | Self::OwnHead
            | Self::PeerPort
            | Self::PeerLine => true,
            Self::Client
            | Self::Compile
            | Self::Leave
            | Self::Prepare
            | Self::Renewal
            | Self::Spill
            | Self::Worker
            | Self::WorkerErrors
            | Self::WorkerLine
            | Self::Restore => false,
        }
    }
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
            if kind.is_vital() {
                std::process::abort();
            }
        }
        drop(abort);
    })
}

/// Runs a task on a thread of its own, so that nothing that holds up the others holds it up too. Ends
/// when the answer is dropped, or by itself.
///
/// # Errors
/// INTERNAL when the system gives no thread.
pub(crate) fn on_thread(
    kind: Kind,
    future: impl Future<Output = ()> + Send + 'static,
) -> Result<tokio::sync::oneshot::Sender<()>, engine_core::Error> {
    let failed = |error| engine_core::Error::internal(format!("starting the thread of {kind:?}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (alive, ended) = tokio::sync::oneshot::channel();
    let work = move || {
        runtime.block_on(async {
            let task = spawn(kind, future);
            // A sender that is gone says the same as a message.
            tokio::select! {
                _ = ended => {}
                _ = task => {}
            }
        });
    };
    std::thread::Builder::new().name(format!("{kind:?}")).spawn(work).map_err(failed)?;
    Ok(alive)
}

/// Runs what waits for long, and is no task, on a thread of its own.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn thread(
    kind: Kind,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(format!("{kind:?}")).spawn(work)
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
