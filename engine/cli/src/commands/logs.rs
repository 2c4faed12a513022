//! `engine logs`: what a job's guests wrote.

use std::io::{self, Write};

use clap::Args;
use engine_client::LogOptions;
use futures::StreamExt;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::logs::LogPrinter;
use crate::output::{Format, json, terminal};

const EXAMPLES: &str = "\
Examples:
  engine logs job-0123456789abcdef01234567
  engine logs my-submission -f                 go on until the job ends
  engine logs my-submission --tail 20
  engine logs my-submission --task task-0123456789abcdef01234567

Standard output goes to standard output, standard error and log records to standard error. With
--format json every line is a JSON object on standard output.";

/// Show what a job's guests wrote
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) query: LogsArgs,
}

/// Which lines, and how.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The job's id or submission id
    job: String,
    /// Go on with new lines until the job ends
    #[arg(short, long)]
    follow: bool,
    /// Only the lines of this task
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Only the last N lines of those that are kept
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<u64>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Logs, target: Target) -> Result<(), Failure> {
    print(args.query, target).await
}

/// Prints the lines as they come.
pub(crate) async fn print(args: LogsArgs, target: Target) -> Result<(), Failure> {
    let job = connect::running(target).await?.job(args.job).await?;
    let filtered = args.task.is_some();
    let options = LogOptions { follow: args.follow, task: args.task, tail: args.tail };
    let mut lines = job.logs(options).await?;
    let mut printer = LogPrinter::new(false);
    while let Some(batch) = lines.next().await {
        let batch = batch?;
        match args.format {
            Format::Table if filtered => printer.print_filtered(&batch)?,
            Format::Table => printer.print(&batch)?,
            Format::Json => {
                let text: String = batch.iter().map(|line| format!("{}\n", json::log_line(line))).collect();
                let text = terminal::json(&text);
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes())?;
                out.flush()?;
            }
        }
    }
    Ok(())
}
