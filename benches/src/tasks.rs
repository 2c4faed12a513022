//! Tasks per second, end to end: spawn, place, run, get.

use anyhow::{Result, ensure};
use engine_agent::Options;

use crate::Plan;
use crate::harness::Engine;
use crate::process::cpu_time;
use crate::raw::Raw;
use crate::report::{Report, median};

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let raw = Raw::new(&plan.guest)?;
    let engine = Engine::start(Options::detect()).await?;
    engine.run(&plan.guest, &["fresh", "1000"]).await?.json()?;

    let count = 100_000 / plan.scale;
    let (mut ratios, mut rates, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let raw = raw.clone();
        let limit = tokio::task::spawn_blocking(move || raw.fresh_per_second(threads, count)).await??;
        let before = engine.counters().await?.instantiations;
        let rate = per_second(&engine, plan, "fresh", count).await?.0;
        let started = engine.counters().await?.instantiations - before;
        // Every task had a sandbox of its own, and the job's root one more.
        ensure!(started == count + 1, "{started} sandboxes were started for {count} tasks");
        ratios.push(rate / limit);
        rates.push(rate);
        limits.push(limit);
    }
    report.row(
        "fresh-sandbox tasks, end to end",
        format!("{:.0}/s on {threads} cores, {:.2} of raw", median(rates), median(ratios)),
        format!("raw instantiate-call-drop: {:.0}/s on {threads} threads", median(limits)),
        "0.6 of raw",
    );

    let count = 1_000_000 / plan.scale;
    let (mut rates, mut per_core) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        let (rate, cpu_seconds) = per_second(&engine, plan, "warm", count).await?;
        rates.push(rate);
        per_core.push(count as f64 / cpu_seconds);
    }
    report.row(
        "tasks on reused instances, end to end",
        format!("{:.0}/s on {threads} cores; {:.0} per CPU second", median(rates), median(per_core)),
        "CPU time of the whole process, the caller's included".to_owned(),
        "150 000/s/core",
    );
    engine.stop().await;
    Ok(())
}

/// Tasks per second by the guest's clock, and the CPU seconds that the process took for them.
pub(crate) async fn per_second(
    engine: &Engine,
    plan: &Plan,
    scenario: &str,
    count: u64,
) -> Result<(f64, f64)> {
    let before = cpu_time();
    let json = engine.run(&plan.guest, &[scenario, &count.to_string()]).await?.json()?;
    let cpu = cpu_time() - before;
    let seconds = json["seconds"].as_f64().unwrap_or(f64::NAN);
    Ok((count as f64 / seconds, cpu.as_secs_f64()))
}
