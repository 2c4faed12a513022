//! Python environments in the cache, each made once.

use crate::debian::{self, is_good};
use crate::workspace::succeed;
use anyhow::{Context, Result};
use engine_toolchain::cache_dir;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Written last: without it, what is there was interrupted.
const READY: &str = "ready";

/// What pip installs into an environment of its own.
pub(crate) struct Environment {
    /// The folder's name; its number counts up with any change of what is installed.
    pub(crate) recipe: String,
    /// The interpreter that it is made from.
    pub(crate) python: PathBuf,
    pub(crate) packages: &'static [&'static str],
    /// What is missing without it.
    pub(crate) missing: &'static str,
}

impl Environment {
    /// Where it is, when all of it is there and the Python that it was made from still is.
    pub(crate) fn installed(&self) -> Option<PathBuf> {
        let folder = cache_dir().ok()?.join(&self.recipe);
        is_ready(&folder).then_some(folder)
    }

    /// Where it is; it is made first if it is not there.
    pub(crate) fn provide(&self) -> Result<PathBuf> {
        if let Some(folder) = self.installed() {
            return Ok(folder);
        }
        let cache = cache_dir()?;
        let lock_path = cache.join(format!("{}.lock", self.recipe));
        let lock =
            File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
        lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
        let folder = cache.join(&self.recipe);
        // Another process may have put it there while we waited.
        if is_ready(&folder) {
            return Ok(folder);
        }
        let packages = self.packages.join(", ");
        eprintln!("installing {packages} into {} (about a minute, once)", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        self.make(&folder)?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(self.packages);
        succeed(&mut pip).with_context(|| format!("{}; is there a network?", self.missing))?;
        fs::write(folder.join(READY), "").with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(folder)
    }

    fn make(&self, folder: &Path) -> Result<()> {
        let without = format!(
            "install Python 3 with its module venv (Debian: the package python3-venv): {}",
            self.missing
        );
        if !has_venv(&self.python) {
            debian::install("python3-venv", &without)?;
        }
        succeed(Command::new(&self.python).args(["-m", "venv"]).arg(folder)).context(without)
    }
}

fn is_ready(folder: &Path) -> bool {
    folder.join(READY).exists() && is_good(Command::new(folder.join("bin/python")).arg("--version"))
}

/// Debian's Python has the module, and not what the module needs, unless python3-venv is installed.
fn has_venv(python: &Path) -> bool {
    is_good(Command::new(python).args(["-c", "import venv, ensurepip"]))
}
