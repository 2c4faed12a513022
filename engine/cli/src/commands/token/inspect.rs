//! `engine token inspect`: what a token says.

use clap::Args;

use super::{left, refused, shown};
use crate::connect::Target;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine token inspect
  engine token inspect < token

It takes the token in $ENGINE_TOKEN or --token-file, else of standard input, and shows what each of its blocks
says: the first, of the engine, what it grants, and each further one what was taken away. No engine is asked, so
whether it is good is not known. An id is no secret; `engine token revoke` takes it.";

/// Show what a token says
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Inspect {}

pub(crate) fn run(target: Target) -> Result<(), Failure> {
    let token = shown(target)?;
    for (number, block) in engine_access::inspect(token.secret()).map_err(refused)?.iter().enumerate() {
        println!("{}", if number == 0 { "granted" } else { "narrowed to" });
        println!("  id:         {}", block.id);
        match &block.tenant {
            Some(tenant) => println!("  tenant:     {tenant}"),
            None if number == 0 => println!("  tenant:     of none: an operator"),
            None => {}
        }
        if let Some(verbs) = block.verbs {
            println!("  verbs:      {verbs}");
        }
        if let Some(namespace) = &block.namespace {
            println!("  namespace:  {namespace}");
        }
        if let Some(expires) = block.expires {
            println!("  expires:    {} ({})", humantime::format_rfc3339_seconds(expires), left(expires));
        }
    }
    match token.fingerprint() {
        Some(fingerprint) => println!("cluster with TLS, of the authority {fingerprint}"),
        None => println!("engine without TLS"),
    }
    Ok(())
}
