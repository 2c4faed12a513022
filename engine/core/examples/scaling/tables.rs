//! Bytes of the tables: what a node has of each other, the head of each node, an owner of each task in
//! line.

use engine_core::head::{self, Head};
use engine_core::ids::IdGenerator;
use engine_core::node::{Effects, Load, Node, NodeInfo};
use engine_core::{Handle, Time};

use crate::cluster::{function, machine, owner_of, resources};
use crate::measure::resident_bytes;

/// So many entries at least are measured, so that pages do not matter.
const ENTRIES: usize = 400_000;

/// Bytes that a node takes for each other of `count`, when it knows them all.
pub fn view_bytes(count: usize) -> u64 {
    let mut ids = IdGenerator::new([7; 16]);
    let infos: Vec<NodeInfo> = (0..count).map(|_| info(&mut ids)).collect();
    let copies = ENTRIES.div_ceil(count);
    let before = resident_bytes();
    let nodes: Vec<Node> = (0..copies)
        .map(|copy| {
            let mut node = machine(copy as u64, 4);
            let mut fx = Effects::new();
            for info in &infos {
                node.node_joined(Time(1), info.clone(), &mut fx);
                let load = Load { free: info.total.clone(), version: 1 };
                node.node_load(Time(2), info.id, load, &mut fx);
            }
            node
        })
        .collect();
    let bytes = resident_bytes().saturating_sub(before);
    bytes / (nodes.len() * count) as u64
}

/// Bytes that the head takes for each node.
pub fn head_bytes() -> u64 {
    const NODES: usize = 100;
    let mut ids = IdGenerator::new([7; 16]);
    let mut fx = Vec::new();
    let before = resident_bytes();
    let heads: Vec<Head> = (0..ENTRIES / NODES)
        .map(|_| {
            let mut head = Head::new([9; 16], head::Limits::default());
            for _ in 0..NODES {
                head.node_joins(Time(0), info(&mut ids), &mut fx).expect("room");
                fx.clear();
            }
            head
        })
        .collect();
    resident_bytes().saturating_sub(before) / (heads.len() * NODES) as u64
}

/// Bytes that an owner takes for each task in line.
pub fn task_bytes() -> u64 {
    const TASKS: u64 = 1_000_000;
    let mut node = machine(1, 0);
    let root = owner_of(&mut node);
    let mut fx = Effects::new();
    let before = resident_bytes();
    // Somebody must have the CPU that they ask for.
    node.node_joined(Time(0), info(&mut IdGenerator::new([7; 16])), &mut fx);
    let options = engine_core::options::TaskOptions::default();
    for n in 0..TASKS {
        let spawned = node.spawn(Time(n), root, function(), Vec::new(), options.clone(), &mut fx);
        let object = spawned.expect("room in line").task.output(0);
        node.release(Time(n), root.instance, Handle::Object(object), &mut fx);
        fx.clear();
    }
    resident_bytes().saturating_sub(before) / TASKS
}

fn info(ids: &mut IdGenerator) -> NodeInfo {
    NodeInfo { id: ids.node(), labels: Vec::new(), total: resources(4) }
}
