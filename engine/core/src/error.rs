//! The one taxonomy of errors (contract E1).

use std::fmt;

use crate::value::Value;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What went wrong, in the words that every language, the wire and the docs use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code as it is printed: `TASK_FAILED`.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)* }
            }

            /// The code that prints as `text`.
            pub fn parse(text: &str) -> Option<ErrorCode> {
                match text { $($text => Some(ErrorCode::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The guest's own code reported a failure.
    TaskFailed = "TASK_FAILED",
    /// The guest trapped: a panic, an illegal operation, a stack overflow.
    Trapped = "TRAPPED",
    /// The task was cancelled.
    TaskCancelled = "TASK_CANCELLED",
    /// The task's wall or CPU deadline passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    /// The guest wanted more memory than its limit.
    OutOfMemory = "OUT_OF_MEMORY",
    /// The guest used up its instruction budget.
    OutOfFuel = "OUT_OF_FUEL",
    /// The node's spill disk is full.
    OutOfDisk = "OUT_OF_DISK",
    /// The object store is full and cannot spill.
    StoreFull = "STORE_FULL",
    /// The sandbox was lost through no fault of the guest.
    WorkerDied = "WORKER_DIED",
    /// The node was lost.
    NodeDied = "NODE_DIED",
    /// The owner of the object was lost.
    OwnerDied = "OWNER_DIED",
    /// The object's bytes are lost and cannot be rebuilt.
    ObjectLost = "OBJECT_LOST",
    /// The object was freed.
    ObjectFreed = "OBJECT_FREED",
    /// Rebuilding a lost object failed.
    ReconstructionFailed = "RECONSTRUCTION_FAILED",
    /// The actor is dead.
    ActorDied = "ACTOR_DIED",
    /// The actor cannot be reached for now.
    ActorUnavailable = "ACTOR_UNAVAILABLE",
    /// More calls are pending on this handle than it allows.
    PendingCallsExceeded = "PENDING_CALLS_EXCEEDED",
    /// The placement group was removed.
    PlacementGroupRemoved = "PLACEMENT_GROUP_REMOVED",
    /// No node can ever give what the task asks for.
    Unschedulable = "UNSCHEDULABLE",
    /// The tenant's quota is used up.
    QuotaExceeded = "QUOTA_EXCEEDED",
    /// A limit of the engine was reached.
    LimitExceeded = "LIMIT_EXCEEDED",
    /// The caller may not do this.
    PermissionDenied = "PERMISSION_DENIED",
    /// The caller did not say who it is.
    Unauthenticated = "UNAUTHENTICATED",
    /// There is no such thing.
    NotFound = "NOT_FOUND",
    /// There is one already.
    AlreadyExists = "ALREADY_EXISTS",
    /// The component cannot be used.
    InvalidComponent = "INVALID_COMPONENT",
    /// An argument is wrong.
    InvalidArgument = "INVALID_ARGUMENT",
    /// This is not supported.
    Unsupported = "UNSUPPORTED",
    /// The wait ended before the object was there.
    GetTimeout = "GET_TIMEOUT",
    /// A bug in the engine.
    Internal = "INTERNAL",
}

impl ErrorCode {
    /// Whether the failure is of the system rather than of the guest's own code: what
    /// `max_retries` is for (contract T7).
    pub fn is_system(self) -> bool {
        matches!(
            self,
            Self::WorkerDied | Self::NodeDied | Self::OwnerDied | Self::ObjectLost | Self::ActorUnavailable
        )
    }

    /// Whether the failure came out of the guest's own code: what `retry_on` may name.
    pub fn is_application(self) -> bool {
        matches!(self, Self::TaskFailed | Self::Trapped)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step of the path that an error took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The task's id, printed.
    pub task: String,
    /// The function that failed or passed the error on.
    pub function: String,
    /// The node's id, printed.
    pub node: String,
    /// Counted from 0.
    pub attempt: u32,
}

/// An error as guests, clients and listings see it.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: ErrorCode,
    kind: Option<String>,
    message: String,
    path: Vec<Frame>,
    backtrace: Option<String>,
    payload: Option<Value>,
}

impl Error {
    /// An error with a message that says what was wrong, where, and what to do.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            kind: None,
            message: message.into(),
            path: Vec::new(),
            backtrace: None,
            payload: None,
        }))
    }

    /// INVALID_ARGUMENT with this message.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// INTERNAL with this message and how to report it (contract E2).
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(
            ErrorCode::Internal,
            format!(
                "{message}. This is a bug in the engine: please report it with this message and the output of `engine status`"
            ),
        )
    }

    /// The same error with the guest's own name for the failure.
    pub fn with_kind(mut self, kind: impl Into<String>) -> Self {
        self.0.kind = Some(kind.into());
        self
    }

    /// The same error with a backtrace.
    pub fn with_backtrace(mut self, backtrace: Option<String>) -> Self {
        self.0.backtrace = backtrace;
        self
    }

    /// The same error with what the failing guest attached.
    pub fn with_payload(mut self, payload: Option<Value>) -> Self {
        self.0.payload = payload;
        self
    }

    /// The same error with one more step on its path, outermost last. At most [`PATH_FRAMES_MAX`]
    /// steps are kept: the innermost ones and the last.
    pub fn with_frame(mut self, frame: Frame) -> Self {
        if self.0.path.len() == PATH_FRAMES_MAX {
            self.0.path.pop();
        }
        self.0.path.push(frame);
        self
    }

    /// The same error with this path.
    pub fn with_path(mut self, path: Vec<Frame>) -> Self {
        self.0.path = path;
        self.0.path.truncate(PATH_FRAMES_MAX);
        self
    }

    /// What went wrong.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The guest's own name for the failure, when it was one.
    pub fn kind(&self) -> Option<&str> {
        self.0.kind.as_deref()
    }

    /// For people: what happened, where, and what to do.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The tasks that it passed through, innermost first.
    pub fn path(&self) -> &[Frame] {
        &self.0.path
    }

    /// The guest's stack where it failed, with function names.
    pub fn backtrace(&self) -> Option<&str> {
        self.0.backtrace.as_deref()
    }

    /// What the failing guest attached.
    pub fn payload(&self) -> Option<&Value> {
        self.0.payload.as_ref()
    }
}

/// Steps kept of an error's path.
pub const PATH_FRAMES_MAX: usize = 64;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.code)?;
        if let Some(kind) = &self.0.kind {
            write!(f, " ({kind})")?;
        }
        write!(f, ": {}", self.0.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    // contract: E1
    #[test]
    fn every_code_reads_back_from_its_text() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
        }
    }

    #[test]
    fn a_path_is_bounded_and_keeps_its_ends() {
        let frame = |n: usize| Frame {
            task: n.to_string(),
            function: String::new(),
            node: String::new(),
            attempt: 0,
        };
        let error = (0..1000).fold(Error::new(ErrorCode::TaskFailed, "x"), |e, n| e.with_frame(frame(n)));
        assert_eq!(error.path().len(), PATH_FRAMES_MAX);
        assert_eq!(error.path()[0].task, "0");
        assert_eq!(error.path()[PATH_FRAMES_MAX - 1].task, "999");
    }
}
