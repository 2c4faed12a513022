//! A server that speaks S3, for the tests of spilling to a bucket: `moto_server`, in a Python
//! environment of its own in the cache.

use crate::venv::Environment;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The variable that names the program to the tests.
pub(crate) const VARIABLE: &str = "ENGINE_S3_SERVER";

/// `moto[server]` would bring the needs of every service it knows, three times as much; these are the
/// server and its S3.
fn environment() -> Environment {
    Environment {
        recipe: "s3-server-1".to_owned(),
        python: "python3".into(),
        packages: &["moto[s3]==5.2.1", "flask==3.1.3", "flask-cors==6.0.2"],
        missing: "without it, spilling to S3 is not tested",
    }
}

/// The program that is there: the one that the environment names, or that of the cache.
pub(crate) fn installed() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os(VARIABLE).filter(|program| !program.is_empty()) {
        return Some(program.into());
    }
    environment().installed().map(|folder| program_in(&folder))
}

/// The program, put into the cache first if it is not there.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(program) = installed() {
        return Ok(program);
    }
    let program = program_in(&environment().provide()?);
    if !program.exists() {
        bail!("pip installed no {}", program.display());
    }
    Ok(program)
}

fn program_in(folder: &Path) -> PathBuf {
    folder.join("bin/moto_server")
}
