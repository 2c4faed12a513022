//! `engine job status`: one job in full.

use clap::Args;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::{self, Format, details, json};

/// Show one job in full
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The job's id or submission id
    job: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Status, target: Target) -> Result<(), Failure> {
    let job = connect::running(target).await?.job(args.job).await?;
    let view = json::job(job.view());
    match args.format {
        Format::Table => output::print(&details::render(&view)),
        Format::Json => output::print_json(&view),
    }
}
