//! `engine job stop`: end a job now.

use clap::Args;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output;

/// Stop a job: cancel its tasks, end its actors
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The job's id or submission id
    job: String,
}

pub(crate) async fn run(args: Stop, target: Target) -> Result<(), Failure> {
    let job = connect::running(target).await?.job(args.job).await?;
    let was_over = job.view().state().is_final();
    let view = job.stop().await?;
    let how = if was_over { "had ended before" } else { "is" };
    output::print(&format!("{} {how}: {}", view.job_id, view.state().name()))
}
