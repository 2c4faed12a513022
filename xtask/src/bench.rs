//! `cargo xtask bench`: the benchmarks, built for release.

use crate::workspace::{cargo, succeed};
use anyhow::Result;

/// Runs them all, or those that are named.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    crate::guests::run()?;
    let mut command = cargo(&["run", "--release", "--package", "engine-benches", "--"]);
    succeed(command.args(arguments))
}
