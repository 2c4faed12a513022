//! The head alone, at sizes at which a whole cluster takes too long: what one event takes.

use std::time::Duration;

use engine_core::head::{Effect, Head, Limits, MemberRecord, Record, Watch};
use engine_core::ids::IdGenerator;
use engine_core::node::{Load, NodeInfo};
use engine_core::{NodeId, Time};

use crate::cluster::{CPUS, resources};
use crate::measure::{cpu_nanos, peak_bytes};

const BEATS: usize = 300;
/// With more nodes, what all others are told at once does not fit a usual machine's memory.
const PASS_ON_MAX: usize = 10_000;

/// One line of JSON.
pub fn costs(count: usize) -> String {
    let mut ids = IdGenerator::new([7; 16]);
    let nodes: Vec<NodeId> = (0..=count).map(|_| ids.node()).collect();
    let info = |id: &NodeId| NodeInfo { id: *id, labels: Vec::new(), total: resources(CPUS) };
    let watch = Watch { nodes_max: count + 1, ..Watch::default() };
    let limits = Limits { watch, ..Limits::default() };
    let mut fx = Vec::new();
    // Joining one by one takes n² messages; a head that comes back has all at once.
    let member = |id| MemberRecord { info: info(id), drain: None };
    let known = nodes.iter().take(count).map(|id| Record::Node(member(id)));
    let mut head = Head::restore([9; 16], limits, Time(0), known, &mut fx);
    let load = |cpus: u64, version: u64| Load { free: resources(cpus), version };
    let beat = timed(|| {
        for id in nodes.iter().cycle().take(count.min(BEATS)) {
            head.heard_of(Time(1), *id, load(CPUS, 1), &mut fx);
        }
    }) / count.min(BEATS) as u64;
    fx.clear();
    let join = timed(|| head.node_joins(Time(2), info(&nodes[count]), &mut fx).expect("room"));
    fx.clear();
    let leave = timed(|| head.node_leaves(Time(3), nodes[count], "it leaves", &mut fx));
    fx.clear();
    let mut pass_on = 0;
    if count <= PASS_ON_MAX {
        for id in nodes.iter().take(count) {
            head.heard_of(Time(4), *id, load(0, 2), &mut fx);
            fx.clear();
        }
        let at = Time(4) + head.load_interval() + Duration::from_millis(1);
        pass_on = timed(|| head.timer(at, &mut fx));
        let told = fx.iter().filter(|effect| matches!(effect, Effect::Tell(..))).count();
        assert_eq!(told, count, "all are told of all others");
    }
    format!(
        "{{\"nodes\":{count},\"beat_ns\":{beat},\"join_ns\":{join},\"leave_ns\":{leave},\
         \"pass_on_all_ns\":{pass_on},\"peak_bytes\":{}}}",
        peak_bytes()
    )
}

fn timed(what: impl FnOnce()) -> u64 {
    let start = cpu_nanos();
    what();
    cpu_nanos() - start
}
