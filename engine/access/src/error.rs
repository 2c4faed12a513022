//! What goes wrong with tokens, and with what is kept of them.

use std::io;
use std::path::PathBuf;

use engine_core::{Error, ErrorCode};

/// What an engine keeps of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can reach it.
    #[error("{} is open to others (mode {mode:o}): whoever reads it can make tokens; say chmod {wanted} {}", path.display(), path.display())]
    Open {
        /// What.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode that it is to have.
        wanted: &'static str,
    },
    /// It is not what an engine writes.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// What.
        path: PathBuf,
        /// How.
        what: String,
    },
}

impl From<engine_private::Error> for OpenError {
    fn from(error: engine_private::Error) -> Self {
        use engine_private::Error as Private;
        match error {
            Private::File { action, path, source } => Self::File { action, path, source },
            Private::Open { path, mode, is_folder, .. } => {
                Self::Open { path, mode, wanted: if is_folder { "700" } else { "600" } }
            }
            Private::TooLarge { path, bytes_max } => {
                Self::Damaged { path, what: format!("it has more than {bytes_max} bytes") }
            }
        }
    }
}

/// A token that is none, or is not good here. It never shows the token.
pub(crate) fn refused(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::Unauthenticated, format!("the token was refused: {why}"))
}

/// What is the matter with a token, without a word of what is in it.
pub(crate) fn explained(error: &biscuit_auth::error::Token) -> Error {
    use biscuit_auth::error::{Format, Token};
    match error {
        Token::Format(Format::Signature(_) | Format::SealedSignature | Format::UnknownPublicKey) => refused(
            "it was not made by this engine, or was changed since: its signature is not of this engine's key. An engine \
             that keeps nothing has another key after each start; ask for a new token (engine token create)",
        ),
        Token::RunLimit(_) => refused("to look at it takes more than an engine gives to a token"),
        _ => malformed(),
    }
}

/// A text that is no token.
pub(crate) fn malformed() -> Error {
    refused("it is malformed: expected all of what `engine token create` has printed")
}
