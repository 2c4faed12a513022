//! A guest with every good and bad habit, for the engine's own tests.
//!
//! `engine submit selftest.wasm -- SCENARIO ARGS…` runs one scenario and prints a JSON object as its
//! last line. README.md lists scenarios, tasks and actors; tests may spawn the tasks by name, too.

mod actors;
mod bad;
mod broadcast;
mod context;
mod good;
mod groups;
mod large;
mod scenario;
mod streams;

use engine::prelude::*;
use scenario::Arguments;

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let mut args = Arguments::new(args);
    let name = args.text("the scenario")?;
    let result = scenario::run(&name, &mut args)?;
    println!("{result}");
    Ok(())
}
