//! `cargo xtask bench`: the benchmarks; those of the engine as it is shipped (profile `dist`).

use crate::workspace::{cargo, root, succeed, target_dir};
use anyhow::Result;
use std::process::Command;

/// The store alone, and its values' way into sandboxes: they measure crates, not the engine.
const OBJECTS: &str = "objects";

/// Runs them all, or those that are named.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    crate::guests::run()?;
    let (objects, others): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|name| *name == OBJECTS);
    if !others.is_empty() || objects.is_empty() {
        // In one build, so that both have the same features of what they share.
        let packages = ["--package", "engine-benches", "--package", "engine-cli"];
        succeed(cargo(&["build", "--profile", "dist"]).args(packages))?;
        let folder = target_dir().join("dist");
        let mut command = Command::new(folder.join("engine-benches"));
        command.current_dir(root()).env("ENGINE_BINARY", folder.join("engine"));
        succeed(command.env("ENGINE_GUESTS_DIR", crate::guests::folder()).args(others))?;
    }
    if !objects.is_empty() || arguments.is_empty() {
        succeed(&mut cargo(&["bench", "--package", "engine-objects", "--bench", "objects"]))?;
        let values = ["run", "--release", "--package", "engine-runtime", "--example", "micro"];
        succeed(cargo(&values).env("MICRO_VALUES", "1"))?;
    }
    Ok(())
}
