//! `engine tenant`: who shares an engine, and what each may have.

mod change;
mod policy;
mod show;
mod usage;

use clap::{Args, Subcommand};

use crate::connect::{self, Target};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine tenant create team-7 --cpus-max 4 --memory-bytes-max 8GiB --actors-max 100
  engine tenant create team-8 --weight 3                     three times the share, and no quota
  engine tenant set team-7 --cpus-max 8                      all it may have from now on
  engine tenant usage                                        what each uses of what it may have
  engine tenant usage team-7 --format json
  engine tenant usage --since 24h                            what each has consumed, minute by minute
  engine tenant usage --since 31d --format csv --output usage.csv
  engine tenant delete team-7
  engine tenant set team-7 --require-signed-by release.pem   only components that are signed (or allowed)
  engine tenant allow team-7 tool.wasm sha256:6e34…          these without a signature

Quotas hold for all nodes together. What is over --cpus-max, --memory-bytes-max and --sandboxes-max waits;
what is over --queued-tasks-max, --actors-max, --object-bytes-max, --jobs-max and --submits-per-minute-max is
refused with QUOTA_EXCEEDED, and lines of logs over --log-bytes-per-minute-max are dropped. Where several tenants want
the same room they get it by their weights. A tenant needs not be created to have jobs: then it has a weight
of 1 and no quota. `engine token create` makes tokens of tenants; docs/tenants.md has the whole.

`engine tenant set` with nothing but --require-signed-by, --require-allowed or --no-requirement leaves quotas and
weight as they are, and with none of these the requirement: docs/signed.md.";

/// Create tenants, and see what they use
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tenant {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a tenant
    Create(change::Terms),
    /// Say anew what a tenant may have, all of it; or which components it may bring
    Set(change::Terms),
    /// Allow components that need no signature
    Allow(policy::Allow),
    /// List tenants and what they may have
    List(show::Show),
    /// What tenants use of what they may have, and what they have consumed
    Usage(usage::Usage),
    /// Forget what a tenant may have
    Delete(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

pub(crate) async fn run(args: Tenant, target: Target) -> Result<(), Failure> {
    match args.verb {
        Verb::Create(args) => change::run(&args, true, target).await,
        Verb::Set(args) => change::run(&args, false, target).await,
        Verb::Allow(args) => policy::allow(&args, target).await,
        Verb::List(args) => show::list(&args, target).await,
        Verb::Usage(args) => usage::run(&args, target).await,
        Verb::Delete(args) => Ok(connect::running(target).await?.delete_tenant(args.name).await?),
    }
}
