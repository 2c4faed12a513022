//! `cargo xtask VERB`: set-up, demo, tests and house rules.

mod attack;
mod bench;
mod chaos;
mod debian;
mod demo;
mod fuzz;
mod guests;
mod python;
mod scaling;
mod sim;
mod soak;
mod suite;
mod supply;
mod test_servers;
mod tidy;
mod venv;
mod vulkan;
mod workspace;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo and tests in one command each.")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds everything, counts the words of a real corpus in sandboxes, and checks the totals.
    Demo {
        /// The folder to count; by default the sources that cargo has downloaded.
        dir: Option<PathBuf>,
        /// On the engine or cluster that is running here (`engine up --nodes 3`), instead of an embedded one.
        #[arg(long)]
        running: bool,
    },
    /// Runs every check that a change must pass: format, lints, house rules, guests, tests.
    Test {
        /// Those of the crate for GPUs alone, on a machine with an NVIDIA device; nothing is installed.
        #[arg(long)]
        gpu: bool,
    },
    /// Checks the house rules.
    Tidy,
    /// Builds the guest examples into components under target/guests.
    Guests,
    /// Makes the component that runs Python, target/python/python.wasm.
    PythonRunner,
    /// Builds what the Python package holds beside Python; `pip install ./sdk/python` asks for it.
    PythonPackage,
    /// Runs the tests of the Python SDK, once the workspace is built.
    PythonTests,
    /// Runs good and bad jobs for minutes; then the engine must hold what it held before.
    Soak {
        /// What is soaked.
        #[arg(value_enum, default_value_t = soak::What::Jobs)]
        what: soak::What,
        /// How long.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// Tries random input on everything that decodes bytes from outside: the targets of `fuzz/`.
    Fuzz {
        /// How long, each target.
        #[arg(long, default_value_t = 1)]
        minutes: u64,
    },
    /// Runs what a hostile tenant tries (docs/attacks.md) in large numbers; all of it must fail.
    Attack {
        /// How long at most, each attack that is a matter of numbers.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// Runs random guests and nodes on the pure core, from seeds.
    Sim {
        /// How many seeds.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// This seed alone.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Runs clusters of the pure core in virtual time, one size after the other, and draws the plots of
    /// docs/scaling.md.
    Scaling {
        /// How many nodes.
        #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 3_000, 10_000])]
        nodes: Vec<u64>,
        /// How many tasks at most; at least 2 000 for each node where that is less.
        #[arg(long, default_value_t = 1_000_000)]
        tasks: u64,
        /// Delays and the lengths of tasks follow from it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Draws the plots from the figures of the last run, and runs nothing.
        #[arg(long)]
        draw: bool,
    },
    /// Runs a cluster of processes whose nodes and head are killed and frozen, and jobs that must be exact
    /// all the same.
    Chaos {
        /// For how long.
        #[arg(long, default_value_t = 15)]
        minutes: u64,
        /// What happens when follows from it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Checks what comes into a build from others against deny.toml; compiles cargo-deny first, once.
    Deny,
    /// Puts the servers that the tests of spilling to S3 and of logins need into the cache, and prints where they are.
    TestServers,
    /// Runs the benchmarks, or those whose names are given; `python` is the comparison with Ray, and
    /// `gpu` that of devices with their drivers: each runs alone.
    Bench {
        /// Passed on to the benchmark program.
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Demo { dir, running } => demo::run(dir, running),
        Verb::Test { gpu: false } => suite::run(),
        Verb::Test { gpu: true } => vulkan::test_with_cuda(),
        Verb::Tidy => tidy::run(),
        Verb::Guests => guests::run(),
        Verb::PythonRunner => python::runner().map(|path| println!("{}", path.display())),
        Verb::PythonPackage => python::package(),
        Verb::PythonTests => python::test(),
        Verb::Soak { what, minutes } => soak::run(what, minutes),
        Verb::Fuzz { minutes } => fuzz::run(minutes),
        Verb::Attack { minutes } => attack::run(minutes),
        Verb::Sim { seeds, seed } => sim::run(seeds, seed),
        Verb::Scaling { nodes, tasks, seed, draw } => scaling::run(&nodes, tasks, seed, draw),
        Verb::Chaos { minutes, seed } => chaos::run(minutes, seed),
        Verb::Deny => supply::deny(),
        Verb::TestServers => suite::test_servers(),
        Verb::Bench { arguments } => bench::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
