//! `engine audit`: who did what, when and from where.

mod keep;
mod show;
mod verify;

use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};

use crate::connect::Target;
use crate::failure::Failure;
use crate::parse::since;

pub(crate) use keep::AuditArgs;

const EXAMPLES: &str = "\
Examples:
  engine audit                                    all that is kept, the oldest first
  engine audit --since 1h --tenant team-7
  engine audit --since 2026-11-24T03:00:00Z --format csv > audit.csv
  engine audit --follow --format json             goes on with what happens from now on
  engine audit verify ~/.local/state/engine/heads/127.0.0.1_7420/audit

Each line is a request that has changed something, or was refused. With --format json lines are as they stand in
the log, and each has the hash of the one before. Who has a token of a tenant-admin sees what was asked with tokens
of that tenant. docs/audit.md has the fields, and how the log is kept.";

/// Who did what, when and from where
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    /// Only what was asked with tokens of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only what was asked since then: a time as in 2026-11-24T03:00:00Z, or how long ago: 90m, 2d
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<SystemTime>,
    /// Go on with what is asked from now on, until Ctrl-C
    #[arg(long)]
    follow: bool,
    #[arg(long, visible_alias = "output", value_enum, default_value_t)]
    format: Format,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Verify(verify::Verify),
}

/// How lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// As they stand in the log
    Json,
    /// For spreadsheets
    Csv,
}

pub(crate) async fn run(args: Audit, target: Target) -> Result<(), Failure> {
    match &args.verb {
        Some(Verb::Verify(args)) => verify::run(args),
        None => show::run(args, target).await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn parse(line: &str) -> Result<Audit, clap::Error> {
        let Command::Audit(args) = Cli::try_parse_from(line.split(' '))?.command else { panic!("not audit") };
        Ok(args)
    }

    #[test]
    fn a_time_is_said_either_way() {
        let args = parse("engine audit --since 2026-11-24T03:00:00Z --output csv").unwrap();
        assert_eq!(args.format, Format::Csv);
        let since = args.since.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs(), 1_795_489_200);
        let args = parse("engine audit --since 90m --tenant red").unwrap();
        assert!(args.since.unwrap() < SystemTime::now() - Duration::from_secs(5_000));
        assert!(parse("engine audit --since yesterday").is_err());
    }

    #[test]
    fn a_folder_is_verified() {
        assert!(matches!(parse("engine audit verify /var/x").unwrap().verb, Some(Verb::Verify(_))));
        assert!(parse("engine audit verify").is_err());
        assert!(parse("engine audit --tenant red verify x").is_err());
    }
}
