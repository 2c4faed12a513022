//! Why an operation was not done.

use arrow_schema::ArrowError;

/// What operations end with.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Types, shapes or values that it is not for, with what to do instead.
    #[error("{0}")]
    Invalid(String),
    /// It needs more memory than there is left of its budget.
    #[error("{what} takes {needs} bytes; {used} bytes are in use and the limit is {max} bytes")]
    Memory {
        /// What the memory is for.
        what: String,
        /// Bytes that it needs.
        needs: u64,
        /// Bytes that are taken already.
        used: u64,
        /// Bytes that may be taken.
        max: u64,
    },
}

/// [`Error::Invalid`] with this text.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Self::Invalid(match error {
            ArrowError::ArithmeticOverflow(text) => {
                format!("{text}: the result does not fit the type; cast to a wider type or to f64 first")
            }
            ArrowError::DivideByZero => "division by zero; of floats it gives inf or nan".to_owned(),
            ArrowError::OffsetOverflowError(bytes) => {
                format!("{bytes} bytes of text are more than one array has (2 GiB): work on parts")
            }
            ArrowError::CastError(text)
            | ArrowError::ComputeError(text)
            | ArrowError::ParseError(text)
            | ArrowError::InvalidArgumentError(text) => text,
            other => other.to_string(),
        })
    }
}
