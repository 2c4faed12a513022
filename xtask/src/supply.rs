//! What comes into a build from others: `cargo xtask deny` checks it against `deny.toml`. The tool for it is compiled
//! once, into the cache; the tests do without.

use crate::debian::is_good;
use crate::workspace::{cargo, root, succeed};
use anyhow::{Context, Result, bail};
use engine_toolchain::cache_dir;
use std::path::PathBuf;
use std::process::Command;

/// A command of cargo's that somebody else keeps.
struct Tool {
    name: &'static str,
    version: &'static str,
}

const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

impl Tool {
    /// The program, compiled first where it is not there.
    fn provide(&self) -> Result<PathBuf> {
        let folder = cache_dir()?.join(format!("{}-{}", self.name, self.version));
        let program = folder.join("bin").join(self.name);
        if !is_good(Command::new(&program).arg("--version")) {
            eprintln!("compiling {} {} into {} (minutes, once)", self.name, self.version, folder.display());
            let crate_name = format!("{}@{}", self.name, self.version);
            let mut install = cargo(&["install", "--locked", "--quiet", &crate_name, "--root"]);
            // It runs for seconds, and is not worth being optimised.
            install
                .arg(&folder)
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                .env("CARGO_PROFILE_RELEASE_LTO", "off");
            install.env_remove("RUSTC_WORKSPACE_WRAPPER");
            succeed(&mut install)
                .with_context(|| format!("{} cannot be compiled; is there a network?", self.name))?;
        }
        Ok(program)
    }
}

/// Licences, sources and versions of all libraries, and what is known of weaknesses in them.
pub(crate) fn deny() -> Result<()> {
    let program = DENY.provide()?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(root()).arg("check").args(what);
        command
    };
    succeed(&mut check(&["licenses", "bans", "sources"]))
        .context("see deny.toml, which says what may come in")?;
    let mut advisories = check(&["advisories"]);
    let said = advisories.output().with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&said.stderr);
    eprint!("{text}");
    match said.status.success() {
        true => Ok(()),
        false if text.contains("failed to fetch advisory database") => {
            eprintln!(
                "advisories were NOT looked at, as their database was not reached: say it again with a network"
            );
            Ok(())
        }
        false => bail!(
            "there are advisories about what is in Cargo.lock: SECURITY.md says how soon each is to be dealt with"
        ),
    }
}
