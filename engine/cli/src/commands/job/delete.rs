//! `engine job delete`: forget a job that has ended.

use clap::Args;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output;

/// Forget a job that has ended, and its logs
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The job's id or submission id
    job: String,
}

pub(crate) async fn run(args: Delete, target: Target) -> Result<(), Failure> {
    let job = connect::running(target).await?.job(args.job).await?;
    let id = job.id().to_owned();
    job.delete().await?;
    output::print(&format!("{id} is forgotten"))
}
