//! `engine head token`: another join token of a head.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use engine_tls::Authority;

use super::security::{failed, folder};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine head token
  engine head token --ttl 1h
  engine head token --data-dir /var/lib/engine
  engine agent --head 192.0.2.1:7420 --join-token \"$(engine head token)\"

It writes the token to standard output. It is made on the machine of the head, by whoever may write the
head's folder (--data-dir, else that of --listen), and the head accepts it at once, running or not. Only a
hash of it is kept, and it lets any number of nodes join until it expires.";

/// Make a join token for nodes of a head with TLS
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TokenArgs {
    /// How long it is valid, at most 30 days
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "24h")]
    ttl: Duration,
}

pub(crate) fn run(args: &TokenArgs, memory_dir: Option<&PathBuf>) -> Result<(), Failure> {
    let authority = Authority::open(&folder(memory_dir)?).map_err(failed)?;
    let token = authority.new_token(args.ttl).map_err(failed)?;
    println!("{token}");
    Ok(())
}
