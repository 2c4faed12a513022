//! `engine job list`: the newest jobs.

use std::time::SystemTime;

use clap::Args;
use serde_json::json;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::{self, Format, json, rows};

/// List jobs, the newest first
#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most so many; at most 10000
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: u32,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: &List, target: Target) -> Result<(), Failure> {
    let listed = connect::running(target).await?.jobs_listed(args.limit).await?;
    match args.format {
        Format::Table => output::print(&rows::jobs(&listed.jobs, SystemTime::now())),
        Format::Json => {
            let items: Vec<_> = listed.jobs.iter().map(json::job).collect();
            output::print_json(&json!({ "items": items, "total": listed.total }))
        }
    }
}
