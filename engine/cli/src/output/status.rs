//! The cluster at a glance.

use std::collections::HashMap;
use std::fmt::Write;

use engine_client::messages as v1;
use engine_core::resources::{Quantity, bytes};
use engine_proto::convert::std_duration;

use crate::output::table::table;
use crate::output::time::short;

/// Status as people read it.
pub(crate) fn render(status: &v1::StatusResponse) -> String {
    let mut text = String::new();
    let version = status.nodes.first().map_or("", |node| node.version.as_str());
    let up = status.uptime.as_ref().and_then(std_duration).map(short).unwrap_or_default();
    let nodes = if status.nodes_total == 1 { "node" } else { "nodes" };
    // Writing to a string cannot fail.
    let draining = status.nodes.iter().filter(|node| node.state() == v1::NodeState::Draining).count();
    let draining = if draining > 0 { format!(", {draining} DRAINING") } else { String::new() };
    let _ = writeln!(text, "engine {version}, up {up}, {} {nodes}{draining}\n", status.nodes_total);
    text.push_str(&resources(status));
    let tasks = status.tasks.unwrap_or_default();
    let tasks = tasks.by_state().map(|(state, count)| (state.name(), count));
    line(&mut text, "tasks", tasks);
    line(&mut text, "jobs", sorted(&status.jobs));
    line(&mut text, "actors", sorted(&status.actors));
    let counters = status.counters.unwrap_or_default();
    let _ =
        writeln!(text, "sandboxes: {} live, {} started", counters.live_instances, counters.instantiations);
    let _ = write!(
        text,
        "store:     {} objects, {} of {}",
        counters.objects,
        bytes(counters.store_used_bytes),
        bytes(counters.store_total_bytes)
    );
    match counters.spilled_bytes {
        0 => text.push('\n'),
        spilled => drop(writeln!(text, ", {} spilled", bytes(spilled))),
    }
    for node in &status.nodes {
        for worker in &node.workers {
            let _ = writeln!(
                text,
                "worker:    {} (process {} of {})",
                worker.tenant, worker.process_id, node.node_id
            );
            for missing in &worker.missing {
                let _ = writeln!(text, "           without {missing}");
            }
        }
    }
    if !status.pending.is_empty() {
        text.push_str("\nwaiting for resources:\n");
        for demand in &status.pending {
            let _ = writeln!(text, "  {} × {}", demand.count, demand.reason);
        }
    }
    text
}

fn resources(status: &v1::StatusResponse) -> String {
    let (Some(total), Some(free)) = (&status.total, &status.available) else { return String::new() };
    let units = |name: &str, total: u64, free: u64| {
        let cells = [total.saturating_sub(free), free, total].map(|parts| Quantity(parts).to_string());
        [vec![name.to_owned()], cells.to_vec()].concat()
    };
    let mut rows = vec![units("cpus", total.cpus, free.cpus)];
    if total.gpus > 0 {
        rows.push(units("gpus", total.gpus, free.gpus));
    }
    let used = total.memory_bytes.saturating_sub(free.memory_bytes);
    let cells = [used, free.memory_bytes, total.memory_bytes].map(bytes);
    rows.push([vec!["memory".to_owned()], cells.to_vec()].concat());
    let mut custom: Vec<_> = total.custom.iter().collect();
    custom.sort();
    for (name, total) in custom {
        rows.push(units(name, *total, free.custom.get(name).copied().unwrap_or_default()));
    }
    table(&["resource", "used", "free", "total"], &rows) + "\n"
}

fn sorted(counts: &HashMap<String, u64>) -> Vec<(&str, u64)> {
    let mut counts: Vec<_> = counts.iter().map(|(state, count)| (state.as_str(), *count)).collect();
    counts.sort();
    counts
}

fn line<'a>(text: &mut String, what: &str, counts: impl IntoIterator<Item = (&'a str, u64)>) {
    let shown: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let shown = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
    let _ = writeln!(text, "{:<10} {shown}", format!("{what}:"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_shows_what_is_used_and_what_waits() {
        let resources = |cpus, memory_bytes| {
            let custom = [("licence".to_owned(), cpus / 2)].into();
            Some(v1::Resources { cpus, memory_bytes, gpus: 0, custom })
        };
        let status = v1::StatusResponse {
            nodes: vec![v1::NodeView { version: "0.1.0".into(), ..Default::default() }],
            nodes_total: 1,
            total: resources(40_000, 8 << 30),
            available: resources(10_000, 2 << 30),
            tasks: Some(v1::TaskCounts { running: 3, pending_placement: 7, ..Default::default() }),
            jobs: [("RUNNING".to_owned(), 1)].into(),
            uptime: Some(engine_proto::prost_types::Duration { seconds: 75, nanos: 0 }),
            pending: vec![v1::Demand { count: 7, reason: "1 cpu wanted, 0 free".into(), resources: None }],
            counters: Some(v1::NodeCounters {
                live_instances: 3,
                instantiations: 90,
                store_used_bytes: 1536,
                store_total_bytes: 1 << 30,
                objects: 2,
                ..Default::default()
            }),
            ..Default::default()
        };
        let expected = "\
engine 0.1.0, up 1m 15s, 1 node

RESOURCE  USED   FREE   TOTAL
cpus      3      1      4
memory    6 GiB  2 GiB  8 GiB
licence   1.5    0.5    2

tasks:     7 PENDING_PLACEMENT, 3 RUNNING
jobs:      1 RUNNING
actors:    none
sandboxes: 3 live, 90 started
store:     2 objects, 1.5 KiB of 1 GiB

waiting for resources:
  7 × 1 cpu wanted, 0 free
";
        assert_eq!(render(&status), expected);
    }
}
