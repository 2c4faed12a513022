//! Which compiler builds guests: the installed one, the installed one with a target that rustup
//! adds, or one of our own making.

use crate::{Error, process, progress::Progress, rustup, sysroot};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Preferred first: a wasip1 module is adapted here, with the adapter of this engine's version.
const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];
const ADDED_TARGET: &str = "wasm32-wasip2";
const RUSTC_TIMEOUT: Duration = Duration::from_secs(60);

/// A compiler and the target it builds guests for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler, when it is not the one that cargo takes by itself.
    pub rustc: Option<PathBuf>,
    /// `wasm32-wasip1` or `wasm32-wasip2`.
    pub target: String,
}

impl Toolchain {
    /// The toolchain for a crate in `dir` (whose `rust-toolchain.toml` counts): one that is
    /// installed, else one built before, else the target is added by rustup, else a toolchain is
    /// built and cached. `ENGINE_GUEST_TOOLCHAIN` names one way and rules out the others.
    pub fn find(dir: &Path, progress: &Progress) -> Result<Self, Error> {
        let choice = match std::env::var("ENGINE_GUEST_TOOLCHAIN") {
            Ok(value) if !value.is_empty() => Some(value),
            _ => None,
        };
        match choice.as_deref() {
            None => Self::whichever(dir, progress),
            Some("installed") => Self::installed(dir)?.ok_or_else(|| Error::NoToolchain {
                reason: "the installed Rust has neither the wasm32-wasip1 nor the wasm32-wasip2 target"
                    .into(),
            }),
            Some("rustup") => Self::by_rustup(dir, progress).map_err(no_toolchain),
            Some("sysroot") => {
                let built = sysroot::find_or_build(&Host::of(dir)?, progress);
                built.map(Self::own).map_err(no_toolchain)
            }
            Some(value) => Err(Error::UnknownChoice { value: value.into() }),
        }
    }

    fn whichever(dir: &Path, progress: &Progress) -> Result<Self, Error> {
        if let Some(found) = Self::installed(dir)? {
            return Ok(found);
        }
        let host = Host::of(dir)?;
        if let Some(rustc) = sysroot::find(&host)? {
            return Ok(Self::own(rustc));
        }
        let by_rustup = match Self::by_rustup(dir, progress) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        progress.note(
            "rustup could not add the target; building a guest toolchain from Debian's packages (once)",
        );
        sysroot::find_or_build(&host, progress).map(Self::own).map_err(|own| Error::NoToolchain {
            reason: format!("none is installed;\n  by rustup: {by_rustup};\n  built from packages: {own}"),
        })
    }

    fn installed(dir: &Path) -> Result<Option<Self>, Error> {
        let sysroot = ask_rustc(dir, &["--print", "sysroot"])?;
        Ok(installed_target(Path::new(sysroot.trim()))
            .map(|target| Self { rustc: None, target: target.into() }))
    }

    fn by_rustup(dir: &Path, progress: &Progress) -> Result<Self, Error> {
        rustup::add_target(ADDED_TARGET, dir, progress)?;
        Self::installed(dir)?.ok_or_else(|| Error::NoToolchain {
            reason: format!("rustup added {ADDED_TARGET}, but `rustc --print sysroot` does not hold it: another rustc comes first on PATH"),
        })
    }

    fn own(rustc: PathBuf) -> Self {
        Self { rustc: Some(rustc), target: "wasm32-wasip1".into() }
    }
}

fn no_toolchain(error: Error) -> Error {
    match error {
        Error::NoToolchain { .. } => error,
        other => Error::NoToolchain { reason: other.to_string() },
    }
}

/// The first of our targets whose standard library lies in `sysroot`.
fn installed_target(sysroot: &Path) -> Option<&'static str> {
    TARGETS.into_iter().find(|target| {
        let lib = sysroot.join("lib/rustlib").join(target).join("lib");
        std::fs::read_dir(lib).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
        })
    })
}

/// The Rust that is installed: what an own toolchain borrows its linker from.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// `rustc -vV`.
    pub version: String,
    pub triple: String,
    pub sysroot: PathBuf,
}

impl Host {
    fn of(dir: &Path) -> Result<Self, Error> {
        let version = ask_rustc(dir, &["-vV"])?;
        let triple = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or("x86_64-unknown-linux-gnu")
            .to_owned();
        let sysroot = PathBuf::from(ask_rustc(dir, &["--print", "sysroot"])?.trim());
        Ok(Self { version, triple, sysroot })
    }
}

fn ask_rustc(dir: &Path, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new("rustc");
    command.args(arguments).current_dir(dir);
    let hint = "install Rust, see https://rustup.rs";
    Ok(process::run(&mut command, RUSTC_TIMEOUT, hint, None)?.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysroot_with(targets: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for target in targets {
            let lib = dir.path().join("lib/rustlib").join(target).join("lib");
            std::fs::create_dir_all(&lib).unwrap();
            std::fs::write(lib.join("libstd-0123.rlib"), b"").unwrap();
        }
        dir
    }

    #[test]
    fn wasip1_is_preferred_then_wasip2_then_none() {
        let both = sysroot_with(&["wasm32-wasip1", "wasm32-wasip2"]);
        assert_eq!(installed_target(both.path()), Some("wasm32-wasip1"));
        let second = sysroot_with(&["wasm32-wasip2"]);
        assert_eq!(installed_target(second.path()), Some("wasm32-wasip2"));
        let none = sysroot_with(&["x86_64-unknown-linux-gnu"]);
        assert_eq!(installed_target(none.path()), None);
    }

    #[test]
    fn a_target_folder_without_its_std_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("lib/rustlib/wasm32-wasip1/lib")).unwrap();
        assert_eq!(installed_target(dir.path()), None);
    }
}
