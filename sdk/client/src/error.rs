//! What can go wrong between a client and an engine.

use engine_core::{Error as EngineError, ErrorCode};
use engine_proto::address::{Address, ParseAddressError};
use engine_proto::error_from_status;
use engine_tls::ParseAccessTokenError;
use tonic::{Code, Status};

use crate::client::TOKEN_VARIABLE;
use crate::connect::reason;

/// The result of a request.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a client and an engine.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No engine answered, or the connection broke.
    #[error("no engine was reached at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: Address,
        /// Why.
        reason: String,
    },
    /// The engine answered with an error.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The text that should name an engine does not.
    #[error(transparent)]
    Address(#[from] ParseAddressError),
    /// The text that should be a token is none.
    #[error("${TOKEN_VARIABLE}: {0}")]
    Token(ParseAccessTokenError),
}

impl Error {
    /// The engine's code for it; none when no engine answered.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Engine(error) => Some(error.code()),
            Error::Unreachable { .. } | Error::Address(_) | Error::Token(_) => None,
        }
    }

    /// Whether no engine answered, or the one that did went away.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::Engine(error) => error.code() == ErrorCode::NodeDied,
            Error::Address(_) | Error::Token(_) => false,
        }
    }

    /// As the engine would say it: NODE_DIED when none answered.
    pub fn into_engine(self) -> EngineError {
        match self {
            Error::Engine(error) => error,
            error @ Error::Unreachable { .. } => EngineError::new(ErrorCode::NodeDied, error.to_string()),
            error @ (Error::Address(_) | Error::Token(_)) => EngineError::invalid_argument(error.to_string()),
        }
    }

    pub(crate) fn from_status(status: &Status, address: &Address) -> Self {
        if let Some(error) = error_from_status(status) {
            return Error::Engine(error);
        }
        let said = status.message();
        match status.code() {
            // What tonic makes of a connection that broke.
            Code::Unavailable | Code::Cancelled | Code::Unknown => {
                let reason = std::error::Error::source(status).map_or_else(|| said.to_owned(), reason);
                Error::Unreachable { address: address.clone(), reason }
            }
            Code::Unimplemented => Error::Engine(EngineError::new(
                ErrorCode::Unsupported,
                format!(
                    "the engine at {address} does not know this request: update it to the version of the client"
                ),
            )),
            Code::OutOfRange | Code::ResourceExhausted => Error::Engine(EngineError::new(
                ErrorCode::LimitExceeded,
                format!("the answer of the engine at {address} is too large: ask for less ({said})"),
            )),
            code => Error::Engine(EngineError::internal(format!(
                "the engine at {address} answered {code:?}: {said}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_proto::status_from_error;

    fn read(status: &Status) -> Error {
        Error::from_status(status, &Address::Unix("/run/e.sock".into()))
    }

    #[test]
    fn an_engines_error_stays_what_it_is() {
        let error = read(&status_from_error(&EngineError::new(ErrorCode::NotFound, "no such job")));
        assert_eq!(error.code(), Some(ErrorCode::NotFound));
        assert!(!error.is_unreachable());
        assert_eq!(error.to_string(), "NOT_FOUND: no such job");
    }

    #[test]
    fn a_broken_connection_is_unreachable() {
        let error = read(&Status::unavailable("broken pipe"));
        assert!(error.is_unreachable());
        assert_eq!(error.to_string(), "no engine was reached at unix:/run/e.sock: broken pipe");
        let gone = EngineError::new(ErrorCode::NodeDied, "the engine was shut down");
        assert!(read(&status_from_error(&gone)).is_unreachable());
    }

    #[test]
    fn an_older_engine_is_named() {
        assert_eq!(read(&Status::unimplemented("")).code(), Some(ErrorCode::Unsupported));
    }
}
