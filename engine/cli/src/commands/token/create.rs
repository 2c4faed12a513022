//! `engine token create`: a new token.

use std::time::Duration;

use clap::Args;
use engine_access::{Role, Verb};
use engine_client::messages::CreateTokenRequest;
use engine_core::TenantName;
use engine_proto::convert::duration;

use crate::connect::{self, Target};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine token create --tenant team-7 --role submitter
  engine token create --tenant team-7 --role submitter --can submit,view --namespace nightly --expires 12h
  engine token create --role operator --expires 30d
  ENGINE_TOKEN=\"$(engine token create --tenant team-7 --role viewer)\" engine job list

It writes the token to standard output, and nothing else: whoever has it is who it says. Of a cluster with
TLS it says by what the cluster is known too, so that a client with it needs no other file. Who has a token of
a tenant-admin makes tokens of that tenant, good for no longer than its own.";

/// Make a token
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Create {
    /// Of which tenant; default: that of who asks
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// operator, tenant-admin, submitter or viewer
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// Only these of the role's verbs
    #[arg(long, value_name = "VERB,…", value_delimiter = ',')]
    can: Vec<Verb>,
    /// Only for jobs of this namespace
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// For how long, at most 365 days
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "12h")]
    expires: Duration,
}

pub(crate) async fn run(args: Create, target: Target) -> Result<(), Failure> {
    let request = CreateTokenRequest {
        tenant: args.tenant.map(|tenant| tenant.to_string()).unwrap_or_default(),
        role: args.role.to_string(),
        verbs: args.can.iter().map(ToString::to_string).collect(),
        namespace: args.namespace.unwrap_or_default(),
        lifetime: Some(duration(args.expires)),
    };
    println!("{}", connect::running(target).await?.create_token(request).await?.token);
    Ok(())
}
