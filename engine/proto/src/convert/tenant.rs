//! Tenants, and what nodes and head tell each other of their quotas.

use engine_core::head::TenantView;
use engine_core::quota::{Amounts, LeaseReport, LedgerReport, QuotaKind, Quotas, TenantNews};
use engine_core::tenant::{
    ALERT_PERCENT_MAX, GUARANTEED_PERCENT_MAX, Isolation, TenantBounds, TenantSpec, WEIGHT_MAX,
};
use engine_core::{Error, TenantName};

use crate::convert::peer::read::{required, wrong};
use crate::convert::usage::{usage_report, usage_report_from};
use crate::v1;

/// The tenant that a field names; an empty one names `default`.
///
/// # Errors
/// INVALID_ARGUMENT with the field's name when it is none.
pub fn tenant(text: &str, field: &str) -> Result<TenantName, Error> {
    match text {
        "" => Ok(TenantName::default()),
        text => text
            .parse()
            .map_err(|error: Error| Error::new(error.code(), format!("{field}: {}", error.message()))),
    }
}

/// The tenant's name for a field that is there in each message of a kind: nothing for `default`.
pub(in crate::convert) fn tenant_text(tenant: &TenantName) -> String {
    if tenant.is_default() { String::new() } else { tenant.to_string() }
}

fn amounts(amounts: &Amounts) -> v1::Amounts {
    v1::Amounts {
        cpus: amounts[QuotaKind::Cpus],
        memory_bytes: amounts[QuotaKind::MemoryBytes],
        sandboxes: amounts[QuotaKind::Sandboxes],
        queued_tasks: amounts[QuotaKind::QueuedTasks],
        actors: amounts[QuotaKind::Actors],
        object_bytes: amounts[QuotaKind::ObjectBytes],
    }
}

fn amounts_from(from: v1::Amounts) -> Amounts {
    let mut amounts = Amounts::default();
    amounts[QuotaKind::Cpus] = from.cpus;
    amounts[QuotaKind::MemoryBytes] = from.memory_bytes;
    amounts[QuotaKind::Sandboxes] = from.sandboxes;
    amounts[QuotaKind::QueuedTasks] = from.queued_tasks;
    amounts[QuotaKind::Actors] = from.actors;
    amounts[QuotaKind::ObjectBytes] = from.object_bytes;
    amounts
}

/// Where guests run, as it travels.
pub fn isolation(isolation: Isolation) -> v1::Isolation {
    match isolation {
        Isolation::Thread => v1::Isolation::Thread,
        Isolation::Process => v1::Isolation::Process,
    }
}

/// Where guests run, from the field of this name.
///
/// # Errors
/// INVALID_ARGUMENT when it is not known here.
pub fn isolation_from(isolation: i32, field: &str) -> Result<Isolation, Error> {
    match v1::Isolation::try_from(isolation) {
        Ok(v1::Isolation::Thread) => Ok(Isolation::Thread),
        Ok(v1::Isolation::Process) => Ok(Isolation::Process),
        Err(_) => Err(wrong(field, format_args!("is {isolation}, which is not known here"))),
    }
}

/// What a tenant may have, as it travels and is stored.
pub fn tenant_spec(spec: &TenantSpec) -> v1::TenantSpec {
    let quotas = &spec.quotas;
    v1::TenantSpec {
        name: spec.name.to_string(),
        weight: spec.weight,
        guaranteed_percent: spec.guaranteed_percent,
        isolation: isolation(spec.isolation).into(),
        quotas: Some(v1::Quotas {
            cpus: quotas[QuotaKind::Cpus],
            memory_bytes: quotas[QuotaKind::MemoryBytes],
            sandboxes: quotas[QuotaKind::Sandboxes],
            queued_tasks: quotas[QuotaKind::QueuedTasks],
            actors: quotas[QuotaKind::Actors],
            object_bytes: quotas[QuotaKind::ObjectBytes],
        }),
        bounds: Some(v1::TenantBounds {
            jobs_max: spec.bounds.jobs_max,
            submits_per_minute_max: spec.bounds.submits_per_minute_max,
            log_bytes_per_minute_max: spec.bounds.log_bytes_per_minute_max,
            alert_percent: spec.bounds.alert_percent,
        }),
    }
}

