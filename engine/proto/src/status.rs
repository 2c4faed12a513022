//! Errors inside gRPC statuses.

use engine_core::{Error, ErrorCode};
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::limits::{STATUS_ERROR_BYTES_MAX, STATUS_MESSAGE_BYTES_MAX};
use crate::v1;

impl prost::Name for v1::Error {
    const NAME: &'static str = "Error";
    const PACKAGE: &'static str = "engine.v1";
}

/// A status that carries the error in its details, as `google.rpc.Status` with one
/// `engine.v1.Error`.
pub fn status_from_error(error: &Error) -> Status {
    let code = grpc_code(error.code());
    let message = cut(error.message(), STATUS_MESSAGE_BYTES_MAX).to_owned();
    let Ok(any) = Any::from_msg(&bounded(error)) else {
        return Status::new(code, message);
    };
    let details = pb::Status { code: code as i32, message: message.clone(), details: vec![any] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// The error that a status carries; none when it was not made by [`status_from_error`].
pub fn error_from_status(status: &Status) -> Option<Error> {
    let details = pb::Status::decode(status.details()).ok()?;
    let error = details.details.iter().find_map(|any| any.to_msg::<v1::Error>().ok())?;
    Some(error.into())
}

fn bounded(error: &Error) -> v1::Error {
    let mut message = v1::Error::from(error);
    if message.encoded_len() > STATUS_ERROR_BYTES_MAX {
        message.backtrace = None;
    }
    if message.encoded_len() > STATUS_ERROR_BYTES_MAX {
        message.path.clear();
    }
    if let Some(excess) = message.encoded_len().checked_sub(STATUS_ERROR_BYTES_MAX) {
        let kept = message.message.len().saturating_sub(excess);
        message.message = cut(&message.message, kept).to_owned();
        let kept = STATUS_ERROR_BYTES_MAX / 4;
        message.kind = message.kind.map(|kind| cut(&kind, kept).to_owned());
    }
    message
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The code of gRPC under which other tools see an error.
fn grpc_code(code: ErrorCode) -> Code {
    use ErrorCode::*;
    match code {
        TaskCancelled => Code::Cancelled,
        DeadlineExceeded | GetTimeout => Code::DeadlineExceeded,
        OutOfMemory | OutOfFuel | OutOfDisk | StoreFull | PendingCallsExceeded | QuotaExceeded
        | LimitExceeded | Unschedulable => Code::ResourceExhausted,
        WorkerDied | NodeDied | OwnerDied | ActorUnavailable => Code::Unavailable,
        ObjectLost | ReconstructionFailed => Code::DataLoss,
        PermissionDenied => Code::PermissionDenied,
        Unauthenticated => Code::Unauthenticated,
        NotFound | ObjectFreed => Code::NotFound,
        AlreadyExists => Code::AlreadyExists,
        InvalidComponent | InvalidArgument => Code::InvalidArgument,
        TaskFailed | Trapped | ActorDied | PlacementGroupRemoved | Unsupported => Code::FailedPrecondition,
        Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::Frame;

    fn frame() -> Frame {
        Frame { task: "task-1".into(), function: "f".into(), node: "node-1".into(), attempt: 2 }
    }

    // contract: E1
    #[test]
    fn an_error_of_every_code_comes_through_a_status() {
        for code in ErrorCode::ALL {
            let error = Error::new(*code, "what happened")
                .with_kind("ValueError")
                .with_frame(frame())
                .with_backtrace(Some("0: main".into()));
            let back = error_from_status(&status_from_error(&error)).unwrap();
            assert_eq!(back.code(), *code);
            assert_eq!(back.kind(), Some("ValueError"));
            assert_eq!(back.message(), "what happened");
            assert_eq!(back.path(), [frame()]);
            assert_eq!(back.backtrace(), Some("0: main"));
        }
    }

    #[test]
    fn a_status_stays_small_enough_for_its_headers() {
        let error = Error::new(ErrorCode::TaskFailed, "é".repeat(10_000))
            .with_kind("k".repeat(10_000))
            .with_path(vec![frame(); 64])
            .with_backtrace(Some("b".repeat(100_000)));
        let status = status_from_error(&error);
        assert!(status.details().len() < STATUS_ERROR_BYTES_MAX + 1024, "{}", status.details().len());
        let back = error_from_status(&status).unwrap();
        assert_eq!(back.code(), ErrorCode::TaskFailed);
        assert!(back.backtrace().is_none());
    }

    #[test]
    fn a_status_of_someone_else_carries_no_error() {
        assert!(error_from_status(&Status::unavailable("connection refused")).is_none());
        let rubbish = Status::with_details(Code::Internal, "x", vec![0xff; 9].into());
        assert!(error_from_status(&rubbish).is_none());
    }
}
