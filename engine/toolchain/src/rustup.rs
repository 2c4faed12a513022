//! Adds the wasm target to the installed toolchain, where rustup manages it and may download.

use crate::{Error, process, progress::Progress};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A download of 20 MB on a slow line fits; a network that swallows packets does not hold us long.
const RUSTUP_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs `rustup target add`, for the toolchain that is active in `dir`.
pub(crate) fn add_target(target: &str, dir: &Path, progress: &Progress) -> Result<(), Error> {
    let step = progress.step(format!("adding the {target} target by rustup"));
    process::run(
        Command::new("rustup").args(["target", "add", target]).current_dir(dir),
        RUSTUP_TIMEOUT,
        "this Rust was not installed by rustup",
        Some(&step),
    )?;
    step.finish();
    Ok(())
}