/// What a tenant may have, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT when its name, its weight, its share or its alert is none.
pub fn tenant_spec_from(spec: v1::TenantSpec) -> Result<TenantSpec, Error> {
    let name = match spec.name.as_str() {
        "" => return Err(wrong("TenantSpec.name", "is missing")),
        name => tenant(name, "TenantSpec.name")?,
    };
    if spec.weight == 0 || spec.weight > WEIGHT_MAX {
        let how = format_args!("is {}: give 1 to {WEIGHT_MAX}", spec.weight);
        return Err(wrong("TenantSpec.weight", how));
    }
    let guaranteed_percent = spec.guaranteed_percent;
    if guaranteed_percent > GUARANTEED_PERCENT_MAX {
        let how = format_args!("is {guaranteed_percent}: give 0 to {GUARANTEED_PERCENT_MAX}");
        return Err(wrong("TenantSpec.guaranteed_percent", how));
    }
    let from = spec.quotas.unwrap_or_default();
    let mut quotas = Quotas::default();
    quotas[QuotaKind::Cpus] = from.cpus;
    quotas[QuotaKind::MemoryBytes] = from.memory_bytes;
    quotas[QuotaKind::Sandboxes] = from.sandboxes;
    quotas[QuotaKind::QueuedTasks] = from.queued_tasks;
    quotas[QuotaKind::Actors] = from.actors;
    quotas[QuotaKind::ObjectBytes] = from.object_bytes;
    let isolation = isolation_from(spec.isolation, "TenantSpec.isolation")?;
    let bounds = spec.bounds.unwrap_or_default();
    if let Some(percent) = bounds.alert_percent.filter(|percent| !(1..=ALERT_PERCENT_MAX).contains(percent)) {
        let how = format_args!("is {percent}: give 1 to {ALERT_PERCENT_MAX}");
        return Err(wrong("TenantBounds.alert_percent", how));
    }
    let bounds = TenantBounds {
        jobs_max: bounds.jobs_max,
        submits_per_minute_max: bounds.submits_per_minute_max,
        log_bytes_per_minute_max: bounds.log_bytes_per_minute_max,
        alert_percent: bounds.alert_percent,
    };
    Ok(TenantSpec { name, weight: spec.weight, guaranteed_percent, quotas, bounds, isolation })
}

/// What a tenant may have and has, for people and programs.
pub fn tenant_view(view: &TenantView) -> v1::TenantView {
    v1::TenantView {
        spec: Some(tenant_spec(&view.spec)),
        used: Some(amounts(&view.used)),
        lent: Some(amounts(&view.lent)),
        cpu_time_ns: view.cpu_time_ns,
        tasks_ended: view.tasks_ended,
        jobs: view.jobs as u64,
        alerts: view.alerts.iter().map(|kind| kind.name().to_owned()).collect(),
        policy: None,
    }
}

/// What a node says of quotas, as it travels.
pub fn ledger_report(report: &LedgerReport) -> v1::LedgerReport {
    let lease = |lease: &LeaseReport| v1::LeaseReport {
        tenant: tenant_text(&lease.tenant),
        number: lease.number,
        version: lease.version,
        keeps: Some(amounts(&lease.keeps)),
        used: Some(amounts(&lease.used)),
        wants: Some(amounts(&lease.wants)),
        cpu_time_ns: lease.cpu_time_ns,
        tasks_ended: lease.tasks_ended,
    };
    v1::LedgerReport {
        is_whole: report.is_whole,
        leases: report.leases.iter().map(lease).collect(),
        usage: report.usage.iter().map(usage_report).collect(),
    }
}

/// What a node says of quotas, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or wrong.
pub fn ledger_report_from(report: v1::LedgerReport) -> Result<LedgerReport, Error> {
    let lease = |lease: v1::LeaseReport| {
        Ok(LeaseReport {
            tenant: tenant(&lease.tenant, "LeaseReport.tenant")?,
            number: lease.number,
            version: lease.version,
            keeps: amounts_from(required(lease.keeps, "LeaseReport.keeps")?),
            used: amounts_from(required(lease.used, "LeaseReport.used")?),
            wants: amounts_from(required(lease.wants, "LeaseReport.wants")?),
            cpu_time_ns: lease.cpu_time_ns,
            tasks_ended: lease.tasks_ended,
        })
    };
    let leases = report.leases.into_iter().map(lease).collect::<Result<_, Error>>()?;
    let usage = report.usage.into_iter().map(usage_report_from).collect::<Result<_, Error>>()?;
    Ok(LedgerReport { is_whole: report.is_whole, leases, usage })
}

