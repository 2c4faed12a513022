//! `cargo xtask bench`: the benchmarks; those of the engine as it is shipped (profile `dist`).

use crate::python;
use crate::venv::Environment;
use crate::workspace::{cargo, root, succeed, target_dir};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// The store alone, and its values' way into sandboxes: they measure crates, not the engine.
const OBJECTS: &str = "objects";
/// What the crate for GPUs costs beside the drivers beneath it, and they alone.
const GPU: &str = "gpu";
/// The comparison with Ray, which it installs: only where it is asked for.
const PYTHON: &str = "python";
/// Of both sides: Ray has wheels for it.
const PYTHON_VERSION: &str = "3.13";

/// Runs them all but the comparison with Ray and the devices, or those that are named.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|name| name == PYTHON) {
        ensure!(arguments.len() == 1, "`{PYTHON}` is run on its own: cargo xtask bench {PYTHON}");
        return beside_ray();
    }
    if arguments.iter().any(|name| name == GPU) {
        ensure!(arguments.len() == 1, "`{GPU}` is run on its own: cargo xtask bench {GPU}");
        return succeed(&mut cargo(&["bench", "--package", "engine-gpu", "--bench", "gpu"]));
    }
    crate::guests::run()?;
    let (objects, others): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|name| *name == OBJECTS);
    if !others.is_empty() || objects.is_empty() {
        build()?;
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

/// In one build, so that all have the same features of what they share.
fn build() -> Result<()> {
    let packages = ["-p", "engine-benches", "-p", "engine-cli", "-p", "engine-python"];
    succeed(cargo(&["build", "--profile", "dist"]).args(packages))
}

/// The package `engine` and Ray, on the same program (benches/python).
fn beside_ray() -> Result<()> {
    let runner = python::runner()?;
    build()?;
    let folder = target_dir().join("dist");
    python::complete_package(&folder.join("lib_native.so"), &runner)?;
    let interpreter = python::interpreter(PYTHON_VERSION)
        .with_context(|| format!("there is no Python {PYTHON_VERSION}, which Ray has a wheel for"))?;
    let missing = "without it, there is no comparison with Ray";
    let ray = Environment {
        recipe: format!("bench-ray-{PYTHON_VERSION}-1"),
        python: interpreter.clone(),
        packages: &["ray==2.60.0", "numpy==2.5.5"],
        missing,
    };
    let engine = Environment {
        recipe: format!("bench-engine-{PYTHON_VERSION}-1"),
        python: interpreter,
        packages: &["cloudpickle==3.1.2", "numpy==2.5.5", "setuptools==82.0.1"],
        missing,
    };
    let ray = ray.provide()?.join("bin/python");
    let engine = engine.provide()?.join("bin/python");
    python::install_wheel(&engine, &python::wheel(&engine)?)?;
    let mut compare = Command::new(&engine);
    compare.current_dir(root()).args(["-B", "benches/python/compare.py"]);
    compare.arg("--ray-python").arg(&ray).arg("--engine-python").arg(&engine);
    compare.arg("--benches").arg(folder.join("engine-benches")).arg("--runner").arg(&runner);
    succeed(&mut compare)
}
