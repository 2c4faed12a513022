//! `cargo xtask guests`: every guest example becomes `target/guests/NAME.wasm`.

use crate::workspace::{root, target_dir};
use anyhow::{Context, Result};
use engine_toolchain::{BuildOptions, Progress, build_workspace};
use std::fs;
use std::path::PathBuf;

/// The folder that the components go to.
pub(crate) fn folder() -> PathBuf {
    target_dir().join("guests")
}

/// Builds them all; cargo builds again only what has changed, and a component that is the same
/// keeps its file and its time.
pub(crate) fn run() -> Result<()> {
    let options = BuildOptions { progress: Progress::stderr(), ..BuildOptions::default() };
    let built = build_workspace(&root().join("guest-examples"), &options)?;
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut changed = 0;
    for (name, component) in &built {
        let path = folder.join(name).with_extension("wasm");
        if fs::read(&path).is_ok_and(|old| old == *component) {
            continue;
        }
        // Whoever reads it meanwhile sees the old one or the new one, whole.
        let fresh = path.with_extension("wasm.new");
        fs::write(&fresh, component).with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("cannot write {}", path.display()))?;
        changed += 1;
    }
    eprintln!("{} guests in {} ({changed} new)", built.len(), folder.display());
    Ok(())
}
