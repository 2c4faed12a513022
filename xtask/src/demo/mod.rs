//! `cargo xtask demo`: words counted by thousands of sandboxes, and again by one plain loop.

mod count;

use crate::workspace::{cargo, succeed, target_dir};
use anyhow::{Context, Result, bail, ensure};
use count::Totals;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Words that the guest lists before its totals.
const TOP: usize = 20;

/// Builds the release engine and the guest, runs the job embedded or on the engine that is running, and
/// compares.
pub(crate) fn run(dir: Option<PathBuf>, on_running: bool) -> Result<()> {
    crate::guests::run()?;
    eprintln!("building the engine for release …");
    succeed(&mut cargo(&["build", "--release", "--package", "engine-cli"]))?;
    // Only now: in a fresh clone it is the builds above that fill cargo's cache.
    let dir = match dir {
        Some(dir) => dir.canonicalize().with_context(|| format!("cannot read {}", dir.display()))?,
        None => default_corpus()?,
    };
    let on = if on_running { nodes_running()? } else { "an embedded engine".to_owned() };
    println!("counting the words of {} on {on}", dir.display());
    let job = submit(&dir, on_running)?;
    println!("counting again, in one plain thread without sandboxes");
    let begun = Instant::now();
    let plain = count::count(&dir)?;
    let plain_seconds = begun.elapsed().as_secs_f64();
    compare(&job, &plain)?;

    let megabytes = plain.bytes as f64 / 1e6;
    println!("  files      {}", plain.files);
    println!("  bytes      {} ({megabytes:.1} MB)", plain.bytes);
    println!("  words      {} ({} distinct)", plain.words, plain.counts.len());
    println!("  sandboxes  {} started, one for each task", job.tasks);
    println!("  engine     {:.1} s, {:.0} MB/s (start-up included)", job.seconds, megabytes / job.seconds);
    println!("  one thread {plain_seconds:.1} s, {:.0} MB/s", megabytes / plain_seconds);
    println!("the totals agree exactly");
    Ok(())
}

fn default_corpus() -> Result<PathBuf> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    let sources = home.join("registry/src");
    sources.canonicalize().with_context(|| {
        format!("cannot read {}; name another folder: `cargo xtask demo DIR`", sources.display())
    })
}

/// What the job reported.
#[derive(Debug, Default, PartialEq)]
struct Report {
    files: u64,
    bytes: u64,
    words: u64,
    distinct: u64,
    tasks: u64,
    top: Vec<(u64, String)>,
    seconds: f64,
}

fn engine() -> PathBuf {
    target_dir().join("release/engine")
}

/// What is running here, in words.
fn nodes_running() -> Result<String> {
    let words = ["list", "nodes", "--filter", "state=ALIVE", "--format", "json"];
    let output = Command::new(engine()).args(words).output().context("cannot run the engine")?;
    ensure!(
        output.status.success(),
        "no engine is running: start one with `{} up --nodes 3`\n{}",
        engine().display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let listed: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("it lists nodes as JSON")?;
    let nodes = listed["items"].as_array().context("it lists nodes")?.len();
    Ok(format!("the engine that is running here, of {nodes} node{}", if nodes == 1 { "" } else { "s" }))
}

fn submit(dir: &Path, on_running: bool) -> Result<Report> {
    let engine = engine();
    let guest = crate::guests::folder().join("word-count.wasm");
    let mut grant = dir.as_os_str().to_owned();
    grant.push("::/data");
    let begun = Instant::now();
    let mut command = Command::new(&engine);
    command.arg("submit").arg(&guest).arg("--dir").arg(grant);
    if !on_running {
        // A cluster that happens to run here is not what is shown then.
        command.arg("--embedded").env_remove("ENGINE_ADDRESS");
    }
    let mut child = command
        .args(["--", "/data"])
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", engine.display()))?;
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cannot read the job's output")?;
            println!("{line}");
            lines.push(line);
        }
    }
    let status = child.wait().context("cannot wait for the engine")?;
    ensure!(status.success(), "the job failed ({status})");
    let mut report = parse(&lines)?;
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

fn parse(lines: &[String]) -> Result<Report> {
    let Some((totals, listed)) = lines.split_last() else {
        bail!("the job wrote nothing; its last line should be its totals as JSON");
    };
    let totals: serde_json::Value = serde_json::from_str(totals)
        .with_context(|| format!("the job's last line is not its totals as JSON: {totals}"))?;
    let number = |name: &str| {
        totals[name].as_u64().with_context(|| format!("the job's totals lack `{name}`: {totals}"))
    };
    let top = listed.iter().rev().map_while(|line| {
        let (count, word) = line.trim().split_once(char::is_whitespace)?;
        Some((count.parse().ok()?, word.trim().to_owned()))
    });
    let mut top: Vec<_> = top.take(TOP).collect();
    top.reverse();
    Ok(Report {
        files: number("files")?,
        bytes: number("bytes")?,
        words: number("words")?,
        distinct: number("distinct")?,
        tasks: number("tasks")?,
        top,
        seconds: 0.0,
    })
}

fn compare(job: &Report, plain: &Totals) -> Result<()> {
    let mut differences = Vec::new();
    for (what, of_job, of_plain) in [
        ("files", job.files, plain.files),
        ("bytes", job.bytes, plain.bytes),
        ("words", job.words, plain.words),
        ("distinct words", job.distinct, plain.counts.len() as u64),
    ] {
        if of_job != of_plain {
            differences.push(format!("{what}: the job says {of_job}, the plain count {of_plain}"));
        }
    }
    let expected = TOP.min(plain.counts.len());
    if job.top.len() != expected {
        differences.push(format!("the job listed {} words instead of {expected}", job.top.len()));
    }
    // Words of equal count may come in any order, so the counts are compared place by place.
    for ((count, word), (plain_count, _)) in job.top.iter().zip(plain.top(TOP)) {
        if *count != plain_count || plain.counts.get(word.as_bytes()) != Some(count) {
            differences.push(format!("`{word}`: the job says {count}, the plain count differs"));
        }
    }
    ensure!(
        differences.is_empty(),
        "the engine's count and the plain one differ (did the files change meanwhile?)\n  {}",
        differences.join("\n  ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const TOTALS: &str = r#"{"files":1,"bytes":11,"words":3,"distinct":2,"tasks":4}"#;

    fn plain() -> Totals {
        let mut totals = Totals { files: 1, bytes: 11, ..Totals::default() };
        totals.add(b"one two one");
        totals
    }

    #[test]
    fn the_agreed_output_is_understood_and_agrees() {
        let report = parse(&lines(&format!("reading\n   2 one\n   1 two\n{TOTALS}"))).unwrap();
        assert_eq!(report.top, [(2, "one".to_owned()), (1, "two".to_owned())]);
        assert_eq!(report.tasks, 4);
        compare(&report, &plain()).unwrap();
    }

    #[test]
    fn any_difference_is_an_error_that_names_it() {
        let wrong = parse(&lines(&format!("   2 one\n   2 two\n{TOTALS}"))).unwrap();
        assert!(compare(&wrong, &plain()).unwrap_err().to_string().contains("`two`"));
        let wrong = parse(&lines(&format!("   2 one\n   1 two\n{}", TOTALS.replace("11", "12")))).unwrap();
        assert!(compare(&wrong, &plain()).unwrap_err().to_string().contains("bytes"));
    }

    #[test]
    fn other_output_is_an_error() {
        assert!(parse(&[]).is_err());
        assert!(parse(&lines("hello")).is_err());
        assert!(parse(&lines(r#"{"files":1}"#)).unwrap_err().to_string().contains("`bytes`"));
    }
}
