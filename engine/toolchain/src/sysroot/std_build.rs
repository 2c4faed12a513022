//! Builds the standard library for wasm32-wasip1 from the packaged sources, by building an empty
//! program with `-Z build-std`.

use super::assemble::{linker_of_host, script};
use super::packages::Unpacked;
use crate::{Error, process, progress::Progress, toolchain::Host};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BUILD_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The libraries made, each an `.rlib`.
pub(super) fn build(
    work: &Path,
    unpacked: &Unpacked,
    host: &Host,
    progress: &Progress,
) -> Result<Vec<PathBuf>, Error> {
    let step = progress.step("building the standard library for wasm32-wasip1 (about a minute)");
    let seed = work.join("seed");
    let target = work.join("seed-target");
    let files = [
        (
            "Cargo.toml",
            "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n",
        ),
        ("src/main.rs", "fn main() {}\n"),
    ];
    fs::create_dir_all(seed.join("src")).map_err(Error::io("cannot create", &seed))?;
    for (name, text) in files {
        let path = seed.join(name);
        fs::write(&path, text).map_err(Error::io("cannot write", &path))?;
    }
    let rustc = work.join("rustc");
    script(
        &rustc,
        &format!(
            "LD_LIBRARY_PATH='{}' exec '{}' \"$@\"",
            unpacked.libraries.display(),
            unpacked.root.join("usr/bin/rustc").display()
        ),
    )?;
    let libc = unpacked.root.join("usr/lib/wasm32-wasi");
    let flags = [
        "-Cembed-bitcode=yes".to_owned(),
        "-Clink-self-contained=no".to_owned(),
        format!("-L{}", libc.display()),
        format!("-Clink-arg={}", libc.join("crt1-command.o").display()),
        format!("-Clinker={}", linker_of_host(host)?.display()),
    ]
    .join("\u{1f}");
    let vendored = unpacked.sources.join("library/vendor");

    let mut command = Command::new("cargo");
    crate::cargo::clean_environment(&mut command);
    command
        .args(["build", "--release", "--offline", "--target", "wasm32-wasip1"])
        .args(["-Z", "build-std=std,panic_abort"])
        .args(["--config", "source.crates-io.replace-with=\"vendored\""])
        .args(["--config", &format!("source.vendored.directory={:?}", vendored.display().to_string())])
        .current_dir(&seed)
        .env("RUSTC", &rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", &target);
    process::run(&mut command, BUILD_TIMEOUT, "install Rust, see https://rustup.rs", Some(&step))?;
    let deps = target.join("wasm32-wasip1/release/deps");
    let rlibs: Vec<PathBuf> = fs::read_dir(&deps)
        .map_err(Error::io("cannot list", &deps))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rlib"))
        .collect();
    step.finish();
    Ok(rlibs)
}
