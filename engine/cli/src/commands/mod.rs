//! The verbs: one per file.

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod build;
pub(crate) mod drain;
pub(crate) mod error;
pub(crate) mod explain;
pub(crate) mod gate;
pub(crate) mod get;
pub(crate) mod head;
pub(crate) mod inspect;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod memory;
pub(crate) mod node_args;
pub(crate) mod oidc;
pub(crate) mod secret;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod tenant;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod worker;

use crate::cli::{Cli, Command};
use crate::connect::Target;
use crate::failure::Failure;

/// Runs one verb.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let is_engine = matches!(cli.command, Command::Up(_) | Command::Head(_) | Command::Agent(_));
    let target = match is_engine {
        // These are engines, and show what they have themselves.
        true => Target::of_engine(cli.address),
        false => Target::new(cli.address, cli.credentials, cli.token_file.as_deref())?,
    };
    if is_engine {
        match engine_net::faults::install() {
            Ok(true) => eprintln!("warning: ${} makes faults, for a test", engine_net::faults::VARIABLE),
            Ok(false) => {}
            Err(error) => return Err(Failure::Usage(error)),
        }
    }
    match cli.command {
        Command::Submit(args) => submit::run(*args, target).await,
        Command::Job(args) => job::run(args, target).await,
        Command::Build(args) => build::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Up(args) => up::run(args, target.address).await,
        Command::Head(args) => head::run(args, target.address).await,
        Command::Agent(args) => agent::run(*args).await,
        Command::Drain(args) => drain::run(args, target).await,
        Command::Status(args) => status::run(&args, target).await,
        Command::List(args) => list::run(args, target).await,
        Command::Memory(args) => memory::run(args, target).await,
        Command::Get(args) => get::run(args, target).await,
        Command::Explain(args) => explain::run(args, target).await,
        Command::Login(args) => login::run(args, target).await,
        Command::Logs(args) => logs::run(args, target).await,
        Command::Audit(args) => audit::run(args, target).await,
        Command::Secret(args) => secret::run(args, target).await,
        Command::Tenant(args) => tenant::run(args, target).await,
        Command::Token(args) => token::run(args, target).await,
        Command::Error(args) => error::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Worker(args) => worker::run(&args),
    }
}
