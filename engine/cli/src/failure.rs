//! How a command fails, and with which exit status.

use std::io;
use std::process::ExitCode;

use engine_client::{Error as ClientError, ErrorCode};

use crate::output::{self, terminal};

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense: exit status 2.
    Usage(String),
    /// The engine was not reached (3), or refused the request (2 when the request is to blame, else 1).
    Client(ClientError),
    /// The job failed or was stopped, which was told already: 1.
    Job,
    /// The user pressed Ctrl-C: 130, as shells have it.
    Interrupted,
    /// The user pressed it again: the same, and nothing is waited for any more.
    Abandoned,
    /// Nobody reads the output any more: 141, as if by SIGPIPE.
    OutputClosed,
    /// Anything else: 1.
    Other(String),
}

impl Failure {
    /// Tells what went wrong, and gives the exit status for it.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Failure::Usage(text) | Failure::Other(text) => {
                eprintln!("{} {}", output::error::label(), terminal::text(text));
            }
            Failure::Client(ClientError::Engine(error)) => eprint!("{}", output::error::render(error)),
            Failure::Client(error) => {
                eprintln!("{} {}", output::error::label(), terminal::text(&error.to_string()));
            }
            Failure::Job | Failure::Interrupted | Failure::Abandoned | Failure::OutputClosed => {}
        }
        ExitCode::from(self.status())
    }

    fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Client(error) if error.is_unreachable() => 3,
            Failure::Client(error) => match error.code() {
                Some(code) if is_callers_fault(code) => 2,
                Some(_) => 1,
                None => 2,
            },
            Failure::Job | Failure::Other(_) => 1,
            Failure::Interrupted | Failure::Abandoned => 130,
            Failure::OutputClosed => 141,
        }
    }
}

/// Whether a refusal with this code says that the request was wrong.
fn is_callers_fault(code: ErrorCode) -> bool {
    use ErrorCode::*;
    matches!(
        code,
        InvalidArgument
            | InvalidComponent
            | NotFound
            | AlreadyExists
            | Unsupported
            | LimitExceeded
            | PermissionDenied
            | Unauthenticated
            | Unschedulable
    )
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Client(error)
    }
}

impl From<io::Error> for Failure {
    /// Of what is written to standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Other(format!("cannot write the output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_client::EngineError;

    #[test]
    fn exit_statuses_follow_the_kind_of_failure() {
        let engine = |code| Failure::Client(EngineError::new(code, "x").into()).status();
        assert_eq!(Failure::Usage(String::new()).status(), 2);
        assert_eq!(engine(ErrorCode::InvalidComponent), 2);
        assert_eq!(engine(ErrorCode::NotFound), 2);
        assert_eq!(engine(ErrorCode::Internal), 1);
        assert_eq!(engine(ErrorCode::NodeDied), 3);
        assert_eq!(Failure::Job.status(), 1);
        assert_eq!(Failure::Interrupted.status(), 130);
        let address = "/run/e.sock".parse().unwrap();
        let unreachable = ClientError::Unreachable { address, reason: String::new() };
        assert_eq!(Failure::Client(unreachable).status(), 3);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).status(), 141);
    }
}
