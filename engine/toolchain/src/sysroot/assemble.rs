//! Lays compiler, libraries and linker out as a sysroot that can be moved as a whole.

use super::packages::Unpacked;
use crate::{Error, toolchain::Host};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Finds its own place, so that the folder may be renamed.
const WRAPPER: &str = r#"root=$(dirname "$(dirname "$(readlink -f "$0")")")
LD_LIBRARY_PATH="$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$root/libexec/rustc" --sysroot "$root" "$@""#;

pub(super) fn assemble(
    work: &Path,
    unpacked: &Unpacked,
    rlibs: &[PathBuf],
    host: &Host,
) -> Result<PathBuf, Error> {
    let sysroot = work.join("sysroot");
    let rustlib = sysroot.join("lib/rustlib");
    let wasm = rustlib.join("wasm32-wasip1/lib");
    let native = rustlib.join(&host.triple).join("lib");
    for dir in ["bin", "lib", "libexec"].map(|name| sysroot.join(name)) {
        create(&dir)?;
    }
    create(&wasm.join("self-contained"))?;
    create(&native)?;

    move_into(&unpacked.root.join("usr/bin/rustc"), &sysroot.join("libexec"))?;
    for library in files_in(&unpacked.libraries)? {
        if library.to_string_lossy().contains(".so") {
            move_into(&library, &sysroot.join("lib"))?;
        }
    }
    for rlib in rlibs {
        move_into(rlib, &wasm)?;
    }
    for object in ["libc.a", "crt1-command.o", "crt1-reactor.o"] {
        let from = unpacked.root.join("usr/lib/wasm32-wasi").join(object);
        move_into(&from, &wasm.join("self-contained"))?;
    }
    // Proc macros and build scripts are built for the machine itself.
    let host_std = unpacked.root.join("usr/lib/rustlib").join(&host.triple).join("lib");
    for library in files_in(&host_std)? {
        move_into(&library, &native)?;
    }
    let linker = linker_of_host(host)?;
    let link = linker_in(&sysroot, host);
    create(&rustlib.join(&host.triple).join("bin"))?;
    symlink(&linker, &link).map_err(Error::io("cannot link", &link))?;
    script(&sysroot.join("bin/rustc"), WRAPPER)?;
    Ok(sysroot)
}

/// Where rustc looks for its linker: a link to the installed one.
pub(super) fn linker_in(sysroot: &Path, host: &Host) -> PathBuf {
    sysroot.join("lib/rustlib").join(&host.triple).join("bin/rust-lld")
}

/// The `rust-lld` of the installed Rust, or a `wasm-ld` on PATH.
pub(super) fn linker_of_host(host: &Host) -> Result<PathBuf, Error> {
    let own = host.sysroot.join("lib/rustlib").join(&host.triple).join("bin/rust-lld");
    if own.is_file() {
        return Ok(own);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|dir| ["rust-lld", "wasm-ld", "lld"].map(|name| dir.join(name)))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::NoToolchain {
            reason: format!(
                "no linker for WebAssembly: {} is not there, and no wasm-ld is on PATH; install lld",
                own.display()
            ),
        })
}

/// Writes a shell script that may be run.
pub(super) fn script(path: &Path, body: &str) -> Result<(), Error> {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).map_err(Error::io("cannot write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(Error::io("cannot make executable", path))
}

fn create(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io("cannot create", dir))
}

fn files_in(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(dir).map_err(Error::io("cannot list", dir))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

/// All of it lies in one temporary folder, which is thrown away afterwards.
fn move_into(file: &Path, dir: &Path) -> Result<(), Error> {
    let Some(name) = file.file_name() else { return Ok(()) };
    fs::rename(file, dir.join(name)).map_err(Error::io("cannot move", file))
}
