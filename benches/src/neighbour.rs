//! What one tenant does to another on the same node: how long a tenant's tasks take, one at a time within
//! its guaranteed share, while another is idle, busy, and hostile (computes in as many tasks and actors as
//! it may have, and floods memory, objects, logs and submissions at once).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engine_agent::Options;
use engine_core::quota::QuotaKind;
use engine_core::tenant::TenantSpec;
use engine_net::{JobKey, Scope};
use futures::StreamExt;

use crate::Plan;
use crate::harness::Engine;
use crate::report::{Report, median};

/// Rounds of a task: about five milliseconds, which is two and a half time slices.
const ROUNDS: &str = "5000000";

/// A tenant's tasks, in microseconds.
struct Latencies {
    p50: f64,
    p99: f64,
}

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let engine = Engine::start(Options::detect()).await?;
    let (quiet, other) = (scope("quiet")?, scope("other")?);
    // One CPU, which is what one task at a time uses.
    let guaranteed_percent = 100_u64.div_ceil(cpus) as u32;
    let spec = TenantSpec { guaranteed_percent, ..TenantSpec::new("quiet".parse()?) };
    engine.backend().set_tenant(spec, false).await?;
    let mut spec = TenantSpec::new("other".parse()?);
    spec.quotas[QuotaKind::QueuedTasks] = Some(100_000);
    spec.quotas[QuotaKind::MemoryBytes] = Some(4 << 30);
    engine.backend().set_tenant(spec, false).await?;

    let count = (2_000 / plan.scale).max(100).to_string();
    for (what, rounds) in [("5 ms of computing", ROUNDS), ("nothing to compute", "1")] {
        let mut ratios: [Vec<f64>; 4] = Default::default();
        let mut idle_at = (Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            let idle = latencies(&engine, plan, &quiet, &count, rounds).await?;
            for (at, words) in [vec!["busy", "64", ROUNDS], vec!["hostile"]].iter().enumerate() {
                let job = engine.submit(&other, &plan.guest, words).await?;
                let is_ready = is_ready(&engine, &job).await;
                ensure!(is_ready?, "the other tenant's job has ended: {words:?}");
                let beside = latencies(&engine, plan, &quiet, &count, rounds).await?;
                ratios[at * 2].push(beside.p50 / idle.p50);
                ratios[at * 2 + 1].push(beside.p99 / idle.p99);
                end(&engine, &other, job).await?;
                let was = (beside.p50 / idle.p50, beside.p99 / idle.p99);
                eprintln!("{what}, beside {}: {:.2} of idle at p50, {:.2} at p99", words[0], was.0, was.1);
            }
            idle_at.0.push(idle.p50);
            idle_at.1.push(idle.p99);
        }
        let [busy50, busy99, hostile50, hostile99] = ratios.map(median);
        report.row(
            &format!("a tenant's tasks of {what}, within its share, beside another tenant"),
            format!("busy: {busy50:.2} of idle at p50, {busy99:.2} at p99; hostile: {hostile50:.2} and {hostile99:.2}"),
            format!("idle: p50 {:.0} us, p99 {:.0} us, on {cpus} cores", median(idle_at.0), median(idle_at.1)),
            "1.5 at p99",
        );
    }
    engine.stop().await;
    Ok(())
}

fn scope(tenant: &str) -> Result<Scope> {
    Ok(Scope { tenant: Some(tenant.parse()?), ..Scope::ALL })
}

/// Whether the job has begun what it is for, rather than ended.
async fn is_ready(engine: &Engine, job: &JobKey) -> Result<bool> {
    use engine_proto::v1::job_event::Event;
    let backend = engine.backend();
    let mut events = backend.watch_job(&Scope::ALL, job.clone(), Default::default()).await?;
    while let Some(event) = events.next().await {
        if let Some(Event::Logs(batch)) = event?.event
            && batch.lines.iter().any(|line| line.text == "READY")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Stops a job, and waits until nothing of its tenant runs. Its log is not looked at: it may be long.
async fn end(engine: &Engine, of: &Scope, job: JobKey) -> Result<()> {
    engine.backend().stop_job(of, job.clone()).await?;
    while !engine.backend().get_job(of, job.clone()).await?.state().is_final() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn latencies(
    engine: &Engine,
    plan: &Plan,
    scope: &Scope,
    count: &str,
    rounds: &str,
) -> Result<Latencies> {
    let job = engine.submit(scope, &plan.guest, &["quiet", count, rounds]).await?;
    let ran = engine.watch(job, |_| {}).await?.json()?;
    let took = ran["microseconds"].as_array().context("no latencies")?;
    let mut took: Vec<f64> = took.iter().filter_map(serde_json::Value::as_f64).collect();
    ensure!(!took.is_empty(), "no latencies");
    took.sort_by(f64::total_cmp);
    Ok(Latencies { p50: took[took.len() / 2], p99: took[took.len() * 99 / 100] })
}
