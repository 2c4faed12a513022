//! The scripts behind every published figure: `cargo xtask bench`.

mod harness;

use anyhow::Result;

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let engine = harness::Engine::start(engine_agent::Options::detect())?;
    let rest: Vec<&str> = args[1..].iter().map(String::as_str).collect();
    let start = std::time::Instant::now();
    let ran = engine.run(args[0].as_ref(), &rest).await?;
    println!("{:?}", start.elapsed());
    for line in &ran.lines { println!("| {line}"); }
    println!("{:?} {:?} {:?}", ran.job.state(), ran.job.error, ran.job.progress);
    println!("{:?}", engine.counters().await?);
    engine.stop().await;
    Ok(())
}
