//! `engine job`: jobs, as Ray's job command has them.

mod delete;
mod list;
mod status;
mod stop;

use clap::{Args, Subcommand};

use crate::commands::logs::{self, LogsArgs};
use crate::connect::Target;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine job list
  engine job status my-submission
  engine job logs my-submission -f
  engine job stop job-0123456789abcdef01234567
  engine job delete my-submission";

/// List, follow, stop and forget jobs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Job {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::List),
    Status(status::Status),
    /// Show what a job's guests wrote
    Logs(LogsArgs),
    Stop(stop::Stop),
    Delete(delete::Delete),
}

pub(crate) async fn run(args: Job, target: Target) -> Result<(), Failure> {
    match args.verb {
        Verb::List(args) => list::run(&args, target).await,
        Verb::Status(args) => status::run(args, target).await,
        Verb::Logs(args) => logs::print(args, target).await,
        Verb::Stop(args) => stop::run(args, target).await,
        Verb::Delete(args) => delete::run(args, target).await,
    }
}
