//! A store with the faults that a test asked for (`engine_net::faults`).

use std::path::{Path, PathBuf};

use engine_net::faults::{self, DiskCall};

use super::{Entries, MetaError, MetaStore, Revision, Write};

/// The store in `folder`, with its faults when there are any.
pub(crate) fn with_faults(store: impl MetaStore, folder: &Path) -> Box<dyn MetaStore> {
    if faults::are_installed() {
        return Box::new(Faulty { store, folder: folder.to_owned() });
    }
    Box::new(store)
}

struct Faulty<S> {
    store: S,
    folder: PathBuf,
}

impl<S: MetaStore> MetaStore for Faulty<S> {
    fn read(&mut self) -> Result<(Revision, Entries), MetaError> {
        self.store.read()
    }

    fn commit(&mut self, after: Revision, writes: &[Write]) -> Result<Revision, MetaError> {
        let committed = faults::disk(DiskCall::Commit, || Ok(self.store.commit(after, writes)));
        committed.unwrap_or_else(|error| {
            Err(MetaError::Io { what: "write", path: self.folder.clone(), why: error.to_string() })
        })
    }
}
