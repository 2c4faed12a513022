//! `cargo xtask chaos`: a cluster of real processes whose nodes and head die or are cut off, for as long as
//! is wanted.

use crate::workspace::{cargo, succeed};
use anyhow::Result;

const TEST: &str = "chaos::jobs_are_exact_while_nodes_and_the_head_die";

/// Runs the test of that name for so many minutes, with what follows from the seed.
pub(crate) fn run(minutes: u64, seed: u64) -> Result<()> {
    crate::guests::run()?;
    crate::suite::network_tools()?;
    // The engine that the test starts.
    succeed(&mut cargo(&["build", "--workspace"]))?;
    let words = ["test", "--workspace", "--test", "processes", "--", "--exact", TEST, "--nocapture"];
    let mut command = cargo(&words);
    command.env("ENGINE_CHAOS_SECONDS", (60 * minutes).to_string());
    succeed(command.env("ENGINE_CHAOS_SEED", seed.to_string()))
}
