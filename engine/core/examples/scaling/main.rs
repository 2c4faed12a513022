//! The core of a whole cluster in virtual time, and what it costs: the figures of `docs/scaling.md`.
//!
//! `cargo xtask scaling` runs this for one size after the other and draws the plots. Each run prints one
//! line of JSON: `scaling NODES TASKS TASK_MS [SEED [VIEWS]]`. `VIEWS`: `full`, or `sampled`: only the owners and one
//! that runs tasks know all others. `scaling view-bytes NODES`, `head-bytes` and `task-bytes` print what one
//! entry of a table takes; `scaling head-costs NODES` what one event takes at the head.

mod cluster;
mod events;
mod head;
mod measure;
mod network;
mod report;
mod tables;

use std::process::ExitCode;

/// Above so many nodes each knows but the owners and a sample of the others, unless it is said.
const FULL_VIEWS_MAX: usize = 1_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    if arguments.first().is_some_and(|first| first == "head-costs") {
        println!("{}", head::costs(number(1).unwrap_or(1_000).clamp(4, 1 << 20) as usize));
        return ExitCode::SUCCESS;
    }
    // One table in each process: memory that an earlier one gave back would hide what the next one takes.
    let bytes = match arguments.first().map(String::as_str) {
        Some("view-bytes") => number(1).map(|count| tables::view_bytes(count.clamp(1, 1 << 20) as usize)),
        Some("head-bytes") => Some(tables::head_bytes()),
        Some("task-bytes") => Some(tables::task_bytes()),
        _ => None,
    };
    if let Some(bytes) = bytes {
        println!("{bytes}");
        return ExitCode::SUCCESS;
    }
    let (Some(nodes), Some(tasks), Some(task_ms)) = (number(0), number(1), number(2)) else {
        eprintln!(
            "usage: scaling NODES TASKS TASK_MS [SEED [full|sampled]], or: scaling view-bytes NODES|head-bytes|task-bytes|head-costs NODES"
        );
        return ExitCode::FAILURE;
    };
    let nodes = nodes.clamp(4, 1 << 20) as usize;
    let full = match arguments.get(4).map(String::as_str) {
        Some(views) => views == "full",
        None => nodes <= FULL_VIEWS_MAX,
    };
    let mut cluster = cluster::Cluster::new(nodes, tasks, task_ms, number(3).unwrap_or(1), full);
    cluster.run();
    println!("{}", report::line(&cluster));
    ExitCode::SUCCESS
}
