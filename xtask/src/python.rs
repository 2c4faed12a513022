//! The Python SDK: the component with the interpreter that its tasks run in, the package with both that and
//! the native module, and its tests, with the oldest and the newest Python that are here.

use crate::debian::is_good;
use crate::guests;
use crate::venv::Environment;
use crate::workspace::{cargo, root, succeed, target_dir};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variables that name the engine's binary, the runner and the folder of the guests to the tests.
const ENGINE: &str = "ENGINE_BIN";
const RUNNER: &str = "ENGINE_PYTHON_RUNNER";
const GUESTS: &str = "ENGINE_GUESTS";
/// Tells `setup.py` that what the package holds beside Python is there.
const PREBUILT: &str = "ENGINE_PYTHON_PREBUILT";

/// Run where only the wheel is installed. A file, for functions need their source.
const INSTALLED: &str = "\
import engine, pathlib, sys
assert pathlib.Path(engine.__file__).is_relative_to(sys.prefix), engine.__file__
square = engine.remote(lambda x: x * x)
with engine.init(num_cpus=1):
    assert engine.get(square.remote(7)) == 49
";

/// Brings both forms of the runner to be compiled.
const BOTH_FORMS: &str = "\
import engine

@engine.remote
class Nothing:
    async def nothing(self):
        pass

engine.get(Nothing.remote().nothing.remote())
";

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
        recipe: format!("python-tests-{version}-4"),
        python,
        packages: &[
            "cloudpickle==3.1.2",
            "ipykernel==7.3.0",
            "joblib==1.6.0",
            "mypy==2.4.1",
            "nbclient==0.11.0",
            "numpy",
            "pandas",
            "pyarrow",
            "pytest==9.2.0",
            "setuptools==82.0.1",
        ],
        missing: "without it, the Python SDK is not tested",
    }
}

/// The component with the interpreter, and its other form, whose actors interleave their calls.
pub(crate) const RUNNER_FILES: [&str; 2] = ["python.wasm", "python-concurrent.wasm"];

/// Makes the component with the interpreter in both forms, and gives the path of the first; the other lies beside it.
/// Quick when nothing has changed.
pub(crate) fn runner() -> Result<PathBuf> {
    let environment = builder().provide()?;
    let folder = target_dir().join("python");
    let script = root().join("sdk/python/runner/build.py");
    for (file, form) in RUNNER_FILES.into_iter().zip([None, Some("--concurrent")]) {
        let mut build = Command::new(environment.join("bin/python"));
        build.arg(&script).arg("--quiet").arg("--output").arg(folder.join(file));
        build.arg("--cache").arg(folder.join("cache")).args(form);
        succeed(&mut build).with_context(|| format!("the Python runner, {file}"))?;
    }
    Ok(folder.join(RUNNER_FILES[0]))
}

/// Puts into the package what it holds beside Python: the runner, and the native module as cargo has built it.
pub(crate) fn complete_package(native: &Path, runner: &Path) -> Result<()> {
    let package = root().join("sdk/python/src/engine");
    let runners = RUNNER_FILES.map(|file| (runner.with_file_name(file), file));
    for (from, name) in runners.into_iter().chain([(native.to_owned(), "_native.abi3.so")]) {
        let there = package.join(name);
        // Whoever has the old one loaded keeps it.
        let fresh = there.with_extension("new");
        fs::copy(&from, &fresh).with_context(|| format!("cannot copy {}", from.display()))?;
        fs::rename(&fresh, &there).with_context(|| format!("cannot write {}", there.display()))?;
    }
    Ok(())
}

/// Builds all that the package holds beside Python, for people: what `pip install ./sdk/python` asks for.
pub(crate) fn package() -> Result<()> {
    let runner = runner()?;
    succeed(&mut cargo(&["build", "--profile", "dist", "--package", "engine-python"]))?;
    complete_package(&target_dir().join("dist/lib_native.so"), &runner)
}

/// Makes a wheel of the package as it is, and gives its path.
pub(crate) fn wheel(python: &Path) -> Result<PathBuf> {
    let (package, folder) = (root().join("sdk/python"), target_dir().join("python/wheel"));
    // What setuptools has left of another build would be in this wheel too.
    for old in [&folder, &package.join("build")] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    let mut pip = pip(python, "wheel");
    pip.args(["--no-deps", "--no-build-isolation", "--wheel-dir"]).arg(&folder).arg(&package);
    succeed(pip.env(PREBUILT, "1")).context("the wheel of the Python SDK")?;
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let made: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    match &made[..] {
        [wheel] => Ok(wheel.clone()),
        _ => bail!("{} should have one wheel, and has {made:?}", folder.display()),
    }
}

fn pip(python: &Path, verb: &str) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check"]);
    pip
}

/// Puts the wheel into the interpreter's environment, in place of what was there.
pub(crate) fn install_wheel(python: &Path, wheel: &Path) -> Result<()> {
    let mut install = pip(python, "install");
    succeed(install.args(["--no-deps", "--no-index", "--force-reinstall"]).arg(wheel))
}

/// Makes the wheel, and runs the tests, which check the types too, on what it installs, with the oldest and
/// the newest Python that are here.
pub(crate) fn test() -> Result<()> {
    let runner = runner()?;
    guests::run()?;
    complete_package(&target_dir().join("debug/lib_native.so"), &runner)?;
    let found: Vec<(&str, PathBuf)> =
        VERSIONS.iter().filter_map(|version| Some((*version, interpreter(version)?))).collect();
    ensure!(
        !found.is_empty(),
        "there is no Python of 3.10 or later: without one, the Python SDK is not tested"
    );
    let engine = target_dir().join("debug/engine");
    // Each test has a bound on its time, and the first that needs it would wait for this.
    println!("compiling the runner in both its forms (two minutes, once)");
    let program = target_dir().join("python/both_forms.py");
    fs::write(&program, BOTH_FORMS).with_context(|| format!("cannot write {}", program.display()))?;
    let mut compile = Command::new(&engine);
    compile.args(["submit", "--embedded", "--progress", "none"]).arg(&program);
    succeed(compile.env(RUNNER, &runner))?;
    let newest = found.len() - 1;
    let mut pythons = Vec::new();
    for (version, python) in
        found.iter().enumerate().filter(|(at, _)| [0, newest].contains(at)).map(|(_, of)| of)
    {
        pythons.push((version, tester(version, python.clone()).provide()?.join("bin/python")));
    }
    // One wheel is for every version.
    let wheel = wheel(&pythons[0].1)?;
    let program = target_dir().join("python/installed.py");
    fs::write(&program, INSTALLED).with_context(|| format!("cannot write {}", program.display()))?;
    for (version, python) in &pythons {
        println!("Python {version}");
        install_wheel(python, &wheel)?;
        // Without what the tests are told, as after `pip install`.
        succeed(Command::new(python).arg(&program).env_remove(RUNNER).env_remove("PYTHONPATH"))?;
        let mut tests = Command::new(python);
        tests.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).current_dir(root().join("sdk/python"));
        tests.env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1");
        succeed(tests.env(ENGINE, &engine).env(RUNNER, &runner).env(GUESTS, guests::folder()))?;
    }
    Ok(())
}

/// The interpreter of this version: on the path, or among those of pyenv.
pub(crate) fn interpreter(version: &str) -> Option<PathBuf> {
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
