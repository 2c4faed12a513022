//! `cargo xtask attack`: what a hostile tenant tries, in large numbers, on the engine built for release.

use crate::workspace::{cargo, succeed};
use anyhow::Result;

/// Says to the attacks that they are to go on to their large numbers, for so many minutes each.
const TIME_VARIABLE: &str = "ENGINE_ATTACK_MINUTES";

/// Runs the attacks of tests/tests/processes/attacks; those that are a matter of numbers for so many minutes at most.
pub(crate) fn run(minutes: u64) -> Result<()> {
    crate::guests::run()?;
    succeed(&mut cargo(&["build", "--release", "--package", "engine-cli"]))?;
    let words = ["test", "--release", "--package", "engine-tests", "--test", "processes", "--", "attacks::"];
    let mut command = cargo(&words);
    // One after the other, so that what each takes of the machine is its own.
    command.args(["--nocapture", "--test-threads", "1"]);
    succeed(command.env(TIME_VARIABLE, minutes.to_string()))
}
