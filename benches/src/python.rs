//! The limit of a fresh interpreter for every task: wasmtime alone with the Python runner.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::raw::Raw;

/// The least that the runner does for a call: no argument, and a number comes back.
const LEAST: &str = "builtins:int";

/// `python-runner RUNNER FOLDER FUNCTION ARGUMENT…`, the arguments files with the bytes of the codec `python`.
///
/// Compiles the runner into the folder, says so, and answers every line of standard input, a number of calls,
/// with one JSON line: calls per second of that function and of the least that can be called, each call in a
/// sandbox of its own, on as many threads as the engine would have.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    let [runner, folder, function, arguments @ ..] = arguments else {
        bail!("something is missing: python-runner RUNNER FOLDER FUNCTION ARGUMENT…");
    };
    let arguments = arguments
        .iter()
        .map(|path| std::fs::read(path).with_context(|| format!("reading {path}")))
        .collect::<Result<Vec<_>>>()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let raw = Raw::mapped(Path::new(runner), Path::new(folder))?;
    let (same, least) = (raw.calling(function, &arguments), raw.calling(LEAST, &[]));
    same.fresh_per_second(1, 1)?;
    least.fresh_per_second(1, 1)?;
    say(&serde_json::json!({ "threads": threads }))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let count: u64 = line.trim().parse().with_context(|| format!("{line:?} is no number of calls"))?;
        let (same, least) = (same.fresh_per_second(threads, count)?, least.fresh_per_second(threads, count)?);
        say(&serde_json::json!({ "calls_per_second": same, "least_per_second": least }))?;
    }
    Ok(())
}

fn say(line: &serde_json::Value) -> Result<()> {
    println!("{line}");
    std::io::stdout().flush().context("writing to standard output")
}
