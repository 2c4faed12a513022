//! What goes wrong with the log.

use std::io;
use std::path::{Path, PathBuf};

/// The log cannot be opened, read or believed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The system refused something.
    #[error("the audit log: cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can reach it.
    #[error("the audit log: {} is open to others (mode {mode:o}): say chmod 700 {}", path.display(), path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another engine writes there.
    #[error(
        "the audit log: another engine writes to {}: stop that one, or give this one a folder of its own \
         (--audit-log DIR)",
        .0.display()
    )]
    Locked(PathBuf),
    /// A line is not what an engine has written after the line before.
    #[error("the audit log: {}:{line}: {what}", path.display())]
    Line {
        /// Of which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is the matter.
        what: String,
    },
    /// There is none.
    #[error("the audit log: {} has no file of one: name its folder with --audit-log DIR", .0.display())]
    None(PathBuf),
}

impl From<engine_private::Error> for AuditError {
    fn from(error: engine_private::Error) -> Self {
        use engine_private::Error as Private;
        match error {
            Private::File { action, path, source } => Self::File { action, path, source },
            Private::Open { path, mode, .. } => Self::Open { path, mode },
            Private::TooLarge { path, bytes_max } => {
                let source = io::Error::other(format!("it has more than {bytes_max} bytes"));
                Self::File { action: "read", path, source }
            }
        }
    }
}

/// A closure that says what was tried with what.
pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::File { action, path, source }
}

/// Why lines cannot be written. They are kept, and tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the audit log cannot be written ({what}), and what it cannot tell of is not done: make room there, or make it writable; it goes on by itself"
)]
pub struct Broken {
    /// What the system said, and of what.
    pub what: String,
    /// Whether it is room that is missing.
    pub is_full: bool,
}

impl Broken {
    pub(crate) fn of(error: &AuditError) -> Self {
        let is_full = match error {
            AuditError::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        };
        Self { what: error.to_string(), is_full }
    }
}
