//! The thread that writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::Receiver;

use crate::entry::{Entry, Line, hash};
use crate::error::Broken;
use crate::files::End;
use crate::limits::{BATCH_BYTES_MAX, RETRY_PAUSE};
use crate::log::Shared;

/// Writes what comes, several lines at once when several wait, until nobody can hand over any more.
pub(crate) fn run(mut end: End, mut entries: Receiver<Entry>, shared: &Arc<Shared>) {
    while let Some(first) = entries.blocking_recv() {
        let number = end.next;
        let mut batch = Vec::new();
        let mut entry = Some(first);
        while let Some(one) = entry {
            let line = Line { number: end.next, entry: one.bounded(), previous: end.previous.clone() };
            let text = line.to_text();
            (end.next, end.previous) = (end.next + 1, hash(text.as_bytes()));
            batch.extend_from_slice(text.as_bytes());
            batch.push(b'\n');
            entry = if batch.len() < BATCH_BYTES_MAX { entries.try_recv().ok() } else { None };
        }
        while let Err(error) = end.append(&batch, number) {
            let is_new = shared.broken.lock().replace(Broken::of(&error)).is_none();
            if is_new {
                tracing::error!(%error, "the audit log cannot be written: what changes something is refused until it can");
            }
            if shared.is_closing.load(Ordering::Acquire) {
                tracing::error!(lines = end.next - number, "these lines of the audit log are lost");
                return;
            }
            std::thread::sleep(RETRY_PAUSE);
        }
        if shared.broken.lock().take().is_some() {
            tracing::info!("the audit log is written again; nothing is missing in it");
        }
        shared.written.store(end.next, Ordering::Release);
    }
}
