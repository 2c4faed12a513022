//! `cargo xtask sim`: random guests and nodes on the pure core, from as many seeds as are wanted.

use crate::workspace::{cargo, succeed};
use anyhow::Result;

/// Runs the simulations of `engine-core` with these seeds, or with one alone. A seed that fails is
/// named with the command that runs it again.
pub(crate) fn run(seeds: u64, seed: Option<u64>) -> Result<()> {
    let mut command = cargo(&["test", "--package", "engine-core", "--lib", "--", "random_", "--nocapture"]);
    match seed {
        Some(seed) => command.env("ENGINE_SIM_SEED", seed.to_string()),
        None => command.env("ENGINE_SIM_SEEDS", seeds.to_string()),
    };
    succeed(&mut command)
}
