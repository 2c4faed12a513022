//! `cargo xtask fuzz`: random input for everything that decodes bytes from outside.

use crate::workspace::{cargo, root, succeed};
use anyhow::Result;

/// How long each target is tried, in milliseconds; bolero's.
const TIME_VARIABLE: &str = "BOLERO_RANDOM_TEST_TIME_MS";

/// Tries each target of `fuzz/` for so many minutes.
pub(crate) fn run(minutes: u64) -> Result<()> {
    let time = (minutes * 60_000).to_string();
    let mut command = cargo(&["test", "--no-fail-fast"]);
    succeed(command.current_dir(root().join("fuzz")).env(TIME_VARIABLE, time))
}
