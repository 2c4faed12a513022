//! What it costs to run a tenant's guests in a process of its own: both forms of one engine, in turn.

use anyhow::{Result, ensure};
use engine_agent::Options;
use engine_core::tenant::{Isolation, TenantSpec};
use engine_net::Scope;

use crate::Plan;
use crate::harness::Engine;
use crate::report::{Report, median};

/// What is measured: its name, what the guest is told, and how often, before the scale.
const SCENARIOS: [(&str, &[&str], u64); 4] = [
    ("tasks in fresh sandboxes", &["fresh"], 20_000),
    ("tasks in warm sandboxes", &["warm"], 50_000),
    ("actor calls, one at a time", &["actor-calls"], 20_000),
    ("put and get of 1 MiB", &["put-get-bytes", "1048576"], 1_000),
];

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let engine = Engine::start(Options { is_worker_program: true, ..Options::detect() }).await?;
    let isolation = Isolation::Process;
    let spec = TenantSpec { isolation, ..TenantSpec::new("apart".parse()?) };
    engine.backend().set_tenant(spec, true).await?;
    let scopes = [Scope::ALL, Scope { tenant: Some("apart".parse()?), ..Scope::ALL }];
    for (what, words, count) in SCENARIOS {
        let count = (count / plan.scale).max(100);
        let mut rates: [Vec<f64>; 2] = Default::default();
        for _ in 0..plan.runs {
            for (scope, rates) in scopes.iter().zip(&mut rates) {
                rates.push(per_second(&engine, plan, scope, words, count).await?);
            }
        }
        let ratios = rates[0].iter().zip(&rates[1]).map(|(here, apart)| apart / here).collect();
        let [here, apart] = rates.map(median);
        report.row(
            &format!("{what}, in a process of the tenant's own"),
            format!("{apart:.0}/s ({:.1} us each), {:.2} of in-process", 1e6 / apart, median(ratios)),
            format!("in the node's process: {here:.0}/s ({:.1} us each)", 1e6 / here),
            "none yet",
        );
    }
    engine.stop().await;
    Ok(())
}

/// How often a second the guest did it, by its own clock.
async fn per_second(engine: &Engine, plan: &Plan, scope: &Scope, words: &[&str], count: u64) -> Result<f64> {
    let count = count.to_string();
    let mut arguments = vec![words[0], &count];
    arguments.extend(&words[1..]);
    let job = engine.submit(scope, &plan.guest, &arguments).await?;
    let ran = engine.watch(job, |_| {}).await?.json()?;
    let seconds = ran["seconds"].as_f64().unwrap_or_default();
    ensure!(seconds > 0.0, "the guest did not say how long it took: {ran}");
    Ok(ran["count"].as_f64().unwrap_or_default() / seconds)
}
