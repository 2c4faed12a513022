//! `engine tenant create`, `engine tenant set`: what a tenant may have, and which components it may bring.

use clap::Args;
use engine_client::messages::{Isolation, Quotas, TenantBounds, TenantSpec};
use engine_core::tenant::{ALERT_PERCENT_MAX, GUARANTEED_PERCENT_MAX, WEIGHT_MAX};

use super::policy::{self, Required};
use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::parse::{Cpus, cpus, size};

/// What a tenant may have; what is not said has no bound.
#[derive(Debug, Args)]
pub(super) struct Terms {
    /// Its name: lower-case letters, digits and hyphens, at most 63
    #[arg(value_name = "NAME")]
    name: String,
    /// Its part where several tenants want the same room, beside those of the others; default: 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(WEIGHT_MAX)))]
    weight: Option<u32>,
    /// Hundredths of each node that it has whenever it wants them, by ending others' tasks if need be
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(GUARANTEED_PERCENT_MAX)))]
    guaranteed_percent: Option<u32>,
    /// Where the guests of its next jobs run: on threads of the node, or in a process of the tenant's alone; default:
    /// thread
    #[arg(long, value_enum)]
    isolation: Option<Where>,
    /// CPUs at once
    #[arg(long, value_name = "N", value_parser = cpus)]
    cpus_max: Option<Cpus>,
    /// Guest memory reserved at once: 4GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_bytes_max: Option<u64>,
    /// Sandboxes at once: tasks that run, actors, and warm ones
    #[arg(long, value_name = "N")]
    sandboxes_max: Option<u64>,
    /// Tasks and actor calls that have not ended
    #[arg(long, value_name = "N")]
    queued_tasks_max: Option<u64>,
    /// Actors that are not dead
    #[arg(long, value_name = "N")]
    actors_max: Option<u64>,
    /// Bytes of objects, in memory or on disk: 4GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    object_bytes_max: Option<u64>,
    /// Jobs that have not ended
    #[arg(long, value_name = "N")]
    jobs_max: Option<u64>,
    /// Jobs that it submits in a minute, and at once
    #[arg(long, value_name = "N")]
    submits_per_minute_max: Option<u64>,
    /// Bytes that its guests write to their logs in a minute, on each node: 10MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    log_bytes_per_minute_max: Option<u64>,
    /// Tell of it when it uses so many hundredths of a quota
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ALERT_PERCENT_MAX)))]
    alert_percent: Option<u32>,
    #[command(flatten)]
    required: Required,
}

impl Terms {
    /// Whether anything is said of what it may have.
    fn are_said(&self) -> bool {
        let numbers = [
            self.memory_bytes_max,
            self.sandboxes_max,
            self.queued_tasks_max,
            self.actors_max,
            self.object_bytes_max,
            self.jobs_max,
            self.submits_per_minute_max,
            self.log_bytes_per_minute_max,
        ];
        self.weight.is_some()
            || self.guaranteed_percent.is_some()
            || self.isolation.is_some()
            || self.cpus_max.is_some()
            || self.alert_percent.is_some()
            || numbers.iter().any(Option::is_some)
    }
}

/// Where guests run.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Where {
    Thread,
    Process,
}

pub(super) async fn run(args: &Terms, is_new: bool, target: Target) -> Result<(), Failure> {
    // A key that cannot be read is said before anything is done.
    let requirement = args.required.request(&args.name)?;
    let client = connect::running(target).await?;
    if is_new || requirement.is_none() || args.are_said() {
        client.set_tenant(spec(args), is_new).await?;
        eprintln!(
            "the tenant {} {}",
            args.name,
            if is_new { "is there" } else { "may have that from now on" }
        );
    }
    if let Some(requirement) = requirement {
        policy::tell(&args.name, &client.set_policy(requirement).await?);
    }
    Ok(())
}

fn spec(args: &Terms) -> TenantSpec {
    TenantSpec {
        name: args.name.clone(),
        weight: args.weight.unwrap_or(1),
        guaranteed_percent: args.guaranteed_percent.unwrap_or_default(),
        isolation: match args.isolation {
            Some(Where::Process) => Isolation::Process,
            Some(Where::Thread) | None => Isolation::Thread,
        }
        .into(),
        quotas: Some(Quotas {
            cpus: args.cpus_max.map(|cpus| cpus.0),
            memory_bytes: args.memory_bytes_max,
            sandboxes: args.sandboxes_max,
            queued_tasks: args.queued_tasks_max,
            actors: args.actors_max,
            object_bytes: args.object_bytes_max,
        }),
        bounds: Some(TenantBounds {
            jobs_max: args.jobs_max,
            submits_per_minute_max: args.submits_per_minute_max,
            log_bytes_per_minute_max: args.log_bytes_per_minute_max,
            alert_percent: args.alert_percent,
        }),
    }
}
