//! Background work of the log: each is of a named kind, with what happens when it ends in error.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::entry::Entry;
use crate::log::AuditLog;

/// Starts the one thread that writes. It ends when the log is closed and all lines are written; after a panic
/// lines are refused, and so are the changes that they would tell of.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn writer(run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("engine-audit".to_owned()).spawn(run)
}

/// Hands a line over once there is room. Ends then, or when the log is closed; the line is told of where it is
/// lost.
pub(crate) fn note(log: Arc<AuditLog>, entry: Entry) {
    let lost = |method: &str| tracing::error!(method, "a line of the audit log is lost: the engine ends");
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return lost(&entry.method) };
    let noted = async move {
        let method = entry.method.clone();
        if log.note(entry).await.is_err() {
            lost(&method);
        }
    };
    drop(runtime.spawn(noted));
}

/// Reads files where that holds up nobody. Ends with its answer; a panic is that of who asked.
///
/// # Panics
/// When `read` does.
pub(crate) async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
