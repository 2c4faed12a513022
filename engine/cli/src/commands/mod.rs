//! The verbs: one per file.

pub(crate) mod agent;
pub(crate) mod build;
pub(crate) mod drain;
pub(crate) mod error;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod head;
pub(crate) mod inspect;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod memory;
pub(crate) mod node_args;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod up;

use crate::cli::{Cli, Command};
use crate::connect;
use crate::failure::Failure;

/// Runs one verb.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let address = match &cli.command {
        // These are engines, and show what they have themselves.
        Command::Up(_) | Command::Head(_) => cli.address,
        _ => connect::with_credentials(cli.address, cli.credentials)?,
    };
    if matches!(cli.command, Command::Up(_) | Command::Head(_) | Command::Agent(_)) {
        match engine_net::faults::install() {
            Ok(true) => eprintln!("warning: ${} makes faults, for a test", engine_net::faults::VARIABLE),
            Ok(false) => {}
            Err(error) => return Err(Failure::Usage(error)),
        }
    }
    match cli.command {
        Command::Submit(args) => submit::run(*args, address).await,
        Command::Job(args) => job::run(args, address).await,
        Command::Build(args) => build::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Up(args) => up::run(args, address).await,
        Command::Head(args) => head::run(args, address).await,
        Command::Agent(args) => agent::run(*args).await,
        Command::Drain(args) => drain::run(args, address).await,
        Command::Status(args) => status::run(&args, address).await,
        Command::List(args) => list::run(args, address).await,
        Command::Memory(args) => memory::run(args, address).await,
        Command::Get(args) => get::run(args, address).await,
        Command::Explain(args) => explain::run(args, address).await,
        Command::Logs(args) => logs::run(args, address).await,
        Command::Error(args) => error::run(&args),
    }
}
