//! What the command line looks like.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use engine_client::Address;

use crate::commands::{
    agent, audit, build, drain, error, explain, get, head, inspect, job, list, login, logs, memory, secret,
    status, submit, tenant, token, up, version, worker,
};

const EXAMPLES: &str = "\
Examples:
  engine submit hello.wasm -- Ada          run a program in an engine that lives as long as it
  engine submit add.wasm --invoke 'add(1, 2)'
  engine up                                keep an engine running on this machine
  engine up --nodes 3                      … a cluster of three nodes
  engine --address 192.0.2.1:7420 --credentials cluster.pem list nodes
  engine submit hello.wasm --no-wait       … and give it work
  engine list tasks --filter state=RUNNING
  engine token create --tenant team-7 --role submitter
  engine explain task-0123456789abcdef01234567

Exit status: 0 the job succeeded (or the command did), 1 it failed, 2 the command was wrong,
3 no engine was reached, 130 interrupted by Ctrl-C.";

/// A distributed compute engine: tasks, actors and objects, each in a WebAssembly sandbox of its own
#[derive(Debug, Parser)]
#[command(name = "engine", bin_name = "engine", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(propagate_version = false, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The engine to talk to: unix:/PATH, 127.0.0.1:PORT, or IP:PORT with --credentials. Default: $ENGINE_ADDRESS, else the one of
    /// this user on this machine
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) address: Option<Address>,

    /// What to show an engine that speaks TLS: the file that its head has written, tls/credentials.pem in
    /// the head's folder
    #[arg(long, global = true, value_name = "FILE", env = "ENGINE_CREDENTIALS")]
    pub(crate) credentials: Option<PathBuf>,

    /// A file with a token to show the engine, - for standard input; default: what $ENGINE_TOKEN has
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Submit(Box<submit::Submit>),
    Job(job::Job),
    Build(build::Build),
    Inspect(inspect::Inspect),
    Up(up::Up),
    Head(head::HeadArgs),
    Agent(Box<agent::AgentArgs>),
    Drain(drain::Drain),
    Status(status::Status),
    List(list::List),
    Memory(memory::Memory),
    Get(get::Get),
    Explain(explain::Explain),
    Login(login::Login),
    Logs(logs::Logs),
    Audit(audit::Audit),
    Secret(secret::Secret),
    Tenant(tenant::Tenant),
    Token(token::Token),
    Error(error::Explained),
    Version(version::Version),
    #[command(hide = true)]
    Worker(worker::Worker),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        let command = Cli::command();
        for verb in command.get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("engine {}", verb.get_name())), "{}", verb.get_name());
        }
    }

    #[test]
    fn an_address_may_stand_before_or_after_the_verb() {
        for line in [
            ["engine", "--address", "/run/e.sock", "status"],
            ["engine", "status", "--address", "/run/e.sock"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.address, Some(Address::Unix("/run/e.sock".into())));
        }
        assert!(Cli::try_parse_from(["engine", "status", "--address", "nowhere"]).is_err());
    }
}
