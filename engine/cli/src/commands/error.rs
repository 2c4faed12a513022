//! `engine error`: what an error means and what to do.

use clap::Args;
use engine_core::ErrorCode;

use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  engine error                 all codes
  engine error TASK_FAILED     one of them";

/// Say what an error means and what to do
#[derive(Debug, Args)]
#[command(name = "error", after_help = EXAMPLES)]
pub(crate) struct Explained {
    /// The code, as errors show it; without one, all are listed
    code: Option<String>,
}

pub(crate) fn run(args: &Explained) -> Result<(), Failure> {
    let Some(text) = &args.code else { return output::print(&all()) };
    let code = text.trim().to_uppercase().replace('-', "_");
    match ErrorCode::parse(&code) {
        Some(code) => output::print(page(code)),
        None => Err(Failure::Usage(format!("{text:?} is not an error code; these are:\n{}", all()))),
    }
}

fn all() -> String {
    ErrorCode::ALL.iter().map(|code| format!("{:<24} {}\n", code.as_str(), summary(*code))).collect()
}

/// The first paragraph below the title.
fn summary(code: ErrorCode) -> &'static str {
    page(code).lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or_default()
}

macro_rules! pages {
    ($($code:ident = $file:literal,)*) => {
        /// The page of docs/errors.
        fn page(code: ErrorCode) -> &'static str {
            match code {
                $(ErrorCode::$code => include_str!(concat!("../../../../docs/errors/", $file, ".md")),)*
            }
        }
    };
}

pages! {
    TaskFailed = "TASK_FAILED",
    Trapped = "TRAPPED",
    TaskCancelled = "TASK_CANCELLED",
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    OutOfMemory = "OUT_OF_MEMORY",
    OutOfFuel = "OUT_OF_FUEL",
    OutOfDisk = "OUT_OF_DISK",
    StoreFull = "STORE_FULL",
    WorkerDied = "WORKER_DIED",
    NodeDied = "NODE_DIED",
    OwnerDied = "OWNER_DIED",
    ObjectLost = "OBJECT_LOST",
    ObjectFreed = "OBJECT_FREED",
    ReconstructionFailed = "RECONSTRUCTION_FAILED",
    ActorDied = "ACTOR_DIED",
    ActorUnavailable = "ACTOR_UNAVAILABLE",
    PendingCallsExceeded = "PENDING_CALLS_EXCEEDED",
    PlacementGroupRemoved = "PLACEMENT_GROUP_REMOVED",
    Unschedulable = "UNSCHEDULABLE",
    QuotaExceeded = "QUOTA_EXCEEDED",
    LimitExceeded = "LIMIT_EXCEEDED",
    PermissionDenied = "PERMISSION_DENIED",
    Unauthenticated = "UNAUTHENTICATED",
    NotFound = "NOT_FOUND",
    AlreadyExists = "ALREADY_EXISTS",
    InvalidComponent = "INVALID_COMPONENT",
    InvalidArgument = "INVALID_ARGUMENT",
    Unsupported = "UNSUPPORTED",
    GetTimeout = "GET_TIMEOUT",
    Internal = "INTERNAL",
}

#[cfg(test)]
mod tests {
    use super::*;

    // contract: E1
    #[test]
    fn every_code_has_a_page_with_its_cause_and_what_to_do() {
        for code in ErrorCode::ALL {
            let page = page(*code);
            assert_eq!(page.lines().next(), Some(format!("# {code}").as_str()));
            assert!(page.contains("\n## Cause\n"), "{code}");
            assert!(page.contains("\n## What to do\n"), "{code}");
            assert!(page.contains("\n## Example\n"), "{code}");
            assert!(summary(*code).ends_with('.'), "{code}: {}", summary(*code));
        }
    }

    #[test]
    fn an_unknown_code_is_refused_with_those_there_are() {
        let unknown = Explained { code: Some("OOPS".into()) };
        let Err(Failure::Usage(text)) = run(&unknown) else { panic!("OOPS is no code") };
        assert!(text.contains("TASK_FAILED"), "{text}");
    }
}
