//! A guest toolchain of our own, for machines where rustup cannot download: a packaged compiler is
//! unpacked beside the installed one (never installed: it conflicts with rustup), the standard
//! library is built for wasm32-wasip1, and both are laid out as one sysroot in the cache.

mod assemble;
mod packages;
mod std_build;

use crate::{Error, cache, process, progress::Progress, toolchain::Host};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Counts up with any change of the recipe, so that a cached sysroot of another recipe is not used.
const RECIPE: &str = "guest-sysroot-1";
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// The compiler of the cached sysroot, if a whole one for this host is there.
pub(crate) fn find(host: &Host) -> Result<Option<PathBuf>, Error> {
    let rustc = place(host)?.join("bin/rustc");
    Ok(works(&rustc, host).then_some(rustc))
}

/// The compiler of the cached sysroot, built first if need be.
pub(crate) fn find_or_build(host: &Host, progress: &Progress) -> Result<PathBuf, Error> {
    if let Some(rustc) = find(host)? {
        return Ok(rustc);
    }
    let _lock = cache::lock("guest-sysroot", progress)?;
    // Another process may have built it while we waited.
    if let Some(rustc) = find(host)? {
        return Ok(rustc);
    }
    let place = place(host)?;
    sweep(&place)?;
    let work = tempfile::Builder::new()
        .prefix("building-")
        .tempdir_in(cache::cache_dir()?)
        .map_err(Error::io("cannot create a folder in", cache::cache_dir()?))?;
    let unpacked = packages::fetch(work.path(), host, progress)?;
    let rlibs = std_build::build(work.path(), &unpacked, host, progress)?;
    let step = progress.step("assembling the guest toolchain");
    let sysroot = assemble::assemble(work.path(), &unpacked, &rlibs, host)?;
    // What is at the final place is whole: it appears there in one step.
    fs::rename(&sysroot, &place).map_err(Error::io("cannot move the toolchain to", &place))?;
    step.finish();
    let rustc = place.join("bin/rustc");
    if !works(&rustc, host) {
        return Err(Error::NoToolchain {
            reason: format!("the one built at {} does not run", place.display()),
        });
    }
    progress.note(&format!("guest toolchain ready: {}", place.display()));
    Ok(rustc)
}

/// Only called under the lock: leftovers of builds that were interrupted, and a sysroot that no
/// longer works because the Rust it borrows the linker from has moved.
fn sweep(place: &Path) -> Result<(), Error> {
    let cache = cache::cache_dir()?;
    for entry in fs::read_dir(&cache).map_err(Error::io("cannot list", &cache))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("building-") {
            // A compiler that outlived its build may still write there; the next sweep gets the rest.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    if place.exists() {
        fs::remove_dir_all(place).map_err(Error::io("cannot remove", place))?;
    }
    Ok(())
}

/// Where the sysroot for this host and recipe belongs.
fn place(host: &Host) -> Result<PathBuf, Error> {
    let mut digest = Sha256::new();
    for part in [RECIPE, &host.version, &host.sysroot.to_string_lossy()] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(cache::cache_dir()?.join(format!("{RECIPE}-{digest}")))
}

/// Whether it runs, and the linker it borrows is still there.
fn works(rustc: &Path, host: &Host) -> bool {
    let Some(root) = rustc.parent().and_then(Path::parent) else { return false };
    rustc.is_file()
        && assemble::linker_in(root, host).exists()
        && process::run(Command::new(rustc).arg("-vV"), CHECK_TIMEOUT, "", None).is_ok()
}
