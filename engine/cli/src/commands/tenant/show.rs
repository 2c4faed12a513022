//! `engine tenant list`, `engine tenant usage`: what tenants may have and use.

use std::time::Duration;

use clap::Args;
use engine_client::messages::{Amounts, Isolation, Quotas, TenantBounds, TenantSpec, TenantView};
use engine_core::quota::QuotaKind;
use engine_core::resources::{Quantity, bytes};
use serde_json::{Map, Value, json};

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

/// A column: its header, and what a tenant has in it; empty: nothing.
type Column = (&'static str, Box<dyn Fn(&TenantView) -> String>);

pub(super) async fn list(args: &Show, target: Target) -> Result<(), Failure> {
    show(args.name.as_deref(), args.format, &list_columns(), target).await
}

/// What tenants use now.
pub(super) async fn usage(name: Option<&str>, format: Format, target: Target) -> Result<(), Failure> {
    show(name, format, &usage_columns(), target).await
}

async fn show(name: Option<&str>, format: Format, columns: &[Column], target: Target) -> Result<(), Failure> {
    let tenants = connect::running(target).await?.tenants_listed(name).await?;
    match format {
        Format::Json => output::print_json(&described(&tenants)),
        Format::Table => {
            let header: Vec<&str> = columns.iter().map(|(header, _)| *header).collect();
            let row = |tenant: &TenantView| columns.iter().map(|(_, cell)| cell(tenant)).collect();
            output::print(&table(&header, &tenants.iter().map(row).collect::<Vec<_>>()))
        }
    }
}

fn column(header: &'static str, cell: impl Fn(&TenantView) -> String + 'static) -> Column {
    (header, Box::new(cell))
}

/// The columns of the quotas; `cell`: of what is used and the quota, as people read them.
fn quota_columns(cell: fn(String, String) -> String) -> impl Iterator<Item = Column> {
    QuotaKind::ALL.into_iter().enumerate().map(move |(at, kind)| {
        column(header(kind), move |tenant| {
            let (kind, used, max) = amounts(tenant)[at];
            max.map_or_else(String::new, |max| cell(kind.amount(used), kind.amount(max)))
        })
    })
}

fn header(kind: QuotaKind) -> &'static str {
    match kind {
        QuotaKind::Cpus => "cpus",
        QuotaKind::MemoryBytes => "memory",
        QuotaKind::Sandboxes => "sandboxes",
        QuotaKind::QueuedTasks => "queued tasks",
        QuotaKind::Actors => "actors",
        QuotaKind::ObjectBytes => "objects",
    }
}

fn list_columns() -> Vec<Column> {
    let of_bounds = |text: fn(TenantBounds) -> Option<String>| {
        move |tenant: &TenantView| text(bounds(tenant)).unwrap_or_default()
    };
    let mut columns = vec![
        column("tenant", name),
        column("weight", weight),
        column("guaranteed", guaranteed),
        column("isolation", |tenant| isolation(tenant).to_owned()),
        column("jobs", |tenant| tenant.jobs.to_string()),
    ];
    columns.extend(quota_columns(|_, max| max));
    columns.extend([
        column("jobs max", of_bounds(|bounds| Some(bounds.jobs_max?.to_string()))),
        column("submits/min", of_bounds(|bounds| Some(bounds.submits_per_minute_max?.to_string()))),
        column("logs/min", of_bounds(|at| Some(bytes(at.log_bytes_per_minute_max?)))),
        column("alert", of_bounds(|bounds| Some(format!("{}%", bounds.alert_percent?)))),
        column("components", |tenant| policy::cell(tenant.policy.as_ref())),
    ]);
    columns
}

fn usage_columns() -> Vec<Column> {
    let mut columns = vec![
        column("tenant", name),
        column("weight", weight),
        column("jobs", |tenant| match bounds(tenant).jobs_max {
            Some(max) => format!("{} of {max}", tenant.jobs),
            None => tenant.jobs.to_string(),
        }),
    ];
    columns.extend(quota_columns(|used, max| format!("{used} of {max}")));
    columns.extend([
        column("cpu time", |tenant| {
            if_limited(tenant, format!("{:.1}s", Duration::from_nanos(tenant.cpu_time_ns).as_secs_f64()))
        }),
        column("ended", |tenant| if_limited(tenant, tenant.tasks_ended.to_string())),
        column("alerts", |tenant| tenant.alerts.join(" ")),
    ]);
    columns
}

/// What nodes tell of tenants with quotas alone.
fn if_limited(tenant: &TenantView, text: String) -> String {
    match amounts(tenant).iter().any(|(_, _, max)| max.is_some()) {
        true => text,
        false => String::new(),
    }
}

