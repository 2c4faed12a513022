//! What tenants consume, as it travels and is stored.

use engine_core::head::MeterRecord;
use engine_core::usage::{Usage, UsageKind, UsageRecord, UsageReport};
use engine_core::{Error, Time};

use crate::convert::peer::id;
use crate::convert::peer::read::{self, required, wrong};
use crate::convert::tenant::{tenant, tenant_text};
use crate::v1;

/// What was consumed, as it travels.
pub fn usage_amounts(used: &Usage) -> v1::UsageAmounts {
    v1::UsageAmounts {
        cpu_held_ns: used[UsageKind::CpuHeldNs],
        cpu_used_ns: used[UsageKind::CpuUsedNs],
        memory_mib_ms: used[UsageKind::MemoryMibMs],
        object_mib_ms: used[UsageKind::ObjectMibMs],
        tasks_finished: used[UsageKind::TasksFinished],
        tasks_failed: used[UsageKind::TasksFailed],
        refused: used[UsageKind::Refused],
        log_bytes: used[UsageKind::LogBytes],
    }
}

/// What was consumed, from the wire.
pub fn usage_amounts_from(from: v1::UsageAmounts) -> Usage {
    let mut used = Usage::default();
    used[UsageKind::CpuHeldNs] = from.cpu_held_ns;
    used[UsageKind::CpuUsedNs] = from.cpu_used_ns;
    used[UsageKind::MemoryMibMs] = from.memory_mib_ms;
    used[UsageKind::ObjectMibMs] = from.object_mib_ms;
    used[UsageKind::TasksFinished] = from.tasks_finished;
    used[UsageKind::TasksFailed] = from.tasks_failed;
    used[UsageKind::Refused] = from.refused;
    used[UsageKind::LogBytes] = from.log_bytes;
    used
}

/// What a node tells, as it travels.
pub(in crate::convert) fn usage_report(report: &UsageReport) -> v1::UsageReport {
    v1::UsageReport {
        tenant: tenant_text(&report.tenant),
        met: report.met,
        sums: Some(usage_amounts(&report.sums)),
    }
}

pub(in crate::convert) fn usage_report_from(report: v1::UsageReport) -> Result<UsageReport, Error> {
    Ok(UsageReport {
        tenant: tenant(&report.tenant, "UsageReport.tenant")?,
        met: report.met,
        sums: usage_amounts_from(required(report.sums, "UsageReport.sums")?),
    })
}

/// A record as it is stored.
pub(in crate::convert) fn stored_usage(record: &UsageRecord) -> v1::MetaUsage {
    v1::MetaUsage {
        tenant: tenant_text(&record.tenant),
        start_ns: record.start.0,
        length_ns: record.length_ns,
        used: Some(usage_amounts(&record.used)),
    }
}

pub(in crate::convert) fn stored_usage_from(record: v1::MetaUsage) -> Result<UsageRecord, Error> {
    if record.length_ns == 0 {
        return Err(wrong("MetaUsage.length_ns", "is 0"));
    }
    Ok(UsageRecord {
        tenant: tenant(&record.tenant, "MetaUsage.tenant")?,
        start: Time(record.start_ns),
        length_ns: record.length_ns,
        used: usage_amounts_from(required(record.used, "MetaUsage.used")?),
    })
}

/// What nodes have told, as it is stored.
pub(in crate::convert) fn stored_meter(record: &MeterRecord) -> v1::MetaMeter {
    let nodes = record.nodes.iter().map(|(node, met, sums)| v1::MetaSums {
        node: Some(id(*node)),
        met: *met,
        sums: Some(usage_amounts(sums)),
    });
    v1::MetaMeter { tenant: tenant_text(&record.tenant), nodes: nodes.collect() }
}

pub(in crate::convert) fn stored_meter_from(record: v1::MetaMeter) -> Result<MeterRecord, Error> {
    let node = |sums: v1::MetaSums| {
        let used = usage_amounts_from(required(sums.sums, "MetaSums.sums")?);
        Ok((read::id(sums.node, "MetaSums.node")?, sums.met, used))
    };
    let nodes = record.nodes.into_iter().map(node).collect::<Result<_, Error>>()?;
    Ok(MeterRecord { tenant: tenant(&record.tenant, "MetaMeter.tenant")?, nodes })
}
