//! `cargo xtask soak`: good and bad jobs for minutes, on the engine built for release; or the object
//! store alone.

use crate::workspace::{cargo, succeed};
use anyhow::Result;
use clap::ValueEnum;

/// What is soaked.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum What {
    /// Jobs on the whole engine.
    Jobs,
    /// The object store: put, get, spill, restore and drop, on good and bad disks.
    Objects,
}

/// Runs it for so many minutes.
pub(crate) fn run(what: What, minutes: u64) -> Result<()> {
    let minutes = minutes.to_string();
    match what {
        What::Jobs => {
            crate::guests::run()?;
            succeed(&mut cargo(&["build", "--release", "--package", "engine-cli"]))?;
            let jobs = ["run", "--release", "--package", "engine-tests", "--bin", "soak", "--"];
            succeed(cargo(&jobs).arg(minutes))
        }
        What::Objects => {
            let objects = ["run", "--release", "--package", "engine-objects", "--example", "soak", "--"];
            succeed(cargo(&objects).arg(minutes))
        }
    }
}