/// What the head says of a tenant, as it travels.
pub fn tenant_news(news: &TenantNews) -> v1::TenantNews {
    v1::TenantNews {
        spec: Some(tenant_spec(&news.spec)),
        version: news.version,
        granted: Some(amounts(&news.granted)),
        heard: news.heard,
        is_wanted: news.is_wanted,
    }
}

/// What the head says of a tenant, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or wrong.
pub fn tenant_news_from(news: v1::TenantNews) -> Result<TenantNews, Error> {
    Ok(TenantNews {
        spec: tenant_spec_from(required(news.spec, "TenantNews.spec")?)?,
        version: news.version,
        granted: amounts_from(required(news.granted, "TenantNews.granted")?),
        heard: news.heard,
        is_wanted: news.is_wanted,
    })
}

#[cfg(test)]
mod tests {
    use engine_core::usage::{Usage, UsageKind, UsageReport};

    use super::*;

    fn some(first: u64) -> Amounts {
        let mut amounts = Amounts::default();
        for (kind, amount) in QuotaKind::ALL.into_iter().zip(first..) {
            amounts[kind] = amount;
        }
        amounts
    }

    fn spec() -> TenantSpec {
        let mut spec = TenantSpec {
            weight: 7,
            isolation: Isolation::Process,
            ..TenantSpec::new("team-7".parse().unwrap())
        };
        for (kind, max) in QuotaKind::ALL.into_iter().zip([Some(0), None, Some(3), Some(4), Some(5)]) {
            spec.quotas[kind] = max;
        }
        spec.bounds = TenantBounds {
            jobs_max: Some(6),
            submits_per_minute_max: Some(0),
            log_bytes_per_minute_max: None,
            alert_percent: Some(80),
        };
        spec
    }

    #[test]
    fn what_head_and_nodes_say_comes_through_whole() {
        let lease = LeaseReport {
            tenant: "team-7".parse().unwrap(),
            number: 1,
            version: 2,
            keeps: some(10),
            used: some(20),
            wants: some(30),
            cpu_time_ns: 3,
            tasks_ended: 4,
        };
        let mut sums = Usage::default();
        for (kind, amount) in UsageKind::ALL.into_iter().zip(40..) {
            sums[kind] = amount;
        }
        let usage = vec![UsageReport { tenant: TenantName::default(), met: 5, sums }];
        let report = LedgerReport { is_whole: true, leases: vec![lease], usage };
        assert_eq!(ledger_report_from(ledger_report(&report)).unwrap(), report);
        let news = TenantNews { spec: spec(), version: 1, granted: some(5), heard: 6, is_wanted: true };
        assert_eq!(tenant_news_from(tenant_news(&news)).unwrap(), news);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let damaged = |damage: fn(&mut v1::TenantSpec)| {
            let mut spec = tenant_spec(&spec());
            damage(&mut spec);
            tenant_spec_from(spec).unwrap_err().message().to_owned()
        };
        assert_eq!(damaged(|spec| spec.name.clear()), "TenantSpec.name is missing");
        assert!(damaged(|spec| spec.name = "A".to_owned()).starts_with("TenantSpec.name: \"A\" is no name"));
        assert_eq!(damaged(|spec| spec.weight = 0), "TenantSpec.weight is 0: give 1 to 1000");
        assert!(damaged(|spec| spec.weight = 1001).contains("1001"));
        let alert =
            |percent| v1::TenantBounds { alert_percent: Some(percent), ..v1::TenantBounds::default() };
        for percent in [0, 101] {
            let mut spec = tenant_spec(&spec());
            spec.bounds = Some(alert(percent));
            let error = tenant_spec_from(spec).unwrap_err();
            assert!(error.message().starts_with("TenantBounds.alert_percent is"), "{error}");
        }
        let report =
            v1::LedgerReport { is_whole: false, leases: vec![v1::LeaseReport::default()], usage: Vec::new() };
        assert_eq!(ledger_report_from(report).unwrap_err().message(), "LeaseReport.keeps is missing");
    }
}
