//! A stream of log lines, parsed by tasks while it is made, added up by an actor.
//!
//! `engine submit stream_pipeline.wasm -- [BATCHES] [LINES]`
//!
//! The generator yields batches of lines and is never more than a few ahead. Each batch goes to a
//! parsing task, and each parsed batch to the actor, without passing through the main function: what
//! it hands on are references.

mod access_log;

use access_log::Summary;
use engine::prelude::*;
use serde_json::json;
use std::collections::VecDeque;

/// Batches that are on their way at once.
const UNDER_WAY_MAX: usize = 16;

/// The lines of a web server's log, batch by batch.
#[engine::task(unread_objects_max = 8)]
fn generate(batches: u64, lines: u64) -> impl Iterator<Item = String> {
    (0..batches).map(move |seed| access_log::batch(seed, lines))
}

/// What a batch says.
#[engine::task]
fn parse(batch: String) -> Result<Summary> {
    Summary::of(&batch)
}

/// Adds up what the batches say.
struct Report {
    total: Summary,
}

#[engine::actor]
impl Report {
    pub fn new() -> Self {
        Report { total: Summary::default() }
    }

    /// Adds one batch; gives how many requests there were so far.
    pub fn add(&mut self, summary: Summary) -> u64 {
        self.total += summary;
        self.total.requests
    }

    pub fn total(&self) -> Summary {
        self.total.clone()
    }
}

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let batches: u64 = args.first().map_or(Ok(100), |text| text.parse()).context("BATCHES")?;
    let lines: u64 = args.get(1).map_or(Ok(1000), |text| text.parse()).context("LINES")?;

    let report = Report::spawn()?;
    let mut under_way = VecDeque::new();
    for batch in generate::spawn(batches, lines)?.refs() {
        if under_way.len() >= UNDER_WAY_MAX {
            wait_for_oldest(&mut under_way)?;
        }
        under_way.push_back(report.add(parse::spawn(batch?)?)?);
    }
    while !under_way.is_empty() {
        wait_for_oldest(&mut under_way)?;
    }

    let total = report.total()?.get()?;
    print!("{}", total.table());
    println!(
        "{}",
        json!({
            "batches": batches, "requests": total.requests, "bytes": total.bytes,
            "errors": total.errors(), "paths": total.by_path.len(),
        })
    );
    Ok(())
}

fn wait_for_oldest(under_way: &mut VecDeque<ObjectRef<u64>>) -> Result<()> {
    match under_way.pop_front() {
        Some(oldest) => oldest.get().map(|_| ()),
        None => Ok(()),
    }
}
