//! How much is spilled, and the thread that deletes what nobody refers to any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::target::SpillTarget;
use crate::background::Kind;

/// So many deletions that fail end a turn: where each waits for a server that does not answer, those who
/// wait for the turn's end would wait too long.
const FAILURES_MAX: usize = 4;

/// What is spilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpillUsage {
    /// Objects that lie in spill files.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Bytes of all spill files: those being written and those not deleted yet too.
    pub disk_bytes: u64,
    /// Of them, bytes that no object needs: of objects dropped whose file holds others still.
    pub dead_bytes: u64,
    /// Spill files.
    pub files: u64,
    /// Of them, files that are to be deleted and could not be yet.
    pub undeleted_files: u64,
    /// The bound of `disk_bytes`.
    pub disk_bytes_max: u64,
    /// Bytes that the disk has room for; none where that cannot be known.
    pub free_bytes: Option<u64>,
}

/// The books of the spill files.
pub struct Accounts {
    state: Mutex<State>,
    /// Deletions went through.
    deleted: Condvar,
}

#[derive(Default)]
struct State {
    usage: SpillUsage,
    /// Bytes of whole pages that live objects take.
    live_disk_bytes: u64,
    /// Bytes of files that are being written.
    unfinished_bytes: u64,
    /// Bytes of files that are to be deleted.
    doomed_bytes: u64,
    /// Deletions that were not tried yet.
    deletions_pending: u64,
}

impl Accounts {
    pub(super) fn new(disk_bytes_max: u64) -> Self {
        let usage = SpillUsage { disk_bytes_max, ..SpillUsage::default() };
        Self { state: Mutex::new(State { usage, ..State::default() }), deleted: Condvar::new() }
    }

    /// What is spilled; `free_bytes` is left out.
    pub(super) fn usage(&self) -> SpillUsage {
        let state = self.state.lock();
        let needed = state.live_disk_bytes + state.unfinished_bytes + state.doomed_bytes;
        SpillUsage { dead_bytes: state.usage.disk_bytes.saturating_sub(needed), ..state.usage }
    }

    /// Takes `bytes` of the bound; false when it does not allow them.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let mut state = self.state.lock();
        let wanted = state.usage.disk_bytes.saturating_add(bytes);
        if wanted > state.usage.disk_bytes_max {
            return false;
        }
        state.usage.disk_bytes = wanted;
        state.unfinished_bytes += bytes;
        true
    }

    pub(super) fn file_begun(&self) {
        self.state.lock().usage.files += 1;
    }

    /// A file is finished, or given up: objects say from now on what of it is needed.
    pub(super) fn file_ended(&self, bytes: u64) {
        self.state.lock().unfinished_bytes -= bytes;
    }

    pub(super) fn object_added(&self, bytes: u64, disk_bytes: u64) {
        let mut state = self.state.lock();
        state.usage.objects += 1;
        state.usage.object_bytes += bytes;
        state.live_disk_bytes += disk_bytes;
    }

    pub(super) fn object_dropped(&self, bytes: u64, disk_bytes: u64) {
        let mut state = self.state.lock();
        state.usage.objects -= 1;
        state.usage.object_bytes -= bytes;
        state.live_disk_bytes -= disk_bytes;
    }

    /// Waits until every deletion asked for was tried.
    pub(super) fn wait_for_deletions(&self) {
        let mut state = self.state.lock();
        while state.deletions_pending > 0 {
            self.deleted.wait(&mut state);
        }
    }

    fn deletion_asked(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.deletions_pending += 1;
        state.doomed_bytes += bytes;
    }

    fn deletions_tried(&self, count: u64, undeleted: u64) {
        let mut state = self.state.lock();
        state.deletions_pending -= count;
        state.usage.undeleted_files = undeleted;
        drop(state);
        self.deleted.notify_all();
    }

    fn file_deleted(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.usage.files -= 1;
        state.usage.disk_bytes -= bytes;
        state.doomed_bytes -= bytes;
    }
}

/// A file that is to be deleted.
pub(super) struct Doomed {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// Deletes files on a thread of its own, so that whoever drops the last object of one does not wait
/// for a disk.
pub(super) struct Janitor {
    accounts: Arc<Accounts>,
    requests: Option<Sender<Option<Doomed>>>,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    pub(super) fn start(target: Arc<dyn SpillTarget>, accounts: Arc<Accounts>) -> std::io::Result<Self> {
        let (requests, received) = channel();
        let books = accounts.clone();
        let thread = Kind::Janitor.start(move || delete_all(&*target, &books, &received))?;
        Ok(Self { accounts, requests: Some(requests), thread: Some(thread) })
    }

    /// Has a file deleted at once.
    pub(super) fn delete(&self, doomed: Doomed) {
        self.accounts.deletion_asked(doomed.bytes);
        self.send(Some(doomed));
    }

    /// Waits until what is to be deleted was tried, also what could not be deleted before.
    pub(super) fn settle(&self) {
        self.accounts.deletion_asked(0);
        self.send(None);
        self.accounts.wait_for_deletions();
    }

    fn send(&self, request: Option<Doomed>) {
        let sent = self.requests.as_ref().is_some_and(|requests| requests.send(request).is_ok());
        if !sent {
            // The thread is gone, which only a panic in the target does: nobody is to wait for it.
            self.accounts.deletions_tried(1, 0);
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn delete_all(target: &dyn SpillTarget, accounts: &Accounts, requests: &Receiver<Option<Doomed>>) {
    let mut undeleted = VecDeque::new();
    while let Ok(first) = requests.recv() {
        let mut count = 0;
        for request in std::iter::once(first).chain(requests.try_iter()) {
            count += 1;
            if let Some(file) = request {
                // Before those that failed already: nothing is known against it.
                undeleted.push_front(file);
            }
        }
        delete_some(target, accounts, &mut undeleted, FAILURES_MAX);
        accounts.deletions_tried(count, undeleted.len() as u64);
    }
    delete_some(target, accounts, &mut undeleted, 1);
}

/// Deletes these files, until so many deletions failed. What failed comes last the next time.
fn delete_some(
    target: &dyn SpillTarget,
    accounts: &Accounts,
    files: &mut VecDeque<Doomed>,
    failures_max: usize,
) {
    let mut failed = Vec::new();
    while failed.len() < failures_max
        && let Some(file) = files.pop_front()
    {
        match target.delete(&file.name) {
            Ok(()) => accounts.file_deleted(file.bytes),
            Err(_) => failed.push(file),
        }
    }
    files.extend(failed);
}
