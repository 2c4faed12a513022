//! What a run has shown, as one line of JSON.

use engine_core::Time;
use engine_core::head::Notice;

use crate::cluster::{CPUS, Cluster, Costs, Death, Traffic};
use crate::measure::{Cost, peak_bytes};

/// What a notice takes on the wire, by `cluster.proto`: an id is text of 29 bytes, a load has two numbers
/// and a version, a message has 14 bytes of HTTP/2 and gRPC. An estimate: nothing is encoded here.
pub fn bytes_of(notice: &Notice) -> u64 {
    let of_one = match notice {
        Notice::Joined(infos) => 120 * infos.len() as u64,
        Notice::Dead(..) => 95,
        Notice::Loads(loads) => 52 * loads.len() as u64,
        Notice::Group(_)
        | Notice::Tenant(_)
        | Notice::EndRun(_)
        | Notice::Draining(..)
        | Notice::Left(..)
        | Notice::BreakDeadlock(_) => 0,
    };
    14 + of_one
}

/// A beat on the wire.
const BEAT_BYTES: u64 = 34;

pub fn line(cluster: &Cluster) -> String {
    let (begin, before, sent_before) = cluster.begin;
    let (half, costs, traffic) = cluster.half;
    let all = &cluster.costs;
    let tasks = cluster.tasks.max(1) as f64;
    let busy = half.since(begin).as_secs_f64().max(1e-9);
    let nodes = cluster.nodes();
    let sum = |costs: &[Cost]| costs.iter().map(|cost| cost.nanos as f64).sum::<f64>();
    let owner = sum(&[all.spawn, all.read, all.packet_at_owner, all.timer_at_owner]) / tasks;
    let runner = sum(&[all.packet_at_runner, all.guest_done, all.timer_at_runner]) / tasks;
    let spent = |of: fn(&Costs) -> Cost| (of(&costs).nanos - of(&before).nanos) as f64 / 1e9 / busy;
    let sent = |of: fn(&Traffic) -> u64| (of(&traffic) - of(&sent_before)) as f64 / busy;
    let head = spent(|costs| costs.head_heard) + spent(|costs| costs.head_timer);
    // Those who know all are told of all.
    let told = if cluster.is_full { nodes } else { cluster.owners + 1 } as f64;
    let beats = sent(|traffic| traffic.beats);
    let census = &cluster.census;
    let seen = |sum: u64| sum as f64 / census.looks.max(1) as f64;
    let mut fields: Vec<(&str, f64)> = vec![
        ("nodes", nodes as f64),
        ("owners", cluster.owners as f64),
        ("cpus", ((nodes - cluster.owners) as u64 * CPUS) as f64),
        ("full_views", f64::from(u8::from(cluster.is_full))),
        ("tasks", tasks),
        ("task_ms", cluster.task_ms as f64),
        ("tasks_per_virtual_s", tasks / 2.0 / busy),
        ("busy_virtual_s", busy),
        ("idle_cpus", seen(census.idle)),
        ("idle_nodes", seen(census.idle_nodes)),
        ("idle_cpus_with_line", seen(census.idle_with_line)),
        ("in_line_at_owners", seen(census.with_owners)),
        ("in_line_at_runners", seen(census.with_runners)),
        ("longest_line", census.longest as f64),
        ("owner_ns_per_task", owner),
        ("spawn_ns", all.spawn.mean() as f64),
        ("owner_packet_ns", all.packet_at_owner.mean() as f64),
        ("loads_notice_ns", all.loads.mean() as f64),
        ("runner_ns_per_task", runner),
        ("owner_tasks_per_cpu_s", 1e9 / owner.max(1.0)),
        ("refused_per_task", cluster.refused as f64 / tasks),
        ("packets_per_task", cluster.traffic.packets as f64 / tasks),
        ("view_cpu_per_node", spent(|costs| costs.loads) / told),
        ("head_beats_per_s", beats),
        ("head_beat_ns", all.head_heard.mean() as f64),
        ("head_pass_on_ms", all.head_timer.mean() as f64 / 1e6),
        ("head_cpu", head),
        ("head_cpu_us_per_node", head * 1e6 / nodes as f64),
        ("head_notices_per_s", sent(|traffic| traffic.notices)),
        ("head_loads_per_s", sent(|traffic| traffic.loads)),
        ("head_bytes_out_per_s", sent(|traffic| traffic.notice_bytes)),
        ("head_bytes_in_per_s", beats * BEAT_BYTES as f64),
        ("join_virtual_ms", cluster.has_joined.map_or(-1.0, |at| millis(Time(0), at))),
        ("join_head_cpu_ms", all.head_joins.nanos as f64 / 1e6),
        ("peak_bytes", peak_bytes() as f64),
        ("real_s", cluster.seconds()),
    ];
    let [silent, broken] = &cluster.deaths;
    let names = ["silent_declared_ms", "silent_heard_ms", "silent_recovered_ms", "silent_lost"];
    fields.extend(names.into_iter().zip(death(silent)));
    let names = ["broken_declared_ms", "broken_heard_ms", "broken_recovered_ms", "broken_lost"];
    fields.extend(names.into_iter().zip(death(broken)));
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value:.3}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn death(death: &Death) -> [f64; 4] {
    let since = |at: Option<Time>| death.at.zip(at).map_or(-1.0, |(from, to)| millis(from, to));
    [since(death.declared), since(death.heard), since(death.recovered), death.lost as f64]
}

fn millis(from: Time, to: Time) -> f64 {
    to.since(from).as_secs_f64() * 1e3
}
