//! `engine token narrow`: one that may do less.

use std::time::{Duration, SystemTime};

use clap::Args;
use engine_access::{Narrowing, Verb};
use engine_client::AccessToken;

use super::{refused, shown, verbs};
use crate::connect::Target;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine token narrow --can view
  engine token narrow --namespace nightly --expires 1h < token
  engine --token-file token narrow --can view > less

It takes the token in $ENGINE_TOKEN or --token-file, else of standard input, and writes another one to standard
output. No engine is asked. What was taken away nobody can give back; to revoke the token is to revoke all that
was made of it.";

/// Make a token that may do less, without the engine
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Narrow {
    /// Only these verbs
    #[arg(long, value_name = "VERB,…", value_delimiter = ',')]
    can: Vec<Verb>,
    /// Only for jobs of this namespace
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// For no longer than this, from now on
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,
}

pub(crate) fn run(args: Narrow, target: Target) -> Result<(), Failure> {
    let by = Narrowing { verbs: verbs(&args.can), namespace: args.namespace, lifetime: args.expires };
    if by == Narrowing::default() {
        return Err(Failure::Usage("say what is taken away: --can, --namespace or --expires".to_owned()));
    }
    let token = shown(target)?;
    let less = engine_access::narrow(token.secret(), &by, SystemTime::now()).map_err(refused)?;
    println!("{}", AccessToken::new(less, token.fingerprint()).to_secret_text());
    Ok(())
}
