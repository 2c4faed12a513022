//! Servers that tests run against, in a Python environment of their own in the cache: one that speaks S3, for
//! spilling to a bucket (`moto_server`), and an issuer of OpenID Connect, for logins (`oidc-provider-mock`).

use crate::venv::Environment;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The variable that names the server of S3 to the tests.
const S3: &str = "ENGINE_S3_SERVER";
/// The variable that names the issuer to the tests.
const ISSUER: &str = "ENGINE_OIDC_ISSUER";
/// Each variable, and the program in the environment.
const PROGRAMS: [(&str, &str); 2] = [(S3, "moto_server"), (ISSUER, "oidc-provider-mock")];

/// `moto[server]` would bring the needs of every service it knows, three times as much; these are the
/// server and its S3.
fn environment() -> Environment {
    Environment {
        recipe: "test-servers-1".to_owned(),
        python: "python3".into(),
        packages: &["moto[s3]==5.2.1", "flask==3.1.3", "flask-cors==6.0.2", "oidc-provider-mock==0.3.4"],
        missing: "without it, spilling to S3 and logins are not tested",
    }
}

/// The programs that are there, by the variables that name them to the tests: those that the environment names, or
/// those of the cache.
pub(crate) fn installed() -> Vec<(&'static str, PathBuf)> {
    let folder = environment().installed();
    let named = |variable: &str| std::env::var_os(variable).filter(|program| !program.is_empty());
    let of = |(variable, name): (&'static str, &str)| {
        let cached = || folder.as_ref().map(|folder| program_in(folder, name));
        Some((variable, named(variable).map(PathBuf::from).or_else(cached)?))
    };
    PROGRAMS.into_iter().filter_map(of).collect()
}

/// The programs, put into the cache first if they are not there.
pub(crate) fn provide() -> Result<Vec<PathBuf>> {
    let mut programs = installed();
    if programs.len() < PROGRAMS.len() {
        environment().provide()?;
        programs = installed();
    }
    let missing = programs.iter().find(|(_, program)| !program.exists());
    if let Some((_, program)) = missing {
        bail!("pip installed no {}", program.display());
    }
    Ok(programs.into_iter().map(|(_, program)| program).collect())
}

fn program_in(folder: &Path, name: &str) -> PathBuf {
    folder.join("bin").join(name)
}
