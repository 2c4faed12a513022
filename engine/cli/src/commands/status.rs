//! `engine status`: the cluster at a glance.

use clap::Args;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::{self, Format, json, status};

const EXAMPLES: &str = "\
Examples:
  engine status
  engine status --format json | jq .counters.instantiations";

/// Show the engine at a glance: resources, tasks by state, sandboxes, store
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: &Status, target: Target) -> Result<(), Failure> {
    let found = connect::running(target).await?.status().await?;
    match args.format {
        Format::Table => output::print(&status::render(&found)),
        Format::Json => output::print_json(&json::status(&found)),
    }
}
