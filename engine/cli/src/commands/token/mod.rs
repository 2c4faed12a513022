//! `engine token`: what tenants show.

mod create;
mod inspect;
mod narrow;
mod revoke;

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use engine_access::{Verb, Verbs};

use crate::connect::Target;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine token create --tenant team-7 --role submitter --expires 12h
  engine token narrow --can view --expires 1h          without the engine, of the one in $ENGINE_TOKEN
  engine token inspect                                 what it says, and its id
  engine token revoke tok-6a1c3f00-…

A token says of which tenant somebody is and what they may do; it is shown in $ENGINE_TOKEN, or by
--token-file. Nothing of one tenant is visible to another. docs/tenants.md has the roles.";

/// Make, narrow, look at and take back tokens of tenants
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Token {
    #[command(subcommand)]
    verb: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(create::Create),
    Narrow(narrow::Narrow),
    Inspect(inspect::Inspect),
    Revoke(revoke::Revoke),
}

pub(crate) async fn run(args: Token, target: Target) -> Result<(), Failure> {
    match args.verb {
        Action::Create(args) => create::run(args, target).await,
        Action::Narrow(args) => narrow::run(args, target),
        Action::Inspect(_) => inspect::run(target),
        Action::Revoke(args) => revoke::run(args, target).await,
    }
}

/// Verbs as they are named.
fn verbs(names: &[Verb]) -> Option<Verbs> {
    (!names.is_empty()).then(|| names.iter().copied().collect())
}

/// The token of who asks, else what comes on standard input.
fn shown(target: Target) -> Result<engine_client::AccessToken, Failure> {
    let token = match target.token {
        Some(token) => Some(token),
        None => crate::connect::token(Some(std::path::Path::new("-")))?,
    };
    token.ok_or_else(|| Failure::Usage("there is no token: put one in $ENGINE_TOKEN".to_owned()))
}

fn refused(error: engine_core::Error) -> Failure {
    Failure::Client(error.into())
}

/// How long from now on, for people.
fn left(until: SystemTime) -> String {
    match until.duration_since(SystemTime::now()) {
        Ok(left) => format!("in {}", humantime::format_duration(Duration::from_secs(left.as_secs()))),
        Err(_) => "it has expired".to_owned(),
    }
}
