//! Where the head's memory lies: a store of keys and values that takes many changes at once.

mod embedded;
mod faulty;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use engine_core::{Error, ErrorCode};

pub use embedded::Embedded;
pub(crate) use faulty::with_faults;

/// Counts the transactions of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The key has this value from now on.
    Put(Vec<u8>, Vec<u8>),
    /// The key is gone.
    Delete(Vec<u8>),
}

/// Keys with their values, in the order of the keys.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// A store of keys and values with transactions that are all or nothing and, once they are committed,
/// outlive the process and the machine.
///
/// A store is at a revision; a commit names the one that it follows, and moves to the next. So of two
/// heads that share a store only one goes on, and the other is told. That is all that one head needs. A
/// store that several heads share (etcd) has the same shape: its transaction compares the revision of
/// one key that every commit writes; and what such heads need besides are additions to this trait: to
/// compare single keys, to watch a prefix from a revision on, and a lease on the key by which one of
/// them is the head.
pub trait MetaStore: Send + 'static {
    /// All that is there, and the revision at which it is.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    fn read(&mut self) -> Result<(Revision, Entries), MetaError>;

    /// Writes these changes, all or none, in order, when the store is at `after`. They are durable when
    /// this returns. It may block.
    ///
    /// # Errors
    /// CONFLICT when the store is at another revision. After any other error nobody knows whether the
    /// changes were written: the store is to be opened again.
    fn commit(&mut self, after: Revision, writes: &[Write]) -> Result<Revision, MetaError>;
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// Somebody else has it.
    #[error(
        "{} is in use by another process: a folder is the memory of one head; stop that one, or give this one a folder of its own with --data-dir",
        .0.display()
    )]
    Locked(PathBuf),
    /// The disk has no room.
    #[error("the disk of {} is full: make room there, and start the head again", .0.display())]
    Full(PathBuf),
    /// Reading or writing failed.
    #[error("cannot {what} {}: {why}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Of which file or folder.
        path: PathBuf,
        /// Why it failed.
        why: String,
    },
    /// A newer version has written it.
    #[error(
        "{} was written in format {found}, and this version reads format {known}: use the version that wrote it, or a newer one",
        path.display()
    )]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// What it says.
        found: u64,
        /// What this version knows.
        known: u64,
    },
    /// It is not what was written.
    #[error(
        "{} is damaged: {what}; move the folder away to start without what it remembers, or put back a copy of it",
        path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Somebody else has written.
    #[error(
        "the store is at revision {} and not at {}: another head has taken over",
        found.0, expected.0
    )]
    Conflict {
        /// Where this head left it.
        expected: Revision,
        /// Where it is.
        found: Revision,
    },
}

impl MetaError {
    /// The error that whoever asks of a head without a store is given.
    pub fn to_error(&self) -> Error {
        let code = match self {
            Self::Full(_) => ErrorCode::OutOfDisk,
            _ => ErrorCode::NodeDied,
        };
        Error::new(code, format!("the head cannot remember anything more, and stops: {self}"))
    }
}
