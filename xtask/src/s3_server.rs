//! A server that speaks S3, for the tests of spilling to a bucket: `moto_server`, in a Python
//! environment of its own in the cache.

use crate::debian::{self, is_good};
use crate::workspace::succeed;
use anyhow::{Context, Result, bail};
use engine_toolchain::cache_dir;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names the program to the tests.
pub(crate) const VARIABLE: &str = "ENGINE_S3_SERVER";

/// What pip installs. `moto[server]` would bring the needs of every service it knows, three times as
/// much; these are the server and its S3.
const PACKAGES: [&str; 3] = ["moto[s3]==5.2.1", "flask==3.1.3", "flask-cors==6.0.2"];
/// Counts up with any change of what is installed.
const RECIPE: &str = "s3-server-1";
/// Written last: without it, what is there was interrupted.
const READY: &str = "ready";
const WITHOUT_PYTHON: &str = "install Python 3 with its module venv (Debian: the package python3-venv)";

/// The program that is there: the one that the environment names, or that of the cache.
pub(crate) fn installed() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os(VARIABLE).filter(|program| !program.is_empty()) {
        return Some(program.into());
    }
    let folder = cache_dir().ok()?.join(RECIPE);
    is_ready(&folder).then(|| program_in(&folder))
}

/// The program, put into the cache first if it is not there.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(program) = installed() {
        return Ok(program);
    }
    let cache = cache_dir()?;
    let lock_path = cache.join(format!("{RECIPE}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
    let folder = cache.join(RECIPE);
    let program = program_in(&folder);
    // Another process may have put it there while we waited.
    if is_ready(&folder) {
        return Ok(program);
    }
    eprintln!("installing {} into {} (about a minute, once)", PACKAGES.join(", "), folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    make_environment(&folder)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    succeed(&mut pip).context("the tests of spilling to S3 need these packages; is there a network?")?;
    if !program.exists() {
        bail!("pip installed no {}", program.display());
    }
    fs::write(folder.join(READY), "").with_context(|| format!("cannot write to {}", folder.display()))?;
    Ok(program)
}

fn program_in(folder: &Path) -> PathBuf {
    folder.join("bin/moto_server")
}

/// Whether all of it is there, and the Python that it was made from still is.
fn is_ready(folder: &Path) -> bool {
    folder.join(READY).exists() && is_good(Command::new(folder.join("bin/python")).arg("--version"))
}

fn make_environment(folder: &Path) -> Result<()> {
    if !has_venv() {
        debian::install(
            "python3-venv",
            &format!("{WITHOUT_PYTHON}: without it, spilling to S3 is not tested"),
        )?;
    }
    succeed(Command::new("python3").args(["-m", "venv"]).arg(folder)).context(WITHOUT_PYTHON)
}

/// Debian's Python has the module, and not what the module needs, unless python3-venv is installed.
fn has_venv() -> bool {
    is_good(Command::new("python3").args(["-c", "import venv, ensurepip"]))
}
