//! Large objects, each to a task on every other node at once.
use engine::Strategy;
use engine::prelude::*;
use serde_json::{Value as Json, json};

/// Bytes that differ from place to place and from round to round.
fn pattern(size: u64, round: u64) -> Vec<u8> {
    let mut state = round;
    let words = (0..size.div_ceil(8)).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).to_le_bytes()
    });
    words.take(size as usize).collect()
}

/// How many bytes there are, and a number that is another when one of them is, or is elsewhere.
fn weight(bytes: &[u8]) -> (u64, u64) {
    let mut sum = 0_u64;
    for word in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        sum = (sum.rotate_left(5) ^ u64::from_le_bytes(padded)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    (bytes.len() as u64, sum)
}

/// What some bytes are.
#[engine::task(memory = 256 << 20)]
pub fn weigh(bytes: Bytes) -> (u64, u64) {
    weight(&bytes)
}

/// This node, and the others.
fn nodes() -> Result<(String, Vec<String>)> {
    let context = engine::context();
    let here = context.node_id();
    let nodes = context.nodes()?.into_iter().map(|node| node.id);
    let far = nodes.filter(|id| *id != here).collect();
    Ok((here, far))
}

fn weigh_on(node: &str, object: &ObjectRef<Bytes>) -> Result<ObjectRef<(u64, u64)>> {
    weigh::options().strategy(Strategy::Node { id: node.to_owned(), soft: true }).spawn(object)
}

/// Keeps what it has weighed.
pub struct Scale(Vec<ObjectRef<Bytes>>);

#[engine::actor]
impl Scale {
    pub fn new() -> Self {
        Scale(Vec::new())
    }

    pub fn weigh(&mut self, object: Vec<ObjectRef<Bytes>>) -> Result<(u64, u64)> {
        self.0.extend(object);
        Ok(weight(&self.0.last().context("there is no object")?.get()?))
    }
}

/// Gives one object to an actor on one other node after the other, which keep it.
pub fn relay(size: u64) -> Result<Json> {
    let (here, far) = nodes()?;
    let bytes = pattern(size, 1);
    let expected = weight(&bytes);
    let object = engine::put_bytes(bytes)?;
    let mut wrong = 0;
    let mut scales = Vec::new();
    for node in &far {
        let strategy = Strategy::Node { id: node.clone(), soft: false };
        let scale = Scale::options().memory(256 << 20).strategy(strategy).spawn()?;
        wrong += u64::from(scale.weigh(vec![object.clone()])?.get()? != expected);
        scales.push(scale);
    }
    Ok(json!({ "home": here, "nodes": far.len(), "wrong": wrong }))
}

/// Gives each of `rounds` objects to a task on every other node at once; on one that is dead by then, the task
/// runs elsewhere.
pub fn broadcast(size: u64, rounds: u64) -> Result<Json> {
    let (here, far) = nodes()?;
    let mut wrong = 0;
    // The first, a small one, so that each node has the program.
    for round in 0..=rounds {
        let bytes = pattern(if round == 0 { 1 } else { size }, round);
        let expected = weight(&bytes);
        let object = engine::put_bytes(bytes)?;
        let weighed = far.iter().map(|id| weigh_on(id, &object)).collect::<Result<Vec<_>>>()?;
        let found = engine::get_all(&weighed)?;
        wrong += found.iter().filter(|found| **found != expected).count();
    }
    Ok(json!({ "home": here, "nodes": far.len(), "rounds": rounds, "wrong": wrong }))
}
