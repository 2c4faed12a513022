//! Errors between the guest's world and the engine's.

use engine_core::{Error, ErrorCode, Frame};

use crate::bindings::engine::compute::types as wit;
use crate::guest::Guest;

/// What a host function may end with: an error that the guest sees, or a trap.
#[derive(Debug)]
pub enum HostError {
    /// The guest sees it.
    Guest(Error),
    /// The guest is ended by it.
    Trap(wasmtime::Error),
}

impl From<Error> for HostError {
    fn from(error: Error) -> Self {
        Self::Guest(error)
    }
}

impl From<wasmtime::Error> for HostError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

macro_rules! codes {
    ($($name:ident)*) => {
        pub(crate) fn code_to_guest(code: ErrorCode) -> wit::ErrorCode {
            match code { $(ErrorCode::$name => wit::ErrorCode::$name,)* }
        }

        pub(crate) fn code_from_guest(code: wit::ErrorCode) -> ErrorCode {
            match code { $(wit::ErrorCode::$name => ErrorCode::$name,)* }
        }
    };
}

codes! {
    TaskFailed Trapped TaskCancelled DeadlineExceeded OutOfMemory OutOfFuel OutOfDisk StoreFull
    WorkerDied NodeDied OwnerDied ObjectLost ObjectFreed ReconstructionFailed ActorDied
    ActorUnavailable PendingCallsExceeded PlacementGroupRemoved Unschedulable QuotaExceeded
    LimitExceeded PermissionDenied Unauthenticated NotFound AlreadyExists InvalidComponent
    InvalidArgument Unsupported GetTimeout Internal
}

impl Guest {
    /// An error as the guest sees it; it gets a handle to each that is inside the payload.
    pub(crate) fn error_to_guest(&mut self, error: &Error) -> wasmtime::Result<wit::Error> {
        let payload = match error.payload() {
            Some(value) => Some(self.payload_to_guest(value)?),
            None => None,
        };
        let frame = |frame: &Frame| wit::Frame {
            task: frame.task.clone(),
            function: frame.function.clone(),
            node: frame.node.clone(),
            attempt: frame.attempt,
        };
        Ok(wit::Error {
            code: code_to_guest(error.code()),
            kind: error.kind().map(str::to_owned),
            message: error.message().to_owned(),
            path: error.path().iter().map(frame).collect(),
            backtrace: error.backtrace().map(str::to_owned),
            payload,
        })
    }

    /// The failure of a call as the engine keeps it. What the guest passes on keeps its code, kind,
    /// path, backtrace and payload.
    pub(crate) fn failure_from_guest(&mut self, failure: wit::Failure) -> wasmtime::Result<Error> {
        let wit::Failure { kind, message, backtrace, payload, cause } = failure;
        let own = self.payload_or_none(payload)?;
        let (code, kind, path, backtrace, payload) = match cause {
            None => (ErrorCode::TaskFailed, Some(kind), Vec::new(), backtrace, own),
            Some(cause) => {
                let passed = self.payload_or_none(cause.payload)?;
                let path = cause.path.into_iter().map(|frame| Frame {
                    task: self.bounded(frame.task),
                    function: self.bounded(frame.function),
                    node: self.bounded(frame.node),
                    attempt: frame.attempt,
                });
                let path = path.take(engine_core::error::PATH_FRAMES_MAX).collect();
                let code = code_from_guest(cause.code);
                let kind = if code == ErrorCode::TaskFailed { cause.kind.or(Some(kind)) } else { cause.kind };
                (code, kind, path, cause.backtrace.or(backtrace), passed.or(own))
            }
        };
        let mut error = Error::new(code, self.bounded(message)).with_path(path).with_payload(payload);
        if let Some(kind) = kind {
            error = error.with_kind(self.bounded(kind));
        }
        Ok(error.with_backtrace(backtrace.map(|text| self.bounded(text))))
    }

    fn payload_or_none(
        &mut self,
        payload: Option<wit::Value>,
    ) -> wasmtime::Result<Option<engine_core::Value>> {
        let Some(value) = payload else { return Ok(None) };
        // A payload that cannot be kept must not hide the failure that it belongs to.
        match self.payload_from_guest(value) {
            Ok(value) => Ok(Some(value)),
            Err(HostError::Guest(_)) => Ok(None),
            Err(HostError::Trap(trap)) => Err(trap),
        }
    }

    /// Text of an error, no longer than the engine keeps.
    fn bounded(&self, text: String) -> String {
        bounded(text)
    }
}

/// Bytes kept of each text in an error.
pub(crate) const ERROR_TEXT_BYTES_MAX: usize = 64 << 10;

/// `text` cut to what the engine keeps of an error, at a character's edge.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > ERROR_TEXT_BYTES_MAX {
        let edge = (0..=ERROR_TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(edge);
        text.push_str("… (cut)");
    }
    text
}

/// Of a call that stands for a client outside, which no sandbox is started for.
pub(crate) fn no_client() -> Error {
    Error::internal("a sandbox was given the root of a job that is a client outside")
}
