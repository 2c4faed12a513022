//! `engine tenant list`, `engine tenant usage`: what tenants may have and use.

use std::time::Duration;

use clap::Args;
use engine_client::messages::{Amounts, Quotas, TenantView};
use engine_core::quota::QuotaKind;
use serde_json::{Value, json};

use super::policy;
use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::table::table;
use crate::output::{self, Format};

#[derive(Debug, Args)]
pub(super) struct Show {
    /// This tenant alone
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn list(args: &Show, target: Target) -> Result<(), Failure> {
    let tenants = connect::running(target).await?.tenants_listed(args.name.as_deref()).await?;
    let header = [
        "tenant",
        "weight",
        "guaranteed",
        "jobs",
        "cpus",
        "memory",
        "sandboxes",
        "queued tasks",
        "actors",
        "objects",
        "components",
    ];
    match args.format {
        Format::Json => output::print_json(&described(&tenants)),
        Format::Table => {
            let of = |tenant: &TenantView| {
                let mut row = row(tenant, |_, max| max);
                row.insert(2, guaranteed(tenant));
                row.push(policy::cell(tenant.policy.as_ref()));
                row
            };
            let rows: Vec<Vec<String>> = tenants.iter().map(of).collect();
            output::print(&table(&header, &rows))
        }
    }
}

pub(super) async fn usage(args: &Show, target: Target) -> Result<(), Failure> {
    let tenants = connect::running(target).await?.tenants_listed(args.name.as_deref()).await?;
    let header = [
        "tenant",
        "weight",
        "jobs",
        "cpus",
        "memory",
        "sandboxes",
        "queued tasks",
        "actors",
        "objects",
        "cpu time",
        "ended",
    ];
    match args.format {
        Format::Json => output::print_json(&described(&tenants)),
        Format::Table => {
            let of = |tenant: &TenantView| {
                let mut row = row(tenant, |used, max| match max.as_str() {
                    "" => String::new(),
                    max => format!("{used} of {max}"),
                });
                let has_quota = row[3..].iter().any(|cell| !cell.is_empty());
                let time = Duration::from_nanos(tenant.cpu_time_ns);
                row.push(if has_quota { format!("{:.1}s", time.as_secs_f64()) } else { String::new() });
                row.push(if has_quota { tenant.tasks_ended.to_string() } else { String::new() });
                row
            };
            let rows: Vec<Vec<String>> = tenants.iter().map(of).collect();
            output::print(&table(&header, &rows))
        }
    }
}

/// Its part of each node; empty: none.
fn guaranteed(tenant: &TenantView) -> String {
    match tenant.spec.as_ref().map_or(0, |spec| spec.guaranteed_percent) {
        0 => String::new(),
        percent => format!("{percent}%"),
    }
}

/// What is used and what the quota is, by kind.
fn amounts(tenant: &TenantView) -> [(QuotaKind, u64, Option<u64>); QuotaKind::COUNT] {
    let used = tenant.used.unwrap_or_default();
    let quotas: Quotas = tenant.spec.as_ref().and_then(|spec| spec.quotas).unwrap_or_default();
    let Amounts { cpus, memory_bytes, sandboxes, queued_tasks, actors, object_bytes } = used;
    [
        (QuotaKind::Cpus, cpus, quotas.cpus),
        (QuotaKind::MemoryBytes, memory_bytes, quotas.memory_bytes),
        (QuotaKind::Sandboxes, sandboxes, quotas.sandboxes),
        (QuotaKind::QueuedTasks, queued_tasks, quotas.queued_tasks),
        (QuotaKind::Actors, actors, quotas.actors),
        (QuotaKind::ObjectBytes, object_bytes, quotas.object_bytes),
    ]
}

/// `cell`: of what is used and the quota, which is empty where there is none.
fn row(tenant: &TenantView, cell: impl Fn(String, String) -> String) -> Vec<String> {
    let spec = tenant.spec.clone().unwrap_or_default();
    let cells = amounts(tenant).map(|(kind, used, max)| {
        cell(kind.amount(used), max.map(|max| kind.amount(max)).unwrap_or_default())
    });
    [spec.name, spec.weight.to_string(), tenant.jobs.to_string()].into_iter().chain(cells).collect()
}

fn described(tenants: &[TenantView]) -> Value {
    let cpus = |parts: u64| engine_core::resources::Quantity(parts).as_f64();
    let one = |tenant: &TenantView| {
        let spec = tenant.spec.clone().unwrap_or_default();
        let quota = |kind: QuotaKind, amount: u64| match kind {
            QuotaKind::Cpus => json!(cpus(amount)),
            _ => json!(amount),
        };
        let all = amounts(tenant);
        let quotas: serde_json::Map<String, Value> = all
            .iter()
            .filter_map(|(kind, _, max)| Some((kind.name().to_owned(), quota(*kind, (*max)?))))
            .collect();
        let used: serde_json::Map<String, Value> = all
            .iter()
            .filter(|(_, _, max)| max.is_some())
            .map(|(kind, used, _)| (kind.name().trim_end_matches("_max").to_owned(), quota(*kind, *used)))
            .collect();
        json!({
            "name": spec.name,
            "weight": spec.weight,
            "guaranteed_percent": spec.guaranteed_percent,
            "jobs": tenant.jobs,
            "components": policy::json(tenant.policy.as_ref()),
            "quotas": quotas,
            "used": used,
            "cpu_time_seconds": Duration::from_nanos(tenant.cpu_time_ns).as_secs_f64(),
            "tasks_ended": tenant.tasks_ended,
        })
    };
    json!({ "items": tenants.iter().map(one).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use engine_client::messages::TenantSpec;

    use super::*;

    #[test]
    fn what_has_no_quota_is_left_out() {
        let view = TenantView {
            spec: Some(TenantSpec {
                name: "a".to_owned(),
                weight: 2,
                guaranteed_percent: 25,
                quotas: Some(Quotas { cpus: Some(15_000), ..Quotas::default() }),
            }),
            used: Some(Amounts { cpus: 5_000, sandboxes: 3, ..Amounts::default() }),
            jobs: 1,
            cpu_time_ns: 1_500_000_000,
            ..TenantView::default()
        };
        assert_eq!(row(&view, |used, max| format!("{used}/{max}"))[..4], ["a", "2", "1", "0.5/1.5"]);
        assert_eq!(guaranteed(&view), "25%");
        let json = described(&[view]);
        assert_eq!(json["items"][0]["quotas"], json!({ "cpus_max": 1.5 }));
        assert_eq!(json["items"][0]["used"], json!({ "cpus": 0.5 }));
        assert_eq!(json["items"][0]["cpu_time_seconds"], json!(1.5));
    }
}
