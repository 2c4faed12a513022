//! What a queued task and an idle actor take.

use anyhow::{Context, Result};
use engine_agent::Options;

use crate::Plan;
use crate::harness::Engine;
use crate::process::resident_bytes;
use crate::report::Report;

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    queued(plan, report, 1_000_000 / plan.scale).await?;
    idle_actors(plan, report, 10_000 / plan.scale).await
}

async fn queued(plan: &Plan, report: &mut Report, count: u64) -> Result<()> {
    let mut options = Options::detect();
    options.limits.root_memory_bytes_default = 1 << 30;
    let engine = Engine::start(options).await?;
    engine.run(&plan.guest, &["warm", "1000"]).await?.json()?;
    let mut bytes = Vec::new();
    let mut seconds = Vec::new();
    for count in [count / 10, count] {
        let before = resident_bytes();
        let mut queued = 0;
        let arguments = ["queued", &count.to_string()];
        let ran = engine
            .run_watching(&plan.guest, &arguments, |line| {
                if line == "QUEUED" {
                    queued = resident_bytes();
                }
            })
            .await?;
        seconds.push(ran.json()?["seconds"].as_f64().context("no seconds")?);
        bytes.push(queued.saturating_sub(before) as f64 / count as f64);
    }
    report.row(
        &format!("{count} no-op tasks queued by one caller"),
        format!("{:.1} s; {:.0} bytes of the process per queued task", seconds[1], bytes[1]),
        format!("{:.0} bytes at a tenth of them; the caller's own references included", bytes[0]),
        "flat per task",
    );
    engine.stop().await;
    Ok(())
}

async fn idle_actors(plan: &Plan, report: &mut Report, count: u64) -> Result<()> {
    let engine = Engine::start(Options::detect()).await?;
    engine.run(&plan.guest, &["actors", "10", "0"]).await?.json()?;
    let before = resident_bytes();
    let mut alive = 0;
    let ran = engine
        .run_watching(&plan.guest, &["actors", &count.to_string(), "500"], |line| {
            if line == "ALIVE" {
                alive = resident_bytes();
            }
        })
        .await?;
    let seconds = ran.json()?["seconds"].as_f64().context("no seconds")? - 0.5;
    let bytes = alive.saturating_sub(before);
    report.row(
        &format!("{count} idle actors alive at once"),
        format!("{:.0} MiB, {:.0} KiB each", bytes as f64 / 1048576.0, bytes as f64 / 1024.0 / count as f64),
        format!("created and called once each in {seconds:.2} s, {:.0}/s", count as f64 / seconds),
        "under 1 GiB for 10 000",
    );
    engine.stop().await;
    Ok(())
}
