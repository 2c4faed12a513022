//! `cargo xtask bench`: the benchmarks; those of the engine as it is shipped (profile `dist`).

use crate::workspace::{cargo, succeed};
use anyhow::Result;

/// The store alone, and its values' way into sandboxes: they measure crates, not the engine.
const OBJECTS: &str = "objects";

/// Runs them all, or those that are named.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    crate::guests::run()?;
    let (objects, others): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|name| *name == OBJECTS);
    if !others.is_empty() || objects.is_empty() {
        let mut command = cargo(&["run", "--profile", "dist", "--package", "engine-benches", "--"]);
        succeed(command.args(others))?;
    }
    if !objects.is_empty() || arguments.is_empty() {
        succeed(&mut cargo(&["bench", "--package", "engine-objects", "--bench", "objects"]))?;
        let values = ["run", "--release", "--package", "engine-runtime", "--example", "micro"];
        succeed(cargo(&values).env("MICRO_VALUES", "1"))?;
    }
    Ok(())
}
