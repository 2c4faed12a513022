//! Calls of an actor on the same node.

use anyhow::Result;
use engine_agent::Options;

use crate::Plan;
use crate::harness::Engine;
use crate::raw::Raw;
use crate::report::{Report, median};
use crate::tasks::per_second;

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let raw = Raw::new(&plan.guest)?;
    let engine = Engine::start(Options::detect()).await?;
    engine.run(&plan.guest, &["actor-calls", "1000"]).await?.json()?;
    let count = 200_000 / plan.scale;
    let (mut ratios, mut trips, mut limits, mut rates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let raw = raw.clone();
        let limit = tokio::task::spawn_blocking(move || raw.warm_per_second(1_000_000)).await??;
        let rate = per_second(&engine, plan, "actor-calls", count).await?.0;
        ratios.push(limit / rate);
        trips.push(1e6 / rate);
        limits.push(1e6 / limit);
        rates.push(per_second(&engine, plan, "actor-calls-async", count).await?.0);
    }
    report.row(
        "actor call, round trip on one node",
        format!("{:.2} µs, {:.1} times a bare warm call", median(trips), median(ratios)),
        format!("bare warm wasmtime call: {:.2} µs", median(limits)),
        "at most 20 times",
    );
    report.row(
        "actor calls, many in flight",
        format!("{:.0}/s", median(rates)),
        "one actor, one caller".to_owned(),
        "-",
    );
    engine.stop().await;
    Ok(())
}
