//! The packages of the recipe: downloaded by apt-get, unpacked into a private folder.

use crate::{Error, process, progress::Progress, toolchain::Host};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const NAMES: [&str; 4] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src", "wasi-libc"];
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const SHORT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const NOT_DEBIAN: &str = "this way works on Debian and its kin only";

/// The unpacked packages.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// The folder that stands for `/`.
    pub root: PathBuf,
    /// The folder of the compiler's shared libraries.
    pub libraries: PathBuf,
    /// The sources that the standard library is built from.
    pub sources: PathBuf,
}

impl Unpacked {
    /// A command for the packaged compiler.
    pub(super) fn rustc(&self) -> Command {
        let mut command = Command::new(self.root.join("usr/bin/rustc"));
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }
}

pub(super) fn fetch(work: &Path, host: &Host, progress: &Progress) -> Result<Unpacked, Error> {
    let downloads = work.join("downloads");
    let root = work.join("root");
    for dir in [&downloads, &root] {
        fs::create_dir_all(dir).map_err(Error::io("cannot create", dir))?;
    }
    let step = progress.step("downloading the compiler and its sources from Debian (about 140 MB)");
    // The package lists may be absent (a fresh container) or too old to download by.
    let names = match names().and_then(|names| download(&names, &downloads).map(|()| names)) {
        Ok(names) => names,
        Err(_) => {
            step.detail("refreshing the package lists");
            apt_get(&["update"], work, SHORT_TIMEOUT)?;
            let names = names()?;
            download(&names, &downloads)?;
            names
        }
    };
    step.finish();

    let step = progress.step("unpacking");
    for entry in fs::read_dir(&downloads).map_err(Error::io("cannot list", &downloads))?.flatten() {
        let deb = entry.path();
        if deb.extension().is_some_and(|extension| extension == "deb") {
            step.detail(&entry.file_name().to_string_lossy());
            process::run(
                Command::new("dpkg").arg("-x").arg(&deb).arg(&root),
                SHORT_TIMEOUT,
                NOT_DEBIAN,
                None,
            )?;
        }
    }
    let unpacked = locate(root, host)?;
    if process::run(unpacked.rustc().arg("-vV"), SHORT_TIMEOUT, "", None).is_err() {
        // What LLVM itself needs is missing on this machine; that is installed the ordinary way.
        if let Some(llvm) = names.iter().find(|name| name.starts_with("libllvm")) {
            step.detail(&format!("installing what {llvm} needs"));
            apt_get(&["install", "-y", "--no-install-recommends", llvm], work, DOWNLOAD_TIMEOUT)?;
        }
        process::run(unpacked.rustc().arg("-vV"), SHORT_TIMEOUT, "", None)?;
    }
    step.finish();
    Ok(unpacked)
}

fn locate(root: PathBuf, host: &Host) -> Result<Unpacked, Error> {
    let missing =
        |what: String| Error::NoToolchain { reason: format!("Debian's packages do not hold {what}") };
    let lib = root.join("usr/lib");
    let libraries = subfolder(&lib, |dir| holds(dir, "librustc_driver-"))
        .ok_or_else(|| missing("the compiler's library (usr/lib/*/librustc_driver-*.so)".into()))?;
    let sources = subfolder(&root.join("usr/src"), |dir| dir.join("library/std").is_dir())
        .ok_or_else(|| missing("the sources of the standard library (usr/src/rustc-*)".into()))?;
    let std = lib.join("rustlib").join(&host.triple).join("lib");
    if !std.is_dir() {
        return Err(missing(format!("a standard library for {}", host.triple)));
    }
    Ok(Unpacked { root, libraries, sources })
}

fn subfolder(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).find(|path| wanted(path))
}

fn holds(dir: &Path, prefix: &str) -> bool {
    subfolder(dir, |path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .is_some()
}

/// The packages by today's names: the compiler's own library and LLVM carry versions in theirs.
fn names() -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = NAMES.map(String::from).into();
    let driver = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = dependency(&driver, "libllvm")?;
    names.extend([driver, llvm]);
    Ok(names)
}

fn dependency(package: &str, prefix: &str) -> Result<String, Error> {
    let mut command = Command::new("apt-cache");
    command.args(["depends", package]).env("LC_ALL", "C");
    let listed = process::run(&mut command, SHORT_TIMEOUT, NOT_DEBIAN, None)?.stdout;
    depends_on(&listed, prefix).ok_or_else(|| Error::NoToolchain {
        reason: format!("Debian's {package} is not known here, or depends on no {prefix}…"),
    })
}

fn depends_on(listed: &str, prefix: &str) -> Option<String> {
    listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
}

fn download(names: &[String], downloads: &Path) -> Result<(), Error> {
    let mut arguments = vec!["download"];
    arguments.extend(names.iter().map(String::as_str));
    apt_get(&arguments, downloads, DOWNLOAD_TIMEOUT)
}

fn apt_get(arguments: &[&str], dir: &Path, limit: Duration) -> Result<(), Error> {
    let mut command = Command::new("apt-get");
    command
        .args(["-q", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Sandbox::User=root"])
        .args(arguments)
        .current_dir(dir)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run(&mut command, limit, NOT_DEBIAN, None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_versioned_name_is_found_among_the_dependencies() {
        let listed = "libstd-rust-web-1.96\n  Depends: libc6\n  Depends: libllvm22\n  Conflicts: <rustup>\n";
        assert_eq!(depends_on(listed, "libllvm").as_deref(), Some("libllvm22"));
        assert_eq!(depends_on(listed, "libstd-rust-web-"), None);
    }
}
