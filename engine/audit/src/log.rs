//! A log that is written.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::mpsc::{self, Sender};

use crate::background;
use crate::entry::Entry;
use crate::error::{AuditError, Broken, at};
use crate::files::{self, End};
use crate::limits::{AUDIT_QUEUE_MAX, Limits};
use crate::read::{self, Page, Query};
use crate::writer;

/// What the thread that writes says.
#[derive(Default)]
pub(crate) struct Shared {
    /// Why what was handed over last is not written yet.
    pub(crate) broken: Mutex<Option<Broken>>,
    /// The number of the line after the last one that is on disk.
    pub(crate) written: AtomicU64,
    /// Nobody waits any more for what cannot be written.
    pub(crate) is_closing: AtomicBool,
}

/// A log that is written, in a folder of its own.
pub struct AuditLog {
    folder: PathBuf,
    /// None: it is closed.
    queue: Mutex<Option<Sender<Entry>>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Locked as long as this lives.
    _lock: File,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens the log in this folder, or begins one there; the folder is then of mode 700 and its files of mode
    /// 600.
    ///
    /// # Errors
    /// When the folder is open to others, another engine's, or what is in it cannot be gone on with.
    pub fn open(folder: &Path, limits: Limits) -> Result<Self, AuditError> {
        engine_private::folder(folder)?;
        let lock = files::lock(folder)?;
        let end = End::open(folder, limits)?;
        let shared = Arc::new(Shared { written: AtomicU64::new(end.next), ..Shared::default() });
        let (queue, entries) = mpsc::channel(AUDIT_QUEUE_MAX);
        let thread = {
            let shared = shared.clone();
            background::writer(move || writer::run(end, entries, &shared))
        };
        let thread = Mutex::new(Some(thread.map_err(at("start the thread that writes", folder))?));
        let queue = Mutex::new(Some(queue));
        Ok(Self { folder: folder.to_owned(), queue, shared, thread, _lock: lock })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether lines can be written, as far as is known: who asks for a change is refused when not.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Broken> {
        if let Some(broken) = &*self.shared.broken.lock() {
            return Err(broken.clone());
        }
        match self.queue.lock().as_ref().is_some_and(|queue| !queue.is_closed()) {
            true => Ok(()),
            false => Err(Broken { what: "it is closed".to_owned(), is_full: false }),
        }
    }

    /// Hands a line over; waits while [`AUDIT_QUEUE_MAX`] others do.
    ///
    /// # Errors
    /// When the log is closed.
    pub async fn note(&self, entry: Entry) -> Result<(), Broken> {
        let closed = || Broken { what: "it is closed".to_owned(), is_full: false };
        let queue = self.queue.lock().clone().ok_or_else(closed)?;
        queue.send(entry).await.map_err(|_| closed())
    }

    /// Hands a line over if there is room; whether there is.
    pub fn try_note(&self, entry: Entry) -> bool {
        self.queue.lock().as_ref().is_some_and(|queue| queue.try_send(entry).is_ok())
    }

    /// Hands a line over for somebody who waits for nothing any more.
    pub fn note_later(log: &Arc<Self>, entry: Entry) {
        if !log.try_note(entry.clone()) {
            background::note(log.clone(), entry);
        }
    }

    /// Lines that are on disk, from the oldest on.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn read(&self, query: Query) -> Result<Page, AuditError> {
        let end = self.shared.written.load(Ordering::Acquire);
        let folder = self.folder.clone();
        background::blocking(move || read::page(&folder, &query, end)).await
    }

    /// Takes no more, and resolves once all that was handed over is on disk, or cannot be.
    pub async fn close(&self) {
        self.shared.is_closing.store(true, Ordering::Release);
        drop(self.queue.lock().take());
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && background::blocking(move || thread.join()).await.is_err()
        {
            tracing::error!("the thread that writes the audit log panicked: its last lines are lost");
        }
    }
}
