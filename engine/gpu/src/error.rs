//! What goes wrong on a device, with a code, and a message that says what, where, and what to do.

use std::fmt;

/// What this crate's functions end with.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in the words that users see. Those without `GPU_` are codes of the engine's taxonomy
/// and mean the same as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The kernel's source was not accepted; the message has the compiler's text.
    CompileError,
    /// A range reaches beyond the end of a buffer.
    OutOfBounds,
    /// The device has no memory for it, though the session's limits allow it.
    OutOfMemory,
    /// The device does not answer, or a kernel broke it; the session is of no use any more.
    DeviceLost,
    /// An argument is wrong.
    InvalidArgument,
    /// This device, or this backend, cannot do it.
    Unsupported,
    /// A limit of the session was reached.
    LimitExceeded,
    /// A worker had not done what was asked of it in time, and was ended.
    DeadlineExceeded,
    /// A worker has ended.
    WorkerDied,
    /// A bug in the engine.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 10] = [
        Self::CompileError,
        Self::OutOfBounds,
        Self::OutOfMemory,
        Self::DeviceLost,
        Self::InvalidArgument,
        Self::Unsupported,
        Self::LimitExceeded,
        Self::DeadlineExceeded,
        Self::WorkerDied,
        Self::Internal,
    ];

    /// The code as it is printed: `GPU_COMPILE_ERROR`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CompileError => "GPU_COMPILE_ERROR",
            Self::OutOfBounds => "GPU_OUT_OF_BOUNDS",
            Self::OutOfMemory => "GPU_OUT_OF_MEMORY",
            Self::DeviceLost => "GPU_DEVICE_LOST",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Unsupported => "UNSUPPORTED",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::WorkerDied => "WORKER_DIED",
            Self::Internal => "INTERNAL",
        }
    }

    /// The code that prints as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    code: Code,
    message: String,
}

impl Error {
    /// An error with a message that says what was wrong, where, and what to do. A message longer than
    /// [`MESSAGE_BYTES_MAX`] is cut.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or(0));
            message.push('…');
        }
        Self { code, message }
    }

    /// What went wrong.
    pub fn code(&self) -> Code {
        self.code
    }

    /// For people: what happened, where, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Bytes of a message, above which it is cut: a compiler's text has no bound of its own.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;

pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(Code::InvalidArgument, message))
}

pub(crate) fn unsupported<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(Code::Unsupported, message))
}

pub(crate) fn exceeded<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(Code::LimitExceeded, message))
}

pub(crate) fn internal(message: impl fmt::Display) -> Error {
    Error::new(Code::Internal, format!("{message}. This is a bug in the engine: please report it"))
}

pub(crate) fn lost(message: impl fmt::Display) -> Error {
    Error::new(
        Code::DeviceLost,
        format!("{message}; what the session had on the device is gone: open another"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_from_its_text() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let error = Error::new(Code::CompileError, "ü".repeat(MESSAGE_BYTES_MAX));
        assert!(error.message().len() <= MESSAGE_BYTES_MAX + "…".len());
        assert!(error.message().ends_with('…'));
    }
}
