//! The one taxonomy of errors.
use crate::bindings::engine::compute::types::ErrorCode as Wire;
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a call of the engine failed: the same codes in every language, on the wire and on the
        /// command line (`engine error CODE` prints the page of one).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the taxonomy.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The code's name as people and other languages write it, such as `TASK_FAILED`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }

            pub(crate) fn from_wire(code: Wire) -> Self {
                match code {
                    $(Wire::$variant => ErrorCode::$variant,)*
                }
            }

            pub(crate) fn into_wire(self) -> Wire {
                match self {
                    $(ErrorCode::$variant => Wire::$variant,)*
                }
            }
        }
    };
}

codes! {
    /// The task's own code returned an error.
    TaskFailed = "TASK_FAILED",
    /// The guest panicked, or did what WebAssembly forbids.
    Trapped = "TRAPPED",
    /// The task was cancelled.
    TaskCancelled = "TASK_CANCELLED",
    /// The deadline passed first.
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    /// The guest needed more memory than its limit.
    OutOfMemory = "OUT_OF_MEMORY",
    /// The guest used up its CPU time.
    OutOfFuel = "OUT_OF_FUEL",
    /// The disk that objects are spilled to is full.
    OutOfDisk = "OUT_OF_DISK",
    /// The object store is full and nothing in it can be spilled.
    StoreFull = "STORE_FULL",
    /// The process that ran the task died.
    WorkerDied = "WORKER_DIED",
    /// The node that ran the task died.
    NodeDied = "NODE_DIED",
    /// The node that owned the object died.
    OwnerDied = "OWNER_DIED",
    /// The object's bytes are gone and cannot be made again.
    ObjectLost = "OBJECT_LOST",
    /// The object had been freed already.
    ObjectFreed = "OBJECT_FREED",
    /// The object was lost, and running its task again failed.
    ReconstructionFailed = "RECONSTRUCTION_FAILED",
    /// The actor is dead.
    ActorDied = "ACTOR_DIED",
    /// The actor cannot be reached at present.
    ActorUnavailable = "ACTOR_UNAVAILABLE",
    /// More calls than `max_pending_calls` would be pending.
    PendingCallsExceeded = "PENDING_CALLS_EXCEEDED",
    /// The placement group was removed.
    PlacementGroupRemoved = "PLACEMENT_GROUP_REMOVED",
    /// No node can ever give what was asked for.
    Unschedulable = "UNSCHEDULABLE",
    /// The tenant's quota is used up.
    QuotaExceeded = "QUOTA_EXCEEDED",
    /// A limit on one task or call would be passed.
    LimitExceeded = "LIMIT_EXCEEDED",
    /// The caller may not do that.
    PermissionDenied = "PERMISSION_DENIED",
    /// The caller did not say who it is, or could not show it.
    Unauthenticated = "UNAUTHENTICATED",
    /// There is nothing of that name.
    NotFound = "NOT_FOUND",
    /// The name is taken.
    AlreadyExists = "ALREADY_EXISTS",
    /// The component cannot be used as asked.
    InvalidComponent = "INVALID_COMPONENT",
    /// An argument is wrong, or does not decode as what was expected.
    InvalidArgument = "INVALID_ARGUMENT",
    /// This engine does not do that (yet).
    Unsupported = "UNSUPPORTED",
    /// The value was not there within the timeout.
    GetTimeout = "GET_TIMEOUT",
    /// A defect of the engine itself.
    Internal = "INTERNAL",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // contract: E1
    #[test]
    fn every_code_of_the_interface_is_here_under_its_own_name() {
        let interface = include_str!("../../../wit/compute.wit");
        let (_, list) = interface.split_once("enum error-code {").unwrap();
        let (list, _) = list.split_once('}').unwrap();
        let names = list.lines().map(|line| line.split("//").next().unwrap_or_default());
        let names: String = names.collect::<Vec<_>>().join(" ").to_uppercase().replace('-', "_");
        let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        assert_eq!(ErrorCode::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>(), names);
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.into_wire()), code);
        }
    }
}
