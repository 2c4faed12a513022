//! `engine get`: one thing in full.

use clap::Args;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::{self, Format, details, json};
use crate::parse::OneKind;

const EXAMPLES: &str = "\
Examples:
  engine get task task-0123456789abcdef01234567
  engine get job my-submission --format json";

/// Show one thing in full
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Get {
    #[arg(value_enum)]
    kind: OneKind,
    /// Its id; of a job also its submission id
    id: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Get, target: Target) -> Result<(), Failure> {
    let client = connect::running(target).await?;
    let view = json::view(&client.get(args.kind.into(), args.id).await?);
    match args.format {
        Format::Table => output::print(&details::render(&view)),
        Format::Json => output::print_json(&view),
    }
}
