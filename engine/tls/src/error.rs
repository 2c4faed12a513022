//! What can be wrong with keys, certificates and tokens on this side.

use std::io;
use std::path::PathBuf;

/// What can be wrong with keys, certificates and tokens on this side.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or folder cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read what is secret.
    #[error(
        "{} holds secrets and is open to others (owner {owner}, mode {mode:o}): make it yours alone, with `chmod {}`",
        path.display(),
        if *is_folder { "700" } else { "600" }
    )]
    Open {
        /// What is open.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// Whether it is a folder.
        is_folder: bool,
    },
    /// What is in a file is not what it should be.
    #[error("{} cannot be used: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// There is no certificate authority yet.
    #[error(
        "there is no certificate authority in {}: the first start of `engine head` with TLS makes it; name the \
         folder of that head with --data-dir",
        path.display()
    )]
    NoAuthority {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A lifetime is out of bounds.
    #[error("a join token cannot be valid for {seconds} s: choose 1 s to {max_seconds} s (30 days)")]
    Ttl {
        /// What was asked for.
        seconds: u64,
        /// What is the most.
        max_seconds: u64,
    },
    /// A request for a certificate, or a certificate, is not what it should be.
    #[error("{0}")]
    Certificate(String),
}

impl From<engine_private::Error> for TlsError {
    fn from(error: engine_private::Error) -> Self {
        use engine_private::Error as Private;
        match error {
            Private::File { action, path, source } => Self::File { action, path, source },
            Private::Open { path, owner, mode, is_folder } => Self::Open { path, owner, mode, is_folder },
            Private::TooLarge { path, bytes_max } => {
                Self::Damaged { path, what: format!("it has more than {bytes_max} bytes") }
            }
        }
    }
}

impl From<rcgen::Error> for TlsError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(format!("a certificate or key cannot be made or read: {error}"))
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Certificate(format!("a certificate or key cannot be used: {error}"))
    }
}
