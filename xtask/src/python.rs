//! The Python SDK: the component with the interpreter that its tasks run in, and its tests, with each
//! version of Python that is here.

use crate::debian::is_good;
use crate::venv::Environment;
use crate::workspace::{root, succeed, target_dir};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variables that name the engine's binary and the runner to the tests.
const ENGINE: &str = "ENGINE_BIN";
const RUNNER: &str = "ENGINE_PYTHON_RUNNER";

/// The versions that the package is for, the newest last.
const VERSIONS: [&str; 5] = ["3.10", "3.11", "3.12", "3.13", "3.14"];

/// What makes the runner.
fn builder() -> Environment {
    Environment {
        recipe: "python-runner-1".to_owned(),
        python: "python3".into(),
        packages: &["componentize-py==0.25.1", "cloudpickle==3.1.2"],
        missing: "without it, there is no component that runs Python",
    }
}

/// What runs the tests with this interpreter.
fn tester(version: &str, python: PathBuf) -> Environment {
    Environment {
        recipe: format!("python-tests-{version}-1"),
        python,
        packages: &["cloudpickle==3.1.2", "mypy==2.4.1", "numpy", "pytest==9.2.0"],
        missing: "without it, the Python SDK is not tested",
    }
}

/// Makes the component with the interpreter, and gives its path. Quick when nothing has changed.
pub(crate) fn runner() -> Result<PathBuf> {
    let environment = builder().provide()?;
    let folder = target_dir().join("python");
    let runner = folder.join("python.wasm");
    let script = root().join("sdk/python/runner/build.py");
    let mut build = Command::new(environment.join("bin/python"));
    build.arg(script).arg("--quiet").arg("--output").arg(&runner).arg("--cache").arg(folder.join("cache"));
    succeed(&mut build).context("the Python runner")?;
    Ok(runner)
}

/// Puts the native module, which cargo has built with the workspace, beside the package's files.
fn native_module() -> Result<()> {
    let built = target_dir().join("debug/lib_native.so");
    let there = root().join("sdk/python/src/engine/_native.abi3.so");
    // Whoever has the old one loaded keeps it.
    let fresh = there.with_extension("so.new");
    fs::copy(&built, &fresh).with_context(|| format!("cannot copy {}", built.display()))?;
    fs::rename(&fresh, &there).with_context(|| format!("cannot write {}", there.display()))
}

/// Runs the tests, which check the types too, with the oldest and the newest Python that are here.
pub(crate) fn test() -> Result<()> {
    let runner = runner()?;
    native_module()?;
    let found: Vec<(&str, PathBuf)> =
        VERSIONS.iter().filter_map(|version| Some((*version, interpreter(version)?))).collect();
    ensure!(
        !found.is_empty(),
        "there is no Python of 3.10 or later: without one, the Python SDK is not tested"
    );
    let engine = target_dir().join("debug/engine");
    // Each test has a bound on its time, and the first that needs it would wait for this.
    println!("compiling the runner (a minute, once)");
    let program = ["submit", "--embedded", "--progress", "none"];
    succeed(Command::new(&engine).args(program).arg(&runner).args(["--", "--script", "nothing.py", "pass"]))?;
    let folder = root().join("sdk/python");
    for (index, (version, python)) in found.iter().enumerate() {
        let is_last = index + 1 == found.len();
        if index > 0 && !is_last {
            continue;
        }
        println!("Python {version}");
        let python = tester(version, python.clone()).provide()?.join("bin/python");
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&python);
            command.args(arguments).current_dir(&folder).env("PYTHONPATH", folder.join("src"));
            command.env(ENGINE, &engine).env(RUNNER, &runner);
            succeed(command.env("PYTHONDONTWRITEBYTECODE", "1"))
        };
        // Tests that need it are skipped where it is not.
        run(&["-c", "import engine._native"])?;
        run(&["-m", "pytest", "-q", "-p", "no:cacheprovider"])?;
    }
    Ok(())
}

/// The interpreter of this version: on the path, or among those of pyenv.
fn interpreter(version: &str) -> Option<PathBuf> {
    let named = PathBuf::from(format!("python{version}"));
    let kept = pyenv_versions().into_iter().map(|folder| folder.join("bin").join(&named));
    std::iter::once(named.clone()).chain(kept).find(|python| is_of(python, version))
}

fn pyenv_versions() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".pyenv")));
    let folders = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    folders.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Whether it runs, and is what its name says: pyenv puts names on the path that may stand for nothing.
fn is_of(python: &Path, version: &str) -> bool {
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let check = format!("import sys; sys.exit(sys.version_info[:2] != ({major}, {minor}))");
    is_good(Command::new(python).args(["-c", &check]))
}
