//! `engine job delete`: forget a job that has ended.

use clap::Args;
use engine_client::Address;

use crate::connect;
use crate::failure::Failure;
use crate::output;

/// Forget a job that has ended, and its logs
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The job's id or submission id
    job: String,
}

pub(crate) async fn run(args: Delete, address: Option<Address>) -> Result<(), Failure> {
    let job = connect::running(address).await?.job(args.job).await?;
    let id = job.id().to_owned();
    job.delete().await?;
    output::print(&format!("{id} is forgotten"))
}
