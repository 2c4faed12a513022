//! Errors and the steps of their paths.

use engine_core::{Error, ErrorCode, Frame};

use crate::v1;

impl From<&Frame> for v1::Frame {
    fn from(frame: &Frame) -> Self {
        Self {
            task_id: frame.task.clone(),
            function: frame.function.clone(),
            node_id: frame.node.clone(),
            attempt: frame.attempt,
        }
    }
}

impl From<v1::Frame> for Frame {
    fn from(frame: v1::Frame) -> Self {
        Self { task: frame.task_id, function: frame.function, node: frame.node_id, attempt: frame.attempt }
    }
}

impl From<&Error> for v1::Error {
    /// The payload stays behind: it is for guests, who get it another way.
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().as_str().to_owned(),
            kind: error.kind().map(str::to_owned),
            message: error.message().to_owned(),
            path: error.path().iter().map(Into::into).collect(),
            backtrace: error.backtrace().map(str::to_owned),
        }
    }
}

impl From<v1::Error> for Error {
    /// A code that this build does not know comes from a newer one, and reads as INTERNAL with the
    /// code in front of its message.
    fn from(error: v1::Error) -> Self {
        let (code, message) = match ErrorCode::parse(&error.code) {
            Some(code) => (code, error.message),
            None => (ErrorCode::Internal, format!("{}: {}", error.code, error.message)),
        };
        let back = Error::new(code, message)
            .with_backtrace(error.backtrace)
            .with_path(error.path.into_iter().map(Into::into).collect());
        match error.kind {
            Some(kind) => back.with_kind(kind),
            None => back,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_kept_in_the_message() {
        let error =
            Error::from(v1::Error { code: "FROM_THE_FUTURE".into(), message: "x".into(), ..<_>::default() });
        assert_eq!(error.code(), ErrorCode::Internal);
        assert_eq!(error.message(), "FROM_THE_FUTURE: x");
    }
}
