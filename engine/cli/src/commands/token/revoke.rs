//! `engine token revoke`: takes one back.

use clap::Args;
use engine_access::TokenId;

use crate::connect::{self, Target};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine token revoke tok-6a1c3f00-0123456789abcdef0123456789abcdef

`engine token inspect` shows a token's id. It is refused from now on, with all that was made of it by narrowing;
whoever follows a job with it is cut off. What its jobs do goes on: `engine job stop` stops them. Who has a token
of a tenant revokes tokens of that tenant.";

/// Take a token back, and all that was made of it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Revoke {
    /// Its id, as `engine token inspect` shows it
    id: String,
}

pub(crate) async fn run(args: Revoke, target: Target) -> Result<(), Failure> {
    // Not by clap, which would show a token that stands in its place.
    let id: TokenId = args.id.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
    connect::running(target).await?.revoke_token(id.to_string()).await?;
    eprintln!("{id} is revoked");
    Ok(())
}