fn name(tenant: &TenantView) -> String {
    tenant.spec.as_ref().map(|spec| spec.name.clone()).unwrap_or_default()
}

fn weight(tenant: &TenantView) -> String {
    tenant.spec.as_ref().map_or(0, |spec| spec.weight).to_string()
}

fn bounds(tenant: &TenantView) -> TenantBounds {
    tenant.spec.as_ref().and_then(|spec| spec.bounds).unwrap_or_default()
}

/// Its part of each node; empty: none.
fn guaranteed(tenant: &TenantView) -> String {
    match tenant.spec.as_ref().map_or(0, |spec| spec.guaranteed_percent) {
        0 => String::new(),
        percent => format!("{percent}%"),
    }
}

/// Where its guests run.
fn isolation(tenant: &TenantView) -> &'static str {
    match tenant.spec.as_ref().map(TenantSpec::isolation) {
        Some(Isolation::Process) => "process",
        Some(Isolation::Thread) | None => "thread",
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

fn described(tenants: &[TenantView]) -> Value {
    let one = |tenant: &TenantView| {
        let spec = tenant.spec.clone().unwrap_or_default();
        let quota = |kind: QuotaKind, amount: u64| match kind {
            QuotaKind::Cpus => json!(Quantity(amount).as_f64()),
            _ => json!(amount),
        };
        let all = amounts(tenant);
        let mut quotas: Map<String, Value> = all
            .iter()
            .filter_map(|(kind, _, max)| Some((kind.name().to_owned(), quota(*kind, (*max)?))))
            .collect();
        let bounds = bounds(tenant);
        let others = [
            ("jobs_max", bounds.jobs_max),
            ("submits_per_minute_max", bounds.submits_per_minute_max),
            ("log_bytes_per_minute_max", bounds.log_bytes_per_minute_max),
        ];
        let others = others.into_iter().filter_map(|(name, max)| Some((name.to_owned(), json!(max?))));
        quotas.extend(others);
        let used: Map<String, Value> = all
            .iter()
            .filter(|(_, _, max)| max.is_some())
            .map(|(kind, used, _)| (kind.name().trim_end_matches("_max").to_owned(), quota(*kind, *used)))
            .collect();
        json!({
            "name": spec.name,
            "weight": spec.weight,
            "guaranteed_percent": spec.guaranteed_percent,
            "isolation": isolation(tenant),
            "jobs": tenant.jobs,
            "components": policy::json(tenant.policy.as_ref()),
            "quotas": quotas,
            "used": used,
            "alert_percent": bounds.alert_percent,
            "alerts": tenant.alerts,
            "cpu_time_seconds": Duration::from_nanos(tenant.cpu_time_ns).as_secs_f64(),
            "tasks_ended": tenant.tasks_ended,
        })
    };
    json!({ "items": tenants.iter().map(one).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_quota_is_left_out() {
        let view = TenantView {
            spec: Some(TenantSpec {
                name: "a".to_owned(),
                weight: 2,
                guaranteed_percent: 25,
                isolation: Isolation::Process.into(),
                quotas: Some(Quotas { cpus: Some(15_000), ..Quotas::default() }),
                bounds: Some(TenantBounds {
                    jobs_max: Some(9),
                    alert_percent: Some(80),
                    ..Default::default()
                }),
            }),
            used: Some(Amounts { cpus: 5_000, sandboxes: 3, ..Amounts::default() }),
            jobs: 1,
            cpu_time_ns: 1_500_000_000,
            alerts: vec!["cpus_max".to_owned()],
            ..TenantView::default()
        };
        let cells = |columns: &[Column]| -> Vec<(&str, String)> {
            let cells = columns.iter().map(|(header, cell)| (*header, cell(&view)));
            cells.filter(|(_, cell)| !cell.is_empty()).collect()
        };
        let text = |cells: &[(&str, String)]| {
            cells.iter().map(|(header, cell)| format!("{header}: {cell}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            text(&cells(&usage_columns())),
            "tenant: a, weight: 2, jobs: 1 of 9, cpus: 0.5 of 1.5, cpu time: 1.5s, ended: 0, alerts: cpus_max"
        );
        assert_eq!(
            text(&cells(&list_columns())),
            "tenant: a, weight: 2, guaranteed: 25%, isolation: process, jobs: 1, cpus: 1.5, jobs max: 9, alert: 80%"
        );
        let json = described(&[view]);
        assert_eq!(json["items"][0]["quotas"], json!({ "cpus_max": 1.5, "jobs_max": 9 }));
        assert_eq!(json["items"][0]["used"], json!({ "cpus": 0.5 }));
        assert_eq!(json["items"][0]["cpu_time_seconds"], json!(1.5));
        assert_eq!(json["items"][0]["alerts"], json!(["cpus_max"]));
    }
}
