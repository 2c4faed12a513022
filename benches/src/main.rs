//! The scripts behind every published figure: `cargo xtask bench [NAME…]`.
//!
//! Each figure stands beside the limit that it is compared with, measured in the same run.

mod calls;
mod cluster;
mod harness;
mod interruption;
mod isolation;
mod memory;
mod neighbour;
mod process;
mod python;
mod raw;
mod report;
mod tasks;
mod tcp;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

use crate::report::Report;

/// Measures the engine against the limits that the machine and wasmtime set.
#[derive(Parser)]
struct Args {
    /// Which benches; all when none is named: tasks, calls, memory, interruption, cluster,
    /// neighbour, isolation.
    names: Vec<String>,
    /// Where the guests are: a folder with bench.wasm.
    #[arg(long, env = "ENGINE_GUESTS_DIR", default_value = "target/guests")]
    guests: PathBuf,
    /// The engine that clusters are made of.
    #[arg(long, env = "ENGINE_BINARY", default_value = "target/dist/engine")]
    engine: PathBuf,
    /// Runs of each pair; the median is what counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// A tenth of the work: to see that it runs.
    #[arg(long)]
    quick: bool,
}

/// What every bench is told.
pub(crate) struct Plan {
    pub(crate) guest: PathBuf,
    pub(crate) engine: PathBuf,
    pub(crate) runs: usize,
    pub(crate) scale: u64,
}

const NAMES: [&str; 7] = ["tasks", "calls", "memory", "interruption", "cluster", "neighbour", "isolation"];

fn main() -> Result<()> {
    // Before there is any other thread.
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return engine_worker::run().map_err(anyhow::Error::msg);
    }
    tokio::runtime::Runtime::new()?.block_on(measure())
}

async fn measure() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let args = Args::parse();
    if args.names == ["tcp-server"] {
        return tcp::serve();
    }
    if let [verb, rest @ ..] = &args.names[..]
        && verb == "python-runner"
    {
        return tokio::task::block_in_place(|| python::serve(rest));
    }
    let guest = args.guests.join("bench.wasm");
    if !guest.exists() {
        bail!("{} is missing: run `cargo xtask guests` first", guest.display());
    }
    let plan =
        Plan { guest, engine: args.engine, runs: args.runs.max(1), scale: if args.quick { 10 } else { 1 } };
    let mut report = Report::default();
    let wanted: Vec<&str> = match args.names.is_empty() {
        true => NAMES.to_vec(),
        false => args.names.iter().map(String::as_str).collect(),
    };
    for name in wanted {
        match name {
            "tasks" => tasks::run(&plan, &mut report).await?,
            "calls" => calls::run(&plan, &mut report).await?,
            "memory" => memory::run(&plan, &mut report).await?,
            "neighbour" => neighbour::run(&plan, &mut report).await?,
            "isolation" => isolation::run(&plan, &mut report).await?,
            "interruption" => interruption::run(&plan, &mut report)?,
            "cluster" => tokio::task::block_in_place(|| cluster::run(&plan, &mut report))?,
            other => bail!("there is no bench {other:?}: use one of {}", NAMES.join(", ")),
        }
    }
    report.print();
    Ok(())
}
