//! The `engine` binary: parse, run one verb, exit.

mod cli;
mod commands;
mod connect;
mod embedded;
mod failure;
mod interrupt;
mod output;
mod parse;
mod python;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::trace::init();
    if let Command::Worker(args) = &cli.command {
        return match commands::worker::run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Other(format!("cannot start threads: {error}")).report(),
    };
    let outcome = runtime.block_on(commands::run(cli));
    // What is left, such as a second wait for a signal, must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
