//! `cargo xtask soak`: good and bad jobs for minutes, on the engine built for release.

use crate::workspace::{cargo, succeed};
use anyhow::Result;

/// Runs it for so many minutes.
pub(crate) fn run(minutes: u64) -> Result<()> {
    crate::guests::run()?;
    succeed(&mut cargo(&["build", "--release", "--package", "engine-cli"]))?;
    let mut command = cargo(&["run", "--release", "--package", "engine-tests", "--bin", "soak", "--"]);
    succeed(command.arg(minutes.to_string()))
}
